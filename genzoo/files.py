"""The way to open a file that somebody named: a regular one, and no more of it than was asked for; and to write one.

A FIFO would be waited for, a device such as /dev/zero never ends. ValueError or OSError with a finished message.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import IO, Any

from genzoo.console import escape

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def open_regular(path: str | PathLike[str], mode: str = "rb", **options: Any) -> IO[Any]:
    """Open a regular file, or a link to one, for reading; `options` as for `open`."""
    require_regular(path)
    try:
        file = open(path, mode, opener=without_waiting, **options)
    except OSError as error:
        raise unreadable(path, error) from error
    try:
        check(path, os.fstat(file.fileno()).st_mode)  # it may have been replaced in between
    except (ValueError, OSError):
        file.close()
        raise
    return file


def require_regular(path: str | PathLike[str]) -> Path:
    """The path, if there is a regular file, or a link to one. FileNotFoundError, OSError or ValueError if not."""
    if "\0" in os.fspath(path):
        raise ValueError(f"{escape(path)} is no name of a file")
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise unreadable(path, error) from error
    check(path, mode)
    return Path(path)


def read_bytes(path: str | PathLike[str], limit: int) -> bytes:
    """The whole of a regular file; ValueError if it has more than `limit` bytes."""
    with open_regular(path, buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        content: bytes = file.read(min(size, limit) + 1)
        while size < len(content) <= limit and (more := file.read(limit + 1 - len(content))):  # as below /proc
            content += more
    if max(size, len(content)) > limit:
        raise ValueError(f"{escape(path)} has {max(size, len(content)):,} bytes: the limit is {limit:,}")
    return content


def read_text(path: str | PathLike[str], limit: int) -> str:
    """The whole of a regular file of UTF-8, without a byte order mark; ValueError if it is none, or above `limit` bytes."""
    try:
        return read_bytes(path, limit).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{escape(path)} is no text in UTF-8 ({error.reason}): save it as such") from error


@contextlib.contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A place beside `path` for a new file, which takes the name in the end: there is the old file or the whole new one.

    A link of that name is replaced, and what it leads to keeps what it holds; so do other names of the old file.
    """
    part = path.with_name(f"{path.name[:40]}.{os.getpid()}.part")  # a name may be as long as the file system allows
    try:
        part.unlink(missing_ok=True)  # or a link there would be written through
        yield part
        os.replace(part, path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing(path: str | PathLike[str]) -> Iterator[Path]:
    """As `beside`, but OSError with a finished message if there is no room or no permission."""
    try:
        with beside(Path(path)) as part:
            yield part
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error.strerror or error}") from error


def check(path: str | PathLike[str], mode: int) -> None:
    """ValueError unless `mode` is that of a regular file, IsADirectoryError for a folder."""
    if not stat.S_ISREG(mode):
        kind = KINDS.get(stat.S_IFMT(mode), "no file")
        error = IsADirectoryError if stat.S_ISDIR(mode) else ValueError
        raise error(f"{escape(path)} is {kind}: a regular file is expected")


def without_waiting(path: str, flags: int) -> int:
    """How a file is opened that may have become a FIFO since it was looked at."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


def unreadable(path: str | PathLike[str], error: OSError) -> OSError:
    """The same error with a finished message."""
    name = escape(path)
    if isinstance(error, FileNotFoundError) and os.path.islink(path):
        return FileNotFoundError(f"{name} is a broken link: {escape(os.readlink(path))} does not exist")
    if error.errno == errno.ELOOP:
        return OSError(f"{name} is a link that leads to itself")
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(f"{name} does not exist")
    return type(error)(f"{name} cannot be read: {error.strerror or error}")
