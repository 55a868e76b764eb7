"""sample, interpolate, list, info and export, run in this process as the command line runs them."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file

from genzoo import cli, hub, images, latents
from genzoo.core.random import generator
from genzoo.data.digits import Digits
from genzoo.priors import Normal

RECIPES = {
    "dcgan": ["model=dcgan", "model.width=4", "data=digits"],
    "vae": ["model=vae", "model.width=4", "data=digits"],
    "gan": ["model=gan", "data=ring"],
    "classifier": ["model=classifier", "data=digits"],
}


@pytest.fixture(scope="session")
def zoo(tmp_path_factory):
    """An exported folder of each kind, not trained, with BatchNorm statistics that are not the initial ones."""
    folder = tmp_path_factory.mktemp("zoo")
    for name, recipe in RECIPES.items():
        config = cli.compose("train", [*recipe, "run=x"])
        node = OmegaConf.to_container(config, resolve=True)["model"]
        torch.manual_seed(1)
        model = hub.build({k: v for k, v in node.items() if k not in ("name", "latent_dim", "width")})
        if name == "dcgan":
            with torch.no_grad():
                model.generate(3 * torch.randn(16, model.prior.dim))
        model.images_seen = 1234
        model.facts = {
            "model": name,
            "seed": 0,
            "data": {"name": "digits", "channels": 1, "resolution": 32, "names": ["a", "b"]},
        }
        hub.save(model, folder / name)
        torch.save({"state_dict": model.state_dict(), "genzoo": model.facts | {"images_seen": 1234, "config": model.config}},
                   folder / f"{name}.ckpt")  # fmt: skip
        (folder / f"run-{name}").mkdir()
        (folder / f"run-{name}" / "step-000000001.ckpt").hardlink_to(folder / f"{name}.ckpt")
    return folder


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


@pytest.mark.parametrize("name", ["dcgan", "vae", "gan"])
def test_samples_are_a_function_of_weights_and_seed(zoo, genzoo, name):
    model = hub.load(zoo / name)
    for out, ckpt, more in [
        ("a.npy", name, ["seed=3"]),
        ("b.npy", f"run-{name}", ["seed=3"]),
        ("c.npy", name, ["seed=4"]),
    ]:
        assert genzoo("sample", f"ckpt={zoo / ckpt}", "n=9", f"out={out}", *more)[0] == 0
    a, b, c = (np.load(f"{letter}.npy") for letter in "abc")
    assert np.array_equal(a, model.sample(9, seed=3).numpy())
    assert np.array_equal(a, b) and not np.allclose(a, c)
    assert a.dtype == np.float32 and a.shape == ((9, 2) if name == "gan" else (9, 1, 32, 32))
    assert -1 <= a.min() < a.max() <= 1


@pytest.mark.parametrize("truncation", [None, 0.7])
@pytest.mark.parametrize("name", ["dcgan", "vae", "gan"])
def test_a_sample_is_the_same_however_many_are_drawn(zoo, name, truncation):
    model = hub.load(zoo / name)
    many = model.latents(64, seed=3, truncation=truncation)
    for n in (1, 3, 13, 50):
        assert torch.equal(model.latents(n, seed=3, truncation=truncation), many[:n])


@pytest.mark.parametrize("name", ["dcgan", "vae"])
def test_batch_size_does_not_change_the_images(zoo, genzoo, name):
    for size in (2, 7, 64):
        assert genzoo("sample", f"ckpt={zoo / name}", "n=7", f"batch_size={size}", f"out={size}.npy")[0] == 0
    for size in (2, 7):
        np.testing.assert_allclose(np.load(f"{size}.npy"), np.load("64.npy"), atol=1e-5)


def test_latents_of_a_file_take_the_place_of_drawn_ones(zoo, genzoo):
    z = hub.load(zoo / "vae").latents(5, seed=0, truncation=0.5)
    np.save("z.npy", z.numpy())
    save_file({"latents": z}, "z.safetensors")
    assert z.abs().max() <= 0.5
    for more, out in [("latents=z.npy", "a"), ("latents=z.safetensors", "b"), ("truncation=0.5", "c")]:
        assert genzoo("sample", f"ckpt={zoo / 'vae'}", "n=5", more, f"out={out}.safetensors")[0] == 0
    a, b, c = (load_file(f"{letter}.safetensors")["images"] for letter in "abc")
    assert a.shape == (5, 1, 32, 32) and torch.equal(a, b) and torch.equal(a, c)


def test_a_picture_a_folder_and_numbers_show_the_same(zoo, genzoo, tmp_path):
    for out in ("deep/er/sheet.png", "single", "numbers.npy"):
        code, told, _ = genzoo("sample", f"ckpt={zoo / 'dcgan'}", "n=10", f"out={out}")
        assert code == 0 and out in told and "10 images of 1 x 32 x 32" in told and "next   genzoo " in told
    x = torch.from_numpy(np.load("numbers.npy"))
    assert torch.equal(images.read_image("deep/er/sheet.png"), images.to_uint8(images.grid(x)))
    singles = sorted((tmp_path / "single").iterdir())
    assert [file.name for file in singles] == [f"{i:05}.png" for i in range(10)]
    assert torch.equal(torch.stack([images.read_image(file) for file in singles]), images.to_uint8(x))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "numbers.npy", "single"]  # no litter


@pytest.mark.parametrize("name", ["dcgan", "vae", "gan"])
def test_what_to_type_next(zoo, genzoo, name):
    """Points and a bound are judged as they are, images of a GAN through a network."""
    told = genzoo("sample", f"ckpt={zoo / name}", "n=2")[1].splitlines()
    assert told[1] == f"next   genzoo interpolate ckpt={zoo / name}"
    more = " features=runs/classifier" if name == "dcgan" else ""
    assert told[2:] == [f"       genzoo evaluate ckpt={zoo / name}{more}"]


def test_points_become_a_scatter_plot(zoo, genzoo):
    assert genzoo("sample", f"ckpt={zoo / 'gan'}", "n=50", "out=points.png")[0] == 0
    assert images.read_image("points.png").shape == (3, 256, 256)


@pytest.mark.parametrize("name", ["dcgan", "vae"])
def test_walks_begin_and_end_at_the_drawn_latents(zoo, genzoo, name):
    model = hub.load(zoo / name)
    for more, ends in [
        (["rows=2"], [0, 4, 5, 9]),
        (["rows=3", "corners=true"], [0, 4, 10, 14]),
        (["rows=2", "path=lerp"], [0, 4, 5, 9]),
    ]:
        code, told, _ = genzoo("interpolate", f"ckpt={zoo / name}", "steps=5", "seed=2", "out=w.png", *more)
        assert code == 0 and "x 5 images" in told
        sheet = images.read_image("w.png")[:, -((ends[-1] // 5 + 1) * 34 + 2) :]  # below its legend
        cells = [sheet[:, 2 + i // 5 * 34 : 34 + i // 5 * 34, 2 + i % 5 * 34 : 34 + i % 5 * 34] for i in ends]
        wanted = images.to_uint8(model.generate(model.latents(4, seed=2)))
        assert (torch.stack(cells).int() - wanted.int()).abs().max() <= 1  # sums in another order
        assert wanted[0].ne(wanted[1]).any()


def test_path_changes_the_way_between(zoo, genzoo):
    for path in ("null", "slerp", "lerp"):
        assert genzoo("interpolate", f"ckpt={zoo / 'dcgan'}", f"path={path}", "rows=1", f"out={path}.png")[0] == 0
    own, arc, line = (images.read_image(f"{path}.png") for path in ("null", "slerp", "lerp"))
    assert torch.equal(own, arc) and not torch.equal(arc, line)


@pytest.mark.parametrize("name", ["vae", "gan"])
def test_a_gif_passes_every_end_and_loops(zoo, genzoo, name):
    from PIL import Image

    assert genzoo("interpolate", f"ckpt={zoo / name}", "rows=3", "steps=4", "out=w.gif")[0] == 0
    with Image.open("w.gif") as animation:
        assert animation.info["loop"] == 0 and 3 <= animation.n_frames <= 12  # Pillow joins equal frames


def test_list_has_a_line_for_every_configuration(genzoo):
    code, told, _ = genzoo("list")
    assert code == 0 and "GAN (Goodfellow et al. 2014)" in told and "@package" not in told
    for group in ("model", "data", "objective", "experiment"):
        for file in (cli.config_folder() / group).glob("*.yaml"):
            assert any(line.split()[:1] == [file.stem] and len(line.split()) > 3 for line in told.splitlines()), file


def test_list_has_the_users_own_too(genzoo, tmp_path):
    (tmp_path / "conf/model").mkdir(parents=True)
    (tmp_path / "conf/model/mine.yaml").write_text("# @package _global_\n# A model of my own\n")
    (tmp_path / "conf/model/gan.yaml").write_text("# Never reached: ours goes first\n")
    code, told, _ = genzoo("list", "--config-dir", "conf")
    assert code == 0 and "  mine             A model of my own" in told and "GAN (Goodfellow et al. 2014)" in told
    assert "Never" not in told and told.splitlines()[0].startswith("models")
    assert "mine" not in genzoo("list")[1]
    code, _, complaint = genzoo("list", "--config-dir", "nowhere")
    assert code == 1 and complaint == "genzoo: --config-dir nowhere: there is no such folder\n"


def test_list_imports_no_torch():
    code = "import sys; from genzoo import cli; cli.run('list', []); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_info_tells_what_a_checkpoint_is(zoo, genzoo):
    code, told, _ = genzoo("info", f"ckpt={zoo / 'vae.ckpt'}")
    model = hub.load(zoo / "vae")
    assert code == 0 and "VAE (vae)" in told and "sample, reconstruct" in told and "1,234 images" in told
    assert f"decoder {sum(p.numel() for p in model.decoder.parameters()):,}" in told
    assert "name digits, channels 1, resolution 32" in told and "2: a, b" in told
    assert "sample | interpolate | edit | invert | neighbours | evaluate | export | info" in told
    told = genzoo("info", f"ckpt={zoo / 'classifier'}")[1]
    assert "classify" in told and "sample" not in told


def test_export_makes_the_same_images(zoo, genzoo):
    code, told, _ = genzoo("export", f"ckpt={zoo / 'dcgan.ckpt'}", "out=passed/on")
    assert code == 0 and "next   genzoo sample ckpt=passed/on" in told
    assert torch.equal(hub.load("passed/on").sample(4, seed=0), hub.load(zoo / "dcgan").sample(4, seed=0))
    assert genzoo("export", f"ckpt={zoo / 'vae'}", "out=passed/on")[0] == 0  # an export may be replaced


WRONG = [
    ("sample", [], "ckpt is missing"),
    ("interpolate", [], "ckpt is missing"),
    ("info", [], "ckpt is missing"),
    ("sample", ["ckpt=nowhere"], "nowhere does not exist"),
    ("sample", ["ckpt={zoo}/broken.ckpt"], "truncated or no checkpoint"),
    ("sample", ["ckpt={zoo}/classifier"], "cannot sample; it can classify"),
    ("interpolate", ["ckpt={zoo}/classifier"], "cannot sample; it can classify"),
    ("sample", ["ckpt={zoo}/vae", "n=0"], "n=0: expected a whole number of at least 1"),
    ("sample", ["ckpt={zoo}/vae", "n=many"], "n=many: expected a whole number of at least 1"),
    ("sample", ["ckpt={zoo}/vae", "batch_size=0"], "batch_size=0"),
    ("sample", ["ckpt={zoo}/vae", "seed=first"], "seed=first: expected a whole number"),
    ("sample", ["ckpt={zoo}/vae", "sede=1"], "did you mean seed"),
    ("sample", ["ckpt={zoo}/vae", "y=3"], "leave y out"),
    ("sample", ["ckpt={zoo}/vae", "truncation=0"], "above 0"),
    ("sample", ["ckpt={zoo}/vae", "device=abacus"], "device=abacus cannot be used here"),
    ("sample", ["ckpt={zoo}/vae", "out=a.jpg"], ".png, .npy, .safetensors, nothing (a folder"),
    ("sample", ["ckpt={zoo}/vae", "out={zoo}"], "holds files already"),
    ("sample", ["ckpt={zoo}/vae", "out={zoo}/vae.ckpt/a.png"], "cannot be written"),
    ("sample", ["ckpt={zoo}/vae", "latents=none.npy"], "none.npy does not exist"),
    ("sample", ["ckpt={zoo}/vae", "latents={zoo}/wide.npy"], "takes (n, 20)"),
    ("sample", ["ckpt={zoo}/vae", "latents={zoo}/nan.npy"], "not finite"),
    ("sample", ["ckpt={zoo}/vae", "latents={zoo}/objects.npy"], "no plain numbers"),
    ("sample", ["ckpt={zoo}/vae", "latents={zoo}/vae/model.safetensors"], "no key `latents`"),
    ("sample", ["ckpt={zoo}/vae", "latents={zoo}/wide.npy", "truncation=1"], "leave it out"),
    ("interpolate", ["ckpt={zoo}/vae", "steps=1"], "steps=1: at least 2"),
    ("interpolate", ["ckpt={zoo}/vae", "rows=1", "out=a.gif"], "rows=1: at least 2"),
    ("interpolate", ["ckpt={zoo}/vae", "corners=true", "out=a.gif"], "corners=true makes a .png"),
    ("interpolate", ["ckpt={zoo}/vae", "path=around"], "lerp or slerp"),
    ("interpolate", ["ckpt={zoo}/vae", "out=a.npy"], ".png, .gif"),
    ("export", ["ckpt={zoo}/vae"], "out is missing"),
    ("export", ["ckpt={zoo}/vae", "out={zoo}"], "holds files already"),
    ("export", ["ckpt={zoo}/vae", "out={zoo}/vae.ckpt"], "cannot be written"),
]


@pytest.mark.parametrize(("verb", "arguments", "why"), WRONG, ids=[f"{v}-{w[:24]}" for v, _, w in WRONG])
def test_wrong_input_is_told_in_plain_words(zoo, genzoo, tmp_path, verb, arguments, why):
    (zoo / "broken.ckpt").write_bytes((zoo / "vae.ckpt").read_bytes()[:1000])
    np.save(zoo / "wide.npy", np.zeros((3, 21), np.float32))
    np.save(zoo / "nan.npy", np.full((3, 20), np.nan, np.float32))
    np.save(zoo / "objects.npy", np.array([{}]), allow_pickle=True)
    code, _, complaint = genzoo(verb, *(argument.format(zoo=zoo) for argument in arguments))
    assert code == 1 and why in complaint and "Traceback" not in complaint
    assert 1 <= len(complaint.strip().splitlines()) <= 3
    assert not list(tmp_path.iterdir())


def test_inversion_of_own_samples(zoo, genzoo, tmp_path):
    """From pictures of a folder back to latents that make them again, by the encoder's help or without it."""
    for name in ("vae", "dcgan"):
        model = hub.load(zoo / name)
        (tmp_path / name).mkdir()
        for i, image in enumerate(model.sample(3, seed=5)):
            images.save_png(tmp_path / name / f"{i}.png", image)
        code, told, _ = genzoo(
            "invert", f"ckpt={zoo / name}", f"src={name}", "steps=150", "batch_size=2", f"out=inv-{name}"
        )
        assert code == 0 and "PSNR" in told
        quality = json.loads((tmp_path / f"inv-{name}/inversion.json").read_text())
        assert list(quality) == ["0.png", "1.png", "2.png"] and min(quality.values()) > 20
        again = model.generate(torch.from_numpy(np.load(f"inv-{name}/latents.npy")))
        original = torch.stack([images.read_image(tmp_path / name / f"{i}.png") for i in range(3)])
        assert latents.psnr(again, images.from_uint8(original)).tolist() == pytest.approx(
            list(quality.values()), abs=0.02
        )
    code, _, complaint = genzoo("invert", f"ckpt={zoo / 'gan'}", "src=vae", "out=points")
    assert code == 1 and "makes points" in complaint


