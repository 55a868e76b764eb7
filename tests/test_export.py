"""export and push: an exchange folder that others understand, ONNX that equals PyTorch, nothing sent unasked."""

import json
import sys
from configparser import ConfigParser
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest
import torch
from omegaconf import OmegaConf
from torch.nn import functional

from genzoo import cli, extras, hub, scores, to_onnx
from genzoo.core.roles import Translator

ROOT = Path(__file__).parents[1]
MODELS = sorted(path.stem for path in (ROOT / "conf/model").glob("*.yaml"))
needs_onnx = pytest.mark.skipif(
    not all(map(find_spec, ("onnx", "onnxruntime"))), reason="the extra onnx is not installed"
)
READS = {"generator": "latents", "encoder": "images", "classifier": "images"}


def model_of(name, *overrides):
    """A model of digits that was not trained, with BatchNorm statistics that are not the initial ones."""
    node = cli.compose("train", [f"model={name}", "data=digits", "run=x", *overrides]).model
    node = OmegaConf.to_container(node, resolve=True)
    torch.manual_seed(1)
    model = hub.build({key: value for key, value in node.items() if key not in ("name", "latent_dim", "width")})
    if hasattr(model, "prior"):
        with torch.no_grad():
            model.generate(2 * model.latents(16, seed=3))
    model.images_seen = 1234
    model.facts = {"model": name, "revision": "abc1234", "data": {"name": "digits", "resolution": 32}}
    return model.eval().requires_grad_(False)


@pytest.fixture
def genzoo(monkeypatch, tmp_path, capsys):
    """Run a verb in an empty folder: its exit code, what it printed and what it complained about."""
    monkeypatch.chdir(tmp_path)

    def run(verb, *arguments):
        code = cli.run(verb, list(arguments))
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def exported(genzoo):
    """A folder `ours` that holds a small VAE."""
    hub.save(model_of("vae", "model.width=4"), "ours")
    return Path("ours")


def evaluation(seen):
    values = {"FID[lenet-mnist]": 3.14159, "modes": [8, 25]}
    result = {"checkpoint": "/home/me/ours", "images_seen": seen, "data": "digits", "split": "test", "images": 1797,
              "n": 10_000, "seed": 0, "features": "lenet-mnist", "values": values}  # fmt: skip
    Path("ours/evaluation.json").write_text(json.dumps(result))


# ONNX


@needs_onnx
@pytest.mark.parametrize("name", MODELS)
def test_onnx_makes_what_torch_makes(name, tmp_path):
    import onnxruntime

    model = model_of(name, "model.width=8")
    if isinstance(model, Translator):
        pytest.skip("it has a test of its own")
    model.images_seen = 10**9  # a growing one is grown
    files = to_onnx.save(model, tmp_path)
    able = {"generator"} if hasattr(model, "prior") else {"classifier"}
    assert set(files) == {f"{part}.onnx" for part in able | ({"encoder"} if hasattr(model, "encode") else set())}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(files)
    for n in (1, 7):
        for file in files:
            part = file.removesuffix(".onnx")
            session = onnxruntime.InferenceSession(tmp_path / file, providers=["CPUExecutionProvider"])
            x = model.latents(n, seed=9) if part == "generator" else torch.rand(n, 1, 32, 32)
            method = getattr(model, {"generator": "generate", "encoder": "encode", "classifier": "classify"}[part])
            y = torch.arange(n) % 10 if part == "generator" and model.classes else None
            labels = {} if y is None else {"labels": y.numpy()}
            (made,) = session.run(None, {READS[part]: x.numpy()} | labels)
            expected = method(x) if y is None else method(x, y)
            torch.testing.assert_close(torch.from_numpy(made), expected, atol=1e-4, rtol=1e-4)
            assert x.shape[1:] == tuple(session.get_inputs()[0].shape[1:])


