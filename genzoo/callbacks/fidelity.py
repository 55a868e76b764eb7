"""How good samples are while a model trains, and its best weights so far."""

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from genzoo.batches import pieces
from genzoo.callbacks.records import moved
from genzoo.core.io import read_checkpoint
from genzoo.core.roles import Likelihood, Sampler, require
from genzoo.core.stream import spread
from genzoo.limits import Count


class Fidelity(pl.callbacks.Checkpoint):  # a Checkpoint, so that Lightning runs it after EMA
    """Judges samples at every validation, where averaged weights are in place, and keeps `<folder>/best.ckpt`.

    features     a network of `genzoo.metrics.features`; toy points need none, nor does a model with a `bound`
    n            samples of `seed`, the same latents every time, and test images, evenly spread over the test half
    batch_size   samples made at once

    Images: FID, KID, density and coverage; points: modes found, share of good points, evenness. Best is the lowest
    negative ELBO of a model that has one, else the lowest FID, else the most modes and then the most good points.
    Lightning's ModelCheckpoint loses the best of a validation that follows a save in the same iteration when the run
    is resumed; here best.ckpt itself knows its score.
    """

    FILE = "best.ckpt"
    LEAST = 6  # images of a process: density looks at five neighbours

    def __init__(
        self, folder: Any, features: Any = None, n: Count = 2000, batch_size: Count = 250, seed: int = 0
    ) -> None:
        self.folder, self.features, self.n, self.batch_size, self.seed = Path(folder), features, n, batch_size, seed
        self.score = math.inf
        self.real: list[Tensor] = []  # features of this process's share of the test images

    def check(self, module: Any, data: Any, processes: int) -> None:
        """ValueError if there is nothing to judge, or nothing to judge it by."""
        store = data.store_of("test")
        if min(self.n, len(store)) < self.LEAST * processes:
            raise ValueError(
                f"callbacks.fidelity.n={self.n}, {len(store)} test images: {self.LEAST * processes} of each are needed"
            )
        if hasattr(store, "centres") or self.features:
            require(module, Sampler)
        elif not isinstance(module, Likelihood):
            raise ValueError(
                f"callbacks=fidelity needs a network that looks at the images: features=<its run>\n"
                f"genzoo train model=classifier data={data.name} makes one"
            )
        if self.features and not hasattr(store, "centres"):
            self.look(store.__getitems__([(0, 0)]).x)  # whether it takes images of this kind

    def on_fit_start(self, trainer: Any, module: Any) -> None:
        store, rank, world = trainer.datamodule.store_of("test"), trainer.global_rank, trainer.world_size
        self.points = hasattr(store, "centres")
        if self.features and not self.points:
            self.features.to(module.device)
            self.real = [self.look(x.to(module.device)) for x in self.images(store, rank, world)]
        self.score = self.noted()

    def images(self, store: Any, rank: int, world: int) -> Iterator[Tensor]:
        """This process's share of at most n images of the store, evenly spread over it."""
        keys = [(index, index) for index in spread(len(store), self.n)][rank::world]
        for first in range(0, len(keys), self.batch_size):
            yield store.__getitems__(keys[first : first + self.batch_size]).x

    def look(self, images: Tensor) -> Tensor:
        return self.features(images.float())["features"]  # (n, c, h, w) -> (n, dim)

    @torch.no_grad()
    def on_validation_epoch_end(self, trainer: Any, module: Any) -> None:  # between EMA's two exchanges
        if trainer.sanity_checking or not (self.points or self.features):
            return
        z = module.latents(self.n, seed=self.seed)[trainer.global_rank :: trainer.world_size]
        y = module.labels(self.n, seed=self.seed)
        y = None if y is None else y[trainer.global_rank :: trainer.world_size]
        samples = (module.generate(*part) for part in pieces(z, y, self.batch_size))
        if self.points:
            from genzoo.metrics import measure

            store = trainer.datamodule.store_of("test")
            found = measure.modes(samples, store.centres, store.sigma, module.device)
        else:
            found = self.distances(module, samples)
        values = {f"metric/{name}": float(value) for name, value in found.items()}
        module.log_dict(values, logger=False)

    def distances(self, module: Any, samples: Iterator[Tensor]) -> dict[str, Tensor]:
        """Of all processes together, as torchmetrics gathers them."""
        from torchmetrics import MetricCollection

        from genzoo.metrics.fidelity import FID, KID
        from genzoo.metrics.manifold import DensityCoverage

        parts: Any = {"FID": FID(self.features.dim), "KID": KID(), "density_coverage": DensityCoverage()}
        metrics = MetricCollection(parts).to(module.device)
        for features in self.real:
            metrics.update(features=features, real=True)
        for images in samples:
            metrics.update(features=self.look(images), real=False)
        return {f"{name}[{self.features.name}]": value for name, value in metrics.compute().items()}

    def on_validation_end(self, trainer: Any, module: Any) -> None:  # EMA has given the training weights back
        if trainer.sanity_checking:
            return
        score, before = self.worth(trainer.callback_metrics), self.score
        if not trainer.strategy.broadcast(score < before):  # the first process decides for all
            return
        self.score = score
        trainer.save_checkpoint(self.folder / self.FILE)
        if trainer.strategy.checkpoint_io.failed:
            self.score = before  # the file still holds the one before

    def follow(self, before: Path, after: Path) -> None:
        self.folder = moved(self.folder, before, after)

    def worth(self, metrics: dict[str, Tensor]) -> float:
        """What the weights of this validation are worth; lower is better."""
        bound = [value for name, value in metrics.items() if name.endswith("/negative_elbo")]
        if bound:
            return float(bound[0])
        if self.points:
            return -float(metrics["metric/modes_found"] + metrics["metric/good_share"])
        return float(metrics[f"metric/FID[{self.features.name}]"])

    def state_dict(self) -> dict[str, Any]:
        return {"features": self.features and self.features.name, "score": self.score}

    def noted(self) -> float:
        """The score of the best checkpoint in the folder, if there is one that was judged in the same way."""
        with contextlib.suppress(Exception):  # whatever is wrong with the file, a better one will take its place
            state = read_checkpoint(self.folder / self.FILE, mmap=True)["callbacks"][self.state_key]
            if state["features"] == self.state_dict()["features"]:
                return float(state["score"])
        return math.inf
