"""Checkpoints that are either whole or not there, and hold nothing but data."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from genzoo.core import archive, facts
from genzoo.core.folder import replacing
from genzoo.files import require_regular


class AtomicCheckpointIO(TorchCheckpointIO):
    """Written beside the target, synced, then renamed: a reader sees the old file or the new one."""

    failed: Exception | None = None  # what the last save met, a full disk for instance

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        path, self.failed = Path(path), None
        try:
            with replacing(path) as file:
                torch.save(checkpoint, file)
            SOUND.update((mark(path), resume) for resume in (True, False))
        except (RuntimeError, OSError) as error:
            self.failed = reason(error)

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = None) -> Any:
        return read_checkpoint(Path(path), resume=True)


def reason(error: BaseException) -> Any:
    """The system's error behind torch's, which speaks of unexpected positions where a disk is full."""
    found: BaseException | None = error
    while found and not isinstance(found, OSError):
        found = found.__context__
    return found or error


def read_checkpoint(path: Path, resume: bool = False, mmap: bool = False) -> dict[str, Any]:
    """What a checkpoint of genzoo holds: `state_dict`, the facts under `genzoo`, and Lightning's own.

    With `resume` it must hold all that training goes on from; with `mmap` tensors stay in the file until they are looked
    at. OSError or ValueError with a finished message if it is damaged, or if anything in it is not of its kind.
    """
    return checked(archive.read(path, mmap), path, resume)


def checked(data: Any, path: Path, resume: bool = False) -> dict[str, Any]:
    """The data of a checkpoint as plain Python, each part of its kind; ValueError if not."""
    try:
        if not isinstance(data, dict) or not isinstance(data.get("genzoo"), dict):
            raise ValueError("it holds no facts of genzoo")
        facts.check(data["genzoo"])
        named_tensors(data, "state_dict")
        if "live" in data:  # the weights that train, beside their averages
            named_tensors(data, "live")
        if resume:
            check_resumable(data)
    except ValueError as error:
        raise ValueError(f"{path} is no checkpoint of genzoo that can be used: {error}") from error
    return data


def named_tensors(data: dict[str, Any], name: str) -> None:
    state = data.get(name)
    if not isinstance(state, dict):
        raise ValueError(f"its {name} is {facts.shown(state)}: names and tensors are expected")
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor):
            raise ValueError(
                f"{name} has {facts.shown(key)}: {facts.shown(value)}, where a name and a tensor are expected"
            )


def check_resumable(data: dict[str, Any]) -> None:
    """ValueError unless the parts are there from which Lightning and our callbacks go on."""
    kinds = {"epoch": int, "global_step": int, "pytorch-lightning_version": str, "loops": dict, "callbacks": dict,
             "optimizer_states": list, "lr_schedulers": list}  # fmt: skip
    for name, kind in kinds.items():
        if not isinstance(data.get(name), kind):
            raise ValueError(f"its {name} is {facts.shown(data.get(name))}, so that training cannot go on from it")
    if "images_seen" not in data["genzoo"]:
        raise ValueError("it notes no images_seen, so that training cannot go on from it")
    if not isinstance(data["loops"].get("fit_loop"), dict):
        raise ValueError("its loops hold no fit_loop, so that training cannot go on from it")
    if not counts(data["loops"]["fit_loop"]):
        raise ValueError("its fit_loop counts with what is no whole number, so that training cannot go on from it")
    for state in data["optimizer_states"]:
        if not isinstance(state, dict) or not isinstance(state.get("state"), dict):
            raise ValueError("its optimizer_states are damaged, so that training cannot go on from it")


def counts(node: Any) -> bool:
    """Whether nested dictionaries hold only whole numbers and flags."""
    return all(map(counts, node.values())) if isinstance(node, dict) else isinstance(node, int)


def newest(run: Path, resume: bool = False, tell: Callable[[str], object] = lambda line: None) -> Path | None:
    """The newest checkpoint of a run folder that opens, None if there is none; ValueError if none of them opens.

    `tell` receives a line where newer ones are damaged; with `resume` as in `read_checkpoint`.
    """
    skipped: list[str] = []
    for path in sorted(run.glob("step-*.ckpt"), reverse=True):
        if (wrong := fault(path, resume)) is None:
            if skipped:
                tell(f"{'; '.join(skipped)}; {path.name} is used instead")
            return path
        skipped.append(wrong)
    if skipped:
        older = ", nor can an older one" * (len(skipped) > 1)
        raise ValueError(f"{skipped[0]}{older}: delete step-*.ckpt there to start anew")
    return None


def fault(path: Path, resume: bool = False) -> str | None:
    """What keeps a checkpoint from being used, or None. A file is read through once, until it changes."""
    with contextlib.suppress(OSError):
        if (mark(path), resume) in SOUND:
            return None
    try:
        before = mark(require_regular(path))
        read_checkpoint(path, resume, mmap=True)
    except (ValueError, OSError) as error:
        return str(error)
    if time.time_ns() - before[-1] > 10**9:  # a younger file could change without a trace in its time
        SOUND.add((before, resume))
    return None


SOUND: set[tuple[tuple[int, ...], bool]] = set()  # checkpoints of which this process knows that they open


def mark(path: Path) -> tuple[int, ...]:
    """What changes when a file does."""
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
