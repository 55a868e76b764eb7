"""What BigGAN and BigGAN-deep share beside normalisation and attention."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from genzoo.losses import full
from genzoo.nets.spectral import SNEmbedding, SNLinear

INITS = ("orthogonal", "normal")

# Channels in widths: into the generator's first block (-deep: stage), then out of each; out of each of the discriminator's
GENERATOR = {
    32: (4, 4, 4, 4),
    64: (16, 16, 8, 4, 2),
    128: (16, 16, 8, 4, 2, 1),
    256: (16, 16, 8, 8, 4, 2, 1),
    512: (16, 16, 8, 8, 4, 2, 1, 1),
}
DISCRIMINATOR = {
    32: (4, 4, 4, 4),
    64: (1, 2, 4, 8, 16),
    128: (1, 2, 4, 8, 16, 16),
    256: (1, 2, 4, 8, 8, 16, 16),
    512: (1, 1, 2, 4, 8, 8, 16, 16),
}


def sized(table: Mapping[int, Sequence[int]], resolution: int, width: int) -> list[int]:
    """The channels that a paper's table has for a resolution; ValueError with the nearest resolution there is."""
    if resolution not in table:
        nearest = min(table, key=lambda size: abs(size - resolution))
        raise ValueError(
            f"data.resolution={resolution}: this model is for {', '.join(map(str, table))} pixels; "
            f"say data.resolution={nearest}"
        )
    return [width * multiple for multiple in table[resolution]]


def init_weights(network: nn.Module, init: str) -> None:
    """Weights and embeddings orthogonal (Saxe et al. 2014), or from N(0, 0.02); biases stay torch's own."""
    if init not in INITS:
        raise ValueError(f"init={init}: there are {', '.join(INITS)}")
    for part in network.modules():
        if isinstance(part, (nn.Conv2d, nn.Linear, nn.Embedding)):
            if init == "orthogonal":
                nn.init.orthogonal_(part.weight)
            else:
                nn.init.normal_(part.weight, 0.0, 0.02)


class ProjectionHead(nn.Module):
    """Logits from the features' sum over the image, and their product with the class's embedding (Miyato and Koyama
    2018, Eq. 3): (n, width, h, w) and y -> (n,) float32. Without classes y is not looked at.
    """

    def __init__(self, width: int, classes: int | None, **spectral: Any) -> None:
        super().__init__()
        self.linear = SNLinear(width, 1, **spectral)
        self.embed = SNEmbedding(classes, width, **spectral) if classes else None

    def forward(self, h: Tensor, y: Tensor | None = None) -> Tensor:
        h = h.relu().sum((2, 3))
        logits = full(self.linear(h)).squeeze(1)
        if self.embed is None:
            return logits
        if y is None:
            raise ValueError(f"this discriminator judges images of {self.embed.num_embeddings} classes: say their y")
        return logits + (full(self.embed(y)) * full(h)).sum(1)
