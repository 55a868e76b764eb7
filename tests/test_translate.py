"""genzoo translate: names, sizes and transparency are kept, what cannot be read is told, large pictures go by tiles."""

import io
import zipfile

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from genzoo import cli, hub, images
from genzoo.pace import Pace

SOURCE = np.random.default_rng(0)


def saved(folder, name, *overrides, names=("apple", "tomato")):
    node = cli.compose("train", [f"model={name}", "data=shapes_ab", "model.width=4", "run=x", *overrides]).model
    node = OmegaConf.to_container(node, resolve=True)
    torch.manual_seed(0)
    model = hub.build({key: value for key, value in node.items() if key not in ("name", "latent_dim", "width")})
    model.facts = {"data": {"name": "unpaired", "domains": list(names)}}
    return hub.save(model.eval(), folder)


@pytest.fixture(scope="module")
def cyclegan(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("cyclegan") / "ours", "cyclegan", "model.generator.b.depth=1")


def pixels(h, w, c=3):
    return SOURCE.integers(0, 256, (h, w, c) if c > 1 else (h, w), dtype=np.uint8)


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A folder of pictures of several sizes, one of them transparent, one grey, one in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    Image.fromarray(pixels(32, 48)).save(folder / "a.png")
    Image.fromarray(pixels(33, 47)).save(folder / "more/b.jpg")
    Image.fromarray(pixels(20, 30, 4)).save(folder / "c.png")
    Image.fromarray(pixels(41, 29, 1)).save(folder / "d.bmp")
    return folder


def translated(model, path, to="b"):
    x = images.from_uint8(images.read_image(path))[None]
    x = x.expand(-1, 3, -1, -1)
    return images.to_uint8(model.translate(x, to, seed=0)[0])


def test_a_folder_keeps_names_sizes_and_transparency(cyclegan, photos, capsys):
    assert cli.run("translate", [f"ckpt={cyclegan}", f"src={photos}", "to=tomato", "out=out"]) == 0
    out, model = photos.parent / "out", hub.load(cyclegan)
    made = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert made == {"a.png", "more/b.jpg", "c.png", "d.bmp.png", "before_after.png"}
    sheet = images.read_image(out / "before_after.png")
    assert sheet.shape[2] == 4 * 194 + 2 and sheet.shape[1] > 2 * 194 + 2  # with a line of captions
    assert torch.equal(images.read_image(out / "a.png"), translated(model, photos / "a.png"))
    assert torch.equal(images.read_image(out / "d.bmp.png"), translated(model, photos / "d.bmp"))
    for before, after in (("more/b.jpg", "more/b.jpg"), ("d.bmp", "d.bmp.png")):
        assert Image.open(photos / before).size == Image.open(out / after).size
    before, after = (np.asarray(Image.open(folder / "c.png")) for folder in (photos, out))
    assert np.array_equal(before[..., 3], after[..., 3]) and after.shape == before.shape
    said = capsys.readouterr()
    assert "4 pictures, before_after.png" in said.out and said.err == ""


def test_a_zip_and_a_single_picture(cyclegan, photos):
    with zipfile.ZipFile("photos.zip", "w") as archive:
        archive.write(photos / "a.png", "inside/a.png")
    model = hub.load(cyclegan)
    assert cli.run("translate", [f"ckpt={cyclegan}", "src=photos.zip", "to=a", "out=out"]) == 0
    expected = translated(model, photos / "a.png", "a")
    assert torch.equal(images.read_image("out/inside/a.png"), expected)
    assert cli.run("translate", [f"ckpt={cyclegan}", f"src={photos / 'a.png'}", "to=apple", "out=one.png"]) == 0
    assert torch.equal(images.read_image("one.png"), expected)
    with pytest.raises(ValueError, match=r"shape \(3, 8, 8\): images \(n, 3, h, w\) in \[-1, 1\] are translated"):
        model.translate(torch.zeros(3, 8, 8), to="b")


def test_the_folder_around_a_single_picture_is_not_searched(cyclegan, photos, monkeypatch):
    from genzoo.data import archives

    monkeypatch.setattr(archives.os, "walk", lambda path: pytest.fail(f"{path} is walked through"))
    assert cli.run("translate", [f"ckpt={cyclegan}", f"src={photos / 'a.png'}", "to=apple", "out=one.png"]) == 0


