"""DCGAN. Alec Radford, Luke Metz, Soumith Chintala, Unsupervised Representation Learning with Deep Convolutional
Generative Adversarial Networks, ICLR 2016.

Strided and transposed convolutions only: no pooling, no fully connected hidden layer. Batch normalisation in both
networks except the generator's last and the discriminator's first layer; ReLU and tanh in G, LeakyReLU 0.2 in D;
weights from N(0, 0.02) (section 3). Kernels are 4x4 as in today's implementations, the authors' code has 5x5.
"""

from typing import Any

import torch
from torch import Tensor, nn

from genzoo.core.module import AdversarialModule, Terms
from genzoo.core.roles import LatentSampler
from genzoo.limits import Count
from genzoo.losses import full
from genzoo.nets.init import normal_init
from genzoo.nets.sizes import doublings
from genzoo.priors import Prior


class Generator(nn.Sequential):
    """(n, latent_dim) -> (n, c, h, w) in [-1, 1]."""

    def __init__(self, latent_dim: Count, channels: Count, resolution: Count, width: Count = 64) -> None:
        base, steps = doublings(resolution)
        most = steps if base == 7 else steps - 1  # 28 px starts with as many channels as 32 px
        widths = [width * 2 ** (most - i) for i in range(steps)]
        layers = [nn.Unflatten(1, (latent_dim, 1, 1)), nn.ConvTranspose2d(latent_dim, widths[0], base, bias=False)]
        for inputs, outputs in zip(widths, widths[1:] + [channels]):
            layers += [nn.BatchNorm2d(inputs), nn.ReLU(True)]
            layers += [nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False)]
        super().__init__(*layers, nn.Tanh())
        normal_init(self)


NORMS = {
    "batch": nn.BatchNorm2d,
    "layer": lambda channels: nn.GroupNorm(1, channels),  # one sample's own statistics, as gradient penalties need
    "none": lambda channels: nn.Identity(),
}


class Discriminator(nn.Sequential):
    """(n, c, h, w) -> (n,) logits. `norm`: batch as in the paper; layer or none under a gradient penalty."""

    def __init__(self, channels: Count, resolution: Count, width: Count = 64, norm: str = "batch") -> None:
        if norm not in NORMS:
            raise ValueError(f"model.discriminator.norm={norm}: there are {', '.join(NORMS)}")
        base, steps = doublings(resolution)
        widths = [width * 2**i for i in range(steps)]
        layers = [nn.Conv2d(channels, widths[0], 4, stride=2, padding=1, bias=False), nn.LeakyReLU(0.2, True)]
        for inputs, outputs in zip(widths, widths[1:]):
            layers += [nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=False)]
            layers += [NORMS[norm](outputs), nn.LeakyReLU(0.2, True)]
        super().__init__(*layers, nn.Conv2d(widths[-1], 1, base, bias=False), nn.Flatten())
        normal_init(self)

    def forward(self, x: Tensor) -> Tensor:
        return full(super().forward(x)).squeeze(1)


class DCGAN(LatentSampler, AdversarialModule):
    """Real and fake go through the discriminator apart: in one batch, BatchNorm would tell it which is which."""

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
