"""The run folder: one run at a time, files that are whole or not there, and nothing written through a link."""

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from genzoo.files import beside

LITTER = re.compile(r"((step|nonfinite)-\d+\.ckpt|best\.ckpt|config\.yaml)\.\d+\.part")  # of a process that was killed


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes the place of `path` once it is written and synced: a reader sees the old one or the new one.

    A link there is replaced, not followed. OSError, and the old file, if it cannot be written.
    """
    with beside(path) as part, open(part, "xb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    sync(path.parent)


def sync(folder: Path) -> None:
    """Make a rename in this folder survive a power failure; a file system that cannot is left alone."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def own(path: Path, flags: int) -> int:
    """A descriptor of a run's own file, which is made if there is none; OSError for a link, or no regular file."""
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise unfit(path, "a link, which a run does not write through") from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise unfit(path, "no regular file")
    return descriptor


def unfit(path: Path, what: str) -> OSError:
    return OSError(errno.EINVAL, f"{path.name} is {what}: remove it", str(path))


def sweep(folder: Path) -> None:
    """Remove what a killed process has left half written, and nothing else that ends in `.part`."""
    for path in folder.glob("*.part"):
        if LITTER.fullmatch(path.name) and path.is_file() and not path.is_symlink():
            path.unlink(missing_ok=True)


class Lock:
    """Holds `<folder>/.lock`; BlockingIOError with a finished message if another run does. Gone with the process.

    A rank takes over the descriptor of the one that launched it. `unguarded` says why nothing guards the folder: some
    file systems know no locks (Lustre mounted without flock, NFS without its daemon).
    """

    def __init__(self, folder: Path, descriptor: int | None = None) -> None:
        import fcntl

        self.unguarded: str | None = None
        self.descriptor = own(folder / ".lock", os.O_RDWR) if descriptor is None else descriptor
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise BlockingIOError(
                f"{folder} is in use by another run: wait for it, stop it, or choose another folder with run="
            ) from None
        except OSError as error:
            self.unguarded = (
                f"nothing guards {folder} against a second run: its file system has no locks ({error.strerror})"
            )
        os.register_at_fork(after_in_child=self.release)  # a loader's worker may outlive a killed run for a while

    def stands_in(self, folder: Path) -> bool:
        """Whether it is this lock that the folder of that name holds: a folder may be moved or removed meanwhile."""
        try:
            return os.path.samestat(os.stat(folder / ".lock"), os.fstat(self.descriptor))
        except OSError:
            return False

    def release(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
        self.descriptor = -1
