"""What a run writes beside its checkpoints, and can do without: curves and pictures. No full disk ends it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from genzoo import console
from genzoo.core.folder import own


@runtime_checkable
class Follower(Protocol):
    """A callback or logger that can continue in the run folder's new place after it was moved."""

    def follow(self, before: Path, after: Path) -> None: ...


def moved(path: Path, before: Path, after: Path) -> Path:
    """The path after the folder `before` has become `after`."""
    return after / path.relative_to(before) if path.is_relative_to(before) else path


failing: set[Path] = set()  # what could not be written lately, and was told


def attempt(path: Path, write: Callable[[], Any]) -> None:
    """Write to a path; report once if that fails."""
    try:
        write()
        failing.discard(path)
    except OSError as error:
        if path not in failing:
            why = error.strerror or error
            console.say(f"could not write {console.escape(path)}: {why}. Training goes on; genzoo will try again.")
        failing.add(path)


def append(path: Path, data: bytes) -> None:
    """Add to the end of a run's file, which is made if there is none, all of the data or nothing; OSError."""
    descriptor = own(path, os.O_WRONLY | os.O_APPEND)
    try:
        size, left = os.fstat(descriptor).st_size, memoryview(data)
        try:
            while left:
                left = left[os.write(descriptor, left) :]
        except OSError:
            os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)
