"""Standing statistics: BatchNorm as the averaged weights need it, for as long as validation looks at samples."""

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from genzoo.core import roles
from genzoo.limits import Count, Positive


class Standing(pl.Callback):
    """Calls `module.standing(passes, batch, seed, truncation)` before each validation (BigGAN, appendix).

    Validation gets buffers of its own, so that the weights that train, and the averages, keep theirs, whether EMA
    stands before this callback or after it.
    """

    def __init__(
        self, passes: Count = 16, batch: Count = 64, seed: int = 0, truncation: Positive | None = None
    ) -> None:
        self.passes, self.batch, self.seed, self.truncation = passes, batch, seed, truncation
        self.kept: list[tuple[Any, str, Tensor]] = []

    def check(self, module: Any, data: Any, processes: int) -> None:
        """ValueError for a model without standing statistics."""
        if not isinstance(module, roles.Standing):
            raise ValueError(
                f"callbacks=standing: {type(module).__name__} has no standing statistics; model=biggan has"
            )

    def on_validation_epoch_start(self, trainer: Any, module: Any) -> None:  # averaged weights are in place by now
        norms = [part for part in module.generator.modules() if isinstance(part, _BatchNorm)]
        self.kept = [(norm, name, value) for norm in norms for name, value in norm.named_buffers(recurse=False)]
        for norm, name, value in self.kept:
            setattr(norm, name, value.clone())
        with torch.no_grad():
            module.standing(self.passes, self.batch, self.seed, self.truncation)

    def on_validation_end(self, trainer: Any, module: Any) -> None:
        for norm, name, value in self.kept:
            setattr(norm, name, value)
        self.kept = []