def test_pictures_of_one_size_go_together_and_come_out_the_same(cyclegan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "same").mkdir()
    for i in range(5):
        Image.fromarray(pixels(16, 20)).save(tmp_path / f"same/{i}.png")
    for size in (1, 4):
        words = [f"ckpt={cyclegan}", "src=same", "to=b", f"batch_size={size}", f"out=out{size}"]
        assert cli.run("translate", words) == 0
    for i in range(5):
        one, four = (images.read_image(f"out{size}/{i}.png").int() for size in (1, 4))
        assert (one - four).abs().max() <= 1


def test_a_picture_is_never_translated_onto_itself(cyclegan, photos, capsys):
    for place in ("hard.png", "link.png", "more/c.png"):
        (photos / place).hardlink_to(photos / "a.png") if "link" not in place else (photos / place).symlink_to("a.png")
    before = {path: path.read_bytes() for path in photos.rglob("*.png")}
    for src, out in [("a.png", "a.png"), ("a.png", "./hard.png"), ("a.png", "link.png"), ("link.png", "more/c.png")]:
        words = [f"src={photos / src}", f"out={photos / out}"]
        assert cli.run("translate", [f"ckpt={cyclegan}", "to=b", *words]) == 1
        complaint = capsys.readouterr().err
        assert all(word in complaint for word in words) and "another place" in complaint
    assert {path: path.read_bytes() for path in photos.rglob("*.png")} == before


def test_many_failures_are_counted_and_stand_in_a_file(cyclegan, photos, capsys):
    for number in range(9):
        (photos / f"broken\n\x1b[31m{number}.png").write_text("no picture")
    assert cli.run("translate", [f"ckpt={cyclegan}", f"src={photos}", "to=b", "out=out"]) == 1
    said = capsys.readouterr()
    told = said.err.splitlines()
    assert len(told) == 4 and "9 of 13 pictures failed" in told[-1] and "out/failed.txt" in told[-1]
    assert "\x1b[31" not in said.err and "\\n\\x1b[31m0.png" in said.err
    assert len((photos.parent / "out/failed.txt").read_text().splitlines()) == 9


def test_names_that_a_file_system_takes_for_one_become_two(tmp_path, monkeypatch):
    from pathlib import Path

    from genzoo.commands.translate import Picture, target

    monkeypatch.setattr(Path, "exists", lambda self: self.name == "a.png")
    assert target(tmp_path, Picture("a.png", None, None), ["A.png", "a.png"]) == tmp_path / "a.png.png"
    assert target(tmp_path, Picture("A.png", None, None), ["A.png", "a.png"]) == tmp_path / "A.png"


def test_what_cannot_be_read_is_told_and_the_rest_is_translated(cyclegan, photos, capsys):
    (photos / "broken.png").write_bytes((photos / "a.png").read_bytes()[:60])
    (photos / "text.jpg").write_text("no picture")
    (photos / "notes.txt").write_text("not looked at")
    assert cli.run("translate", [f"ckpt={cyclegan}", f"src={photos}", "to=b", "out=out"]) == 1
    said = capsys.readouterr()
    assert "made   out (4 pictures" in said.out
    failed = [line for line in said.err.splitlines() if line.startswith("failed")]
    assert [("broken.png" in line, "text.jpg" in line) for line in failed] == [(True, False), (False, True)]
    assert "2 of 6 pictures failed" in said.err
    assert len(list((photos.parent / "out").rglob("*.*"))) == 5


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["to=c"], "to=c: the domains of this model are a and b, a is apple, b is tomato"),
        ([], "to is missing: the domains of this model are a and b"),
        (["to=b", "memory=6"], "memory=6: a size such as 6GB or 500MB is expected"),
        (["to=b", "memory=0GB"], "memory=0GB: a size such as"),
        (["to=b", "batch_size=0"], "batch_size=0: expected a whole number of at least 1"),
        (["to=b", "src=nowhere"], "nowhere does not exist"),
        (["to=b", "src=empty"], "src=empty holds no pictures"),
        (["to=b", "out=out.tif"], "go into a folder, whose name has no dot in it"),
        (["to=b", "memory=1MB"], "too little for tiles of this model: say 0.1GB or more"),
        (["to=b", "memory=null"], "memory=null: expected a word"),
        (["to=b", "src=notes.txt"], "src=notes.txt is no zip, and by its name no picture (.png, "),
    ],
)
def test_wrong_words_are_answered_before_anything_is_written(cyclegan, photos, capsys, words, line):
    (photos.parent / "empty").mkdir()
    (photos.parent / "notes.txt").write_text("no picture")
    before = sorted(photos.parent.rglob("*"))
    typed = [f"ckpt={cyclegan}", *([] if any("src" in word for word in words) else [f"src={photos}"]), *words]
    assert cli.run("translate", typed) == 1
    said = capsys.readouterr().err
    assert line in said and len(said.splitlines()) <= 3
    assert sorted(photos.parent.rglob("*")) == before


