"""Folders and zips of pictures: the same pixels from both, and bad files named."""

import io
import pickle
import struct
import zipfile
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from genzoo.data.cifar10 import CIFAR10
from genzoo.data.folder import Folder
from genzoo.data.halves import divided
from genzoo.data.pictures import fitted
from genzoo.images import from_pillow


def png(size=(8, 6), colour=(255, 0, 0), mode="RGB"):
    file = io.BytesIO()
    Image.new(mode, size, colour).save(file, "PNG")
    return file.getvalue()


def fill(folder, files):
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def pack(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def all_of(store):
    return store.__getitems__([(index, index) for index in range(len(store))])


CLASSES = {f"{split}/{animal}/{i}.png": png(colour=(20 * i, 40 * a, 0)) for split in ("train", "test")
           for a, animal in enumerate(("cat", "dog")) for i in range(3)}  # fmt: skip


def test_zip_equals_folder(tmp_path):
    litter = {"train/.hidden.png": b"?", "__MACOSX/x.png": b"?", "readme.txt": b"?", "train/cat/Thumbs.db": b"?"}
    folder = fill(tmp_path / "set", CLASSES | litter)
    archive = pack(tmp_path / "set.zip", {f"set/{name}": data for name, data in (CLASSES | litter).items()})
    for split in ("train", "test"):
        a, b = (Folder(split, path, resolution=8) for path in (folder, archive))
        assert len(a) == len(b) == 6 and a.names == b.names == ("cat", "dog")
        first, second = all_of(a), all_of(b)
        assert torch.equal(first.x, second.x) and torch.equal(first.y, second.y)
        assert first.y.tolist() == [0, 0, 0, 1, 1, 1]
        assert torch.allclose((first.x[:, 0, 4, 4] + 1) * 127.5, torch.tensor([0.0, 20, 40] * 2), atol=1e-4)
        assert torch.equal(all_of(a).x, first.x)  # from memory


def test_a_zip_survives_pickling(tmp_path):
    store = Folder(path=pack(tmp_path / "set.zip", CLASSES), resolution=8)
    assert torch.equal(all_of(pickle.loads(pickle.dumps(store))).x, all_of(store).x)


def test_without_halves_every_tenth_is_held_out():
    train, test = divided(25, "train"), divided(25, "test")
    assert test == [9, 19] and sorted(train + test) == list(range(25))
    assert divided(4, "train") == divided(4, "test") == [0, 1, 2, 3]


@pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
def test_ways_to_make_a_square(tmp_path, resize):
    picture = Image.new("RGB", (24, 12))  # thirds of 8: black, red, black, so that the middle 12 hold 2+8+2
    picture.paste((255, 0, 0), (8, 0, 16, 12))
    file = io.BytesIO()
    picture.save(file, "PNG")
    x = all_of(Folder(path=fill(tmp_path, {"a.png": file.getvalue()}), resolution=12, resize=resize)).x[0, 0]
    if resize == "crop":
        assert x[:, 2:10].min() == 1 and x[:, [0, 1, 10, 11]].max() == -1
    elif resize == "stretch":
        assert x[:, 5:7].min() == 1 and x[:, :3].max() == -1 and x[0].equal(x[11])
    else:
        assert x[:3].max() == x[9:].max() == -1 and x[4:8, 5:7].min() == 1


def test_grey_and_colour(tmp_path):
    fill(tmp_path, {"a.png": png(colour=(255, 0, 0)), "b.png": png(colour=99, mode="L")})
    grey = all_of(Folder(path=tmp_path, channels=1, resolution=4)).x
    assert grey.shape == (2, 1, 4, 4) and ((grey[0] + 1) * 127.5).round().unique().tolist() == [76]  # 0.299 * 255
    assert all_of(Folder(path=tmp_path, channels=3, resolution=4)).x[1].unique().numel() == 1


def test_a_smaller_square_is_cut_where_the_position_says(tmp_path):
    ramp = Image.fromarray(np.arange(100, dtype=np.uint8).reshape(10, 10))
    file = io.BytesIO()
    ramp.save(file, "PNG")
    fill(tmp_path, {"a.png": file.getvalue()})
    store = Folder(path=tmp_path, channels=1, resolution=8, load=10, seed=3)
    x = ((store.__getitems__([(0, position) for position in range(300)]).x + 1) * 127.5).round().long()
    corners = x[:, 0, 0, 0]
    assert torch.equal(
        x[:, 0] - corners[:, None, None], torch.arange(8)[:, None] * 10 + torch.arange(8).expand(300, 8, 8)
    )
    assert sorted(corners.unique().tolist()) == [0, 1, 2, 10, 11, 12, 20, 21, 22]  # each place, and about as often
    assert corners.bincount().max() < 60
    for positions in ([5], range(3, 9)):  # the same in any batch
        again = store.__getitems__([(0, position) for position in positions]).x
        assert torch.equal(((again + 1) * 127.5).round().long()[:, 0, 0, 0], corners[list(positions)])
    assert Folder("test", tmp_path, channels=1, resolution=8, load=10).side == 8


def test_a_large_jpeg_comes_faster_and_all_but_the_same(tmp_path):
    waves = np.sin(np.arange(180) / 5)[:, None] * np.cos(np.arange(180) / 7) * 100 + 128
    Image.fromarray(waves.astype(np.uint8)).save(tmp_path / "a.jpg", quality=90)
    for side, least in ((64, 38), (69, float("inf"))):  # half of 180 is 4/3 of 64, but not of 69
        store = Folder(path=tmp_path, channels=1, resolution=side)
        whole = from_pillow(fitted(store.picture(0), side, "crop")).double()
        noise = (store.decode(0) - whole).pow(2).mean().sqrt()
        assert 20 * torch.log10(255 / noise) >= least and (noise > 0) == (side == 64)


def test_flips_belong_to_training_alone(tmp_path):
    ramp = Image.fromarray(np.arange(4, dtype=np.uint8)[None].repeat(4, 0))
    file = io.BytesIO()
    ramp.save(file, "PNG")
    fill(tmp_path, {"a.png": file.getvalue()})
    left = {}
    for split in ("train", "test"):
        x = Folder(split, tmp_path, channels=1, resolution=4, flip=True).__getitems__([(0, p) for p in range(200)]).x
        left[split] = ((x[:, 0, 0, 0] + 1) * 127.5).round().long().bincount(minlength=4).tolist()
    assert left["test"] == [200, 0, 0, 0] and left["train"][1:3] == [0, 0] and 70 < left["train"][3] < 130


def huge(width, height):
    """A small PNG file whose header claims this size."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = png()
    return data[:8] + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


def noise_jpeg():
    file = io.BytesIO()
    pixels = torch.randint(0, 256, (64, 64, 3), generator=torch.Generator().manual_seed(0)).byte().numpy()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def tiff(level):
    file = io.BytesIO()
    Image.new("F", (4, 4), level).save(file, "TIFF")
    return file.getvalue()


BAD = {
    "empty": ({}, {}, "holds no images"),
    "no pictures": ({"a.txt": b"x"}, {}, "holds no images"),
    "no picture": ({"a.png": b"not a picture"}, {}, "a.png cannot be read: it is no picture"),
    "cut short": ({"b.jpg": noise_jpeg()[:900]}, {}, "b.jpg cannot be read.*truncated"),
    "large": ({"c.png": huge(10_000, 8_000)}, {}, "c.png cannot be read.*10000x8000"),
    "bomb": ({"c.png": huge(60_000, 60_000)}, {}, "c.png cannot be read.*3600000000 pixels"),
    "postscript": ({"d.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"}, {}, "d.png cannot be read"),
    "floats": ({"e.tif": tiff(0.5)}, {}, "e.tif cannot be read.*kind F.*16 bits"),
    "load": ({"a.png": png()}, {"resolution": 8, "load": 7}, "data.load=7"),
    "attributes": ({"a.png": png()}, {"attributes": ["x"]}, "data.labels=<"),
    "strange class": ({"train/x/a.png": png(), "train/y/a.png": png(), "test/z/a.png": png()}, {}, "'z'"),
    "channels": ({"a.png": png()}, {"channels": 4}, "data.channels=4"),
    "resize": ({"a.png": png()}, {"resize": "zoom"}, "crop, pad, stretch or scale"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("packed", [False, True])
def test_bad_pictures_are_named(tmp_path, case, packed):
    files, options, message = BAD[case]
    (tmp_path / "set").mkdir()
    path = pack(tmp_path / "set.zip", files) if packed else fill(tmp_path / "set", files)
    split = "test" if case == "strange class" else "train"
    with pytest.raises(ValueError, match=message) as caught:
        all_of(Folder(split, path, **options))
    assert str(caught.value).count("\n") < 3
    if "cannot be read" in message:
        assert str(caught.value).startswith(f"{path}/") and "genzoo check" in str(caught.value)


def test_a_damaged_member_of_a_zip_is_named(tmp_path):
    path = pack(tmp_path / "set.zip", {"a.png": png(), "b.png": noise_jpeg()})
    data = bytearray(path.read_bytes())
    data[data.index(b"b.png") + 2000] ^= 255
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"set\.zip/b\.png cannot be read: .*mend or remove it"):
        all_of(Folder(path=path))


@pytest.mark.parametrize("name", ["../evil.png", "/evil.png", "a/../../evil.png", "..\\evil.png", "C:/evil.png"])
def test_a_zip_that_points_outside_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="outside"):
        Folder(path=pack(tmp_path / "set.zip", {"a.png": png(), name: png()}))


def test_a_zip_bomb_is_refused_unread(tmp_path):
    path = pack(tmp_path / "set.zip", {"a.png": bytes(2**26 + 1)})
    assert path.stat().st_size < 100_000
    with pytest.raises(ValueError, match="67,108,865"):
        Folder(path=path)


def test_a_broken_or_absent_place_is_named(tmp_path):
    pack(tmp_path / "set.zip", {"a.png": png()})
    (tmp_path / "cut.zip").write_bytes((tmp_path / "set.zip").read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"cut\.zip is no zip"):
        Folder(path=tmp_path / "cut.zip")
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        Folder(path=tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"data\.path"):
        Folder()


def test_real_pictures_of_an_archive(shared):
    store = Folder(path=shared / "data" / "cifar10" / "png4k.zip", resolution=32)
    held = Folder("test", path=shared / "data" / "cifar10" / "png4k.zip", resolution=32)
    assert len(store) == 3600 and len(held) == 400
    assert store.names == CIFAR10.names
    x, y = store.__getitems__([(0, 0), (3599, 1)])
    assert x.shape == (2, 3, 32, 32) and y.tolist() == [0, 9]


def slopes(folder, height=24, width=60, count=3):
    """Grey pictures whose level says how far to the right a pixel is."""
    row = np.arange(width, dtype=np.uint8).repeat(height).reshape(width, height).T * 4
    for i in range(count):
        Image.fromarray(row).save(folder / f"{i}.png")
    return folder


def test_scale_cuts_out_of_the_whole_picture(tmp_path):
    """Here 16x16 out of 24x60 as they are, out of 48x120 with `load`; the left edge tells where the cut lies."""
    store = Folder("train", slopes(tmp_path), 1, 16, resize="scale")
    lefts = [store.varied([(0, position)])[0, 0, 0, 0].item() / 4 for position in range(300)]
    assert min(lefts) <= 2 and max(lefts) >= 60 - 16 - 2 and len(set(lefts)) == 60 - 16 + 1
    one = store.varied([(0, 7)])[0, 0]
    assert torch.equal(one, store.varied([(1, 7)])[0, 0]) and (one[:, 1:] - one[:, :-1] == 4).all()
    large = Folder("train", tmp_path, 1, 16, resize="scale", load=48)
    assert tuple(large.whole(0).shape) == (1, 48, 120)
    test = Folder("test", tmp_path, 1, 16, resize="scale", flip=True)
    for position in range(5):
        assert test.varied([(0, position)])[0, 0, 0, 0].item() / 4 == (60 - 16) // 2


def test_scale_keeps_what_fits_into_memory(tmp_path, monkeypatch):
    store = Folder("train", slopes(tmp_path, count=2), 1, 16, resize="scale", memory=1.5 * 24 * 60 / 2**30)
    first, read = store.varied([(0, 0), (1, 1)]), []
    monkeypatch.setattr(store.files, "read", lambda name, take=store.files.read: read.append(name) or take(name))
    assert torch.equal(store.varied([(0, 0), (1, 1)]), first) and read == ["1.png"]


def test_scale_without_load_needs_pictures_that_are_large_enough(tmp_path):
    with pytest.raises(ValueError, match=r"0.png is 60x24 pixels, less than data.resolution=32: say data.load=32"):
        Folder("train", slopes(tmp_path), 1, 32, resize="scale").varied([(0, 0)])
    assert Folder("train", tmp_path, 1, 32, resize="scale", load=32).varied([(0, 0)]).shape == (1, 1, 32, 32)