class Copies:
    """A model that remembers: its samples are training images."""

    facts = {"data": {"name": "digits"}}

    classes = None

    def labels(self, n, *, seed=None):
        return None

    def latents(self, n, *, seed=None, truncation=None):
        return torch.arange(n)[:, None].float()

    def sample(self, n, y=None, *, seed=None, truncation=None):
        return self.generate(self.latents(n))

    def generate(self, z, y=None):
        return Digits("train").__getitems__([(int(i) * 7, 0) for i in z[:, 0]]).x

    device, dtype = torch.device("cpu"), torch.float32


def test_neighbours_show_who_remembers(genzoo, monkeypatch):
    monkeypatch.setattr(hub, "load", lambda *_, **__: Copies())
    code, told, _ = genzoo("neighbours", "ckpt=x", "n=4", "nearest=2", "out=sheet.png")
    assert code == 0 and "pixels: nearest training image at 0 from a sample" in told
    sheet = images.read_image("sheet.png")[:, -(4 * 34 + 2) :, : 3 * 34 + 2]  # below its legend
    assert torch.equal(sheet[:, 2:34, 2:34], sheet[:, 2:34, 36:68])
    assert not torch.equal(sheet[:, 2:34, 2:34], sheet[:, 2:34, 70:102])


class Painter(torch.nn.Module):
    """Its images of 8x8 are its latents behind one linear layer, so that a picture tells the latent."""

    facts: dict = {}
    device, dtype, prior = torch.device("cpu"), torch.float32, Normal(64)

    def __init__(self):
        super().__init__()
        self.generator = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Linear(64, 64))

    classes = None

    def labels(self, n, *, seed=None):
        return None

    def latents(self, n, *, seed=None, truncation=None):
        return self.prior.sample(n, generator(seed, "painter"))

    def sample(self, n, y=None, *, seed=None, truncation=None):
        return self.generate(self.latents(n, seed=seed))

    def generate(self, z, y=None):
        return self.generator(z).tanh().view(-1, 1, 8, 8)