def test_no_result_takes_the_place_of_another(cyclegan, photos, capsys):
    for name in ("d.bmp.png", "before_after.png"):
        Image.fromarray(pixels(16, 24)).save(photos / name)
    assert cli.run("translate", [f"ckpt={cyclegan}", f"src={photos}", "to=b", "out=out"]) == 0
    out, model = photos.parent / "out", hub.load(cyclegan)
    made = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    theirs = {"a.png", "more/b.jpg", "c.png", "d.bmp.png", "before_after.png"}
    assert made == theirs | {"d.bmp.png.png", "before_after.png.png"}
    for source, result in (("d.bmp", "d.bmp.png.png"), ("d.bmp.png",) * 2, ("before_after.png",) * 2):
        assert torch.equal(images.read_image(out / result), translated(model, photos / source))
    assert "6 pictures, before_after.png.png (" in capsys.readouterr().out


def test_a_damaged_file_in_a_zip_is_told_and_the_rest_is_translated(cyclegan, photos, capsys):
    with zipfile.ZipFile("photos.zip", "w") as archive:
        archive.write(photos / "a.png", "a.png")
        archive.write(photos / "c.png", "c.png")
    content = bytearray(open("photos.zip", "rb").read())
    content[200] ^= 255
    open("photos.zip", "wb").write(content)
    assert cli.run("translate", [f"ckpt={cyclegan}", "src=photos.zip", "to=b", "out=out"]) == 1
    said = capsys.readouterr()
    assert "failed photos.zip/a.png cannot be read: Bad CRC-32" in said.err and "made   out (1 picture," in said.out


def test_transparency_does_not_go_into_a_jpeg(cyclegan, photos, capsys):
    assert cli.run("translate", [f"ckpt={cyclegan}", f"src={photos / 'c.png'}", "to=b", "out=c.jpg"]) == 1
    said = capsys.readouterr().err
    assert "failed c.png: cannot be written: a JPEG has no transparency, a .png or .webp has" in said
    assert not (photos.parent / "c.jpg").exists()


def test_too_little_memory_on_a_device_is_told(cyclegan, photos, capsys, monkeypatch):
    from genzoo.models.cyclegan import CycleGAN

    translate = CycleGAN.translate

    def small(self, x, *words, **named):
        if x.shape[-1] > 30:
            raise torch.OutOfMemoryError("much text")
        return translate(self, x, *words, **named)

    monkeypatch.setattr(CycleGAN, "translate", small)
    assert cli.run("translate", [f"ckpt={cyclegan}", f"src={photos}", "to=b", "out=out"]) == 1
    said = capsys.readouterr()
    assert "failed a.png: took more memory than there is: say memory=<less>" in said.err
    assert "2 of 4 pictures failed" in said.err and "made   out (2 pictures" in said.out


def test_info_tells_what_to_type(cyclegan, photos, tmp_path, capsys):
    assert cli.run("info", [f"ckpt={cyclegan}"]) == 0
    said = capsys.readouterr().out
    assert "makes    apple by to=a, tomato by to=b\n" in said
    assert "works    genzoo translate src=photos to=b | export | info\n" in said
    one = saved(tmp_path / "pix2pix", "pix2pix", "model.to=a", names=("edges", "fruit"))
    cli.run("info", [f"ckpt={one}"])
    assert "makes    edges by to=a\n" in capsys.readouterr().out
    assert cli.run("evaluate", [f"ckpt={cyclegan}", "data=shapes_ab"]) == 1
    assert "CycleGAN cannot sample; it can translate" in capsys.readouterr().err


def test_a_model_that_translates_one_way_needs_no_word_for_it(photos, tmp_path, capsys):
    one = saved(tmp_path / "pix2pix", "pix2pix", names=("edges", "fruit"))
    assert cli.run("translate", [f"ckpt={one}", f"src={photos}", "out=out"]) == 0
    assert Image.open("out/more/b.jpg").size == (47, 33)
    assert cli.run("translate", [f"ckpt={one}", f"src={photos}", "to=edges", "out=other"]) == 1
    assert "this model makes b only" in capsys.readouterr().err


