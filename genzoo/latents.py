"""Walks through latent space: pure functions of latents (n, dim)."""

import torch
from torch import Tensor

from genzoo.priors import Prior


def strip(prior: Prior, ends: Tensor, steps: int, loop: bool = False) -> Tensor:
    """`steps` latents at even distances along the path through all `ends`: (k, dim) -> (steps, dim).

    The path begins with the first end and stops at the last; with `loop` it leads back to the first, which is not repeated.
    """
    if len(ends) < 2 or steps < 2:
        raise ValueError(f"a path needs at least 2 ends and 2 steps, not {len(ends)} and {steps}")
    stops = torch.cat([ends, ends[:1]]) if loop else ends
    place = torch.arange(steps, dtype=torch.float64) * (len(stops) - 1) / (steps if loop else steps - 1)
    before = place.long().clamp(max=len(stops) - 2)
    return prior.path(stops[before], stops[before + 1], place - before)


def corners(prior: Prior, ends: Tensor, rows: int, columns: int) -> Tensor:
    """A sheet between four latents, upper left, upper right, lower left, lower right: (4, dim) -> (rows * columns, dim)."""
    if len(ends) != 4 or min(rows, columns) < 2:
        raise ValueError(f"a sheet needs 4 ends, 2 rows and 2 columns or more, not {len(ends)}, {rows} and {columns}")
    down, across = torch.linspace(0, 1, rows, dtype=torch.float64), torch.linspace(0, 1, columns, dtype=torch.float64)
    left, right = prior.path(ends[0], ends[2], down), prior.path(ends[1], ends[3], down)
    return prior.path(left[:, None], right[:, None], across).flatten(0, 1)


def arithmetic(plus: Tensor, minus: Tensor, base: Tensor) -> Tensor:
    """`base` moved from what the latents `minus` share to what `plus` share: the means of (n, dim) (DCGAN, section 6.3.2)."""
    return base + plus.mean(0) - minus.mean(0)
