"""What comes from a network, a folder or an archive is measured before it is believed."""

import hashlib
import io
import lzma
import math
import os
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol
from urllib.request import urlopen
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile

import numpy as np
from numpy.lib.format import read_array_header_1_0, read_array_header_2_0, read_magic

from genzoo.console import brief, escape
from genzoo.data.walk import Tree, visible, walk
from genzoo.files import open_regular, read_bytes

FILE_LIMIT = 2**26  # bytes of one file: no picture worth training on is larger
TOTAL_LIMIT = 2**38
ENTRIES_LIMIT = 5_000_000
TABLE_LIMIT = 2**28  # bytes of a zip's table of contents, some 100 for each file
MEMBER_LIMIT = 2**20  # bytes of one header of a tar
HEADER_LIMIT = 2**16  # bytes of the header of a .npy file: a plain array has 128
RATIO = 200  # to which large arrays may expand: pictures do by two, masks by fifty, a bomb by a thousand


class Remote(NamedTuple):
    """A file to fetch: its https address, its exact size in bytes and its SHA-256."""

    url: str
    size: int
    sha256: str


def fetch(remote: Remote, path: Path) -> None:
    """Download to `path`, which appears only when complete and right. OSError if it cannot be had."""
    if not remote.url.startswith("https://"):
        raise ValueError(f"{remote.url}: only https addresses are fetched")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    digest, size = hashlib.sha256(), 0
    try:
        with urlopen(remote.url, timeout=30) as answer, open(part, "wb") as file:
            if not answer.geturl().startswith("https://"):
                raise OSError(f"it leads to {answer.geturl()}, which is not https")
            while block := answer.read(1 << 20):
                size += len(block)
                if size > remote.size:
                    raise OSError(f"it is larger than the {remote.size:,} bytes it should have")
                digest.update(block)
                file.write(block)
        if digest.hexdigest() != remote.sha256:
            raise OSError(f"SHA-256 of the {size:,} bytes is {digest.hexdigest()}, not {remote.sha256}")
        os.replace(part, path)
    except OSError as error:
        raise OSError(f"{remote.url} was not fetched: {error}\nPut the file by hand to {path}") from error
    finally:
        part.unlink(missing_ok=True)


def located(path: str | Path) -> Path:
    """A path as it was typed: ~ is the home folder, and a number is a name too."""
    return Path(str(path)).expanduser()


class Files(Protocol):
    """Named files, read whole: of a folder or of an archive. Names are sorted, with `/` between their parts.

    `read` raises ValueError or OSError for a file that cannot be read. A stamp is a file's size in bytes and a number
    that changes with what it holds, a time or a checksum, both known without reading it.
    """

    path: Path

    @property
    def names(self) -> list[str]: ...
    def read(self, name: str) -> bytes: ...
    def stamps(self, names: Sequence[str]) -> list[tuple[int, int]]: ...


class FolderFiles:
    """The files below a folder; hidden ones are left out, and links are followed. Only regular ones can be read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def tree(self) -> Tree:
        return walk(self.path)

    @cached_property
    def names(self) -> list[str]:
        return sorted([*self.tree.names, *self.tree.odd])

    def read(self, name: str) -> bytes:
        return read_bytes(f"{self.path}/{name}", FILE_LIMIT)

    def stamps(self, names: Sequence[str]) -> list[tuple[int, int]]:
        found = (os.stat(f"{self.path}/{name}") for name in names)
        return [(status.st_size, status.st_mtime_ns) for status in found]


class Bounded(io.BufferedReader):
    """A file of which no more than `limit` bytes are read at once, whatever a header asks for; EOFError instead."""

    def __init__(self, file: Any, limit: int) -> None:
        super().__init__(file)
        self.limit = limit

    def read(self, size: int | None = -1) -> bytes:
        wanted = self.limit + 1 if size is None or size < 0 else size
        content = super().read(wanted) if wanted <= self.limit + 1 else None
        if content is None or len(content) > self.limit:
            raise EOFError(f"a header in it asks for more than {self.limit:,} bytes")
        return content


class ZipFiles:
    """The files inside a zip, read from it one by one; nothing is unpacked. ValueError if it looks like an attack.

    Backslashes in names, as old tools of Windows write them, are slashes.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.process = path, -1
        entries = {entry.filename.replace("\\", "/"): entry for entry in self.archive().infolist()}
        self.entries = {name: entry for name, entry in entries.items() if not name.endswith("/")}
        sizes = [entry.file_size for entry in self.entries.values()] or [0]
        if len(entries) > ENTRIES_LIMIT or sum(sizes) > TOTAL_LIMIT or max(sizes) > FILE_LIMIT:
            raise ValueError(
                f"{escape(path)} would unpack to {len(sizes):,} files, {sum(sizes):,} bytes, the largest of "
                f"{max(sizes):,} bytes: the limits are {ENTRIES_LIMIT:,}, {TOTAL_LIMIT:,} and {FILE_LIMIT:,}"
            )
        for name, entry in self.entries.items():
            inside(name, path)
            if entry.flag_bits & 1:
                raise ValueError(
                    f"{escape(path)} holds {brief(name)}, which is encrypted: unpack it and name the folder"
                )
        self.names = sorted(filter(visible, self.entries))

    def archive(self) -> ZipFile:
        """Opened once in each process: a loader's workers must not share one place in the file."""
        if self.process != os.getpid():
            advice = "Name a folder or a zip of images; tars are read by data=shards, .npy files by data=arrays"
            self.opened, self.process = open_zip(self.path, "no zip, or cut short", f"\n{advice}"), os.getpid()
        return self.opened

    def read(self, name: str) -> bytes:
        entry = self.entries[name]
        known = entry.compress_type in (ZIP_STORED, ZIP_DEFLATED)  # others expand all that they are given
        try:
            with self.archive().open(entry) as file:
                return b"".join(iter(lambda: file.read(entry.file_size if known else 4096), b""))
        except (BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError) as error:  # no such compression
            raise ValueError(f"{escape(self.path)}/{escape(name)} cannot be read: {error}") from error

    def stamps(self, names: Sequence[str]) -> list[tuple[int, int]]:
        return [(self.entries[name].file_size, self.entries[name].CRC) for name in names]

    def __reduce__(self) -> tuple[type["ZipFiles"], tuple[Path]]:  # workers that are not forked open it anew
        return ZipFiles, (self.path,)


