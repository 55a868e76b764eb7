"""Mixtures of Gaussians in the plane, where mode collapse can be seen and counted."""

import math
from typing import Annotated

import torch
from torch import Tensor

from genzoo.core.random import generator
from genzoo.data.store import MemoryStore
from genzoo.limits import Positive, Range

Points = Annotated[int, Range(1, 10_000_000)]


class Mixture(MemoryStore):
    """Points (n, 2) drawn from equally likely round Gaussians; y is the index of the Gaussian.

    `centres` (modes, 2) and `sigma` are the exact truth. Test points are drawn apart from training points, both the
    same in every run.
    """

    def __init__(self, centres: Tensor, sigma: float, split: str, points: int) -> None:
        self.centres, self.sigma = centres, sigma
        source = generator("mixture", split, len(centres))
        mode = torch.randint(len(centres), (points,), generator=source)
        noise = torch.randn(points, 2, generator=source)
        super().__init__(centres[mode] + sigma * noise, mode)


class Ring(Mixture):
    """`modes` Gaussians evenly on a circle; the usual picture of mode collapse has eight (Metz et al. 2017)."""

    def __init__(
        self,
        split: str = "train",
        modes: Annotated[int, Range(1, 10_000)] = 8,
        radius: Positive = 0.8,
        sigma: Positive = 0.008,
        points: Points = 100_000,
    ) -> None:
        angle = torch.arange(modes) * (2 * math.pi / modes)
        super().__init__(radius * torch.stack([angle.cos(), angle.sin()], dim=1), sigma, split, points)


class Grid(Mixture):
    """`side` x `side` Gaussians on a square lattice around the origin."""

    def __init__(
        self,
        split: str = "train",
        side: Annotated[int, Range(1, 100)] = 5,
        spacing: Positive = 0.4,
        sigma: Positive = 0.01,
        points: Points = 100_000,
    ) -> None:
        line = (torch.arange(side) - (side - 1) / 2) * spacing
        super().__init__(torch.cartesian_prod(line, line), sigma, split, points)
