"""Ranges, files and pictures of pictures."""

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import EpsImagePlugin, Image
from torch import nn

from genzoo import images
from genzoo.nets.init import normal_init


def test_ranges():
    x = torch.tensor([-1.0, 0.0, 1.0])
    assert images.to_unit(x).tolist() == [0, 0.5, 1] and torch.equal(images.to_signed(images.to_unit(x)), x)
    levels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(images.to_uint8(images.from_uint8(levels)), levels)
    assert images.from_uint8(levels)[[0, 255]].tolist() == [-1, 1]
    assert images.to_uint8(torch.tensor([-1.5, 0.0, 1.5])).tolist() == [0, 128, 255]  # 127.5 goes up
    assert images.to_uint8(torch.tensor([0.99], dtype=torch.bfloat16)).tolist() == [254]


def test_grid():
    sheet = images.grid(torch.arange(5.0).view(5, 1, 1, 1).expand(5, 1, 2, 3), columns=3, padding=1)
    assert sheet.shape == (1, 7, 13)
    assert sheet[0, 1].tolist() == [-1, 0, 0, 0, -1, 1, 1, 1, -1, 2, 2, 2, -1]
    assert sheet[0, 5].tolist() == [-1, 3, 3, 3, -1, 4, 4, 4, -1, -1, -1, -1, -1]
    assert (sheet[0, ::3] == -1).all()
    assert images.grid(torch.zeros(2, 3, 4, 4)).shape == (3, 8, 14)  # no wider than what it holds


@pytest.mark.parametrize("channels", [1, 3])
def test_png_round_trip(tmp_path, channels):
    pixels = torch.randint(256, (channels, 5, 7), dtype=torch.uint8)
    images.save_png(tmp_path / "image.png", images.from_uint8(pixels))
    assert torch.equal(images.read_image(tmp_path / "image.png"), pixels)
    with open(tmp_path / "image.png", "rb") as file:
        assert torch.equal(images.read_image(file), pixels)


def test_gif(tmp_path):
    frames = torch.linspace(-1, 1, 4).view(4, 1, 1, 1).expand(4, 1, 8, 8)
    images.save_gif(tmp_path / "walk.gif", frames, seconds=0.05)
    with Image.open(tmp_path / "walk.gif") as film:
        assert (film.n_frames, film.info["duration"], film.info["loop"]) == (4, 50, 0)
        film.seek(2)
        assert film.width >= 100 and film.convert("L").getpixel((3, 3)) == pytest.approx(170, abs=2)


@pytest.mark.parametrize("mode, channels", [("1", 1), ("L", 1), ("LA", 1), ("P", 3), ("RGBA", 3), ("CMYK", 3)])
def test_channels_of_files(mode, channels):
    file = io.BytesIO()
    Image.new(mode, (4, 3)).save(file, "TIFF")
    assert images.read_image(file).shape == (channels, 3, 4)


def levels_of(image, form="PNG", **options):
    """The levels of an image (c, h, w) that was written and read again, as nested lists."""
    file = io.BytesIO()
    image.save(file, form, **options)
    file.seek(0)
    return images.read_image(file).tolist()


def test_16_bits_are_scaled_to_8():
    deep = np.array([[0, 128, 129, 256, 257], [385, 386, 32_896, 65_406, 65_535]], np.uint16)
    assert levels_of(Image.fromarray(deep)) == [[[0, 0, 1, 1, 1], [1, 2, 128, 254, 255]]]  # v / 257, rounded
    assert levels_of(Image.fromarray(deep), "TIFF") == levels_of(Image.fromarray(deep), "PPM")


