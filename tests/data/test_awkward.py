"""Twelve awkward folders, and the real ones: each trains ten iterations, or stops with one plain line before the first."""

import io

import pytest
import torch
from PIL import Image

from genzoo import cli
from genzoo.commands import train as command
from genzoo.core.io import newest

TINY = ["model=gan", "model.width=2", "data=folder", "logger=none", "~callbacks.samples", "accelerator=cpu",
        "trainer.val_check_interval=1000", "threads=1"]  # fmt: skip
SIZE = ["data.resolution=8", "batch_size=2"]


def ten_iterations(folder, run, *words, size=2):
    """The iterations of a run on a folder of images."""
    config = cli.compose("train", [*TINY, f"data.path='{folder}'", *words, f"run={run}", f"kimg={10 * size / 1000}"])
    code, _ = command.start(config, [])
    assert code == 0
    saved = torch.load(newest(run), weights_only=True)
    assert all(tensor.isfinite().all() for tensor in saved["state_dict"].values())
    return saved["global_step"]


def save(path, image, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


def many(folder, mode="RGB", form="png", size=(9, 9), **options):
    for i in range(4):
        save(folder / f"{i}.{form}", Image.new(mode, size, 20 * i if mode in "LP" or ";" in mode else None), **options)


def palette(folder):
    many(folder, "P", transparency=0)
    save(folder / "9.gif", Image.new("P", (5, 5), 3))


def alpha(folder):
    many(folder, "RGBA")
    many(folder / "grey", "LA")


def deep(folder):
    many(folder, "I;16")


def cmyk(folder):
    many(folder, "CMYK", "jpg")


def pixel(folder):
    many(folder, size=(1, 1))


def mixed(folder):
    for i, size in enumerate([(3, 70), (200, 5), (8, 8), (1, 2), (64, 48)]):
        save(folder / f"{i}.png", Image.new("RGB", size))


def truncated(folder):
    many(folder)
    file = io.BytesIO()
    Image.effect_noise((64, 64), 99).save(file, "JPEG")
    (folder / "7 broken.jpg").write_bytes(file.getvalue()[:900])


def empty_class(folder):
    many(folder / "cat")
    many(folder / "dog")
    (folder / "bird").mkdir()


def one(folder):
    save(folder / "only.png", Image.new("RGB", (9, 9)))


def named(folder):
    for name in ("a b.png", "größe ñ.png", "画像.PNG", "it's (1), 50% #2.png", "a=b&c[0]{x}$y.png"):
        save(folder / "my pictures" / name, Image.new("RGB", (9, 9)), format="PNG")


def texts(folder):
    many(folder)
    for name in ("readme.txt", "Thumbs.db", ".DS_Store", "labels.csv"):
        (folder / name).write_text("no picture")


def text_as_picture(folder):
    many(folder)
    (folder / "5.png").write_text("no picture")


def turned(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    many(folder, form="jpg", size=(12, 6), exif=exif)


TRAIN = {
    "palette": (palette, []),
    "alpha": (alpha, []),
    "16 bits": (deep, ["data.channels=1"]),
    "CMYK": (cmyk, []),
    "1 pixel": (pixel, []),
    "mixed sizes": (mixed, ["data.load=9", "data.flip=true"]),
    "an empty class": (empty_class, ["data.classes=2"]),
    "one image": (one, ["batch_size=1"]),
    "names": (named, []),
    "texts": (texts, []),
    "EXIF": (turned, ["data.resize=pad"]),
}


@pytest.mark.parametrize("case", TRAIN)
def test_awkward_folders_train(tmp_path, case):
    make, words = TRAIN[case]
    make(tmp_path / "a set")
    assert (
        ten_iterations(tmp_path / "a set", tmp_path / "run", *SIZE, *words, size=1 if case == "one image" else 2) == 10
    )


def broken_test(folder):
    many(folder / "train")
    many(folder / "test")
    (folder / "test" / "2.png").write_bytes(b"")


STOP = {
    "a broken file to test on": (broken_test, [], r"a set/test/2\.png cannot be read"),
    "truncated": (
        truncated,
        [],
        r"a set/7 broken\.jpg cannot be read: .*truncated.*; mend or remove it .genzoo check",
    ),
    "a text as a picture": (text_as_picture, [], r"a set/5\.png cannot be read: it is no picture"),
    "one image in a batch of two": (one, [], "batch_size=2 is more than the 1 training image .*say batch_size=1"),
    "a class that is empty": (empty_class, ["data.classes=3"], "has 2 classes, but data.classes=3: say data.classes=2"),
}


@pytest.mark.parametrize("case", STOP)
def test_awkward_folders_stop_before_the_first_iteration(tmp_path, case):
    make, words, message = STOP[case]
    make(tmp_path / "a set")
    with pytest.raises(ValueError, match=message) as caught:
        ten_iterations(tmp_path / "a set", tmp_path / "run", *SIZE, *words)
    assert "\n" not in str(caught.value) and newest(tmp_path / "run") is None


REAL = {
    "cifar10/png4k.zip": ["data.resolution=32", "data.classes=10"],
    "cifar10/jpeg12k.zip": ["data.resolution=32", "data.flip=true"],
    "bsds256": ["data.resolution=32", "data.load=36"],
    "orl_faces_23x28": ["data.channels=1", "data.resolution=28", "data.resize=pad", "data.classes=40"],
    "avatars/train": ["data.labels=list_attr_celeba.txt", "data.attributes=[Smiling]", "data.resolution=16"],
}


@pytest.mark.parametrize("place", REAL)
def test_real_sets_train(shared, tmp_path, place):
    assert ten_iterations(shared / "data" / place, tmp_path, *REAL[place], "batch_size=2") == 10