@needs_onnx
def test_what_onnx_cannot_say_is_told_in_a_line(tmp_path, capfd, monkeypatch):
    model = model_of("gan", "model.width=4")

    def forward(z):  # by a kernel whose shape depends on what enters
        return functional.conv2d(z[:, :1, None, None], z[z == z[0, 0]].reshape(1, 1, -1, 1))

    monkeypatch.setattr(model.generator, "forward", forward)
    with pytest.raises(ValueError, match="generator.onnx cannot be written by torch [^\n]*$"):
        to_onnx.save(model, tmp_path)
    assert capfd.readouterr() == ("", "") and not list(tmp_path.iterdir())


@needs_onnx
@pytest.mark.parametrize(
    ("words", "letters", "note"),
    [
        (["cyclegan", "model.generator.b.depth=1"], "ab", "h and w are multiples of 4"),
        (["cyclegan", "model.generator.b.depth=1", "+model.generator.b.upsample=bilinear"], "ab", "multiples of 4"),
        (["pix2pix", "model.generator.depth=6"], "b", "of b; h and w are multiples of 64, no dropout"),
        (["pix2pix", "model.generator.depth=6", "model.inference_norm=running"], "b", "multiples of 64, no dropout"),
    ],
)
def test_translators_become_onnx_for_pictures_of_many_sizes(words, letters, note, tmp_path):
    import onnxruntime

    model = model_of(*words, "data=shapes_ab", "data.resolution=64", "model.width=4")
    multiple = model.translator("b").multiple_of
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # not the initial ones
            module.running_mean.normal_(), module.running_var.uniform_(0.5, 2), module.weight.normal_(1, 0.3)
    files = to_onnx.save(model, tmp_path)
    assert set(files) == {f"translator_{letter}.onnx" for letter in letters}
    for letter in letters:
        file = f"translator_{letter}.onnx"
        assert files[file].startswith("images (n, 3, h, w) to translated (n, 3, h, w), images in [-1, 1]")
        assert files[file].endswith(note)
        session = onnxruntime.InferenceSession(tmp_path / file, providers=["CPUExecutionProvider"])
        for n, h, w in ((1, multiple * 2, multiple * 3), (3, multiple * 4, multiple * 2)):
            x = torch.rand(n, 3, h, w) * 2 - 1
            (made,) = session.run(None, {"images": x.numpy()})
            with torch.no_grad():
                expected = model.still(x, letter)
            assert expected.std() > 1e-3
            torch.testing.assert_close(torch.from_numpy(made), expected, atol=1e-4, rtol=1e-4)
            if not any(isinstance(module, torch.nn.Dropout) for module in model.translator(letter).modules()):
                torch.testing.assert_close(model.translate(x, letter), expected)  # still is translate without dropout


