"""When a run has seen enough."""

import time
from typing import Any

import pytorch_lightning as pl

from genzoo.core.module import agreed


class Budget(pl.Callback):
    """Ends training once `images` have been seen, or `minutes` of this process have passed."""

    def __init__(self, images: int, minutes: float | None = None) -> None:
        self.images, self.minutes = images, minutes

    def on_fit_start(self, trainer: Any, module: Any) -> None:
        self.started = time.monotonic()

    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        over = module.images_seen >= self.images
        if self.minutes:
            over = over or agreed(trainer, time.monotonic() - self.started > 60 * self.minutes)
        trainer.should_stop = trainer.should_stop or over