def test_white_stands_behind_what_is_transparent():
    colour = Image.new("RGBA", (3, 1))
    for x, pixel in enumerate([(200, 0, 0, 255), (200, 0, 0, 0), (0, 100, 255, 102)]):
        colour.putpixel((x, 0), pixel)
    assert levels_of(colour) == [[[200, 255, 153]], [[0, 255, 193]], [[0, 255, 255]]]  # 255 - (255 - v) * alpha / 255
    grey = Image.new("LA", (3, 1))
    for x, pixel in enumerate([(7, 255), (7, 0), (55, 51)]):
        grey.putpixel((x, 0), pixel)
    assert levels_of(grey) == [[[7, 255, 215]]]
    hidden = Image.new("RGB", (2, 1), (10, 20, 30))
    hidden.putpixel((1, 0), (0, 0, 0))
    assert levels_of(hidden, transparency=(10, 20, 30)) == [[[255, 0]], [[255, 0]], [[255, 0]]]
    assert levels_of(Image.new("L", (1, 1), 9), transparency=9) == [[[255]]]


@pytest.mark.parametrize("form", ["PNG", "GIF"])
def test_palettes_with_and_without_transparency(form):
    picture = Image.new("P", (3, 1))
    picture.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    for x in range(3):
        picture.putpixel((x, 0), x)
    assert levels_of(picture, form) == [[[255, 0, 0]], [[0, 255, 0]], [[0, 0, 255]]]
    assert levels_of(picture, form, transparency=1) == [[[255, 255, 0]], [[0, 255, 0]], [[0, 255, 255]]]
    if form == "PNG":
        assert levels_of(picture, transparency=bytes([255, 0, 51])) == [
            [[255, 255, 204]],
            [[0, 255, 204]],
            [[0, 255, 255]],
        ]


def test_cmyk_is_turned_to_rgb():
    assert levels_of(Image.new("CMYK", (1, 1), (0, 255, 255, 0)), "TIFF") == [[[255]], [[0]], [[0]]]
    (red,), (green,), (blue,) = (plane[0] for plane in levels_of(Image.new("CMYK", (1, 1), (255, 0, 0, 0)), "JPEG"))
    assert red < 5 and green > 250 and blue > 250  # not inverted


def test_a_photograph_stands_upright(tmp_path):
    photo = Image.new("RGB", (8, 4), (200, 0, 0))
    photo.paste((0, 0, 200), (0, 0, 4, 4))  # the left half is blue
    for turn, (blue, red) in {6: ((0, 0), (-1, 0)), 3: ((0, -1), (0, 0)), 8: ((-1, 0), (0, 0))}.items():
        exif = Image.Exif()
        exif[0x0112] = turn  # how the camera was held
        photo.save(tmp_path / "photo.png", exif=exif)
        seen = images.read_image(tmp_path / "photo.png")
        assert seen.shape == ((3, 4, 8) if turn == 3 else (3, 8, 4))
        assert seen[:, blue[0], blue[1]].tolist() == [0, 0, 200] and seen[:, red[0], red[1]].tolist() == [200, 0, 0]


def test_a_large_jpeg_is_decoded_at_a_fraction_of_its_size_only_when_enough_is_left():
    file, ramp = io.BytesIO(), np.linspace(0, 255, 256).astype(np.uint8)[None].repeat(256, 0)
    Image.fromarray(ramp).save(file, "JPEG", quality=95)
    sizes = {smallest: images.decoded(file, "ramp", smallest).size for smallest in (0, 256, 129, 128, 64, 1)}
    assert sizes == {0: (256, 256), 256: (256, 256), 129: (256, 256), 128: (128, 128), 64: (64, 64), 1: (32, 32)}
    small = images.from_pillow(images.decoded(file, "ramp", 64)).float()
    assert (small - torch.linspace(1.5, 253.5, 64)).abs().max() < 4