def open_zip(path: Path, wrong: str, advice: str = "") -> ZipFile:
    """A zip for reading, whose table of contents has been read. ValueError that says what is wrong, with the advice."""
    file = Bounded(open_regular(path, buffering=0), TABLE_LIMIT)
    try:
        return ZipFile(file)
    except Exception as error:  # a damaged table can bring out anything
        raise ValueError(f"{escape(path)} is {wrong}: {error}{advice}") from error


def open_files(path: str | Path) -> Files:
    """The files of a folder or of a zip. FileNotFoundError if there is neither."""
    path = Path(path)
    if path.is_dir():
        return FolderFiles(path)
    if not os.path.lexists(path):
        raise FileNotFoundError(f"{escape(path)} does not exist: name a folder or a zip of images")
    return ZipFiles(path)


def inside(name: str, path: Path) -> None:
    """ValueError if a name in the archive `path` leads out of it."""
    if name.startswith(("/", "\\")) or name[1:2] == ":" or ".." in name.replace("\\", "/").split("/"):
        raise ValueError(f"{escape(path)} holds {brief(name)}, which points outside of it: the archive is refused")


def tar_members(file: Bounded, path: Path) -> Iterator[tarfile.TarInfo]:
    """The headers of a plain tar one after the other. ValueError for one that is cut short, damaged or no tar."""
    try:
        archive = tarfile.open(fileobj=file, mode="r:")
        while member := archive.next():
            archive.members = []  # type: ignore[attr-defined]  # or every header stays in memory
            if archive.offset <= member.offset:
                raise EOFError("one of its files has a negative size")
            yield member
        file.seek(archive.offset)
        if file.read(512).count(0) != 512:  # a tar ends in zeros; Python takes any damage for its end
            raise EOFError(f"damaged at byte {archive.offset:,}")
    except Exception as error:  # what a header says beside the plain fields can bring out anything
        raise ValueError(f"{escape(path)} is no tar, or cut short: {error}; put the whole file there") from error


def array_header(file: IO[bytes], name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of the .npy that `file` begins with, which then stands at the first number; nothing is unpickled.

    ValueError for anything but numbers in C order.
    """
    start = io.BytesIO(file.read(HEADER_LIMIT))
    try:
        version = read_magic(start)
        read = {(1, 0): read_array_header_1_0, (2, 0): read_array_header_2_0}.get(version)
        if read is None:
            raise ValueError(f"its version {version} is not known")
        shape, fortran, kind = read(start)
    except Exception as error:  # numpy has Python parse it, which can bring out anything
        told = brief(str(error).partition("\n")[0]) or "its header cannot be read"
        raise ValueError(f"{name} is no .npy array, or damaged: {told}") from error
    if kind.kind not in "buif" or not kind.isnative:
        raise ValueError(f"{name} holds {brief(kind.str)}, which is none of the plain numbers that are read")
    if len(shape) > 8 or any(side < 0 or side >= 2**62 for side in shape):
        raise ValueError(f"{name} says it has the shape {brief(shape)}: it is damaged")
    if fortran and len(shape) > 1:
        raise ValueError(f"{name} is in Fortran order: save it anew through np.ascontiguousarray")
    file.seek(start.tell())
    return shape, kind


def zip_array(archive: ZipFile, name: str, path: Path, limit: int) -> "np.ndarray[Any, Any]":
    """One array of a .npz, which is not expanded before its size is known to fit into `limit` bytes."""
    entry, told = archive.getinfo(f"{name}.npy"), f"{escape(path)}: {brief(name)}"
    size = entry.file_size
    if entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        raise ValueError(f"{told} is compressed in another way than NumPy does: save it anew by np.savez_compressed")
    if size > limit:
        raise ValueError(f"{told} would expand to {size:,} bytes, the limit is {limit:,}: save it as a .npy file")
    if size > max(RATIO * entry.compress_size, limit // 16):
        raise ValueError(f"{told} would expand to {size:,} bytes, more than {RATIO}-fold: save it as a .npy file")
    with archive.open(entry) as file:
        shape, kind = array_header(file, told)
        if file.tell() + math.prod(shape) * kind.itemsize != size:
            raise ValueError(f"{told} says it has the shape {shape}, which does not fit its {size:,} bytes")
    with archive.open(entry) as file:
        array: np.ndarray[Any, Any] = np.lib.format.read_array(file, allow_pickle=False)
        return array
