"""Training of classifiers."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from genzoo.core.module import Terms, ZooModule
from genzoo.images import to_unit
from genzoo.nets.classifiers import right


class Classifier(ZooModule):
    """Any network from images in [0, 1] to logits: of one class among several, or of each attribute by itself.

    Which of them follows from the labels: class ids (n,), or attributes (n, a), where a logit above 0 means yes.
    """

    players = {"c": ("network",)}

    def __init__(self, network: nn.Module, turns: tuple[str, ...] | list[str] = ("c",), **engine: Any) -> None:
        super().__init__(turns=turns, **engine)
        self.network = network

    def classify(self, x: Tensor) -> Tensor:
        """Logits of images in [0, 1]: (n, c, h, w) -> (n, classes)."""
        return self.network(x)

    def loss(self, player: str, batch: Any) -> Terms:
        logits = self.classify(to_unit(batch.x))
        if batch.y.dim() == 2:
            return {"classifier/binary_cross_entropy": binary_cross_entropy_with_logits(logits, batch.y)}
        return {"classifier/cross_entropy": cross_entropy(logits, batch.y)}

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        share = right(self.classify(to_unit(batch.x)), batch.y).to(torch.float32).mean()
        self.log("classifier/accuracy", share, batch_size=len(batch.x), sync_dist=True, logger=False)
