"""Where the terms of a run are written: TensorBoard's events, or lines of JSON."""

import json
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.loggers.logger import DummyExperiment, Logger
from pytorch_lightning.utilities.rank_zero import rank_zero_only


class TensorBoard(TensorBoardLogger):
    """Lightning's, without the hparams.yaml that it leaves beside the events: config.yaml says all of it."""

    def save(self) -> None:
        self.experiment.flush()


class Lines(Logger):
    """`<folder>/curves.jsonl`: a line for each report. A resumed run appends; Lightning's CSV would begin anew."""

    name = version = ""

    def __init__(self, folder: Any) -> None:
        super().__init__()
        self.folder = Path(folder)

    @property
    def experiment(self) -> Any:
        return DummyExperiment()  # no pictures

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """They stand in config.yaml."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        with open(self.folder / "curves.jsonl", "a") as file:
            file.write(json.dumps({"step": step} | metrics) + "\n")
