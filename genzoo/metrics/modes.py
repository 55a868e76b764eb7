"""Mode collapse on toy data whose modes are known: `metric.update(points=(n, 2))`."""

import torch
from torch import Tensor
from torchmetrics import Metric

from genzoo.metrics.fidelity import kl


class Modes(Metric):
    """How points fall on a mixture of round Gaussians with equal weights: centres (modes, dim), deviation `sigma`.

    A point is good within 3 sigma of a centre (of true 2-D points 98.9 % are). `good_share`: the share of good points.
    `modes_found`: modes whose good points are at least a tenth of their fair share, n / modes.
    `reverse_kl`: KL(h || uniform) in nats, h being the histogram of every point's nearest mode, good or not: 0 is even,
    log(modes) is one mode only.
    """

    full_state_update = False
    centres: Tensor
    nearest: Tensor
    good: Tensor

    def __init__(self, centres: Tensor, sigma: float):
        super().__init__()
        self.sigma = sigma
        self.register_buffer("centres", centres.double())
        self.add_state("nearest", torch.zeros(len(centres), dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("good", torch.zeros(len(centres), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, points: Tensor) -> None:
        distance, mode = torch.cdist(points.double(), self.centres).min(1)  # (n,), (n,)
        self.nearest += mode.bincount(minlength=len(self.nearest))
        self.good += mode[distance <= 3 * self.sigma].bincount(minlength=len(self.good))

    def compute(self) -> dict[str, Tensor]:
        n, modes = self.nearest.sum(), len(self.centres)
        if n == 0:
            raise ValueError("no points were given; draw some first")
        return {
            "modes_found": (10 * modes * self.good >= n).sum(),  # in integers: good / n >= 0.1 / modes
            "good_share": self.good.sum().double() / n,
            "reverse_kl": kl(self.nearest.double() / n, torch.full_like(self.centres[:, 0], 1 / modes)),
        }
