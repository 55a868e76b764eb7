"""How long an iteration takes, for `genzoo check`."""

import time
from typing import Any

import pytorch_lightning as pl
import torch


class Stopwatch(pl.Callback):
    """Ends training after some seconds, and notes what each iteration but the first took.

    The first one is slow: memory is taken and kernels are chosen. Where it alone takes longer it has to do.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.times: list[float] = []

    def on_train_start(self, trainer: Any, module: Any) -> None:
        self.began = self.before = time.perf_counter()

    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        if module.device.type == "cuda":  # it has only been told what to do
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.times.append(now - self.before)
        self.before = now
        enough = len(self.times) > 1 or self.times[0] > 4 * self.seconds
        trainer.should_stop = enough and now - self.began > self.seconds

    @property
    def mean(self) -> float:
        """Seconds of an iteration."""
        later = self.times[1:] or self.times
        return sum(later) / len(later)