@pytest.fixture
def painter(monkeypatch):
    torch.manual_seed(0)
    model = Painter().requires_grad_(False)
    monkeypatch.setattr(hub, "load", lambda *_, **__: model)
    return model


def shown(rows, columns, path="edit.png"):
    """A sheet's images again, without the legend around it: (rows, columns, 8, 8) in 0..255."""
    sheet = images.read_image(path)[0, -(rows * 10 + 2) :, : columns * 10 + 2]
    assert sheet.shape == (rows * 10 + 2, columns * 10 + 2)
    return sheet[2:, 2:].unfold(0, 8, 10).unfold(1, 8, 10)


def same_picture(found, model, z):
    made = images.to_uint8(model.generate(z[None]))[0, 0]
    return (found.int() - made.int()).abs().max() <= 1  # a batch rounds otherwise than a single image


def test_arithmetic_with_samples(painter, genzoo):
    words = ["plus=[3,7,12]", "minus=[1,4,9]", "base=[0,5,8]", "seed=2"]
    assert genzoo("edit", "ckpt=x", *words)[0] == 0
    z, sheet = painter.latents(13, seed=2), shown(3, 7)
    base, plus, minus = (z[numbers].mean(0) for numbers in ([0, 5, 8], [3, 7, 12], [1, 4, 9]))
    result = (base + plus - minus) * (8 / (base + plus - minus).norm())  # to length sqrt(64)
    mean = minus * (8 / minus.norm())
    for place, latent in {(0, 0): z[0], (1, 2): z[9], (2, 1): z[7], (1, 3): mean, (1, 5): result}.items():
        assert same_picture(sheet[place], painter, latent), place
        assert not same_picture(sheet[2, 6], painter, latent)
    assert genzoo("edit", "ckpt=x", *words, "typical=false")[0] == 0
    assert same_picture(shown(3, 7)[1, 5], painter, base + plus - minus)


