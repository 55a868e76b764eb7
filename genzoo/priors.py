"""Distributions of latents: how to draw them, how to walk between two, and how to trade variety for quality."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Generator, Tensor
from torch.nn.functional import normalize

from genzoo.limits import Count, Positive


class Prior(Protocol):
    """A distribution of latents (n, dim). Paths take ends (..., dim) and t (...) in [0, 1], broadcast against each other."""

    @property
    def dim(self) -> int: ...
    def sample(self, n: int, generator: Generator | None = None) -> Tensor: ...
    def path(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor: ...
    def typical(self, z: Tensor) -> Tensor: ...
    def truncate(
        self, z: Tensor, truncation: float, rule: str = "resample", generator: Generator | None = None
    ) -> Tensor: ...


@dataclass(frozen=True)
class Normal:
    """The standard normal distribution; paths follow the great circle, which keeps the length a normal latent has."""

    dim: Count

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        return torch.randn(n, self.dim, generator=generator)

    def path(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        return slerp(a, b, t)

    def typical(self, z: Tensor) -> Tensor:
        """The same direction at the length sqrt(dim), near which all normal latents lie and no mean of several does."""
        return math.sqrt(self.dim) * normalize(z, dim=-1)

    def truncate(
        self, z: Tensor, truncation: float, rule: str = "resample", generator: Generator | None = None
    ) -> Tensor:
        """Latents of less variety, by one of the three `RULES`; BigGAN, section 3.1, means `resample`."""

        def redraw(u: Tensor, limit: float) -> Tensor:  # the inverse of the truncated normal's distribution function
            return math.sqrt(2) * torch.erfinv(u * math.erf(limit / math.sqrt(2)))

        return truncated(z, truncation, rule, redraw, generator)


@dataclass(frozen=True)
class Uniform:
    """Uniform on [-bound, bound]: bound 1 in the DCGAN paper, sqrt(3) in the authors' code of GAN (2014)."""

    dim: Count
    bound: Positive = 1.0

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        return self.bound * (2 * torch.rand(n, self.dim, generator=generator) - 1)

    def path(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        return lerp(a, b, t)

    def typical(self, z: Tensor) -> Tensor:
        """The nearest latent within the bounds."""
        return z.clamp(-self.bound, self.bound)

    def truncate(
        self, z: Tensor, truncation: float, rule: str = "resample", generator: Generator | None = None
    ) -> Tensor:
        """Latents of less variety, by one of the three `RULES`."""
        return truncated(z, truncation, rule, lambda u, limit: u * limit, generator)


@dataclass(frozen=True)
class Sphere:
    """Uniform on the sphere of radius sqrt(dim), where a coordinate has variance 1 (ProGAN normalises its latents so)."""

    dim: Count

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        return math.sqrt(self.dim) * normalize(torch.randn(n, self.dim, generator=generator), dim=1)

    def path(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        return slerp(a, b, t)

    def typical(self, z: Tensor) -> Tensor:
        """The same direction, back on the sphere."""
        return math.sqrt(self.dim) * normalize(z, dim=-1)

    def truncate(
        self, z: Tensor, truncation: float, rule: str = "resample", generator: Generator | None = None
    ) -> Tensor:
        """Refused: latents of one length have no tail to cut."""
        raise ValueError(
            "latents on a sphere cannot be truncated; leave truncation out, or train with the prior Normal"
        )


def lerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """The straight line from a to b."""
    t = t.to(a).unsqueeze(-1)
    return (1 - t) * a + t * b


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """The arc from a to b (Shoemake 1985), a straight line where it is not defined: ends that are parallel or opposite.

    The angle is that of the directions, the weights are those of the ends themselves: the length travels too.
    """
    u, v = normalize(a, dim=-1), normalize(b, dim=-1)
    angle = 2 * torch.atan2((u - v).norm(dim=-1), (u + v).norm(dim=-1))  # exact for small angles, unlike acos
    sine, t = angle.sin(), t.to(a)
    arc = (((1 - t) * angle).sin() / sine).unsqueeze(-1) * a + ((t * angle).sin() / sine).unsqueeze(-1) * b
    return torch.where((sine < 1e-6).unsqueeze(-1), lerp(a, b, t), arc)


RULES = ("resample", "hub", "scale")  # redraw what exceeds t; t times what is redrawn at 2; t times everything


def truncated(
    z: Tensor, truncation: float, rule: str, redraw: Callable[[Tensor, float], Tensor], generator: Generator | None
) -> Tensor:
    """Apply one of `RULES`; `redraw` turns uniform numbers in [-1, 1] into coordinates that obey the limit.

    Every coordinate has a number of its own, so that a row does not depend on the others.
    """
    if rule not in RULES:
        raise ValueError(f"truncation rule {rule!r} is unknown; there are {', '.join(RULES)}")
    if not truncation > 0:
        raise ValueError(f"truncation must be above 0, not {truncation}; usual values lie between 0.3 and 1")
    if rule == "scale":
        return truncation * z
    limit = truncation if rule == "resample" else 2.0
    u = 2 * torch.rand(z.shape, dtype=torch.float64, generator=generator) - 1
    fresh = redraw(u, limit).clamp(-limit, limit).to(z)
    kept = torch.where(z.abs() > limit, fresh, z)
    return kept if rule == "resample" else truncation * kept
