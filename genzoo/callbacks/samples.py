"""What the model shows of itself over time, as TensorBoard images and PNGs in the run folder."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from genzoo import images
from genzoo.limits import Count


class Samples(pl.Callback):
    """A grid of each of `module.preview(batch)` at every validation, where the averaged weights are in place.

    The batch is the first of validation, `count` images of it at most.
    """

    def __init__(self, folder: Any, count: Count = 64) -> None:
        self.folder, self.count = Path(folder), count

    @torch.no_grad()
    def on_validation_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        if batch_idx or trainer.sanity_checking or not trainer.is_global_zero:
            return
        part = type(batch)(*(tensor[: self.count] for tensor in batch))
        for name, shown in module.preview(part).items():
            picture = images.picture(shown)
            self.folder.mkdir(parents=True, exist_ok=True)
            images.save_png(self.folder / f"{name}-{trainer.global_step:08d}.png", picture)
            for logger in trainer.loggers:
                if hasattr(logger.experiment, "add_image"):
                    logger.experiment.add_image(name, images.to_uint8(picture), trainer.global_step)