def test_steps_along_a_direction(painter, genzoo):
    words = ["ckpt=x", "rows=2", "steps=3", "reach=2"]
    assert genzoo("edit", "along=sefa", "which=1", "save=d.npy", *words)[0] == 0
    direction, z = torch.from_numpy(np.load("d.npy")), painter.latents(2, seed=0)
    torch.testing.assert_close(direction, latents.sefa(painter.generator[0].weight, 2)[1])
    assert direction.norm().item() == pytest.approx(1)
    for row in range(2):
        for column, way in enumerate((-2, 0, 2)):
            assert same_picture(shown(2, 3)[row, column], painter, z[row] + way * direction)
    assert genzoo("edit", "along=d.npy", "out=again.png", *words)[0] == 0
    assert torch.equal(shown(2, 3, "again.png"), shown(2, 3))
    assert genzoo("edit", "along=pca", "save=p.npy", *words)[0] == 0  # one linear layer: the same strongest direction
    strongest = latents.sefa(painter.generator[0].weight, 1)[0]
    assert abs(torch.from_numpy(np.load("p.npy")) @ strongest) > 0.8


WRONG_EDITS = {
    "nothing": ([], "plus= and minus= for arithmetic, or along="),
    "both": (["plus=[1]", "along=sefa"], "not both"),
    "no numbers": (["plus=[a]"], "numbers of samples"),
    "negative": (["plus=[-1]"], "numbers of samples"),
    "no classifier": (["along=Smiling"], "features=<run of genzoo train model=classifier>"),
    "far": (["along=sefa", "which=64"], "the last direction is 63"),
    "no file": (["along=none.npy"], "along=none.npy does not exist"),
    "method": (["along=sefa", "method=best"], "linear or mean"),
}


