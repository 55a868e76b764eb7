"""The files below a folder, links followed."""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from genzoo.console import brief, escape
from genzoo.files import KINDS

FILES_LIMIT = 5_000_000
LINKS_LIMIT = 100_000  # linked folders: a few that lead to each other stand for any number of files
BROKEN = "a broken link"
PASSED_OVER = ("__MACOSX", "lost+found", "@eaDir", "$RECYCLE.BIN", "System Volume Information")  # no user made these


class Tree(NamedTuple):
    """Sorted names of regular files, with `/` between their parts; and, by its name, what is wrong with anything else."""

    names: list[str]
    odd: dict[str, str]


def walk(top: Path) -> Tree:
    """What lies below a folder. A link that leads back into a folder above it is not followed.

    OSError for a folder that cannot be read, ValueError for more files or links than anybody has.
    """
    names: list[str] = []
    odd: dict[str, str] = {}
    links, waiting = 0, [("", (identity(top),))]
    while waiting:
        place, above = waiting.pop()
        for entry in entries(top, place):
            name = f"{place}{entry.name}"
            if not visible(entry.name):
                continue
            if holds(entry.is_file):
                names.append(name)
            elif not holds(entry.is_dir):
                odd[name] = wrong_with(entry)
            elif not entry.is_symlink():
                waiting.append((f"{name}/", (*above, identity(entry.path))))
            elif (own := identity(entry.path)) in above:
                odd[name] = "a link to a folder that it lies in"
            else:
                links += 1
                waiting.append((f"{name}/", (*above, own)))
        if len(names) > FILES_LIMIT or links > LINKS_LIMIT:
            raise ValueError(
                f"{escape(top)} holds more than {FILES_LIMIT:,} files or {LINKS_LIMIT:,} linked folders, "
                f"{brief(place)} among them: name a smaller folder"
            )
    return Tree(sorted(names), odd)


def entries(top: Path, place: str) -> Iterator["os.DirEntry[str]"]:
    try:
        with os.scandir(top / place) as found:
            yield from found
    except OSError as error:
        raise OSError(f"{escape(top / place)} cannot be read: {error.strerror}") from error


def holds(question: Callable[[], bool]) -> bool:
    """What an entry answers; a link that leads to itself is neither a file nor a folder."""
    try:
        return question()
    except OSError:
        return False


def identity(folder: str | Path) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def wrong_with(entry: "os.DirEntry[str]") -> str:
    """Why an entry is neither a regular file nor a folder."""
    try:
        return KINDS.get(stat.S_IFMT(entry.stat().st_mode), "no file")
    except OSError:
        return f"{BROKEN} to {os.readlink(entry.path)}" if entry.is_symlink() else "gone"


def visible(name: str) -> bool:
    """Whether a file is one of the user's by its name: not hidden, and not in a folder that a system keeps for itself."""
    return not any(part.startswith(".") or part in PASSED_OVER for part in name.split("/"))
