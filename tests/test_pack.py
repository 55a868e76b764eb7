"""genzoo pack: from every kind of source to a pack that trains, and one plain line where that cannot be."""

import io
import os
import re
import resource
import shlex
import sys
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from genzoo import cli
from genzoo.data import packing
from genzoo.data.folder import Folder
from genzoo.data.packed import Packed

SOURCE = np.random.default_rng(0)
PIXELS = SOURCE.integers(0, 256, (30, 8, 8, 3), np.uint8)


@pytest.fixture
def genzoo(monkeypatch, tmp_path, capsys):
    """Run a verb in an empty folder: its exit code, what it printed and what it complained about."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["genzoo"])  # cli.run replaces it

    def run(verb, *arguments):
        code = cli.run(verb, [str(argument) for argument in arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def png(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def sources(folder):
    """The same pictures as a folder, an archive, shards and arrays."""
    (folder / "set").mkdir()
    for i, image in enumerate(PIXELS):
        (folder / "set" / f"{i:02}.png").write_bytes(png(image))
    with tarfile.open(folder / "set.tar", "w") as archive:
        archive.add(folder / "set", "set")
    np.savez(folder / "set.npz", images=PIXELS)
    np.save(folder / "set.npy", PIXELS)
    return ["set", "set.tar", "set.npz", "set.npy"]


def test_every_kind_of_source_gives_the_same_pack(genzoo, tmp_path):
    for source in sources(tmp_path):
        code, said, _ = genzoo(
            "pack", f"src={source}", f"out=out/{source}", "resolution=8", "pyramid=true", "workers=0"
        )
        assert code == 0
        assert f"made   out/{source} (27 + 3 images of 3 channels, 8 4 pixels, 0.0 MB" in said
        for split in ("train", "test"):
            wanted = Folder(split, tmp_path / "set", resolution=8)
            assert torch.equal(
                Packed(split, f"out/{source}", 8).images, torch.stack([wanted.decode(i) for i in range(len(wanted))])
            )
    assert f'"source": "{source}"' in (tmp_path / "out" / source / "pack.json").read_text()
    assert str(tmp_path) not in (tmp_path / "out" / source / "pack.json").read_text()


def test_what_it_says_to_type_next_trains(genzoo):
    code, said, _ = genzoo("pack", "data=digits", "data.resolution=16", "out=digits", "workers=0")
    assert code == 0 and "(1,500 + 297 images of 1 channel, 16 pixels" in said
    (line,) = (line for line in said.splitlines() if line.startswith("next"))
    assert line.split()[1:3] == ["genzoo", "check"] and genzoo(*line.split()[2:])[0] == 0
    assert genzoo("train", *line.split()[3:], "model=gan", "kimg=0.5", "batch_size=50", "run=run")[0] == 0
    assert genzoo("pack", "data=digits", "resolution=16", "out=again", "workers=0")[0] == 0
    assert (open("again/train-16.npy", "rb").read()) == open("digits/train-16.npy", "rb").read()


def test_a_path_to_paste(genzoo, tmp_path):
    assert genzoo("pack", "data=digits", 'out="my \u00e4 (1)"', "workers=0")[0] == 0
    assert genzoo("pack", "data=digits", "out=plain", "workers=0")[0] == 0
    code, said, _ = genzoo("pack", "data=digits", 'out="it\'s"', "workers=0")
    (line,) = (line for line in said.splitlines() if line.startswith("next"))
    assert code == 0 and genzoo(*shlex.split(line)[2:])[0] == 0


def test_what_a_pack_is_made_of_can_be_a_pack(genzoo):
    assert genzoo("pack", "data=digits", "out=a", "workers=0")[0] == 0
    words = ["data=packed", "data.path=a", "data.resolution=32", "data.channels=1"]
    assert genzoo("pack", *words, "out=b", "workers=0")[0] == 0
    assert open("a/train-32.npy", "rb").read() == open("b/train-32.npy", "rb").read()


def test_flip_is_a_key_of_every_set_of_pixels(genzoo):
    assert genzoo("pack", "data=digits", "out=a", "workers=0")[0] == 0
    for name in ("packed", "arrays", "shards", "torchvision"):
        data = cli.compose("check", [f"data={name}", "data.flip=true"]).data
        assert data.store.flip is True


BAD = {
    "nothing": ([], "either src=.* or data="),
    "both": (["src=x", "data=digits"], "either src=.* or data="),
    "nowhere": (["src=nowhere"], "nowhere does not exist"),
    "no array": (["src=nowhere.npz"], "nowhere.npz does not exist"),
    "no tar": (["src=nowhere.tar"], "nowhere.tar does not exist"),
    "points": (["data=ring"], "single pictures"),
    "pyramid": (["data=digits", "data.resolution=20", "pyramid=true"], "20 is none of 8"),
    "channels": (["data=digits", "channels=3"], "channels=3: data=digits has no such choice"),
    "resize": (["data=digits", "resize=crop"], "resize=crop: data=digits has no such choice"),
    "small": (["data=digits", "resolution=0"], "resolution=0: expected a whole number of at least 1"),
    "workers": (["data=digits", "workers=-1"], "workers=-1"),
    "no src": (["src="], "src=: expected a path"),
    "no out": (["data=digits", "out="], "out=: expected a path"),
    "nowhere to write": (["data=digits", "out=/proc/no/pack"], r"out=/proc/no/pack cannot be written.*\n.*out=\s$"),
    "pairs": (["data=paired", "data.path=there/pairs", "resolution=8"], "single pictures.*Paired"),
    "any shape": (
        ["data=folder", "data.path=there/pairs", "data.resize=scale", "resolution=8"],
        "a pack holds squares",
    ),
    "there": (["data=digits", "out=there"], "out=there is there already"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_requests_are_answered_in_one_line(genzoo, tmp_path, case):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "pairs").mkdir()
    (tmp_path / "there" / "pairs" / "a.png").write_bytes(png(np.zeros((8, 16, 3), np.uint8)))
    (tmp_path / "there" / "file").touch()
    arguments, message = BAD[case]
    code, _, said = genzoo("pack", *([] if case == "there" else ["out=new"]), *arguments)
    assert code == 1 and said.startswith("genzoo: ") and said.count("\n") == 1 + message.count("\\n")
    assert re.search(message, said), said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there"]


def test_a_broken_picture_is_named_and_nothing_is_taken_for_a_pack(genzoo, tmp_path):
    sources(tmp_path)
    (tmp_path / "set" / "13.png").write_bytes(png(PIXELS[13])[:60])
    for workers in (0, 1):
        code, _, said = genzoo("pack", "src=set", "out=new", "resolution=8", f"workers={workers}")
        assert code == 1 and "13.png cannot be read" in said and said.count("\n") <= 3
        assert not (tmp_path / "new").exists()
    (tmp_path / "set" / "13.png").write_bytes(png(PIXELS[13]))
    code, _, said = genzoo("pack", "src=set", "out=new", "resolution=8", "workers=0")
    assert code == 0 and (tmp_path / "new" / "pack.json").is_file()


def test_stopped_or_out_of_space_it_goes_on(genzoo, tmp_path, monkeypatch):
    sources(tmp_path)
    words = ("pack", "src=set", "resolution=8", "workers=0")
    assert genzoo(*words, "out=unbroken")[0] == 0
    monkeypatch.setattr(packing, "BLOCK", 4)
    monkeypatch.setattr(packing, "monotonic", iter(range(0, 10**6, 2)).__next__)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, before[1]))
    try:
        code, _, said = genzoo(*words, "out=new")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert code == 1 and "too large" in said and "stays in new.part" in said and said.count("\n") <= 3
    calls = []

    def interrupted(*arguments, real=os.fsync):
        calls.append(1)
        if len(calls) == 7:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(packing.os, "fsync", interrupted)
    code, _, said = genzoo(*words, "out=new")
    assert code == 130 and "nothing is lost" in said and "goes on behind 12 of 30 images" in said
    code, _, said = genzoo(*words, "out=new")
    assert code == 0 and "goes on behind 24 of 30 images" in said
    for path in (tmp_path / "unbroken").iterdir():
        assert path.read_bytes() == (tmp_path / "new" / path.name).read_bytes()
