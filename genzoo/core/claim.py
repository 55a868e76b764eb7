"""A run folder: held by one run at a time, and left as it was found where nothing came of the run."""

import contextlib
import os
from pathlib import Path

from genzoo.core.launch import Lock

START = (".lock", "config.yaml", "events.out.tfevents.")  # what stands in a folder before the first iteration


class Claim:
    """A run's hold on its folder. Processes other than the first (`first`) neither make, lock nor write anything."""

    def __init__(self, folder: Path, resume: bool, first: bool = True) -> None:
        self.folder, self.resume, self.first = folder, resume, first
        self.lock: Lock | None = None
        self.made: list[Path] = []  # folders that were not there, the innermost first
        self.there: set[str] = set()  # names in it before
        self.before: str | None = None  # the configuration of a run that is resumed
        if not resume:
            self.refuse_used()

    def refuse_used(self) -> None:
        if any(self.folder.glob("*.ckpt")):
            raise ValueError(
                f"run={self.folder} holds a run already: genzoo train resume={self.folder} continues it,\n"
                f"init={self.folder} with another run= starts a new one from its weights"
            )

    def take(self) -> None:
        """Make the folder if need be, and lock it. OSError if it cannot be written or another run holds it."""
        if not self.first or self.lock:
            return
        self.made = [path for path in (self.folder, *self.folder.parents) if not path.exists()]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.there = set(os.listdir(self.folder))
            self.lock = Lock(self.folder)
            self.before = (self.folder / "config.yaml").read_text() if self.resume else None
        except BlockingIOError:
            raise
        except OSError as error:
            raise unwritable(self.folder, error) from error
        if not self.resume:
            self.refuse_used()  # it may have become one since

    def freeze(self, text: str) -> None:
        """Write `config.yaml`, whole or not at all."""
        if not self.first:
            return
        part = self.folder / f"config.yaml.{os.getpid()}.part"
        try:
            part.write_text(text)
            os.replace(part, self.folder / "config.yaml")
        except OSError as error:
            raise unwritable(self.folder, error) from error

    def give_up(self) -> None:
        """Leave the folder as it was found: a resumed run gets its configuration back, a new one that has made
        nothing yet leaves nothing."""
        if not self.lock:
            return
        if self.before is not None:
            self.freeze(self.before)
            return
        new = set(os.listdir(self.folder)) - self.there
        if all(name.startswith(START) for name in new):
            for name in new:
                (self.folder / name).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # somebody else has put something there
                for path in self.made:
                    path.rmdir()

    def release(self) -> None:
        if self.lock:
            self.lock.release()


def unwritable(folder: Path, error: OSError) -> OSError:
    return OSError(f"run={folder} cannot be written ({error.strerror}): choose another folder with run=")
