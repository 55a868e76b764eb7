"""Tar shards: the same pictures as a folder's, from an index that is made once; what is damaged or hostile is refused."""

import gzip
import io
import json
import os
import pickle
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from genzoo.data import shards
from genzoo.data.folder import Folder
from genzoo.data.shards import Shards, braces


def png(seed):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (9, 7, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


def tar(path, files):
    """A tar of `files`: bytes, or a TarInfo of a strange kind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            member = data if isinstance(data, tarfile.TarInfo) else tarfile.TarInfo(name)
            member.name = name
            if isinstance(data, bytes):
                member.size = len(data)
            archive.addfile(member, io.BytesIO(data) if isinstance(data, bytes) else None)
    return path


def samples(numbers, label="cls"):
    for i in numbers:
        yield f"{i:03}.png", png(i)
        yield f"{i:03}.{label}", b"%d\n" % (i % 3) if label == "cls" else json.dumps({"label": i % 3, "w": 1}).encode()
        yield f"{i:03}.txt", b"a caption"


def all_of(store):
    return store.__getitems__([(i, i) for i in range(len(store))])


@pytest.mark.parametrize("label", ["cls", "json"])
def test_shards_equal_a_folder_of_the_same_pictures(tmp_path, label):
    tar(tmp_path / "set" / "a-0.tar", dict(samples(range(15), label)))
    tar(tmp_path / "set" / "a-1.tar", dict(samples(range(15, 30), label)))
    (tmp_path / "plain").mkdir()
    for i in range(30):
        (tmp_path / "plain" / f"{i:03}.png").write_bytes(png(i))
    for split, numbers in (("train", [i for i in range(30) if i % 10 != 9]), ("test", [9, 19, 29])):
        store, plain = Shards(split, tmp_path / "set", resolution=4), Folder(split, tmp_path / "plain", resolution=4)
        assert torch.equal(all_of(store).x, all_of(plain).x)
        assert all_of(store).y.tolist() == [i % 3 for i in numbers]
        assert torch.equal(all_of(pickle.loads(pickle.dumps(store))).x, all_of(plain).x)


def test_halves_by_the_names_of_the_tars(tmp_path):
    tar(tmp_path / "set-train-000.tar", dict(samples(range(4))))
    tar(tmp_path / "set-train-001.tar", dict(samples(range(4, 8))))
    tar(tmp_path / "set-val-000.tar", dict(samples([50])))
    assert len(Shards("train", tmp_path)) == 8 and len(Shards("test", tmp_path)) == 1
    assert Shards("test", tmp_path).pictures == ["set-val-000.tar/050.png"]
    assert len(Shards("train", f"{tmp_path}/set-train-*.tar")) == 8  # below ten, both halves have all
    assert len(Shards("train", f"{tmp_path}/set-train-{{000..001}}.tar")) == 8
    assert len(Shards("train", tmp_path / "set-train-001.tar")) == 4


def test_braces_as_a_shell_has_them():
    assert braces("a-{08..11}.tar") == ["a-08.tar", "a-09.tar", "a-10.tar", "a-11.tar"]
    assert braces("{a,b}-{0..1}") == ["a-0", "a-1", "b-0", "b-1"]
    with pytest.raises(ValueError, match="more than"):
        braces("{0..99999999999}")


def test_the_index_is_made_once_and_again_when_the_tar_changes(tmp_path, monkeypatch):
    path = tar(tmp_path / "a.tar", dict(samples(range(3))))
    made = []
    monkeypatch.setattr(shards, "indexed", lambda *args, real=shards.indexed: made.append(1) or real(*args))
    first = all_of(Shards("train", path, resolution=4))
    index = tmp_path / ".a.tar.index.npz"
    assert index.is_file() and len(made) == 1
    assert torch.equal(all_of(Shards("train", path, resolution=4)).x, first.x) and len(made) == 1
    index.write_bytes(index.read_bytes()[:100])
    assert torch.equal(all_of(Shards("train", path, resolution=4)).x, first.x) and len(made) == 2
    status = path.stat()
    tar(path, dict(samples(range(3, 6))))  # of the same size
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert path.stat().st_size == status.st_size
    assert not torch.equal(all_of(Shards("train", path, resolution=4)).x, first.x) and len(made) == 3
    assert sorted(file.name for file in tmp_path.iterdir()) == [".a.tar.index.npz", "a.tar"]


def test_a_folder_that_cannot_be_written_is_indexed_in_memory(tmp_path, monkeypatch):
    path = tar(tmp_path / "a.tar", dict(samples(range(3))))

    def refuse(*args, **keywords):
        raise PermissionError(13, "no")

    monkeypatch.setattr(shards.os, "replace", refuse)
    assert len(Shards("train", path)) == 3
    assert [file.name for file in tmp_path.iterdir()] == ["a.tar"]


def test_labels_that_are_text(tmp_path):
    """A number may stand in quotes; a word is passed over, and told."""
    for told, y, remarks in (('{"label": "7"}', 7, 0), ('{"label": "cat"}', 0, 1), ("cat", 0, 1), ("{}", 0, 0)):
        store = Shards("train", tar(tmp_path / f"{y}{remarks}.tar", {"1.png": png(1), "1.json": told.encode()}))
        assert store.labels.tolist() == [y] and len(store.remarks()) == remarks
    assert Shards("train", tmp_path / "01.tar").remarks()[0].endswith("the labels of 1 pictures (.cls or .json)")


def test_names_and_dots(tmp_path):
    files = {"./b/1.seg.png": b"?", "./b/1.PNG": png(1), "b/1.cls": b"7", ".hidden/2.png": b"?", "b/.3.png": b"?"}
    store = Shards("train", tar(tmp_path / "a.tar", files))
    assert store.pictures == ["a.tar/b/1.PNG"] and store.labels.tolist() == [7]


def kind(letter, target="elsewhere"):
    member = tarfile.TarInfo()
    member.type, member.linkname = letter, target
    return member


LARGE = kind(tarfile.REGTYPE)
LARGE.size = 2**26 + 1
GOOD = dict(samples(range(2)))
HOSTILE = {
    "up": (GOOD | {"../evil.png": png(0)}, "outside"),
    "up within": (GOOD | {"a/../../evil.png": png(0)}, "outside"),
    "absolute": (GOOD | {"/evil.png": png(0)}, "outside"),
    "symlink": (GOOD | {"evil.png": kind(tarfile.SYMTYPE, "/etc/passwd")}, "link or a device"),
    "hard link": (GOOD | {"evil.png": kind(tarfile.LNKTYPE, "000.png")}, "link or a device"),
    "device": (GOOD | {"evil.png": kind(tarfile.CHRTYPE)}, "link or a device"),
    "fifo": (GOOD | {"evil.png": kind(tarfile.FIFOTYPE)}, "link or a device"),
    "large": (GOOD | {"evil.png": LARGE}, "67,108,865"),
    "no pictures": ({"a.txt": b"x"}, "holds no pictures"),
    "some labels": (GOOD | {"evil.png": png(0)}, "evil.png has no label"),
    "strange label": (GOOD | {"evil.png": png(0), "evil.cls": b"cat"}, "evil.png has no label"),
    "deep": (GOOD | {"evil.png": png(0), "evil.json": b"[" * 100_000}, "evil.png has no label"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_tars_are_refused(tmp_path, case):
    files, message = HOSTILE[case]
    with pytest.raises(ValueError, match=message) as caught:
        Shards("train", tar(tmp_path / "a.tar", files))
    assert str(caught.value).count("\n") < 3 and not (tmp_path / ".a.tar.index.npz").exists() * (
        case in ("up", "large")
    )


@pytest.mark.parametrize("left", [0, 3, 600, 1024, 1500, -10240, -20480 + 9 * 1024])
def test_a_tar_cut_short_is_refused(tmp_path, left):
    data = tar(tmp_path / "a.tar", dict(samples(range(8)))).read_bytes()
    (tmp_path / "a.tar").write_bytes(data[:left])
    with pytest.raises(ValueError, match=r"a\.tar is (no tar, or )?cut short"):
        Shards("train", tmp_path / "a.tar")


def test_damage_in_the_middle_is_not_taken_for_the_end(tmp_path):
    path = tar(tmp_path / "a.tar", dict(samples(range(8))))
    data = bytearray(path.read_bytes())
    with tarfile.open(path) as archive:
        place = archive.getmember("004.png").offset
    data[place : place + 100] = b"x" * 100
    path.write_bytes(data)
    with pytest.raises(ValueError, match=f"damaged at byte {place:,}"):
        Shards("train", path)


def test_compressed_and_absent_tars(tmp_path):
    data = tar(tmp_path / "a.tar", GOOD).read_bytes()
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "a.tar.gz").write_bytes(gzip.compress(data))
    for path in (tmp_path / "packed", tmp_path / "packed" / "a.tar.gz"):
        with pytest.raises(ValueError, match="compressed.*gunzip"):
            Shards("train", path)
    (tmp_path / "none").mkdir()
    for path in (tmp_path / "none", tmp_path / "no.tar", f"{tmp_path}/no-*.tar"):
        with pytest.raises(FileNotFoundError):
            Shards("train", path)
    with pytest.raises(ValueError, match=r"data\.path"):
        Shards()


def test_a_tar_replaced_by_a_shorter_one_is_told(tmp_path):
    path = tar(tmp_path / "a.tar", GOOD)
    store = Shards("train", path)
    path.write_bytes(b"short")
    with pytest.raises(ValueError, match="shorter than its index"):
        all_of(store)
