"""Tar files in the layout of WebDataset, read at random: indexed once, never unpacked."""

import contextlib
import glob
import json
import os
import re
import tarfile
import zlib
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
import torch

from genzoo.console import brief, escape
from genzoo.data.archives import (
    ENTRIES_LIMIT,
    FILE_LIMIT,
    MEMBER_LIMIT,
    Bounded,
    inside,
    located,
    open_zip,
    tar_members,
    zip_array,
)
from genzoo.data.halves import divided, half_of
from genzoo.data.pictures import Pictures, is_picture
from genzoo.data.store import CLASSES_LIMIT
from genzoo.data.walk import visible, walk
from genzoo.files import open_regular, require_regular
from genzoo.limits import Count, Weight

FORMAT = 3
INDEX_LIMIT = 2**30  # bytes of each of its arrays
PATTERN_LIMIT = 100_000  # files
BRACES = re.compile(r"\{([^{}]*)\}")
UNKNOWN, STRANGE = -1, -2  # the label of a picture that has none, or one that is no whole number
COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")


class Index(NamedTuple):
    """The pictures of one tar: their names, and for each its first byte, its size and its label or UNKNOWN, (n, 3)."""

    names: list[str]
    table: np.ndarray


class Shards(Pictures):
    """Pictures in tar files: `path` is one, a folder of them, or a pattern (`set-*.tar`, `set-{000..099}.tar`).

    A sample is what has one name up to the first dot: `key.jpg` with `key.cls`, an integer, or `key.json`, whose
    "label" is one; the rest of it is passed over. Folders or words `train` and `test` (or `val`) in the names of the
    tars are the two halves; without them every tenth picture is for testing. The index is kept beside each tar, as
    `.<name>.index.npz`, where that can be written, and made anew when the tar changes.
    """

    def __init__(
        self,
        split: str = "train",
        path: str | Path | None = None,
        channels: Count = 3,
        resolution: Count = 64,
        resize: str = "crop",
        seed: int = 0,
        flip: bool = False,
        memory: Weight = 4.0,
    ) -> None:
        if path is None:
            raise ValueError("data=shards needs data.path=<a tar, a folder of tars, or a pattern such as set-*.tar>")
        tars = found(str(path))
        root = Path(os.path.commonpath([tar.parent for tar in tars]))
        chosen, self.unused = half_of_tars(tars, root, split)
        files = TarFiles(root, chosen or tars)
        labels = torch.from_numpy(files.table[:, 3])
        self.strange = int((labels == STRANGE).sum())
        if (labels < 0).all():
            labels = torch.zeros_like(labels)
        elif (labels < 0).any():
            lacking = files.names[int(labels.argmin())]
            raise ValueError(
                f"{escape(root)}/{escape(lacking)} has no label (an integer in .cls, or as label in .json); others have one"
            )
        names = files.names
        if not chosen:
            indices = divided(len(names), split, labels.tolist())
            names, labels = [names[i] for i in indices], labels[indices]
        if not names:
            raise ValueError(
                f"{escape(path)} holds no pictures (png, jpg, webp, bmp, gif, tif, ppm) in its {split} half"
            )
        super().__init__(
            files, names, labels, channels, resolution, resize, seed, flip, memory, training=split == "train"
        )

    def remarks(self) -> list[str]:
        """What else there is to tell about the shards, for `genzoo check`."""
        told = [f"not used, beside the two halves: {name}" for name in self.unused]
        if self.strange:
            told += [
                f"passed over, no whole numbers from 0 on: the labels of {self.strange:,} pictures (.cls or .json)"
            ]
        return told


def half_of_tars(tars: list[Path], root: Path, split: str) -> tuple[list[Path], list[str]]:
    """The tars of one half, none if their names do not divide them; and those that are of no half.

    ValueError where some are for testing, but it is not clear which are for training.
    """
    names = [tar.relative_to(root).as_posix() for tar in tars]
    halves = [half_of(name) for name in names]
    if {"train", "test"} <= set(halves):
        unused = [name for name, half in zip(names, halves) if half is None]
        return [tar for tar, half in zip(tars, halves) if half == split], unused
    if "test" in halves and None in halves:
        first, other = (brief(names[halves.index(half)]) for half in ("test", None))
        raise ValueError(f"{escape(root)} has {first} beside {other}: name the halves train and test, or neither")
    return [], []


