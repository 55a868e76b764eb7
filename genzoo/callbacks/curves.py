"""Where the curves of a run are written: lines of JSON, always, and TensorBoard's events."""

import io
import json
import os
import socket
import time
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import pytorch_lightning as pl
from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from torch import Tensor

from genzoo.callbacks.records import append, attempt, moved
from genzoo.core.folder import own
from genzoo.images import to_uint8

OF_THE_ENGINE = ("seed", "micro_batch", "channels_last", "start_images", "inference_norm")  # no settings to compare


@runtime_checkable
class Record(Protocol):
    """A logger of ours. `begin` says at which iteration, and after how many images, the run starts or resumes: entries
    for later iterations are void. `config` is the text of config.yaml."""

    def begin(self, step: int, images: int, config: str) -> None: ...


class Lines(Logger):
    """`<folder>/curves.jsonl`: a line for each report."""

    name = version = ""

    def __init__(self, folder: Any) -> None:
        super().__init__()
        self.path = Path(folder) / "curves.jsonl"

    @rank_zero_only
    def begin(self, step: int, images: int, config: str) -> None:
        """Cut off the lines of later iterations, and one that was not written to its end."""

        def cut() -> None:
            with os.fdopen(own(self.path, os.O_RDWR), "r+b") as file:
                kept = 0
                for line in file:
                    if not line.endswith(b"\n") or step_of(line) > step:
                        break
                    kept += len(line)
                file.truncate(kept)

        attempt(self.path, cut)

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        line = json.dumps({"step": step} | metrics) + "\n"
        attempt(self.path, partial(append, self.path, line.encode()))

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """They stand in config.yaml."""

    def follow(self, before: Path, after: Path) -> None:
        self.path = moved(self.path, before, after)


def step_of(line: bytes) -> int:
    """The iteration of a line; 0 if somebody has written something else."""
    start, _, rest = line.partition(b":")
    number = rest.partition(b",")[0].strip()
    return int(number) if start.strip() == b'{"step"' and number.isdigit() else 0


class TensorBoard(Logger):
    """Events for `tensorboard --logdir <run>`: curves and pictures over the images seen, so that runs with batches of
    different sizes can be compared, the settings of the run and its whole configuration.

    `save_dir` is the run folder, `name` and `version` may be folders in it. torch's SummaryWriter would write from a
    thread of its own, which a full disk ends for good.
    """

    name = version = ""

    def __init__(self, save_dir: Any, name: str = "", version: str = "") -> None:
        super().__init__()
        self.path = (
            Path(save_dir, name, version)
            / f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}"
        )
        self.images = 0

    @rank_zero_only
    def begin(self, step: int, images: int, config: str) -> None:
        from tensorboard.compat.proto.event_pb2 import SessionLog
        from torch.utils.tensorboard.summary import text

        self.images = images
        attempt(self.path.parent, partial(self.path.parent.mkdir, parents=True, exist_ok=True))
        self.write({"file_version": "brain.Event:2"}, step=0)
        self.write({"session_log": SessionLog(status=SessionLog.START)}, step=images + 1)  # hides what is later
        self.write(
            {"summary": text("config.yaml", "".join(f"    {line}\n" for line in config.splitlines()))}, step=images
        )

    @rank_zero_only
    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None:
        """For the table of runs; it offers the curves of all of them, as nobody names some."""
        from torch.utils.tensorboard.summary import hparams

        _, start, end = hparams(params, {})
        self.write({"summary": start}, {"summary": end}, step=self.images)

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        from torch.utils.tensorboard.summary import scalar

        self.images = int(metrics["images_seen"])
        curves = [scalar(name, value) for name, value in metrics.items() if name != "images_seen"]
        self.write(*({"summary": curve} for curve in curves), step=self.images)

    @rank_zero_only
    def log_picture(self, name: str, picture: Tensor, images: int) -> None:
        """An image (c, h, w) in [-1, 1]."""
        from torch.utils.tensorboard.summary import image

        self.write({"summary": image(f"pictures/{name}", to_uint8(picture).cpu(), dataformats="CHW")}, step=images)

    def follow(self, before: Path, after: Path) -> None:
        self.path = moved(self.path, before, after)

    def write(self, *events: dict[str, Any], step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        records = io.BytesIO()
        for event in events:
            RecordWriter(records).write(Event(wall_time=time.time(), step=step, **event).SerializeToString())
        attempt(self.path, partial(append, self.path, records.getvalue()))


class Curves(pl.Callback):
    """Opens a run's records where the run stands, with those of its settings that are worth comparing."""

    def __init__(self, frozen: dict[str, Any]) -> None:
        self.config, self.settings = Path(frozen["run"], "config.yaml"), handful(frozen)

    @rank_zero_only
    def on_train_start(self, trainer: Any, module: Any) -> None:
        for logger in trainer.loggers:
            if isinstance(logger, Record):
                logger.begin(trainer.global_step, module.images_seen, self.config.read_text())
            logger.log_hyperparams(self.settings)


def handful(frozen: dict[str, Any]) -> dict[str, Any]:
    """Names, numbers and words of a configuration that runs are compared by."""
    model, data = frozen["model"], frozen["data"]
    found = {"model": model["name"], "data": data["name"], "resolution": data["resolution"]}
    found |= {name: frozen[name] for name in ("batch_size", "precision", "seed", "devices")}
    found |= {f"rate_{player}": make.get("lr") for player, make in (model.get("optimizers") or {}).items()}
    parts = {"objective": [model.get("objective")], "penalties": model.get("penalties")}
    found |= {
        name: " ".join(part["_target_"].rpartition(".")[2] for part in of if part) for name, of in parts.items() if of
    }
    found["turns"] = " ".join(model.get("turns") or [])
    own = {name: value for name, value in model.items() if name not in (*OF_THE_ENGINE, *found, "name", "_target_")}
    return {
        name: value for name, value in (found | own).items() if value != "" and isinstance(value, (int, float, str))
    }
