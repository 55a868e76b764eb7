"""Sets that come as arrays: every layout and key that is promised, and files that lie about their size."""

import io
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from genzoo.data import arrays
from genzoo.data.arrays import Arrays

SOURCE = np.random.default_rng(0)
RGB = SOURCE.integers(0, 256, (20, 8, 8, 3), np.uint8)  # (n, h, w, c)
GREY = RGB[..., 0]
IDS = SOURCE.integers(0, 5, 20)


def pixels(store):
    x, y = store.__getitems__([(i, i) for i in range(len(store))])
    return ((x + 1) * 127.5).round().byte().numpy(), y


@pytest.mark.parametrize("layout", ["nhwc", "nchw", "nhw", "nhw1"])
def test_every_layout_gives_the_same_pixels(tmp_path, layout):
    images = {
        "nhwc": RGB,
        "nchw": np.ascontiguousarray(RGB.transpose(0, 3, 1, 2)),
        "nhw": GREY,
        "nhw1": GREY[..., None],
    }
    np.savez(tmp_path / "a.npz", x_train=images[layout])
    channels = 3 if "c" in layout else 1
    wanted = RGB.transpose(0, 3, 1, 2) if channels == 3 else GREY[:, None]
    assert np.array_equal(pixels(Arrays(path=tmp_path / "a.npz", channels=channels, resolution=8))[0], wanted)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("keys", ["{}_images {}_labels", "x_{} y_{}", "X_{} y_{}"])
def test_halves_by_their_keys(tmp_path, keys, save):
    files = {}
    for split, rows in (("train", slice(0, 15)), ("test", slice(15, 20))):
        images, labels = (key.format(split) for key in keys.split())
        files |= {images: GREY[rows], labels: IDS[rows, None]}  # MedMNIST's labels are (n, 1)
    save(tmp_path / "a.npz", **files)
    for split, rows in (("train", slice(0, 15)), ("test", slice(15, 20))):
        x, y = pixels(Arrays(split, tmp_path / "a.npz", 1, 8))
        assert np.array_equal(x[:, 0], GREY[rows]) and y.tolist() == IDS[rows].tolist() and y.dtype == torch.int64


def test_undivided_sets_keep_every_tenth_for_testing(tmp_path):
    np.savez(tmp_path / "a.npz", images=GREY, labels=IDS)
    np.save(tmp_path / "a.npy", GREY)
    np.savez(tmp_path / "b.npz", GREY[:4])
    held = np.arange(20) % 10 == 9
    for name in ("a.npz", "a.npy"):
        for split, rows in (("train", ~held), ("test", held)):
            x, y = pixels(Arrays(split, tmp_path / name, 1, 8))
            assert np.array_equal(x[:, 0], GREY[rows])
            assert y.tolist() == (IDS[rows].tolist() if name == "a.npz" else [0] * rows.sum())
    assert len(Arrays("train", tmp_path / "b.npz", 1, 8)) == len(Arrays("test", tmp_path / "b.npz", 1, 8)) == 4


def test_attributes(tmp_path):
    several = SOURCE.integers(0, 2, (20, 6))
    np.savez(tmp_path / "a.npz", train_images=GREY, train_labels=several, val_images=GREY[:3], val_labels=several[:3])
    assert pixels(Arrays("train", tmp_path / "a.npz", 1, 8))[1].tolist() == several.tolist()
    assert pixels(Arrays("test", tmp_path / "a.npz", 1, 8))[1].dtype == torch.float32


def test_grey_of_colours_is_pillows(tmp_path):
    np.save(tmp_path / "a.npy", RGB[:5])
    wanted = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in RGB[:5]])
    grey = pixels(Arrays(path=tmp_path / "a.npy", channels=1, resolution=8))[0][:, 0]
    assert np.abs(grey.astype(int) - wanted).max() <= 1
    np.save(tmp_path / "b.npy", GREY[:5])
    assert np.array_equal(pixels(Arrays(path=tmp_path / "b.npy", resolution=8))[0], GREY[:5, None].repeat(3, 1))


@pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
def test_ways_to_make_a_square(tmp_path, resize):
    wide = np.zeros((1, 12, 24), np.uint8)
    wide[:, :, 8:16] = 255
    np.save(tmp_path / "a.npy", wide)
    x = pixels(Arrays(path=tmp_path / "a.npy", channels=1, resolution=12, resize=resize))[0][0, 0]
    if resize == "crop":
        assert x[:, 2:10].min() == 255 and x[:, [0, 1, 10, 11]].max() == 0
    elif resize == "stretch":
        assert x[:, 5:7].min() == 255 and x[:, :3].max() == 0 and (x[0] == x[11]).all()
    else:
        assert x[:2].max() == x[10:].max() == 0 and x[4:8, 5:7].min() == 255


def npz(path, name, data):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}.npy", data)
    return path


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


LYING = npy(GREY).replace(b"(20, 8, 8)", b"(99, 8, 8)")
BAD = {
    "pickle": ("x", npy(np.array([{}], object)), "plain numbers"),
    "lying": ("x", LYING, r"\(99, 8, 8\), which does not fit"),
    "floats": ("x", npy(GREY / 255), r"float64 from 0 to 1: save them as uint8.*\n.*255 \* x"),
    "integers": ("x", npy(GREY.astype(np.int64)), "int64 from 0 to 255: save them as uint8"),
    "axes": ("x", npy(np.zeros((2, 4, 8, 8), np.uint8)), r"\(2, 4, 8, 8\)"),
    "flat": ("x", npy(np.zeros((2, 64), np.uint8)), r"\(2, 64\)"),
    "fortran": ("x", npy(np.asfortranarray(GREY)), "ascontiguousarray"),
    "keys": ("other", npy(GREY), "other.* images or x or"),
    "no array": ("x", b"nonsense", "no .npy array"),
    "empty": ("x", b"", "no .npy array"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_used_is_told(tmp_path, case):
    name, data, message = BAD[case]
    with pytest.raises(ValueError, match=message) as caught:
        Arrays(path=npz(tmp_path / "a.npz", name, data), channels=1, resolution=8)
    assert str(caught.value).count("\n") < 3 and "a.npz" in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (IDS[:7], "20 images with 7 labels"),
        (np.zeros((20, 0)), r"\(20, 0\)"),
        (IDS / 2, "labels .* of float64"),
        (-IDS, "whole numbers from 0 on"),
        (IDS[:, None].repeat(2, 1), "zeros and ones"),
    ],
)
def test_labels_that_do_not_fit(tmp_path, labels, message):
    np.savez(tmp_path / "a.npz", x=GREY, y=labels)
    with pytest.raises(ValueError, match=message):
        Arrays(path=tmp_path / "a.npz", channels=1, resolution=8)


def test_a_bomb_is_not_expanded(tmp_path, monkeypatch):
    path = npz(tmp_path / "a.npz", "x", npy(np.zeros((1000, 100, 100), np.uint8)))
    assert path.stat().st_size < 20_000
    monkeypatch.setattr(arrays, "LIMIT", 2**20)
    monkeypatch.setattr(zipfile.ZipFile, "open", None)
    with pytest.raises(ValueError, match=r"10,000,128 bytes, the limit is 1,048,576"):
        Arrays(path=path, channels=1, resolution=8)


def test_broken_and_absent_files(tmp_path):
    np.savez(tmp_path / "a.npz", x=GREY)
    data = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(data[:-30])
    np.save(tmp_path / "a.npy", GREY)
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-1])
    damaged = bytearray(data)
    damaged[600] ^= 255
    (tmp_path / "b.npz").write_bytes(damaged)
    for name, message in (("a.npz", "no .npz, or damaged"), ("a.npy", "cut short"), ("b.npz", "damaged")):
        with pytest.raises(ValueError, match=message):
            Arrays(path=tmp_path / name, channels=1, resolution=8)
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as archive:
        for i in range(50):
            archive.writestr(f"{i:02}.png", b"?")
    with pytest.raises(ValueError, match=r"holds 00\.png, 01\.png, 02\.png, 03\.png, 04\.png, \.\.\.: images or"):
        Arrays(path=tmp_path / "many.zip")
    with pytest.raises(IsADirectoryError, match="is a folder.*data.path is a .npz"):
        Arrays(path=tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere.npz does not exist"):
        Arrays(path=tmp_path / "nowhere.npz")
    with pytest.raises(ValueError, match=r"data\.path"):
        Arrays()
