"""What the model shows of itself over time, as PNGs in the run folder and pictures in TensorBoard."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from genzoo import images
from genzoo.callbacks.curves import TensorBoard
from genzoo.callbacks.ema import EMA
from genzoo.callbacks.records import attempt, moved
from genzoo.callbacks.standing import Standing
from genzoo.core.folder import replacing
from genzoo.core.module import agreed
from genzoo.limits import Count, Positive
from genzoo.pace import Pace

REAL = "real.png"


class Samples(pl.callbacks.Checkpoint):  # a Checkpoint, so that Lightning runs it after EMA
    """A sheet of each of `module.preview(batch)`, made by the averaged weights where there are some: after the first
    iteration, at every validation, by time where these lie far apart, and at the end.

    The batch is the first of validation, `count` images of it at most; what is real in it is shown once. Between two
    sheets lie `seconds` at least, later a tenth of the time that the run has taken, up to ten minutes.
    """

    def __init__(self, folder: Any, count: Count = 64, seconds: Positive = 30.0) -> None:
        self.folder, self.count, self.seconds = Path(folder), count, seconds

    def on_train_start(self, trainer: Any, module: Any) -> None:
        self.pace, self.shown = Pace(self.seconds, 600), -1
        self.modes = getattr(trainer.datamodule.store_of("test"), "centres", None)  # of toy points
        if trainer.is_global_zero:
            attempt(self.folder, lambda: self.folder.mkdir(parents=True, exist_ok=True))

    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        if trainer.global_step == 1 or agreed(trainer, self.pace.due()):
            self.look(trainer, module)

    def on_validation_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        if not batch_idx and not trainer.sanity_checking:
            self.show(trainer, module, batch)

    def on_train_end(self, trainer: Any, module: Any) -> None:
        self.look(trainer, module)

    def look(self, trainer: Any, module: Any) -> None:
        """A sheet outside of validation, unless the run was told to stop at once."""
        began, batch = time.monotonic(), trainer.datamodule.test_batch()
        if self.shown == trainer.global_step or batch is None or not trainer.limit_val_batches:
            return
        batch = trainer.strategy.batch_to_device(trainer.precision_plugin.convert_input(batch))
        with as_validated(trainer, module):
            self.show(trainer, module, batch)
        self.pace.done(time.monotonic() - began)

    @torch.no_grad()
    def show(self, trainer: Any, module: Any, batch: Any) -> None:
        began, step = time.monotonic(), trainer.global_step
        if trainer.is_global_zero and self.shown != step:
            part = type(batch)(*(tensor[: self.count] for tensor in batch))
            sheets = module.preview(part)
            for name, shown in sheets.items():
                title = f"{name.replace('_', ' ')} after {module.images_seen:,} images"
                self.keep(trainer, name, f"{name}-{step:08d}.png", images.picture(shown, title, self.modes))
            if "samples" in sheets and part.x.dim() == 4 and not (self.folder / REAL).exists():
                self.keep(trainer, "real", REAL, images.picture(part.x, "real images"))
        self.shown = step
        self.pace.done(time.monotonic() - began)

    def follow(self, before: Path, after: Path) -> None:
        self.folder = moved(self.folder, before, after)

    def keep(self, trainer: Any, name: str, file: str, picture: torch.Tensor) -> None:
        def write() -> None:
            with replacing(self.folder / file) as png:
                images.pillow(picture).save(png, format="PNG")

        attempt(self.folder, write)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoard):
                logger.log_picture(name, picture, trainer.lightning_module.images_seen)


@contextlib.contextmanager
def as_validated(trainer: Any, module: Any) -> Iterator[None]:
    """In it the model is as in validation: averages and standing statistics in place, nothing in training mode."""
    stand_ins = [callback for callback in trainer.callbacks if isinstance(callback, (EMA, Standing))]
    training = [part for part in module.modules() if part.training]
    module.eval()
    for callback in stand_ins:
        callback.on_validation_start(trainer, module)
    for callback in stand_ins:
        callback.on_validation_epoch_start(trainer, module)
    try:
        yield
    finally:
        for callback in stand_ins:
            callback.on_validation_end(trainer, module)
        for part in training:
            part.training = True
