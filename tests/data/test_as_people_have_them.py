"""Folders, tables and arrays as they come, honest or hostile: read as they are meant, or refused by name in seconds."""

import io
import os
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from genzoo.data.arrays import Arrays
from genzoo.data.celeba import CelebA
from genzoo.data.folder import Folder
from genzoo.data.halves import divided
from genzoo.data.module import ZooData, same
from genzoo.data.shards import braces
from genzoo.data.store import MemoryStore
from genzoo.images import decoded


def fill(folder, *names):
    for i, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), 10 + i).save(folder / name, "png")
    return folder


def numbers(place, count):
    return [f"{place}/{i}.png" for i in range(count)]


def test_classes_that_are_numbers_are_in_their_order(tmp_path):
    store = Folder(path=fill(tmp_path, *(name for i in range(12) for name in numbers(i, 1))))
    assert store.names == tuple(map(str, range(12)))
    data = ZooData(lambda split: Folder(split, tmp_path), 2, channels=3, resolution=64, classes="auto")
    assert data.classes == 12
    learned = sorted(store.names)  # of a checkpoint from before
    data.follow(learned)
    assert data.names == tuple(learned) and data.names[data.store.labels[2]] == store.pictures[2].split("/")[0]


@pytest.mark.parametrize("halves", [("training", "testing"), ("Train", "Test"), ("train", "valid"), ("TRAIN", "val")])
def test_halves_by_any_of_their_names(tmp_path, halves):
    fill(tmp_path, *(name for half in halves for c in "ab" for name in numbers(f"{half}/{c}", 3)))
    for split, half in zip(("train", "test"), halves):
        store = Folder(split, tmp_path)
        assert store.names == ("a", "b") and len(store) == 6
        assert all(name.startswith(half) for name in store.pictures)


UNCLEAR = [
    ["a/1.png", "b/1.png", "test/1.png"],
    ["train/1.png", "cars/1.png"],
    ["a/train/1.png", "a/test/1.png", "b/train/1.png"],
]


@pytest.mark.parametrize("names", UNCLEAR)
def test_a_half_that_may_be_a_class_is_refused(tmp_path, names):
    with pytest.raises(ValueError, match="train and test"):
        Folder(path=fill(tmp_path, *names))


def test_each_class_keeps_a_picture_to_train_on():
    labels = [0] * 9 + [1] + [2] * 9 + [3]
    assert {labels[i] for i in divided(20, "train", labels)} == {0, 1, 2, 3}
    assert sorted(divided(20, "train", labels) + divided(20, "test", labels)) == list(range(20))
    assert divided(20, "test") == [9, 19]


def test_links_are_followed_and_never_in_a_circle(tmp_path):
    fill(tmp_path / "real", *numbers("x", 12))
    (tmp_path / "p").mkdir()
    for name in "ab":
        (tmp_path / "p" / name).symlink_to(tmp_path / "real" / "x")
    (tmp_path / "real" / "x" / "back").symlink_to(tmp_path / "p")
    store = Folder(path=tmp_path / "p")
    assert store.names == ("a", "b") and len(store) == 22
    for target in ("nowhere", "c"):
        (tmp_path / "p" / "c").unlink(missing_ok=True)
        (tmp_path / "p" / "c").symlink_to(target)
        with pytest.raises(ValueError, match=f"p/c is a broken link to {target}"):
            Folder(path=tmp_path / "p")


def test_what_is_no_regular_file_is_named(tmp_path):
    os.mkfifo(fill(tmp_path, *numbers("a", 3)) / "a" / "x.png")
    with pytest.raises(ValueError, match=r"x\.png is a FIFO"):
        Folder(path=tmp_path)
    for path in (tmp_path / "a" / "x.png", "/dev/zero"):
        with pytest.raises(ValueError, match="a FIFO|a device"):
            Folder(path=path)
        with pytest.raises(ValueError, match="a FIFO|a device"):
            Arrays(path=path)


TABLES = [
    "Filename;Class\n{};x\n",
    "image\tlabel\n{}\tx\n",
    "\ufeff,File Name,category,note\n0,{},x,\n",
    "path,label\nC:\\up\\{},x\n",
]


@pytest.mark.parametrize("table", TABLES)
def test_tables_as_programs_write_them(tmp_path, table):
    (fill(tmp_path, "1.png") / "l.csv").write_text(table.format("1.png"))
    assert Folder(path=tmp_path, labels="l.csv").names == ("x",)