@pytest.mark.parametrize("case", WRONG_EDITS)
def test_wrong_edits_are_told(painter, genzoo, case):
    arguments, words = WRONG_EDITS[case]
    code, _, complaint = genzoo("edit", "ckpt=x", *arguments)
    assert code == 1 and words in complaint and complaint.count("\n") <= 3


def test_a_label_names_a_direction(zoo, genzoo):
    """By the encoder's latents of labelled data, or by what a classifier says of samples."""
    vae, judge = hub.load(zoo / "vae"), hub.load(zoo / "classifier")
    digits = Digits("train")
    batch = digits.__getitems__([(i, i) for i in range(len(digits))])
    expected = latents.difference(vae.encode(batch.x), batch.y == 3)
    assert genzoo("edit", f"ckpt={zoo / 'vae'}", "along='3'", "method=mean", "save=a.npy")[0] == 0
    found = torch.from_numpy(np.load("a.npy"))
    torch.testing.assert_close(found, torch.nn.functional.normalize(expected, dim=0), rtol=1e-3, atol=1e-4)
    z = hub.load(zoo / "dcgan").latents(4000, seed=1)
    y = judge.classify(images.to_unit(hub.load(zoo / "dcgan").generate(z[:100]))).argmax(1)
    code, _, complaint = genzoo("edit", f"ckpt={zoo / 'dcgan'}", "along=b", f"features={zoo / 'classifier'}")
    assert code == 0 if 0 < (y == 1).sum() < 100 else "latents have it" in complaint
