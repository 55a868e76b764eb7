"""Training of classifiers."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from genzoo.core.module import Terms, ZooModule
from genzoo.images import to_unit


class Classifier(ZooModule):
    """Any network from images in [0, 1] to logits, trained by cross-entropy."""

    players = {"c": ("network",)}

    def __init__(self, network: nn.Module, turns: tuple[str, ...] | list[str] = ("c",), **engine: Any) -> None:
        super().__init__(turns=turns, **engine)
        self.network = network

    def classify(self, x: Tensor) -> Tensor:
        """Logits of images in [0, 1]: (n, c, h, w) -> (n, classes)."""
        return self.network(x)

    def loss(self, player: str, batch: Any) -> Terms:
        return {"classifier/cross_entropy": cross_entropy(self.classify(to_unit(batch.x)), batch.y)}

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        right = self.classify(to_unit(batch.x)).argmax(1) == batch.y
        share = right.to(torch.float32).mean()
        self.log("classifier/accuracy", share, batch_size=len(batch.x), sync_dist=True, logger=False)
