"""Labels of a folder from a file beside it, and the ways in which its place may be typed."""

import pytest
import torch
from PIL import Image

from genzoo import cli, hub
from genzoo.commands.train import open_data, plain
from genzoo.data.folder import Folder
from genzoo.data.labels import read_table


def folder(path, names):
    for i, name in enumerate(names):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), 10 * i).save(path / name)
    return path


NAMES = ["a.png", "b.png", "sub folder/c.png"]
TABLES = {
    "names": ("file,label\nb.png,dog\na.png,cat\nc.png,dog\n", [0, 1, 1], ("cat", "dog")),
    "numbers": ("file,label\na.png,10\nb.png,9\nsub folder/c.png,10\n", [1, 0, 1], ("9", "10")),
    "below zero": ("file,label\na.png,10\nb.png,-1\nc.png,2\n", [2, 0, 1], ("-1", "2", "10")),
    "one number twice": ("file,label\na.png,1\nb.png,01\nc.png,0\n", [2, 1, 0], ("0", "01", "1")),
    "quotes": ('\ufefffile, label\n"a.png", "x, y"\nb.png,b\n.\\sub folder\\c.png,b\n', [1, 0, 0], ("b", "x, y")),
    "attributes": (
        "file,Male,Young\na.png,1,0\nb.png,-1,True\nc.png,no,yes\n",
        [[1, 0], [0, 1], [0, 1]],
        ("Male", "Young"),
    ),
    "celeba": ("3\nMale Young\na.png -1  1\nb.png  1 -1\nc.png -1 -1\n", [[0, 1], [1, 0], [0, 0]], ("Male", "Young")),
}


@pytest.mark.parametrize("case", TABLES)
def test_labels_from_a_file(tmp_path, case):
    text, y, names = TABLES[case]
    store = Folder(path=folder(tmp_path, NAMES), labels=write(tmp_path / "labels.csv", text), resolution=4)
    assert store.labels.tolist() == y and store.names == names
    assert store.labels.dtype == (torch.int64 if isinstance(y[0], int) else torch.float32)
    assert torch.equal(Folder(path=tmp_path, labels="labels.csv").labels, store.labels)  # a file of the set itself


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_attributes_are_chosen_by_name(tmp_path):
    folder(tmp_path, NAMES)
    write(tmp_path / "labels.csv", "file,label,Male,Young\na.png,x,1,0\nb.png,y,0,1\nc.png,y,1,1\n")
    chosen = Folder(path=tmp_path, labels="labels.csv", attributes=["Young", "Male"])
    assert chosen.labels.tolist() == [[0, 1], [1, 0], [1, 1]] and chosen.names == ("Young", "Male")
    assert Folder(path=tmp_path, labels="labels.csv").names == ("x", "y")


def test_both_halves_know_the_same_classes(tmp_path):
    folder(tmp_path, ["train/0.png", "train/1.png", "test/2.png"])
    write(tmp_path / "labels.csv", "file,label\n0.png,c\n1.png,a\ntest/2.png,b\n")
    halves = [Folder(split, tmp_path, labels="labels.csv") for split in ("train", "test")]
    assert [half.names for half in halves] == [("a", "b", "c")] * 2
    assert [half.labels.tolist() for half in halves] == [[2, 0], [1]]