class TarFiles:
    """The pictures of tars below `path`: sorted names `<tar>/<name in it>`, read whole from where the indices say."""

    def __init__(self, path: Path, tars: list[Path]) -> None:
        self.path, self.tars = path, tars
        indices = [index_of(tar) for tar in tars]
        names = [
            f"{tar.relative_to(path).as_posix()}/{name}" for tar, index in zip(tars, indices) for name in index.names
        ]
        order = sorted(range(len(names)), key=names.__getitem__)
        self.names = [names[i] for i in order]
        rows = [(number, *row) for number, index in enumerate(indices) for row in index.table]
        self.table = np.array(rows, np.int64).reshape(-1, 4)[order]  # tar, first byte, size, label

    def read(self, name: str) -> bytes:
        number, offset, size, _ = self.table[bisect_left(self.names, name)].tolist()
        return bytes_at(self.tars[number], offset, size)

    def stamps(self, names: Sequence[str]) -> list[tuple[int, int]]:
        times = [tar.stat().st_mtime_ns for tar in self.tars]
        rows = self.table[[bisect_left(self.names, name) for name in names]].tolist()
        return [(size, times[number] + offset) for number, offset, size, _ in rows]


def bytes_at(tar: Path, offset: int, size: int) -> bytes:
    """Opened for each read: little beside decoding, and nothing that processes could share."""
    descriptor = os.open(tar, os.O_RDONLY)
    try:
        data = os.pread(descriptor, size, offset)
    finally:
        os.close(descriptor)
    if len(data) < size:
        raise ValueError(f"{escape(tar)} is shorter than its index says: was it replaced while it was read?")
    return data


def found(pattern: str) -> list[Path]:
    """The tars behind a path or a pattern, sorted. FileNotFoundError if there are none, ValueError for no regular file."""
    path = located(pattern)
    if path.is_dir():
        tars = tars_below(path)
    else:
        parts = [str(path)] if path.exists() else braces(str(path))
        tars = sorted({Path(name) for part in parts for name in (glob.glob(part) or [part])})
    if absent := [tar for tar in tars if not os.path.lexists(tar)]:
        raise FileNotFoundError(
            f"{brief(absent[0], 200)} does not exist: data.path is a tar, a folder of tars or a pattern"
        )
    if not tars:
        raise FileNotFoundError(f"{escape(path)} holds no .tar files")
    return [require_regular(tar) for tar in tars]


def tars_below(folder: Path) -> list[Path]:
    """The tars below a folder, packed ones too."""
    tree = walk(folder)
    names = (name for name in (*tree.names, *tree.odd) if re.search(r"\.tar(\.\w{1,4})?$|\.tgz$", name, re.IGNORECASE))
    return sorted(folder / name for name in names)


def braces(pattern: str) -> list[str]:
    """`a-{00..02}.tar` and `{a,b}.tar` as a shell spells them out; ValueError for more than PATTERN_LIMIT."""
    names = [pattern]
    while BRACES.search(names[0]):
        spelled: list[str] = []
        for name in names:  # what stands in all of them comes from one pattern, so that they have their braces alike
            match = BRACES.search(name)
            assert match
            words = words_of(match[1])
            if len(spelled) + len(words) > PATTERN_LIMIT:
                raise ValueError(f"data.path={brief(pattern)} stands for more than {PATTERN_LIMIT:,} files")
            spelled += [f"{name[: match.start()]}{word}{name[match.end() :]}" for word in words]
        names = spelled
    return names


def words_of(inside: str) -> Sequence[Any]:
    """What stands in braces: words, or numbers as wide as the first of them."""
    if numbers := re.fullmatch(r"(\d{1,18})\.\.(\d{1,18})", inside):
        first, last = numbers.groups()
        numbered = range(int(first), int(last) + 1)
        return numbered if len(numbered) > PATTERN_LIMIT else [f"{i:0{len(first)}}" for i in numbered] or [inside]
    return inside.split(",")