def test_tables_that_are_too_much(tmp_path):
    (fill(tmp_path, "1.png") / "l.csv").write_text("file,label\n1.png," + "x" * 200_000)
    with pytest.raises(ValueError, match=r"l\.csv, line .*field"):
        Folder(path=tmp_path, labels="l.csv")
    (tmp_path / "l.csv").write_text('{"labels": [' + "1," * 100_000)
    with pytest.raises(ValueError, match=r"l\.csv begins with") as caught:
        Folder(path=tmp_path, labels="l.csv")
    assert len(str(caught.value)) < 400
    (tmp_path / "l.csv").write_text("file," + ",".join(f"c{i}" for i in range(100_000)) + "\n1.png" + ",1" * 100_000)
    assert Folder(path=tmp_path, labels="l.csv").labels.shape == (1, 100_000)


def test_backslashes_in_a_zip_are_folders(tmp_path):
    file = io.BytesIO()
    Image.new("L", (4, 4)).save(file, "png")
    with zipfile.ZipFile(tmp_path / "w.zip", "w") as archive:
        for name in ("pics\\a\\1.png", "pics\\b\\1.png"):
            info = zipfile.ZipInfo("x")
            info.filename = name
            archive.writestr(info, file.getvalue())
    assert Folder(path=tmp_path / "w.zip").names == ("a", "b")


def test_celeba_as_kaggle_has_it(tmp_path):
    fill(tmp_path / "img_align_celeba" / "img_align_celeba", "000001.jpg", "000002.jpg")
    (tmp_path / "list_attr_celeba.csv").write_text("image_id,Male,Young\n000001.jpg,1,-1\n000002.jpg,-1,1\n")
    (tmp_path / "list_eval_partition.csv").write_text("image_id,partition\n000001.jpg,0\n000002.jpg,2\n")
    found = {split: CelebA(split, tmp_path, ["Male"]).labels.tolist() for split in ("train", "test")}
    assert found == {"train": [[1.0]], "test": [[0.0]]}


X = np.arange(30 * 8 * 8 * 3, dtype=np.uint8).reshape(30, 8, 8, 3)
ARRAYS = {
    "0-d": ({"images": np.array(3, np.uint8)}, "plain|array"),
    "empty": ({"images": X[:, :0]}, "no images"),
    "0-d labels": ({"images": X, "labels": np.array(3)}, "lone label"),
    "huge labels": ({"images": X, "labels": np.full(30, 2**63 + 5, np.uint64)}, "below 1,000,000"),
    "one picture": ({"images": np.zeros((32, 16, 3), np.uint8)}, "one picture"),
    "floats": ({"images": X / 255.0 * 2 - 1}, r"127\.5 \* \(x \+ 1\)"),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_arrays_that_are_no_set(tmp_path, case):
    arrays, message = ARRAYS[case]
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        Arrays(path=tmp_path / "a.npz")


def test_the_header_of_an_array_runs_nothing_deep(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\1\0" + (9000).to_bytes(2, "little") + b"(" * 9000)
    with pytest.raises(ValueError, match="no .npy array, or damaged"):
        Arrays(path=tmp_path / "a.npy")


def test_headers_that_do_not_end_are_given_up():
    with pytest.raises(ValueError, match="a cannot be read: its header is too long"):
        decoded(io.BytesIO(b"P6\n#" + b"x" * 200_000), "a")


def test_a_bomb_of_braces_is_not_spelled_out():
    with pytest.raises(ValueError, match="more than 100,000 files"):
        braces("{a,b}" * 40)


def test_ones_that_should_be_255_are_told():
    store = MemoryStore(torch.randint(0, 2, (20, 1, 8, 8)).byte())
    with pytest.raises(ValueError, match="255"):
        ZooData(lambda split: store, 2, channels=1, resolution=8).check()


def test_a_worker_without_room_to_share_says_so(monkeypatch):
    class Full:
        def share_memory_(self):
            raise RuntimeError("unable to write to file </torch_1>: No space left on device (28)")

    monkeypatch.setattr("genzoo.data.module.get_worker_info", lambda: type("Info", (), {"num_workers": 2}))
    with pytest.raises(OSError, match=r"data\.workers=2.*\n.*data\.workers=0.*--shm-size"):
        same((Full(),))