@needs_onnx
def test_a_picture_is_normalised_by_itself_in_onnx(tmp_path):
    """As in `translate`: what else is in the batch changes nothing."""
    import onnxruntime

    model = model_of("pix2pix", "data=shapes_ab", "model.width=4", "model.generator.depth=3")
    to_onnx.save(model, tmp_path)
    session = onnxruntime.InferenceSession(tmp_path / "translator_b.onnx", providers=["CPUExecutionProvider"])
    x = torch.rand(2, 3, 32, 32)
    x[1] *= 0.2
    both, second = (torch.from_numpy(session.run(None, {"images": part.numpy()})[0]) for part in (x, x[1:]))
    torch.testing.assert_close(both[1:], second, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(second, model.translate(x[1:]), atol=1e-4, rtol=1e-4)  # it is too shallow for dropout


@needs_onnx
def test_points_become_onnx_too(tmp_path):
    files = to_onnx.save(model_of("gan", "data=ring"), tmp_path)
    assert files == {"generator.onnx": "latents (n, 64) to images (n, 2), images in [-1, 1]"}


class Fickle(torch.nn.Module):
    """What is written of it is its first answer, and the second is another."""

    facts: dict = {}
    calls = 0

    classes = None

    def labels(self, n, *, seed=None):
        return None

    def latents(self, n, *, seed=None, truncation=None):
        return torch.ones(n, 3)

    def sample(self, n, y=None, *, seed=None, truncation=None):
        return self.generate(self.latents(n))

    def generate(self, z, y=None):
        self.calls += 1
        return z + (1e-3 if self.calls > 1 else 0)


class Counting(Fickle):
    """It takes the number of rows that it was written with for its own."""

    def generate(self, z, y=None):
        return z + torch.ones(int(z.shape[0]), 3)


@needs_onnx
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize(
    ("model", "why"),
    [
        (Fickle, "generator.onnx differs from PyTorch by 1.0e-03, where 0.0001 is allowed"),
        (Counting, "generator.onnx does not run with 5 rows and was not kept"),
    ],
)
def test_a_file_that_differs_is_refused(model, why, tmp_path):
    with pytest.raises(ValueError, match=why):
        to_onnx.save(model(), tmp_path)
    assert not list(tmp_path.iterdir())


@needs_onnx
def test_onnx_lies_beside_the_weights(exported, genzoo):
    code, told, _ = genzoo("export", "ckpt=ours", "out=both", "format=onnx")
    files = ["README.md", "config.json", "encoder.onnx", "generator.onnx", "model.safetensors"]
    assert code == 0 and f"made   both ({', '.join(files)})" in told
    card = Path("both/README.md").read_text()
    assert "- `generator.onnx`: latents (n, 20) to images (n, 1, 32, 32), images in [-1, 1]" in card
    assert genzoo("export", "ckpt=ours", "out=both")[0] == 0  # an older export is replaced, all of it
    assert not list(Path("both").glob("*.onnx")) and "onnx" not in Path("both/README.md").read_text()


@pytest.mark.parametrize("extra", extras.EXTRAS)
def test_a_missing_package_is_told(extra, exported, genzoo, monkeypatch):
    words = {
        "onnx": ["export", "ckpt=ours", "format=onnx", "out=new"],
        "video": ["interpolate", "ckpt=ours", "out=walk.mp4"],
        "hub": ["push", "ckpt=ours", "repo=me/ours"],
    }
    for package in extras.EXTRAS[extra]:
        monkeypatch.setitem(sys.modules, package, None)
    code, _, complaint = genzoo(*words[extra])
    assert code == 1 and complaint.count("\n") == 1
    assert complaint.endswith(f'needs {", ".join(extras.EXTRAS[extra])}: pip install "genzoo[{extra}]"\n')
    assert not Path("new").exists()


def test_extras_are_those_of_the_package():
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    for extra, packages in extras.EXTRAS.items():
        assert setup["options.extras_require"][extra].split() == list(packages)


# the folder and its card


def front(folder):
    """The YAML at the head of a card, and what follows it."""
    _, head, body = (Path(folder) / "README.md").read_text().split("---\n", 2)
    return OmegaConf.to_container(OmegaConf.create(head)), body


@pytest.mark.parametrize(
    ("name", "more", "pipeline"),
    [
        ("dcgan", [], "unconditional-image-generation"),
        ("classifier", [], "image-classification"),
        ("cyclegan", ["data=shapes_ab", "model.width=4"], "image-to-image"),
    ],
)
def test_the_card_tells_the_hub_what_it_is(name, more, pipeline, tmp_path):
    hub.save(model_of(name, *more), tmp_path / "ours")
    head, body = front(tmp_path / "ours")
    assert head == {"library_name": "genzoo", "tags": ["genzoo", name], "pipeline_tag": pipeline}
    assert "(revision abc1234) on 1,234 images" in body and 'snapshot_download("<user>/ours")' in body


def test_points_are_no_images_to_the_hub(tmp_path):
    model = model_of("gan", "data=ring")
    model.facts["data"] = {"name": "ring", "resolution": 1}
    hub.save(model, tmp_path)
    assert "pipeline_tag" not in front(tmp_path)[0]


def test_scores_and_licence_stay_with_the_weights(exported, genzoo):
    """They are noted in config.json too, so that an export of an export has them."""
    evaluation(1234)
    assert genzoo("export", "ckpt=ours", "out=once", "license=mit")[0] == 0
    assert genzoo("export", "ckpt=once", "out=twice")[0] == 0
    head, body = front("twice")
    assert head["license"] == "mit" and "10,000 samples of seed 0 and 1,797 images of digits (test)" in body
    assert "| FID[lenet-mnist] | 3.142 |\n| modes | 8 25 |\n" in body
    assert "/home/me" not in Path("twice/config.json").read_text()


def test_scores_of_other_weights_are_left_out(exported, genzoo):
    evaluation(99)
    assert genzoo("export", "ckpt=ours", "out=new")[0] == 0 and "metric" not in Path("new/README.md").read_text()
    Path("ours/evaluation.json").write_text("{}")
    code, _, complaint = genzoo("export", "ckpt=ours", "out=other")
    assert code == 1 and "evaluation.json is no result of genzoo evaluate" in complaint


def test_every_network_has_a_table_of_its_own(exported, genzoo):
    for features in ("lenet-mnist", "other"):
        result = {"images_seen": 1234, "data": "digits", "split": "test", "images": 9, "n": 8, "seed": 0, "truncation": 0.5,
                  "features": features, "values": {f"FID[{features}]": 3.5}}  # fmt: skip
        scores.add(exported / "evaluation.json", result)
    told = genzoo("info", "ckpt=ours")[1]
    assert "FID[other] 3.5 on digits (test); FID[lenet-mnist] 3.5 on digits (test)" in told
    for ckpt, out in (("ours", "once"), ("once", "twice")):
        assert genzoo("export", f"ckpt={ckpt}", f"out={out}")[0] == 0
    body = front("twice")[1]
    assert body.count("By `genzoo evaluate`, of 8 samples of seed 0, truncation 0.5") == 2
    assert "| FID[lenet-mnist] | 3.5 |" in body and "| FID[other] | 3.5 |" in body
    assert genzoo("info", "ckpt=twice")[1].count("on digits (test)") == 2


def test_an_export_never_takes_the_place_of_what_it_is_made_from(exported, genzoo):
    Path("link").symlink_to("ours")
    Path("hard").mkdir()
    (exported / "diary.onnx").touch()
    for name in ("model.safetensors", "config.json"):
        Path("hard", name).hardlink_to(exported / name)
    before = {path: path.read_bytes() for path in exported.iterdir()}
    for ckpt in ("ours", "ours/model.safetensors"):
        for out in ("ours", "./ours/", "link", "hard"):
            if (ckpt, out) == ("ours", "hard"):
                continue  # other names of the same files are replaced, and the files are left alone
            code, _, complaint = genzoo("export", f"ckpt={ckpt}", f"out={out}")
            assert code == 1 and f"out={out}" in complaint and f"ckpt={ckpt}" in complaint, (ckpt, out)
    code, _, complaint = genzoo("convert", "src=ours/model.safetensors", "out=ours")
    assert code == 1 and "src=ours/model.safetensors" in complaint
    assert {path: path.read_bytes() for path in exported.iterdir()} == before


@pytest.mark.parametrize("config", [None, "{}", '{"_class_name": "UNet2DModel"}', "x", "[" * 9000])
def test_a_folder_of_another_project_is_no_older_export(exported, genzoo, config):
    Path("theirs").mkdir()
    Path("theirs/model.safetensors").write_text("precious")
    if config is not None:
        Path("theirs/config.json").write_text(config)
    for words in (["export", "ckpt=ours"], ["convert", "src=nowhere"]):
        code, _, complaint = genzoo(*words, "out=theirs")
        assert code == 1 and "out=theirs cannot be written: it holds files already; choose a new folder" in complaint
    assert Path("theirs/model.safetensors").read_text() == "precious"


def test_the_mixin_convention_finds_what_it_expects(exported):
    """config.json holds the argument `config` of a class, and the names in model.safetensors are those of its parts.

    So `PyTorchModelHubMixin.from_pretrained` of huggingface_hub builds and fills a class that takes `config`.
    """
    from safetensors.torch import load_model

    class Mixed(torch.nn.Module):
        def __init__(self, config):
            super().__init__()
            for name, part in hub.build(config).named_children():
                setattr(self, name, part)

    made = Mixed(**{"config": json.loads((exported / "config.json").read_text())["config"]})
    load_model(made, exported / "model.safetensors", strict=True)
    z = torch.ones(2, 20)
    assert torch.equal(made.decoder(z), hub.load(exported).decoder(z))


# push


@pytest.fixture
def sent(monkeypatch):
    """A stand-in for huggingface_hub, and what was asked of it."""
    calls, fake = [], ModuleType("huggingface_hub")
    fake.__spec__ = ModuleSpec("huggingface_hub", None)
    fake.get_token = lambda: "secret"
    fake.create_repo = lambda repo, **options: calls.append(("create", repo, options))
    fake.upload_folder = lambda repo_id, folder_path, commit_message: calls.append(
        ("upload", repo_id, {path.name: path.read_bytes() for path in Path(folder_path).iterdir()})
    )
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    fake.calls = calls
    return fake


def test_push_sends_the_files_of_an_export_only(exported, genzoo, sent):
    facts = json.loads((exported / "config.json").read_text())
    told_here = facts | {
        "data": facts["data"] | {"root": "/home/me", "path": "/home/me/photos", "labels": "/home/me/l.csv"}
    }
    (exported / "config.json").write_text(json.dumps(told_here))
    (exported / "diary.txt").touch()
    (exported / "generator.onnx").write_bytes(b"network")
    code, told, _ = genzoo("push", "ckpt=ours", "repo=me/ours", "private=true")
    assert code == 0 and told == "made   https://huggingface.co/me/ours\n"
    made, (_, repo, files) = sent.calls
    assert made == ("create", "me/ours", {"private": True, "exist_ok": True}) and repo == "me/ours"
    assert sorted(files) == ["README.md", "config.json", "generator.onnx", "model.safetensors"]
    assert json.loads(files["config.json"]) == facts  # nothing of where data lay on this machine
    assert files["model.safetensors"] == (exported / "model.safetensors").read_bytes()


WRONG = {
    "no repo": (["ckpt=ours"], "repo is missing"),
    "no user": (["ckpt=ours", "repo=ours"], "<user>/<name> is expected"),
    "too deep": (["ckpt=ours", "repo=a/b/c"], "<user>/<name> is expected"),
    "no folder": (["ckpt=nowhere", "repo=a/b"], "nowhere is no exported folder"),
    "damaged": (["ckpt=damaged", "repo=a/b"], "no readable export"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_not_pushed(case, exported, genzoo, sent):
    Path("damaged").mkdir()
    for file in exported.iterdir():
        Path("damaged", file.name).write_bytes(file.read_bytes()[:200])
    code, _, complaint = genzoo("push", *WRONG[case][0])
    assert code == 1 and WRONG[case][1] in complaint and complaint.count("\n") <= 3 and not sent.calls


@pytest.mark.parametrize("name", ["README.md", "generator.onnx", "config.json", "model.safetensors"])
def test_links_are_not_pushed(exported, genzoo, sent, name):
    """A folder of somebody else could lead to any file of this machine."""
    Path("private.txt").write_bytes((exported / name).read_bytes() if (exported / name).exists() else b"secret")
    (exported / name).unlink(missing_ok=True)
    (exported / name).symlink_to("../private.txt")
    code, _, complaint = genzoo("push", "ckpt=ours", "repo=me/ours")
    assert code == 1 and f"{name} is a link" in complaint and complaint.count("\n") == 1 and not sent.calls


def test_no_token_and_no_answer(exported, genzoo, sent):
    def fails(*_, **__):
        raise RuntimeError("403 Forbidden\nmuch more")

    sent.create_repo = fails
    assert genzoo("push", "ckpt=ours", "repo=me/ours")[2] == ("genzoo: repo=me/ours was not uploaded: 403 Forbidden\n")
    sent.get_token = lambda: None
    assert "type `hf auth login`, or set HF_TOKEN" in genzoo("push", "ckpt=ours", "repo=me/ours")[2]
    assert not sent.calls
