"""Batch normalisation that depends on a condition, and what its statistics are when images are sampled."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

LOOKUPS = ("compat", "correct")


class ConditionalNorm(nn.Module):
    """BatchNorm with gain 1 + gain(condition) and bias(condition): (n, c, h, w), (n, k) -> (n, c, h, w).

    `make` builds a map from the condition to (n, c), called once for gain and once for bias: a linear layer, or an
    embedding of classes. None gives a plain BatchNorm with a gain and a bias of its own, which takes any condition.
    `rows` adds tables (rows, c) of statistics for truncations 0 to 1, for `select`.
    """

    means: Tensor
    variances: Tensor

    def __init__(
        self,
        channels: int,
        make: Callable[[], nn.Module] | None = None,
        eps: float = 1e-5,
        rows: int | None = None,
        lookup: str = "compat",
    ) -> None:
        super().__init__()
        if lookup not in LOOKUPS:
            raise ValueError(f"lookup={lookup}: there are {', '.join(LOOKUPS)}")
        self.rows, self.lookup = rows, lookup
        self.bn = nn.BatchNorm2d(channels, eps=eps, affine=make is None)
        self.gain = make() if make else None
        self.bias = make() if make else None
        if rows:
            self.register_buffer("means", torch.zeros(rows, channels))
            self.register_buffer("variances", torch.ones(rows, channels))

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        x = self.bn(x)
        if self.gain is None or self.bias is None:
            return x
        gain, bias = ((1 + self.gain(condition)).to(x), self.bias(condition).to(x))
        return torch.addcmul(bias[:, :, None, None], x, gain[:, :, None, None])


@torch.no_grad()
def select(network: nn.Module, truncation: float) -> bool:
    """Take the running statistics of this truncation from the tables of a network; False if it has none.

    huggingface/pytorch-pretrained-BigGAN interpolates between two rows with their weights swapped, and rounding makes
    it take the next row at 0.14, 0.28 and 0.56, the one before at 0.58 and 0.94 of 51 rows: `compat` does the same,
    `correct` does not. ValueError for a truncation outside 0 to 1.
    """
    tables = [part for part in network.modules() if isinstance(part, ConditionalNorm) and part.rows]
    if tables and not 0 <= truncation <= 1:
        raise ValueError(f"truncation={truncation}: this file has statistics for 0 to 1")
    for norm in tables:
        assert norm.rows and norm.bn.running_mean is not None and norm.bn.running_var is not None
        row, share = place(truncation, norm.rows, norm.lookup)
        after = min(row + 1, norm.rows - 1)
        norm.bn.running_mean.copy_(torch.lerp(norm.means[row], norm.means[after], share))
        norm.bn.running_var.copy_(torch.lerp(norm.variances[row], norm.variances[after], share))
    return bool(tables)


def place(truncation: float, rows: int, lookup: str) -> tuple[int, float]:
    """The row below a truncation, and the share of the row after it."""
    if lookup == "correct":
        share, row = math.modf(round(truncation * (rows - 1), 6))
        return int(row), share
    share, row = math.modf(truncation / (1 / (rows - 1)))
    return int(row), 1 - share if share else 0.0


@contextmanager
def standing(network: nn.Module) -> Iterator[None]:
    """Standing statistics: the passes made inside give every BatchNorm new running statistics, in float32.

    They are the means of each pass's mean and biased variance (BigGAN, appendix, as in ajbrock/BigGAN-PyTorch); each
    pass itself is normalised by its own batch. Nothing but BatchNorms changes its mode.
    """
    norms: list[Any] = [part for part in network.modules() if isinstance(part, _BatchNorm)]
    modes = [norm.training for norm in norms]
    sums: dict[nn.Module, tuple[Tensor, Tensor]] = {}
    passes: dict[nn.Module, int] = {}

    def add(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0].detach().float()
        variance, mean = torch.var_mean(x, (0, 2, 3), correction=0)
        before = sums.get(norm, (torch.zeros_like(mean), torch.zeros_like(variance)))
        sums[norm] = before[0] + mean, before[1] + variance
        passes[norm] = passes.get(norm, 0) + 1

    hooks = [norm.register_forward_pre_hook(add) for norm in norms]
    try:
        for norm in norms:
            norm.train()
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for norm, mode in zip(norms, modes, strict=True):
            norm.train(mode)
    with torch.no_grad():
        for norm in filter(sums.__contains__, norms):
            mean, variance = sums[norm]
            norm.running_mean.copy_(mean / passes[norm])
            norm.running_var.copy_(variance / passes[norm])
