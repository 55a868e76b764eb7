"""Checkpoints that are either whole or not there, and hold nothing but data."""

import contextlib
import os
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO


class AtomicCheckpointIO(TorchCheckpointIO):
    """Written beside the target, synced, then renamed: a reader sees the old file or the new one."""

    failed: Exception | None = None  # what the last save met, a full disk for instance

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        path, self.failed = Path(path), None
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(part, "wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        except (RuntimeError, OSError) as error:  # torch reports a full disk as RuntimeError
            self.failed = error
            return
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
        sync_folder(path.parent)

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = None) -> Any:
        return torch.load(path, map_location=map_location, weights_only=True)


def sync_folder(folder: Path) -> None:
    """Make a rename in this folder survive a power failure; a file system that cannot is left alone."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def newest(run: Path) -> Path | None:
    """The newest checkpoint of a run folder that opens, or None."""
    for path in sorted(run.glob("step-*.ckpt"), reverse=True):
        with contextlib.suppress(Exception):  # whatever is wrong with a file, the one before it may be good
            torch.load(path, map_location="meta", mmap=True, weights_only=True)
            return path
    return None
