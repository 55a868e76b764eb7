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

from genzoo.data.archives import ENTRIES_LIMIT, FILE_LIMIT, inside, located, visible
from genzoo.data.pictures import Pictures, is_picture
from genzoo.limits import Count, Weight

FORMAT = 2
UNKNOWN, STRANGE = -1, -2  # the label of a picture that has none, or one that is no whole number
HALVES = {"train": "train", "training": "train", "test": "test", "val": "test", "valid": "test", "validation": "test"}
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
        halves = {tar: half_of(tar.relative_to(root).as_posix()) for tar in tars}
        divided = {"train", "test"} <= set(halves.values())
        files = TarFiles(root, [tar for tar in tars if not divided or halves[tar] == split])
        chosen: Sequence[int] = range(len(files.names))
        if not divided:
            held = set(chosen[9::10] or chosen)  # fewer than ten stand on both sides
            chosen = [i for i in chosen if (i in held) == (split == "test") or len(held) == len(chosen)]
        if not chosen:
            raise ValueError(f"{path} holds no pictures (png, jpg, webp, bmp, gif, tif, ppm) in its {split} half")
        labels = torch.from_numpy(files.table[:, 3])[list(chosen)]
        self.strange = int((labels == STRANGE).sum())
        if (labels < 0).all():
            labels = torch.zeros_like(labels)
        elif (labels < 0).any():
            lacking = files.names[chosen[int(labels.argmin())]]
            raise ValueError(
                f"{root}/{lacking} has no label (an integer in .cls, or as label in .json); others have one"
            )
        names = [files.names[i] for i in chosen]
        super().__init__(
            files, names, labels, channels, resolution, resize, seed, flip, memory, training=split == "train"
        )

    def remarks(self) -> list[str]:
        """What else there is to tell about the shards, for `genzoo check`."""
        told = f"passed over, no whole numbers from 0 on: the labels of {self.strange:,} pictures (.cls or .json)"
        return [told] if self.strange else []


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


def bytes_at(tar: Path, offset: int, size: int) -> bytes:
    """Opened for each read: little beside decoding, and nothing that processes could share."""
    descriptor = os.open(tar, os.O_RDONLY)
    try:
        data = os.pread(descriptor, size, offset)
    finally:
        os.close(descriptor)
    if len(data) < size:
        raise ValueError(f"{tar} is shorter than its index says: was it replaced while it was read?")
    return data


def found(pattern: str) -> list[Path]:
    """The tars behind a path or a pattern, sorted. FileNotFoundError if there are none, ValueError if one is packed."""
    path = located(pattern)
    if path.is_dir():
        tars = [tar for tar in path.rglob("*.tar*") if tar.is_file() and visible(tar.relative_to(path).as_posix())]
    else:
        tars = [Path(name) for part in braces(str(path)) for name in (glob.glob(part) or [part])]
    tars = sorted(set(tars))
    if absent := [tar for tar in tars if not tar.is_file()]:
        raise FileNotFoundError(f"{absent[0]} does not exist: data.path is a tar, a folder of tars or a pattern")
    if not tars:
        raise FileNotFoundError(f"{path} holds no .tar files")
    return tars


def braces(pattern: str) -> list[str]:
    """`a-{00..02}.tar` and `{a,b}.tar` as a shell spells them out."""
    if not (match := re.search(r"\{([^{}]*)\}", pattern)):
        return [pattern]
    if numbers := re.fullmatch(r"(\d+)\.\.(\d+)", match[1]):
        first, last = numbers.groups()
        if int(last) - int(first) >= ENTRIES_LIMIT:
            raise ValueError(f"data.path={pattern} asks for more than {ENTRIES_LIMIT:,} files")
        words = [f"{i:0{len(first)}}" for i in range(int(first), int(last) + 1)]
    else:
        words = match[1].split(",")
    return [whole for word in words for whole in braces(pattern[: match.start()] + word + pattern[match.end() :])]


def half_of(name: str) -> str | None:
    """train or test, if a word in the name of a tar says so."""
    return next((HALVES[word] for word in re.split(r"[^a-z]+", name.lower()) if word in HALVES), None)


def index_of(tar: Path) -> Index:
    """The index beside a tar, or a new one if there is none for this size and time of change."""
    status = tar.stat()
    stamp = [FORMAT, status.st_size, status.st_mtime_ns]
    path = tar.with_name(f".{tar.name}.index.npz")
    with contextlib.suppress(OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error):  # absent or damaged
        with np.load(path, allow_pickle=False) as kept:
            names, table = bytes(kept["names"]).decode().split("\0")[:-1], kept["table"]
            fits = table.shape == (len(names), 3) and (table[:, :2] >= 0).all() and (table[:, 1] <= FILE_LIMIT).all()
            if kept["stamp"].tolist() == stamp and fits:
                return Index(names, table)
    index = indexed(tar, status.st_size)
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


def indexed(tar: Path, size: int) -> Index:
    """Read every header of a tar. ValueError for what is cut short, packed, links or leads out of it."""
    with open(tar, "rb") as file:
        if file.read(6).startswith(COMPRESSED):
            raise ValueError(
                f"{tar} is compressed, and cannot be read at random: unpack it to a plain .tar (gunzip, zstd -d)"
            )
    samples: dict[str, dict[str, tuple[str, int, int]]] = {}  # key -> ending -> name, first byte and size
    try:
        with tarfile.open(tar, "r:") as archive:
            while member := archive.next():
                archive.members = []  # type: ignore[attr-defined]  # or every header stays in memory
                if member.isdir():
                    continue
                check(member, tar)
                name = member.name.removeprefix("./")
                folder, _, last = name.rpartition("/")
                key, _, ending = last.partition(".")
                if visible(name):
                    samples.setdefault(f"{folder}/{key}", {})[ending] = name, member.offset_data, member.size
                if len(samples) > ENTRIES_LIMIT:
                    raise ValueError(f"{tar} holds more than {ENTRIES_LIMIT:,} samples: cut it into several")
            end = archive.offset
    except tarfile.TarError as error:
        raise ValueError(f"{tar} is no tar, or cut short: {error}") from error
    if end + 512 > size or any(bytes_at(tar, end, 512)):  # a tar ends in zeros; Python takes any damage for its end
        raise ValueError(f"{tar} is cut short or damaged at byte {end:,}: put the whole file there")
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
        raise ValueError(f"{tar} holds {member.name!r}, which is a link or a device: the archive is refused")
    if member.size > FILE_LIMIT:
        raise ValueError(f"{tar} holds {member.name!r} of {member.size:,} bytes: the limit is {FILE_LIMIT:,}")


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
            if type(label) is int and 0 <= label < 2**31:
                return label
            found = found if label is None else STRANGE
    return found
