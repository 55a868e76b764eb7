"""When a run has seen enough."""

import time
from typing import Any

import pytorch_lightning as pl


class Budget(pl.Callback):
    """Ends training once `images` have been seen, or `minutes` of this process have passed."""

    EVERY = 10  # iterations between two looks at the clock, which all devices have to agree on

    def __init__(self, images: int, minutes: float | None = None) -> None:
        self.images, self.minutes = images, minutes

    def on_fit_start(self, trainer: Any, module: Any) -> None:
        self.started = time.monotonic()

    def on_train_start(self, trainer: Any, module: Any) -> None:
        trainer.should_stop = module.images_seen >= self.images  # a resumed run may have nothing left to do

    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        over = module.images_seen >= self.images
        if self.minutes and trainer.global_step % self.EVERY == 0:
            late = time.monotonic() - self.started > 60 * self.minutes
            over = over or trainer.strategy.reduce_boolean_decision(late, all=False)
        trainer.should_stop = trainer.should_stop or over
