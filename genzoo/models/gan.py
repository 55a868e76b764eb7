"""GAN. Ian Goodfellow et al., Generative Adversarial Nets, NeurIPS 2014.

Two fully connected players. The default networks are the small ones that people run today (ReLU and LeakyReLU, Adam);
`MaxoutDiscriminator` and `model=gan_2014` are the authors' own. Their images lie in [0, 1] behind a sigmoid
s, ours are 2 s - 1, which is tanh of half the logit. Points of the plane are images of one pixel without its axes.
"""

import math
from itertools import chain, repeat
from typing import Any

import torch
from torch import Tensor, nn

from genzoo.core.module import AdversarialModule, Terms
from genzoo.core.roles import LatentSampler
from genzoo.limits import Count, Positive
from genzoo.losses import full
from genzoo.priors import Prior


def shape_of(channels: int, resolution: int) -> tuple[int, ...]:
    """One sample's shape: an image, or a point where the resolution is 1."""
    return (channels, resolution, resolution) if resolution > 1 else (channels,)


class Generator(nn.Sequential):
    """(n, latent_dim) -> (n, c, h, w) in [-1, 1], or (n, 2) points. `init` u draws weights from U(-u, u)."""

    def __init__(
        self,
        latent_dim: Count,
        channels: Count,
        resolution: Count,
        width: Count = 256,
        depth: Count = 2,
        init: Positive | None = None,
    ) -> None:
        shape = shape_of(channels, resolution)
        layers: list[nn.Module] = []
        for inputs in chain([latent_dim], repeat(width, depth - 1)):
            layers += [nn.Linear(inputs, width), nn.ReLU()]
        super().__init__(*layers, nn.Linear(width, math.prod(shape)), nn.Tanh(), nn.Unflatten(1, shape))
        uniform_init(self, init)


class Discriminator(nn.Sequential):
    """(n, c, h, w) or (n, 2) -> (n,) logits."""

    def __init__(self, channels: Count, resolution: Count, width: Count = 256, depth: Count = 2) -> None:
        layers: list[nn.Module] = [nn.Flatten()]
        for inputs in chain([math.prod(shape_of(channels, resolution))], repeat(width, depth - 1)):
            layers += [nn.Linear(inputs, width), nn.LeakyReLU(0.2)]
        super().__init__(*layers, nn.Linear(width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return full(super().forward(x)).squeeze(1)


class Maxout(nn.Linear):
    """The largest of `pieces` linear maps: (n, inputs) -> (n, width) (Goodfellow et al. 2013)."""

    def __init__(self, inputs: int, width: int, pieces: int) -> None:
        super().__init__(inputs, width * pieces)
        self.pieces = pieces

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).unflatten(1, (-1, self.pieces)).amax(2)


class MaxoutDiscriminator(nn.Sequential):
    """The authors' discriminator for MNIST: two maxout layers of 240 units with 5 pieces, dropout before each layer.

    (n, c, h, w) -> (n,) logits. It drops 0.2 of the pixels and 0.5 of the units, and starts from U(-0.005, 0.005).
    """

    def __init__(
        self, channels: Count, resolution: Count, width: Count = 240, pieces: Count = 5, init: Positive | None = 0.005
    ) -> None:
        super().__init__(
            nn.Flatten(),
            nn.Dropout(0.2),
            Maxout(math.prod(shape_of(channels, resolution)), width, pieces),
            nn.Dropout(0.5),
            Maxout(width, width, pieces),
            nn.Dropout(0.5),
            nn.Linear(width, 1),
        )
        uniform_init(self, init)

    def forward(self, x: Tensor) -> Tensor:
        return full(super().forward(x)).squeeze(1)


def uniform_init(network: nn.Module, bound: float | None) -> None:
    """Weights from U(-bound, bound) and biases 0; None leaves torch's own."""
    for layer in network.modules():
        if bound is not None and isinstance(layer, nn.Linear):
            nn.init.uniform_(layer.weight, -bound, bound)
            nn.init.zeros_(layer.bias)


class GAN(LatentSampler, AdversarialModule):
    """Algorithm 1 of the paper, with one discriminator step (k = 1) unless `turns` says otherwise."""

    def __init__(self, generator: nn.Module, discriminator: nn.Module, prior: Prior, **adversarial: Any) -> None:
        super().__init__(**adversarial)
        self.generator, self.discriminator, self.prior = generator, discriminator, prior

    def generate(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.generator(z)

    def discriminator_loss(self, batch: Any) -> Terms:
        with torch.no_grad():
            fake = self.fake(len(batch.x))
        critic = self.discriminator
        terms = self.verdict(self.judge(critic, batch.x), self.judge(critic, fake))
        return terms | self.penalty_terms(critic, batch.x, fake)

    def generator_loss(self, batch: Any) -> Terms:
        fake = self.fake(len(batch.x))
        return {"generator/adversarial": self.objective.generator(self.judge(self.discriminator, fake))}

    def preview(self, batch: Any) -> dict[str, Tensor]:
        return {"samples": self.sample(2000, seed=self.seed)} if batch.x.dim() == 2 else super().preview(batch)