def index_of(tar: Path) -> Index:
    """The index beside a tar, or a new one if there is none for this size and time of change."""
    status = tar.stat()
    stamp = [FORMAT, status.st_size, status.st_mtime_ns]
    path = tar.with_name(f".{tar.name}.index.npz")
    with contextlib.suppress(OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error):  # absent or damaged
        with open_zip(path, "damaged") as archive:
            kept = {name: zip_array(archive, name, path, INDEX_LIMIT) for name in ("stamp", "names", "table")}
        names, table = kept["names"].tobytes().decode().split("\0")[:-1], kept["table"]
        fits = table.dtype == np.int64 and table.shape == (len(names), 3)
        if kept["stamp"].tolist() == stamp and fits and (table[:, :2] >= 0).all() and (table[:, 1] <= FILE_LIMIT).all():
            return Index(names, table)
    index = indexed(tar)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    with contextlib.suppress(OSError):  # a folder that cannot be written
        try:
            with open(part, "wb") as file:
                text = np.frombuffer("".join(f"{name}\0" for name in index.names).encode(), np.uint8)
                np.savez(file, stamp=np.array(stamp), names=text, table=index.table)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    return index


def indexed(tar: Path) -> Index:
    """Read every header of a tar. ValueError for what is cut short, packed, links or leads out of it."""
    samples: dict[str, dict[str, tuple[str, int, int]]] = {}  # key -> ending -> name, first byte and size
    with Bounded(open_regular(tar, buffering=0), MEMBER_LIMIT) as file:
        if file.peek(6).startswith(COMPRESSED):
            raise ValueError(
                f"{escape(tar)} is compressed, and cannot be read at random: unpack it to a plain .tar (gunzip, zstd -d)"
            )
        for member in tar_members(file, tar):
            if member.isdir():
                continue
            check(member, tar)
            name = member.name.removeprefix("./")
            folder, _, last = name.rpartition("/")
            key, _, ending = last.partition(".")
            if visible(name):
                samples.setdefault(f"{folder}/{key}", {})[ending] = name, member.offset_data, member.size
            if len(samples) > ENTRIES_LIMIT:
                raise ValueError(f"{escape(tar)} holds more than {ENTRIES_LIMIT:,} samples: cut it into several")
    names, table = [], []
    for files in samples.values():
        if picture := next(
            (file for ending, file in files.items() if is_picture(f".{ending}") and "." not in ending), None
        ):
            name, *place = picture
            names.append(name)
            table.append((*place, label_of(tar, files)))
    return Index(names, np.array(table, np.int64).reshape(-1, 3))


def check(member: tarfile.TarInfo, tar: Path) -> None:
    """ValueError if a member leads out of its tar, is no plain file, or is too large."""
    inside(member.name, tar)
    if not member.isreg() or member.issparse() or "\0" in member.name:
        raise ValueError(
            f"{escape(tar)} holds {brief(member.name)}, which is a link or a device: the archive is refused"
        )
    if member.size > FILE_LIMIT:
        raise ValueError(
            f"{escape(tar)} holds {brief(member.name)} of {member.size:,} bytes: the limit is {FILE_LIMIT:,}"
        )


def label_of(tar: Path, files: dict[str, tuple[str, int, int]]) -> int:
    """The integer in a sample's .cls, or behind "label" in its .json, also as text; UNKNOWN if there is no label."""
    found = UNKNOWN
    for ending in ("cls", "json"):
        if ending in files:
            _, offset, size = files[ending]
            label: Any = STRANGE
            with contextlib.suppress(ValueError, RecursionError):
                said = json.loads(bytes_at(tar, offset, size))
                label = said.get("label") if isinstance(said, dict) else said
                label = int(label) if isinstance(label, str) else label
            if type(label) is int and 0 <= label < CLASSES_LIMIT:
                return label
            found = found if label is None else STRANGE
    return found