def test_dropout_that_lives_on_is_the_seeds(photos, tmp_path):
    one = saved(tmp_path / "pix2pix", "pix2pix", "model.generator.depth=6", "data.resolution=64")
    for out, seed in (("x", 1), ("y", 1), ("z", 2)):
        assert cli.run("translate", [f"ckpt={one}", f"src={photos / 'a.png'}", f"seed={seed}", f"out={out}.png"]) == 0
    x, y, z = (open(f"{name}.png", "rb").read() for name in "xyz")
    assert x == y != z


RESNET = "model.generator={_target_: genzoo.nets.translators.ResNet, depth: 2, norm: batch, dropout: 0.5}"


@pytest.mark.parametrize(
    ("name", "words", "told", "mean", "most"),
    [
        ("cyclegan", ["model.generator.b.depth=1"], "part 7 of 7", 0.05, 1),
        ("pix2pix", ["data.paired=true", RESNET], "part 7 of 7", 0.05, 1),  # its own statistics, live dropout
        ("cyclegan", ["model.generator.b={_target_: genzoo.nets.translators.UNet, depth: 3}"], "part 4 of 4", 2, 255),
    ],
)
def test_a_picture_beyond_the_memory_goes_by_parts(name, words, told, mean, most, tmp_path, monkeypatch, capsys):
    """Exactly by the stages of a ResNet, nearly by tiles with other networks; the picture is smooth, as in a photo."""
    from genzoo import tiles

    monkeypatch.chdir(tmp_path)
    model = saved(tmp_path / "ours", name, *words)
    smooth = torch.nn.functional.interpolate(torch.rand(1, 3, 6, 8), size=(1002, 1099), mode="bicubic").clamp(0, 1)[0]
    images.save_png("large.png", 2 * smooth - 1)
    network = hub.load(model).translator("b")
    monkeypatch.setattr(Pace, "due", lambda self: True)  # every step of the progress line
    enough = round(tiles.appetite(network, 3) * 920**2 / 1e6)
    assert tiles.room(network, enough * 1e6).whole < 1000 * 1096
    for out, memory in (("parts.png", f"{enough}MB"), ("whole.png", "60GB")):
        assert cli.run("translate", [f"ckpt={model}", "src=large.png", "to=b", f"memory={memory}", f"out={out}"]) == 0
    assert told in capsys.readouterr().err
    off = (images.read_image("parts.png").float() - images.read_image("whole.png").float()).abs()
    assert off.mean() <= mean and off.max() <= most


def test_tiles_leave_the_batch_norm_of_a_cyclegan_its_own_statistics(tmp_path, monkeypatch):
    from genzoo import tiles

    monkeypatch.chdir(tmp_path)
    model = saved(tmp_path / "ours", "cyclegan", "model.generator.b.depth=1", "model.generator.b.norm=batch")
    images.save_png("dark.png", torch.rand(3, 300, 700) / 2 - 1)
    need = tiles.appetite(hub.load(model).translator("b"), 3)
    for out, memory in (("tiled.png", f"{round(need * 300 * 400 / 1e6)}MB"), ("whole.png", "6GB")):
        assert cli.run("translate", [f"ckpt={model}", "src=dark.png", "to=b", f"memory={memory}", f"out={out}"]) == 0
    tiled, whole = (images.read_image(name).float() for name in ("tiled.png", "whole.png"))
    assert (tiled - whole).abs().max() <= 1


def test_only_the_translator_that_is_asked_for_keeps_its_weights(cyclegan):
    from genzoo.commands.translate import alone

    model = hub.load(cyclegan)
    kept = alone(model, "b")
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in kept.parameters()) > 0
    assert model.translate(torch.zeros(1, 3, 8, 8), "b").shape == (1, 3, 8, 8)


def test_transparency_is_found_in_every_mode(tmp_path):
    picture = Image.fromarray(pixels(4, 5, 4))
    stores = {"RGBA": picture, "LA": picture.convert("LA"), "P": picture.convert("P")}
    for mode, image in stores.items():
        buffer = io.BytesIO()
        image.save(buffer, "PNG", **({"transparency": 3} if mode == "P" else {}))
        found = images.alpha_of(io.BytesIO(buffer.getvalue()))
        assert found.shape == (1, 4, 5) and np.array_equal(
            found[0], np.asarray(Image.open(buffer).convert("RGBA"))[..., 3]
        )
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "PNG")
    assert images.alpha_of(io.BytesIO(buffer.getvalue())) is None
