"""A run folder: its name, its holder, and how it is left where nothing came of the run."""

import contextlib
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path

from genzoo.console import command, say
from genzoo.core.folder import Lock, replacing

START = (".lock", "config.yaml", "events.out.tfevents.")  # what stands in a folder before the first iteration


LONGEST = 100  # bytes of what is said in a folder's name; the limit for all of it is 255


def default_folder(model: str, data: str, differs: str = "") -> Path:
    """`runs/<model>-<data>/<time>`, and behind the time what tells this run of a sweep from the others."""
    now = time.strftime("%Y-%m-%d_%H-%M-%S")
    return Path("runs") / f"{in_a_name(model)}-{in_a_name(data)}" / "_".join(filter(None, (now, in_a_name(differs))))


def in_a_name(text: str) -> str:
    """A text as a part of a folder's name: letters, digits, and signs that mean nothing to a shell."""
    plain = re.sub(r"[^\w.=+-]+", "-", text).strip("-.")
    return plain.encode()[:LONGEST].decode(errors="ignore")


class Claim:
    """A run's hold on its folder. Processes other than the first (`first`) neither make, lock nor write anything.

    `unnamed` is for a folder whose name nobody has chosen: if it is there already, it gets a number. `allow` are the
    packages that a resume has to allow.
    """

    def __init__(
        self, folder: Path, resume: bool, first: bool = True, unnamed: bool = False, allow: Sequence[str] = ()
    ) -> None:
        self.folder, self.resume, self.first, self.unnamed, self.allow = folder, resume, first, unnamed, allow
        self.lock: Lock | None = None
        self.made: list[Path] = []  # folders that were not there, the innermost first
        self.there: set[str] = set()  # names in it before
        self.before: str | None = None  # the configuration of a run that is resumed
        if not resume and not unnamed:
            self.refuse_used()

    def refuse_used(self) -> None:
        if any(self.folder.glob("*.ckpt")):
            raise ValueError(
                f"run={self.folder} holds a run already: "
                f"{command('train', f'resume={self.folder}', allow=self.allow)} continues it,\n"
                f"init={self.folder} with another run= starts a new one from its weights"
            )

    def take(self) -> None:
        """Make the folder if need be, and lock it. OSError if it cannot be written or another run holds it."""
        if not self.first or self.lock:
            return
        try:
            self.make()
            self.there = set(os.listdir(self.folder))
            self.lock = Lock(self.folder)
            if self.lock.unguarded:
                say(self.lock.unguarded)
            self.before = (self.folder / "config.yaml").read_text() if self.resume else None
        except BlockingIOError:
            raise
        except OSError as error:
            raise unwritable(self.folder, error) from error
        if not self.resume:
            self.refuse_used()  # it may have become one since

    def make(self) -> None:
        """The folder and those above it. Of runs that make up the same name in the same second each gets its own."""
        above = [path for path in self.folder.parents if not path.exists()]
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        name, number, new = self.folder.name, 1, made(self.folder)
        while self.unnamed and not new:
            number += 1
            self.folder = self.folder.with_name(f"{name}-{number}")
            new = made(self.folder)
        self.made = [self.folder, *above] if new else []

    def freeze(self, text: str) -> None:
        """Write `config.yaml`, whole or not at all."""
        if not self.first:
            return
        try:
            with replacing(self.folder / "config.yaml") as file:
                file.write(text.encode())
        except OSError as error:
            raise unwritable(self.folder, error) from error

    def give_up(self) -> None:
        """Leave the folder as it was found: a resumed run gets its configuration back, a new one that has made
        nothing yet leaves nothing. A folder that was moved or removed since is no longer this run's."""
        if not self.lock or not self.lock.stands_in(self.folder):
            return
        if self.before is not None:
            self.freeze(self.before)
            return
        new = [self.folder / name for name in set(os.listdir(self.folder)) - self.there]
        if all(path.name.startswith(START) or empty(path) for path in new):
            for path in new:
                path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # somebody else has put something there
                for path in self.made:
                    path.rmdir()

    def release(self) -> None:
        if self.lock:
            self.lock.release()


def empty(path: Path) -> bool:
    """Whether a folder or a file holds nothing; a link, which points somewhere, is not empty."""
    folder = path.is_dir() and not path.is_symlink()
    return not any(path.iterdir()) if folder else path.lstat().st_size == 0


def made(folder: Path) -> bool:
    """Make a folder; False if it is there already."""
    try:
        folder.mkdir()
    except FileExistsError:
        if not folder.is_dir():
            raise
        return False
    return True


def unwritable(folder: Path, error: OSError) -> OSError:
    return OSError(f"run={folder} cannot be written ({error.strerror}): choose another folder with run=")
