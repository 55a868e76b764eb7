"""What comes from a network or out of an archive is measured before it is believed."""

import hashlib
import os
import zlib
from functools import cached_property
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol
from urllib.request import urlopen
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.lib.format import read_array_header_1_0, read_array_header_2_0, read_magic

FILE_LIMIT = 2**26  # bytes of one file: no picture worth training on is larger
TOTAL_LIMIT = 2**38
ENTRIES_LIMIT = 5_000_000


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
    """Named files, read whole: of a folder or of a zip. Names are sorted, with `/` between their parts.

    `read` raises ValueError or OSError for a file that cannot be read.
    """

    path: Path

    @property
    def names(self) -> list[str]: ...
    def read(self, name: str) -> bytes: ...


class FolderFiles:
    """The files below a folder; hidden ones are left out and links to folders are not followed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def names(self) -> list[str]:
        found = (Path(folder, name) for folder, _, names in os.walk(self.path) for name in names)
        return sorted(name for name in (file.relative_to(self.path).as_posix() for file in found) if visible(name))

    def read(self, name: str) -> bytes:
        size = (self.path / name).stat().st_size
        if size > FILE_LIMIT:
            raise ValueError(f"{self.path / name} has {size:,} bytes: the limit is {FILE_LIMIT:,}")
        return (self.path / name).read_bytes()


class ZipFiles:
    """The files inside a zip, read from it one by one; nothing is unpacked. ValueError if it looks like an attack."""

    def __init__(self, path: Path) -> None:
        self.path, self.process = path, -1
        entries = [entry for entry in self.archive().infolist() if not entry.is_dir()]
        size, largest = sum(entry.file_size for entry in entries), max((e.file_size for e in entries), default=0)
        if len(entries) > ENTRIES_LIMIT or size > TOTAL_LIMIT or largest > FILE_LIMIT:
            raise ValueError(
                f"{path} would unpack to {len(entries):,} files, {size:,} bytes, the largest of {largest:,} bytes: "
                f"the limits are {ENTRIES_LIMIT:,}, {TOTAL_LIMIT:,} and {FILE_LIMIT:,}"
            )
        for entry in entries:
            inside(entry.filename, path)
            if entry.flag_bits & 1:
                raise ValueError(f"{path} holds {entry.filename!r}, which is encrypted: unpack it and name the folder")
        self.names = sorted(entry.filename for entry in entries if visible(entry.filename))

    def archive(self) -> ZipFile:
        """Opened once in each process: a loader's workers must not share one place in the file."""
        if self.process != os.getpid():
            try:
                self.opened, self.process = ZipFile(self.path), os.getpid()
            except BadZipFile as error:
                raise ValueError(
                    f"{self.path} is no zip, or cut short: {error}\nName a folder or a zip of images; "
                    "tars are read by data=shards, .npy files by data=arrays"
                ) from error
        return self.opened

    def read(self, name: str) -> bytes:
        try:
            return self.archive().read(name)
        except (BadZipFile, zlib.error, EOFError, NotImplementedError) as error:  # the last: a method of compression
            raise ValueError(f"{self.path}/{name} cannot be read: {error}") from error

    def __reduce__(self) -> tuple[type["ZipFiles"], tuple[Path]]:  # workers that are not forked open it anew
        return ZipFiles, (self.path,)


def open_files(path: str | Path) -> Files:
    """The files of a folder or of a zip. FileNotFoundError if there is neither."""
    path = Path(path)
    if path.is_dir():
        return FolderFiles(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: name a folder or a zip of images")
    return ZipFiles(path)


def inside(name: str, path: Path) -> None:
    """ValueError if a name in the archive `path` leads out of it."""
    if name.startswith(("/", "\\")) or ":" in name or ".." in name.replace("\\", "/").split("/"):
        raise ValueError(f"{path} holds {name!r}, which points outside of it: the archive is refused")


def array_header(file: IO[bytes], name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of the .npy that `file` begins with, which then stands at the first number; nothing is unpickled.

    ValueError for anything but numbers in C order.
    """
    try:
        version = read_magic(file)
        read = {(1, 0): read_array_header_1_0, (2, 0): read_array_header_2_0}.get(version)
        if read is None:
            raise ValueError(f"its version {version} is not known")
        shape, fortran, kind = read(file)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{name} is no .npy array, or damaged: {str(error).splitlines()[0]}") from error
    if kind.kind not in "buif" or not kind.isnative:
        raise ValueError(f"{name} holds {kind.str}, which is none of the plain numbers that are read")
    if fortran and len(shape) > 1:
        raise ValueError(f"{name} is in Fortran order: save it anew through np.ascontiguousarray")
    return shape, kind


def visible(name: str) -> bool:
    return not any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))
