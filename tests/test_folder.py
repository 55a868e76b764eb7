"""The run folder: one run at a time, whole files, and nothing written through a link."""

import errno
import fcntl
import os
import stat

import pytest

from genzoo.callbacks.records import append
from genzoo.core.folder import Lock, replacing, sweep


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "config.yaml"
    for text in (b"one", b"two"):
        with replacing(path) as file:
            file.write(text)
        assert path.read_bytes() == text
    with pytest.raises(OSError, match="full"), replacing(path) as file:
        file.write(b"thr")
        raise OSError(errno.ENOSPC, "the disk is full")
    assert path.read_bytes() == b"two" and [p.name for p in tmp_path.iterdir()] == ["config.yaml"]
    umask = os.umask(0o022)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


@pytest.fixture
def victim(tmp_path):
    """A file outside of the run folder `tmp_path/run`."""
    (tmp_path / "run").mkdir()
    path = tmp_path / "victim"
    path.write_text("precious")
    yield path
    assert path.read_text() == "precious"


def test_no_write_follows_a_link(victim, tmp_path):
    for name in (".lock", "curves.jsonl", "config.yaml", f"best.ckpt.{os.getpid()}.part"):
        (tmp_path / "run" / name).symlink_to(victim)
    run = tmp_path / "run"
    with pytest.raises(OSError, match=r"\.lock is a link.*remove it"):
        Lock(run)
    with pytest.raises(OSError, match=r"curves\.jsonl is a link"):
        append(run / "curves.jsonl", b"new")
    for name in ("config.yaml", "best.ckpt"):
        with replacing(run / name) as file:
            file.write(b"new")
        assert not (run / name).is_symlink() and (run / name).read_bytes() == b"new"


def test_a_lock_leaves_alone_what_stands_in_its_file(victim, tmp_path):
    os.link(victim, tmp_path / "run" / ".lock")
    Lock(tmp_path / "run").release()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_lock_or_curve_that_is_no_file_is_refused_without_waiting(tmp_path, make):
    make(tmp_path / "x")
    with pytest.raises(OSError):
        append(tmp_path / "x", b"new")
    make(tmp_path / ".lock")
    with pytest.raises(OSError):
        Lock(tmp_path)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EIO])
def test_a_file_system_without_locks_is_told_and_no_reason_to_stop(tmp_path, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    lock = Lock(tmp_path)
    assert str(tmp_path) in lock.unguarded and os.strerror(number) in lock.unguarded and "\n" not in lock.unguarded
    lock.release()


def test_a_lock_is_released_once(tmp_path):
    lock = Lock(tmp_path)
    assert lock.unguarded is None
    lock.release()
    other = Lock(tmp_path)
    lock.release()  # closes nothing of the other one's
    with pytest.raises(BlockingIOError, match="in use by another run"):
        Lock(tmp_path)
    other.release()


def test_only_what_genzoo_left_half_written_is_swept(tmp_path):
    ours = ["step-00000013.ckpt.123.part", "best.ckpt.7.part", "nonfinite-00000013.ckpt.1.part", "config.yaml.9.part"]
    others = ["film.mkv.part", "model.ckpt.12.part", "step-00000013.ckpt.part", "config.yaml.part", "a.12.part"]
    for name in ours + others:
        (tmp_path / name).write_text("half")
    (tmp_path / "photos.part").mkdir()
    (tmp_path / "step-00000001.ckpt.5.part").mkdir()
    (tmp_path / "config.yaml.5.part").symlink_to(tmp_path / "film.mkv.part")
    sweep(tmp_path)
    kept = {*others, "photos.part", "step-00000001.ckpt.5.part", "config.yaml.5.part"}
    assert {path.name for path in tmp_path.iterdir()} == kept
