"""BigGAN-deep. Andrew Brock, Jeff Donahue, Karen Simonyan, Large Scale GAN Training for High Fidelity Natural Image
Synthesis, ICLR 2019, appendix B (figure 16, tables 7 to 9): four times as deep as BigGAN, with half of its parameters.

Blocks with bottlenecks, two for each resolution; shortcuts drop channels in the generator and add some in the
discriminator. The whole latent, behind the class embedding, steers every BatchNorm. It trains as BigGAN does.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from genzoo.limits import Count, Natural, Positive
from genzoo.nets.attention import SelfAttention
from genzoo.nets.conditional import DISCRIMINATOR, GENERATOR, ProjectionHead, init_weights, sized
from genzoo.nets.norm import ConditionalNorm
from genzoo.nets.spectral import ClassEmbedding, SNConv2d, SNLinear


class GeneratorBlock(nn.Module):
    """(n, inputs, s, s) and a condition (n, k) -> (n, outputs, s, s), or of twice the side; outputs <= inputs."""

    def __init__(self, inputs: int, outputs: int, up: bool, attention: bool, norm: Any, **spectral: Any) -> None:
        super().__init__()
        hidden = inputs // 4
        self.outputs, self.scale = outputs, 2 if up else 1
        self.conv1 = SNConv2d(inputs, hidden, 1, **spectral)
        self.conv2 = SNConv2d(hidden, hidden, 3, padding=1, **spectral)
        self.conv3 = SNConv2d(hidden, hidden, 3, padding=1, **spectral)
        self.conv4 = SNConv2d(hidden, outputs, 1, **spectral)
        self.norm1, self.norm2, self.norm3, self.norm4 = map(norm, (inputs, hidden, hidden, hidden))
        self.attention = SelfAttention(outputs, **spectral) if attention else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        h = self.norm2(self.conv1(self.norm1(x, condition).relu_()), condition).relu_()
        h = self.conv2(self.larger(h))
        h = self.conv3(self.norm3(h, condition).relu_())
        h = self.conv4(self.norm4(h, condition).relu_())
        return self.attention(h + self.larger(x[:, : self.outputs]))

    def larger(self, x: Tensor) -> Tensor:
        return interpolate(x, scale_factor=2) if self.scale == 2 else x


class Generator(nn.Module):
    """Latents (n, latent_dim) and classes y, ids (n,) or shares (n, classes) -> images (n, c, h, w) in [-1, 1].

    shared     size of the class embedding
    attention  resolutions at which a stage ends in self-attention
    eps        of BatchNorm; spectral_eps and eval_iterations: of spectral normalisation
    surplus, rows, lookup   for files of huggingface/pytorch-pretrained-BigGAN: outputs of the last convolution that
               nothing shows, rows of the tables of statistics, and how these are read
    """

    def __init__(
        self,
        latent_dim: Count,
        channels: Count,
        resolution: Count,
        width: Count = 128,
        classes: Count | None = None,
        shared: Natural = 128,
        attention: Sequence[Count] = (64,),
        init: str = "orthogonal",
        eps: Positive = 1e-5,
        spectral_eps: Positive = 1e-6,
        eval_iterations: Natural = 1,
        surplus: Natural = 0,
        rows: Count | None = None,
        lookup: str = "compat",
    ) -> None:
        super().__init__()
        widths = sized(GENERATOR, resolution, width)
        spectral: dict[str, Any] = {"eps": spectral_eps, "eval_iterations": eval_iterations}
        self.classes, self.channels = classes, channels
        self.shared = ClassEmbedding(classes, shared) if classes else None
        known = latent_dim + (shared if classes else 0)

        def norm(size: int) -> ConditionalNorm:
            make = partial(SNLinear, known, size, bias=False, **spectral)
            return ConditionalNorm(size, make, eps, rows, lookup)

        self.linear = SNLinear(known, 16 * widths[0], **spectral)
        blocks: list[nn.Module] = []
        for i, (inputs, outputs) in enumerate(zip(widths, widths[1:])):
            blocks.append(GeneratorBlock(inputs, inputs, False, False, norm, **spectral))
            blocks.append(GeneratorBlock(inputs, outputs, True, 8 << i in attention, norm, **spectral))
        self.blocks = nn.ModuleList(blocks)
        self.norm = ConditionalNorm(widths[-1], None, eps, rows, lookup)
        self.rgb = SNConv2d(widths[-1], channels + surplus, 3, padding=1, **spectral)
        init_weights(self, init)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        if self.shared is not None:
            if y is None:
                raise ValueError(f"this generator makes images of {self.classes} classes: say their y")
            z = torch.cat([self.shared(y), z], 1)
        h = self.linear(z).unflatten(1, (-1, 4, 4))
        for block in self.blocks:
            h = block(h, z)
        return self.rgb(self.norm(h).relu_())[:, : self.channels].tanh()


class DiscriminatorBlock(nn.Module):
    """(n, inputs, s, s) -> (n, outputs, s, s), or of half the side; outputs >= inputs."""

    def __init__(self, inputs: int, outputs: int, down: bool, attention: bool, **spectral: Any) -> None:
        super().__init__()
        hidden = outputs // 4
        self.down = down
        self.conv1 = SNConv2d(inputs, hidden, 1, **spectral)
        self.conv2 = SNConv2d(hidden, hidden, 3, padding=1, **spectral)
        self.conv3 = SNConv2d(hidden, hidden, 3, padding=1, **spectral)
        self.conv4 = SNConv2d(hidden, outputs, 1, **spectral)
        self.skip = SNConv2d(inputs, outputs - inputs, 1, **spectral) if outputs > inputs else None
        self.attention = SelfAttention(outputs, **spectral) if attention else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv2(self.conv1(x.relu()).relu_())
        h = self.conv3(h.relu_()).relu_()
        if self.down:
            h, x = avg_pool2d(h, 2), avg_pool2d(x, 2)
        h = self.conv4(h)
        return self.attention(h + (x if self.skip is None else torch.cat([x, self.skip(x)], 1)))


class Discriminator(nn.Module):
    """Images (n, c, h, w) and classes y, ids (n,) or shares (n, classes) -> (n,) float32 logits."""

    def __init__(
        self,
        channels: Count,
        resolution: Count,
        width: Count = 128,
        classes: Count | None = None,
        attention: Sequence[Count] = (64,),
        init: str = "orthogonal",
        spectral_eps: Positive = 1e-6,
    ) -> None:
        super().__init__()
        widths = sized(DISCRIMINATOR, resolution, width)
        spectral: dict[str, Any] = {"eps": spectral_eps}
        smallest = 8 if resolution == 32 else 4
        self.stem = SNConv2d(channels, widths[0], 3, padding=1, **spectral)
        blocks: list[nn.Module] = []
        for i, (inputs, outputs) in enumerate(zip(widths, widths[1:])):
            down, side = resolution >> i > smallest, max(resolution >> (i + 1), smallest)
            blocks.append(DiscriminatorBlock(inputs, outputs, down, False, **spectral))
            blocks.append(DiscriminatorBlock(outputs, outputs, False, side in attention, **spectral))
        self.blocks = nn.Sequential(*blocks)
        self.head = ProjectionHead(widths[-1], classes, **spectral)
        init_weights(self, init)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return self.head(self.blocks(self.stem(x)), y)