WRONG = {
    "missing": ("file,label\na.png,x\nb.png,y\n", {}, r"no line for c\.png"),
    "many missing": ("file,label\na.png,x\n", {}, r"no line for b\.png .2 pictures"),
    "unknown": (
        "file,label\na.png,x\nb.png,y\nc.png,z\nd.png,z\ne.png,z\n",
        {},
        r"names d\.png and 1 more, not in the set",
    ),
    "header": ("name,label\na.png,x\n", {}, "begins with 'name,label'"),
    "empty": ("", {}, "begins with ''"),
    "short": ("file,label\na.png\n", {}, "line 2: 1 values where 2"),
    "twice": ("file,label\na.png,x\na.png,y\n", {}, r"line 3: a\.png stands there a second time"),
    "spelled twice": ("file,label\na.png,x\n./a.png,y\n", {}, r"line 3: a\.png stands there a second time"),
    "no label": ("file,label\na.png,x\nb.png,\n", {}, r"line 3: b\.png has no label"),
    "value": ("file,Male\na.png,1\nb.png,0\nc.png,2\n", {}, "says '2' of an attribute"),
    "attribute": ("file,Male\na.png,1\nb.png,0\nc.png,1\n", {"attributes": ["Mal"]}, "no 'Mal'; near it: Male"),
    "celeba": ("3\nMale Young\na.png 1\n", {}, "line 3: 2 values where 3"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_tables_are_told_in_a_line(tmp_path, case):
    text, options, message = WRONG[case]
    write(folder(tmp_path, NAMES) / "labels.csv", text)
    with pytest.raises(ValueError, match=message) as caught:
        Folder(path=tmp_path, labels="labels.csv", **options)
    assert "\n" not in str(caught.value)


def test_a_table_that_is_not_there_or_no_text(tmp_path):
    folder(tmp_path, NAMES)
    with pytest.raises(FileNotFoundError, match="data.labels=list.csv is neither"):
        Folder(path=tmp_path, labels="list.csv")
    (tmp_path / "list.csv").write_bytes(b"file,label\n\xff\xfe")
    with pytest.raises(ValueError, match="no text in UTF-8"):
        Folder(path=tmp_path, labels="list.csv")


def test_a_table_keeps_every_file():
    assert read_table("t", "file,label\na,1\n\nb,2\n").rows == {"a": ["1"], "b": ["2"]}


def test_real_attributes(shared):
    place, chosen = shared / "data" / "avatars" / "train", ["Smiling", "Black_Hair"]
    store = Folder(path=place, labels="list_attr_celeba.txt", attributes=chosen, resolution=8)
    first = (place / "list_attr_celeba.txt").read_text().splitlines()
    columns = first[1].split()
    row = dict(zip(columns, first[2].split()[1:], strict=True))
    assert len(store) == 900 and store.labels.shape == (900, 2)
    assert store.labels[0].tolist() == [float(row[name] == "1") for name in chosen]


@pytest.mark.parametrize("typed", ["{}/my set (1)", "'{}/my set (1)'", '"{}/my set (1)"', "~/my set (1)"])
def test_a_place_as_people_type_it(tmp_path, monkeypatch, typed):
    monkeypatch.setenv("HOME", str(tmp_path))
    folder(tmp_path / "my set (1)", NAMES)
    word = typed.format(tmp_path)
    word = word if word[0] in "'\"" else f"'{word}'"
    data = hub.build(plain(cli.compose("train", ["data=folder", f"data.path={word}", "run=x"]))["data"], None)
    assert len(data.store) == 3


def test_a_place_may_be_a_number(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder(tmp_path / "2024", NAMES)
    assert (
        len(
            hub.build(
                plain(cli.compose("train", cli.settings("train", ["data=folder", "data.path=2024", "run=x"])[1]))[
                    "data"
                ],
                None,
            ).store
        )
        == 3
    )


@pytest.mark.parametrize("name", ["arrays", "packed", "shards"])
def test_other_sets_take_home_and_numbers_too(tmp_path, monkeypatch, name):
    monkeypatch.setenv("HOME", str(tmp_path))
    for word in ('"~/2024"', "2024"):
        with pytest.raises(FileNotFoundError, match=rf"^{tmp_path if '~' in word else ''}/?2024 "):
            open_data(
                cli.compose("train", cli.settings("train", [f"data={name}", f"data.path={word}", "run=x"])[1]), None
            )


def test_what_is_there_instead_of_pictures_is_named(tmp_path):
    with pytest.raises(ValueError, match="but nothing"):
        Folder(path=tmp_path)
    for name in ("a.npz", "b.npz", "c.npz", "d.npz"):
        (tmp_path / name).write_bytes(b"?")
    with pytest.raises(ValueError, match=r"but a\.npz, b\.npz, c\.npz, \.\.\.$"):
        Folder(path=tmp_path)
    with pytest.raises(ValueError, match="Name a folder or a zip of images; tars are read by data=shards"):
        Folder(path=tmp_path / "a.npz")


def test_remarks(tmp_path):
    folder(tmp_path, ["train/cat/a.png", "train/dog/a.png"])
    (tmp_path / "train" / "bird").mkdir()
    (tmp_path / "notes.txt").write_text("?")
    told = Folder(path=tmp_path).remarks()
    assert (
        told[0].startswith("1 file passed over")
        and told[0].endswith("names: notes.txt")
        and told[1].endswith("train/bird")
        and len(told) == 2
    )