def header(width, height):
    """A PNG that announces a size and holds no pixels."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", b"")
    )


@pytest.mark.parametrize("size", [8193, 50_000])  # ours, and what Pillow itself refuses to open
def test_a_bomb_is_refused_by_its_header(tmp_path, size):
    (tmp_path / "bomb.png").write_bytes(header(size, size))
    with pytest.raises(ValueError, match="bomb.png.*pixels"):
        images.read_image(tmp_path / "bomb.png")


def test_damaged_files(tmp_path):
    images.save_png(tmp_path / "whole.png", torch.rand(3, 64, 64))
    whole = (tmp_path / "whole.png").read_bytes()
    flipped = whole[:2000] + bytes([whole[2000] ^ 255]) + whole[2001:]
    for number, data in enumerate((b"", b"no image", header(8, 8), whole[: len(whole) // 2], flipped)):
        (tmp_path / f"{number}.png").write_bytes(data)
        with pytest.raises(ValueError, match=f"{number}.png cannot be read"):
            images.read_image(tmp_path / f"{number}.png")
    for mode, level in (("F", 0.5), ("I", 65_536), ("I", -1)):
        Image.new(mode, (4, 4), level).save(tmp_path / "deep.tif")
        with pytest.raises(ValueError, match=f"deep.tif.*kind {mode}: .*8 or 16 bits"):
            images.read_image(tmp_path / "deep.tif")
    with pytest.raises(FileNotFoundError, match="none.png"):
        images.read_image(tmp_path / "none.png")


def test_no_file_starts_a_program(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *call, **options: started.append(call))
    Image.new("RGB", (4, 4)).save(tmp_path / "program.eps")
    with pytest.raises(ValueError, match=r"program.eps cannot be read: it is no picture in the format PNG"):
        images.read_image(tmp_path / "program.eps")
    assert not started


def test_scatter():
    points = torch.tensor([[-1.0, 1.0], [1.0, 1.0], [0.5, -0.5], [0.5, -0.5], [2.0, 0.0], [float("nan"), 0.0]])
    image = images.scatter(points, size=101)
    assert image.shape == (3, 101, 101) and image.min() >= -1 and image.max() <= 1
    lit = (image[0] > -0.5).float()
    assert lit[0, 0] == lit[0, 100] == lit[75, 75] == 1 and lit[100, 0] == 0  # y points upwards
    assert lit.sum() == 4 + 4 + 9  # what lies outside is not drawn
    assert image[0, 75, 75] > image[0, 0, 0]  # two points are brighter than one
    marked = images.scatter(points, centres=torch.tensor([[0.0, 0.0]]), size=101)
    changed = (marked != image).any(0)
    assert changed.sum() == 17 + 17 - 1 and changed[42:59, 50].all() and changed[50, 42:59].all()
    over = images.scatter(points, centres=points[2:3], size=101)
    assert torch.equal(over[:, 75, 75], marked[:, 50, 50])  # above the points
    assert images.scatter(torch.empty(0, 2)).isfinite().all()


def test_picture_takes_images_and_points():
    points, shown = torch.rand(9, 2), torch.rand(9, 1, 4, 4)
    assert torch.equal(images.picture(points), images.scatter(points))
    assert torch.equal(images.picture(shown), images.grid(shown))


@pytest.mark.parametrize(
    "shown, words",
    [
        (torch.rand(9, 1, 28, 28), {"title": "samples after 64 images"}),
        (torch.rand(9, 2), {"title": "samples after 64 images"}),
        (torch.rand(9, 2), {"modes": torch.rand(3, 2)}),
        ({"real": torch.rand(9, 1, 128, 128), "fake": torch.rand(9, 1, 128, 128)}, {"title": "a to b"}),
        ({"real": torch.rand(9, 1, 128, 128), "fake": torch.rand(9, 1, 128, 128)}, {}),
    ],
)
def test_what_a_picture_shows_is_said_above_it(shown, words, monkeypatch):
    said = []
    legend = images.legend
    monkeypatch.setattr(images, "legend", lambda sheet, *captions: said.extend(captions) or legend(sheet, *captions))
    whole = images.picture(shown, **words)
    assert words.get("title", "") in said[0] and ("crosses" in said[0]) == ("modes" in words)
    assert said[1:] == ([[("real", 1), ("fake", 1)] * 4] if isinstance(shown, dict) else [])
    monkeypatch.setattr(images, "legend", lambda sheet, *_: sheet)
    bare = images.picture(shown, **words)
    assert torch.equal(whole[:, -bare.shape[1] :, : bare.shape[2]], bare) and (whole[:, : -bare.shape[1]] > 0).any()


CAPTIONED = images.grid(torch.rand(12, 1, 28, 28) * 2 - 1, columns=4)


@pytest.mark.parametrize("sheet", [CAPTIONED, CAPTIONED.expand(3, -1, -1), images.grid(torch.rand(12, 3, 4, 4))])
def test_a_legend_stands_around_a_sheet_and_leaves_it_as_it_is(sheet):
    height, width = sheet.shape[1:]
    kinds = {"title": "a title that is far too wide for one line " * 4, "columns": [("left", 1), ("three tiles", 3)],
             "rows": [("first", 1), ("second", 1), ("third", 1)]}  # fmt: skip
    for words in ({name: kinds[name]} for name in kinds):
        whole = images.legend(sheet, **words)
        assert torch.equal(whole[:, -height:, :width], sheet) and whole.dtype == sheet.dtype
        outside = whole.clone()
        outside[:, -height:, :width] = -1
        assert outside.max() > 0.5 and outside.min() == -1  # white on black
        assert outside[:, -height:].max() > 0.5 if "rows" in words else outside[:, -height:].max() == -1
    bare = images.legend(sheet, "")
    assert bare.shape[1] < height + 8 and torch.equal(bare[:, -height:, :width], sheet)


def test_captions_stand_over_their_tiles():
    words = [("one", 1), ("two", 1), ("three", 1), ("four", 1)]
    for number in range(4):
        columns = [(text if place == number else "", count) for place, (text, count) in enumerate(words)]
        strip = images.legend(CAPTIONED, columns=columns)[0, : -CAPTIONED.shape[1]]
        middle = (strip > 0).any(0).nonzero().float().mean().item()
        assert abs(middle - (2 + 30 * number + 14)) < 4
        rows = [(text if place == number else "", count) for place, (text, count) in enumerate(words[:3])]
        beside = images.legend(CAPTIONED, rows=rows)[0, -CAPTIONED.shape[1] :, CAPTIONED.shape[2] :]
        assert number == 3 or abs((beside > 0).any(1).nonzero().float().mean().item() - (16 + 30 * number)) < 5


def test_captions_never_cover_each_other_nor_stand_over_tiles_of_others():
    kept = images.thinned([(place, 20, str(place)) for place in range(0, 101, 10)], 100)
    assert sorted(place for place, _ in kept) == [10, 30, 50, 70, 90]  # moved inwards at both ends
    assert {text for _, text in kept} >= {"0", "100"}
    wide = images.legend(CAPTIONED, columns=[("", 2), ("by a network of a very long name", 2)])
    assert torch.equal(wide, images.legend(CAPTIONED, columns=[("", 2), ("", 2)]))


def test_names_of_any_alphabet_become_captions():
    assert images.in_ascii("Äpfel\n\x1b[31m 中") == "Apfel\\n\\x1b[31m ?"
    assert len(images.in_ascii("x" * 10_000)) == images.LONGEST


def test_normal_init():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(8, 64, 4),
        nn.BatchNorm2d(64),
        nn.ConvTranspose2d(64, 16, 4),
        nn.Linear(100, 100),
        nn.BatchNorm1d(2000),
        nn.BatchNorm1d(3, affine=False),
        nn.Linear(2, 2, bias=False),
    )
    normal_init(net, std=0.05)
    for part, mean in zip(net[:5], (0, 1, 0, 0, 1)):
        assert part.weight.mean().item() == pytest.approx(mean, abs=0.02)
        assert part.weight.std().item() == pytest.approx(0.05, rel=0.25)
        assert not part.bias.any()
