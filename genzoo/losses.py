"""Adversarial objectives, penalties on the gradient of a critic, and the terms of the variational bound.

Objectives take logits of any shape, never probabilities, and return means.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Generator, Tensor
from torch.linalg import vector_norm
from torch.nn.functional import binary_cross_entropy_with_logits, relu, softplus

from genzoo.limits import Positive, Weight


class Objective(Protocol):
    """The two sides of the game, both to be minimised; the discriminator's comes as (real term, fake term)."""

    def discriminator(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]: ...
    def generator(self, fake: Tensor) -> Tensor: ...


@runtime_checkable
class Probabilistic(Protocol):
    """An objective whose discriminator tells how probable it is that an image is real."""

    def probability(self, logits: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Minimax:
    """The saturating game: G minimises log(1 - D(G(z))) (Goodfellow et al. 2014, Eq. 1)."""

    def discriminator(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        return softplus(-real).mean(), softplus(fake).mean()

    def generator(self, fake: Tensor) -> Tensor:
        return -softplus(fake).mean()

    def probability(self, logits: Tensor) -> Tensor:
        return logits.sigmoid()


@dataclass(frozen=True)
class NonSaturating:
    """G maximises log D(G(z)), whose gradient survives a confident D (Goodfellow et al. 2014, section 3)."""

    def discriminator(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        return softplus(-real).mean(), softplus(fake).mean()

    def generator(self, fake: Tensor) -> Tensor:
        return softplus(-fake).mean()

    def probability(self, logits: Tensor) -> Tensor:
        return logits.sigmoid()


@dataclass(frozen=True)
class LeastSquares:
    """Half squared distances to the labels a (fake), b (real) and c (what G wants) (Mao et al. 2017, Eq. 2)."""

    a: float = 0.0
    b: float = 1.0
    c: float = 1.0

    def discriminator(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        return (real - self.b).square().mean() / 2, (fake - self.a).square().mean() / 2

    def generator(self, fake: Tensor) -> Tensor:
        return (fake - self.c).square().mean() / 2


@dataclass(frozen=True)
class Hinge:
    """D stops pushing logits beyond a margin of 1 (Lim and Ye 2017; Miyato et al. 2018, Eq. 16 and 17)."""

    def discriminator(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        return relu(1 - real).mean(), relu(1 + fake).mean()

    def generator(self, fake: Tensor) -> Tensor:
        return -fake.mean()


@dataclass(frozen=True)
class Wasserstein:
    """The critic's mean difference (Arjovsky et al. 2017, Algorithm 1).

    After every step of the critic its weights are clamped to [-clip, clip], 0.01 in the paper; None where a penalty
    takes that place.
    """

    clip: Positive | None = None

    def discriminator(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        return -real.mean(), fake.mean()

    def generator(self, fake: Tensor) -> Tensor:
        return -fake.mean()


Critic = Callable[[Tensor], Tensor]


class Draw(Protocol):
    """Random rows that do not depend on devices and micro-batches: `ZooModule.draw`."""

    def __call__(self, sample: Callable[[int, Generator], Tensor], n: int, purpose: str) -> Tensor: ...


Penalty = Callable[[Critic, Tensor, Tensor, Draw], Tensor]  # (critic, real, fake, draw) -> scalar, weight included


@dataclass(frozen=True)
class GradientPenalty:
    """weight * mean (|grad D| - target)^2 between real and fake (Gulrajani et al. 2017, Eq. 3)."""

    weight: Weight = 10.0
    target: Weight = 1.0

    def __call__(self, critic: Critic, real: Tensor, fake: Tensor, draw: Draw) -> Tensor:
        real, fake = full(real), full(fake)
        share = draw(lambda n, generator: torch.rand(n, generator=generator), len(real), "penalty")
        between = torch.lerp(fake, real, column(share, real))
        excess: Tensor = vector_norm(gradient(critic, between), dim=1) - self.target
        return self.weight * excess.square().mean()


@dataclass(frozen=True)
class R1:
    """gamma / 2 * mean |grad D|^2 at real images (Mescheder et al. 2018, Eq. 9). Some codes leave out the half."""

    gamma: Weight = 10.0

    def __call__(self, critic: Critic, real: Tensor, fake: Tensor, draw: Draw) -> Tensor:
        return self.gamma / 2 * gradient(critic, full(real)).square().sum(1).mean()


@dataclass(frozen=True)
class DRAGAN:
    """weight * mean (|grad D| - 1)^2 near real images (Kodali et al. 2017; the noise is that of the authors' notebook).

    The noise has half the deviation of the batch at hand, so micro-batches and devices each use their own.
    """

    weight: Weight = 10.0

    def __call__(self, critic: Critic, real: Tensor, fake: Tensor, draw: Draw) -> Tensor:
        real = full(real)
        shape = real.shape[1:]
        noise = draw(lambda n, generator: torch.rand(n, *shape, generator=generator), len(real), "penalty").to(real)
        share = draw(lambda n, generator: torch.rand(n, generator=generator), len(real), "penalty")
        near = real + column(share, real) * (0.5 * real.std(correction=0) * noise)
        excess: Tensor = vector_norm(gradient(critic, near), dim=1) - 1
        return self.weight * excess.square().mean()


def gaussian_kl(mean: Tensor, log_var: Tensor) -> Tensor:
    """KL(N(mean, exp(log_var)) || N(0, 1)) in nats, summed over latents: (n, ...) -> (n,) (Kingma and Welling 2014, B)."""
    mean, log_var = full(mean), full(log_var)
    return (mean.square() + log_var.expm1() - log_var).flatten(1).sum(1) / 2


def bernoulli_nll(logits: Tensor, unit: Tensor) -> Tensor:
    """-log p(x) in nats of images in [0, 1] under pixels of the given logits, summed over pixels: (n, ...) -> (n,)."""
    return binary_cross_entropy_with_logits(full(logits), full(unit), reduction="none").flatten(1).sum(1)


def gaussian_nll(mean: Tensor, unit: Tensor, sigma: float = 1.0) -> Tensor:
    """-log N(x; mean, sigma^2) in nats of images in [0, 1], summed over pixels: (n, ...) -> (n,).

    The constant is included: at sigma 1 this is half the squared error plus 0.919 per pixel.
    """
    squares = ((full(unit) - full(mean)) / sigma).square() / 2
    return (squares + math.log(sigma * math.sqrt(2 * math.pi))).flatten(1).sum(1)


def gradient(critic: Critic, x: Tensor) -> Tensor:
    """The gradient of every sample's summed logits, outside autocast and differentiable itself: (n, ...) -> (n, d)."""
    x = x.detach().requires_grad_()
    with torch.autocast(x.device.type, enabled=False):
        (slope,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return slope.flatten(1)


def full(x: Tensor) -> Tensor:
    """At least float32."""
    return x if x.dtype == torch.float64 else x.float()


def column(numbers: Tensor, x: Tensor) -> Tensor:
    """One number per sample, shaped and typed to multiply x."""
    return numbers.to(x).view(-1, *[1] * (x.dim() - 1))
