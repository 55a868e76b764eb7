"""Files that somebody named are regular ones, or are refused at once."""

import os
import socket
from pathlib import Path

import pytest

from genzoo.files import open_regular, read_bytes, read_text, require_regular

READERS = [open_regular, require_regular, lambda path: read_bytes(path, 100), lambda path: read_text(path, 100)]


@pytest.mark.parametrize("read", READERS)
def test_what_is_no_regular_file_is_refused_at_once_by_name(tmp_path: Path, monkeypatch, read) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    door = socket.socket(socket.AF_UNIX)
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    door.bind("socket")
    for path, kind in [
        (tmp_path / "fifo", "a FIFO"),
        (tmp_path / "link", "a FIFO"),
        (tmp_path / "socket", "a socket"),
        (Path("/dev/zero"), "a device"),
        (tmp_path / "folder", "a folder"),
    ]:
        with pytest.raises((ValueError, OSError)) as caught:
            read(path)
        assert str(path) in str(caught.value) and kind in str(caught.value)
    door.close()


@pytest.mark.parametrize("read", READERS)
def test_links_are_followed_and_broken_ones_named(tmp_path: Path, read) -> None:
    (tmp_path / "file").write_text("what stands there")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "broken").symlink_to("nowhere")
    (tmp_path / "round").symlink_to("round")
    read(tmp_path / "link")
    with pytest.raises(FileNotFoundError, match="broken link: nowhere"):
        read(tmp_path / "broken")
    with pytest.raises(OSError, match="round is a link that leads to itself"):
        read(tmp_path / "round")
    with pytest.raises(FileNotFoundError, match="absent does not exist"):
        read(tmp_path / "absent")
    with pytest.raises(ValueError, match=r"x\\x00y"):
        read("x\0y")


def test_a_file_that_became_a_fifo_is_not_waited_for(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("genzoo.files.require_regular", Path)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ValueError, match="a FIFO"):
        open_regular(tmp_path / "fifo")


def test_no_more_is_read_than_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(101))
    assert len(read_bytes(tmp_path / "file", 101)) == 101
    with pytest.raises(ValueError, match="101 bytes: the limit is 100"):
        read_bytes(tmp_path / "file", 100)


def test_text_is_utf8_with_or_without_a_mark(tmp_path: Path) -> None:
    for written, read in [("ä".encode(), "ä"), (b"\xef\xbb\xbfa", "a")]:
        (tmp_path / "file").write_bytes(written)
        assert read_text(tmp_path / "file", 100) == read
    (tmp_path / "file").write_bytes(b"\xff\xfea\0")
    with pytest.raises(ValueError, match="UTF-8"):
        read_text(tmp_path / "file", 100)
