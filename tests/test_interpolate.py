"""interpolate between samples, latents and pictures; sheets, loops as films, and folders of frames."""

import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from PIL import Image

from genzoo import cli, hub, images
from genzoo.commands import invert
from genzoo.core.roles import LatentSampler
from genzoo.priors import Normal, lerp, slerp

DIM = 5  # drawn latents whose last ones depend on how many there are: 5 is no multiple of 16


class Painter(LatentSampler, torch.nn.Module):
    """Its images of 8x8 are its latents behind one linear layer, so that a picture tells the latent."""

    facts: dict = {}
    device, dtype, prior = torch.device("cpu"), torch.float32, Normal(DIM)

    def __init__(self):
        super().__init__()
        self.generator = torch.nn.Linear(DIM, 64)

    def sample(self, n, y=None, *, seed=None, truncation=None):
        return self.generate(self.latents(n, seed=seed))

    def generate(self, z, y=None):
        return self.generator(z).tanh().view(-1, 1, 8, 8)


class Encoding(Painter):
    """One that knows the latent of every picture."""

    def encode(self, x):
        return torch.linalg.lstsq(self.generator.weight, x.flatten(1).clamp(-0.9999, 0.9999).atanh().T
                                  - self.generator.bias[:, None]).solution.T  # fmt: skip

    def reconstruct(self, x):
        return self.generate(self.encode(x))


class Pointing(Painter):
    """One that makes points of the plane."""

    def generate(self, z, y=None):
        return self.generator(z)[:, :2].tanh()


@pytest.fixture
def painter(monkeypatch, tmp_path):
    """An empty folder, and a function that puts a model behind `ckpt=x`."""
    monkeypatch.chdir(tmp_path)

    def behind(kind=Painter):
        torch.manual_seed(0)
        model = kind().requires_grad_(False)
        monkeypatch.setattr(hub, "load", lambda *_, **__: model)
        return model

    return behind


def interpolate(*words):
    return cli.run("interpolate", ["ckpt=x", *words])


def shown(rows, columns, path="interpolation.png"):
    """A sheet's images again, without the legend around it: (rows, columns, 8, 8) in 0..255."""
    sheet = images.read_image(path)[0, -(rows * 10 + 2) :, : columns * 10 + 2]
    assert sheet.shape == (rows * 10 + 2, columns * 10 + 2)
    return sheet[2:, 2:].unfold(0, 8, 10).unfold(1, 8, 10)


def painted(model, z):
    """The images of latents (..., dim) in 0..255, (..., 8, 8)."""
    return images.to_uint8(model.generate(z.flatten(0, -2))).view(*z.shape[:-1], 8, 8)


def same(a, b, distance=1):
    return bool((a.int() - b.int()).abs().max() <= distance)


def walks(ends, steps, way=slerp):
    """From each of the ends to the next: (k, dim) -> (k - 1, steps, dim)."""
    return torch.stack([way(a, b, torch.linspace(0, 1, steps)) for a, b in zip(ends, ends[1:])])


def test_between_samples_by_their_numbers(painter):
    """What `genzoo sample` shows by default: 64 of them, with or without truncation."""
    model = painter()
    for more, truncation in ([], None), (["truncation=0.5"], 0.5):
        assert interpolate("ends=[3,7,12]", "steps=5", "seed=2", *more) == 0
        ends = model.latents(64, seed=2, truncation=truncation)[[3, 7, 12]]
        assert same(shown(2, 5), painted(model, walks(ends, 5)))
    assert interpolate("ends=[70,3]", "steps=2") == 0  # beyond the first 64


@pytest.mark.parametrize("path", ["lerp", "slerp"])
def test_between_latents_of_a_file(painter, path):
    model, z = painter(), torch.randn(3, DIM, generator=torch.manual_seed(4))
    np.save("z.npy", z.numpy().astype(np.float64))
    assert interpolate("latents=z.npy", "steps=4", f"path={path}") == 0
    assert same(shown(2, 4), painted(model, walks(z, 4, {"lerp": lerp, "slerp": slerp}[path])))


@pytest.mark.parametrize("kind", [Painter, Encoding])
def test_between_pictures(painter, monkeypatch, kind):
    """By the encoder, or by inversion: here both find the latents again."""
    model = painter(kind)
    z = model.latents(3, seed=5) / 2
    for name, image in zip("abc", model.generate(z)):
        images.save_png(f"{name}.png", image)
    used, search = [], invert.found_for
    monkeypatch.setattr(invert, "found_for", lambda *words: used.append(1) or search(*words))
    assert interpolate("src=[a.png,b.png,c.png]", "steps=3") == 0
    assert same(shown(2, 3), painted(model, walks(z, 3)), 3) and bool(used) == (kind is Painter)


