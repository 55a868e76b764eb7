"""How far two sets of features cover one another, judged by balls around every point that reach to its k-th neighbour.

Balls are closed, and a point is no neighbour of itself. Swap real and fake in precision and it is recall.
"""

import torch
from torch import Tensor

from genzoo.metrics.fidelity import BLOCK, TwoSets


def radii(x: Tensor, k: int) -> Tensor:
    """The distance of every row to its k-th nearest other row: (n, d) -> (n,)."""
    return torch.cat([torch.cdist(rows, x).kthvalue(k + 1, dim=1).values for rows in x.split(BLOCK)])


def balls(points: Tensor, centres: Tensor, radius: Tensor) -> Tensor:
    """In how many of the balls each point lies: (n, d), (m, d), (m,) -> (n,)."""
    return torch.cat([(torch.cdist(rows, centres) <= radius).sum(1) for rows in points.split(BLOCK)])


class PrecisionRecall(TwoSets):
    """Improved precision and recall (Kynkaanniemi et al. 2019, section 2).

    The share of generated points within a ball of a real one, and of real points within a ball of a generated one.
    """

    def __init__(self, nearest: int = 3):
        super().__init__()
        self.nearest = nearest

    def compute(self) -> dict[str, Tensor]:
        real, fake = self.sets(least=self.nearest + 1)
        return {
            "precision": (balls(fake, real, radii(real, self.nearest)) > 0).double().mean(),
            "recall": (balls(real, fake, radii(fake, self.nearest)) > 0).double().mean(),
        }


class DensityCoverage(TwoSets):
    """Density and coverage (Naeem et al. 2020, section 3.2).

    In how many balls of real points a generated point lies, over k, on average (may pass 1); and the share of real
    points with a generated one in their ball.
    """

    def __init__(self, nearest: int = 5):
        super().__init__()
        self.nearest = nearest

    def compute(self) -> dict[str, Tensor]:
        real, fake = self.sets(least=self.nearest + 1)
        radius = radii(real, self.nearest)
        closest = torch.cat([torch.cdist(rows, fake).amin(1) for rows in real.split(BLOCK)])
        return {
            "density": balls(fake, real, radius).double().mean() / self.nearest,
            "coverage": (closest <= radius).double().mean(),
        }