def test_a_sheet_between_four_corners_of_ones_own(painter):
    model = painter()
    assert interpolate("ends=[9,1,8,2]", "corners=true", "rows=3", "steps=4") == 0
    sheet, ends = shown(3, 4), model.latents(64, seed=0)[[9, 1, 8, 2]]
    assert same(torch.stack([sheet[0, 0], sheet[0, 3], sheet[2, 0], sheet[2, 3]]), painted(model, ends))


def test_a_folder_holds_the_frames_of_a_loop(painter, tmp_path):
    model = painter()
    assert interpolate("ends=[0,1,2]", "steps=4", "out=frames") == 0
    files = sorted((tmp_path / "frames").iterdir())
    assert [file.name for file in files] == [f"{i:05}.png" for i in range(12)]
    ends = model.latents(64, seed=0)[[0, 1, 2, 0]]
    frames = torch.stack([images.read_image(file)[0] for file in files])
    assert same(frames, painted(model, walks(ends, 5)[:, :4].flatten(0, 1)))


def test_loops_as_webp(painter):
    model = painter()
    assert interpolate("ends=[0,1,2]", "steps=4", "out=walk.webp") == 0
    with Image.open("walk.webp") as film:
        assert film.n_frames == 12 and film.size == (128, 128) and film.info["loop"] == 0
        film.seek(4)  # the second of the ends
        found = torch.from_numpy(np.array(film.convert("L"))[8::16, 8::16])
        assert film.info["duration"] == 100
    assert (found.float() - painted(model, model.latents(64, seed=0)[1:2])[0]).abs().mean() < 6


@pytest.mark.skipif(not find_spec("av"), reason="the extra video is not installed")
def test_loops_as_mp4(painter):
    import av

    model = painter()
    assert interpolate("ends=[0,1,2]", "steps=4", "out=walk.mp4") == 0
    with av.open("walk.mp4") as film:
        stream = film.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt, stream.average_rate) == ("h264", "yuv420p", 10)
        frames = [frame.to_ndarray(format="gray") for frame in film.decode(stream)]
    assert len(frames) == 12 and frames[0].shape == (128, 128)
    found = torch.from_numpy(frames[4][8::16, 8::16])
    assert (found.float() - painted(model, model.latents(64, seed=0)[1:2])[0]).abs().mean() < 6


@pytest.mark.skipif(not find_spec("av"), reason="the extra video is not installed")
def test_films_of_odd_sizes_and_colours(tmp_path):
    import av

    frames = torch.full((3, 3, 151, 149), -1.0)
    frames[:, 0] = 1.0  # red
    images.save_mp4(tmp_path / "a.mp4", frames, seconds=0.04)
    with av.open(str(tmp_path / "a.mp4")) as film:
        assert film.streams.video[0].average_rate == 25
        (first, *rest) = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert len(rest) == 2 and first.shape == (152, 150, 3)
    assert np.abs(first.astype(int) - (255, 0, 0)).max() < 8  # the pixels that were added, too


@pytest.mark.parametrize("out", ["walk.gif", "frames"])
def test_points_wander(painter, tmp_path, out):
    painter(Pointing)
    assert interpolate("rows=2", "steps=3", f"out={out}") == 0
    first = tmp_path / out if out.endswith(".gif") else tmp_path / out / "00000.png"
    with Image.open(first) as film:
        assert film.size == (256, 256)


WRONG = {
    "two kinds": (["ends=[1,2]", "latents=z.npy"], "ends= and latents=: one of these says what to walk between"),
    "one end": (["ends=3"], "1 given to walk between; 2 or more are needed"),
    "no end": (["ends=[]"], "ends=[]: numbers of samples from 0 on"),
    "a word": (["ends=[a,b]"], "numbers of samples from 0 on"),
    "negative": (["ends=[1,-1]"], "numbers of samples from 0 on"),
    "corners": (["ends=[1,2,3]", "corners=true"], "3 given to walk between; 4 are needed with corners=true"),
    "truncation": (["latents=z.npy", "truncation=1"], "leave it out"),
    "no file": (["latents=none.npy"], "none.npy does not exist"),
    "no picture": (["src=[none.png,none.png]"], "none.png"),
    "frames of corners": (["corners=true", "out=frames"], "corners=true makes a .png"),
    "suffix": (["out=a.avi"], ".png, .gif, .webp, .mp4, nothing (a folder of PNGs)"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_words_are_told(painter, capsys, tmp_path, case):
    painter()
    assert interpolate(*WRONG[case][0]) == 1
    complaint = capsys.readouterr().err
    assert WRONG[case][1] in complaint and complaint.count("\n") <= 3 and not any(tmp_path.glob("*.png"))


def test_the_missing_film_maker_is_told_before_anything_is_made(painter, monkeypatch, capsys):
    monkeypatch.setattr(hub, "load", lambda *_, **__: pytest.fail("it was loaded"))
    monkeypatch.setitem(sys.modules, "av", None)
    assert interpolate("out=a.mp4") == 1 and 'pip install "genzoo[video]"' in capsys.readouterr().err
