"""`genzoo evaluate`: every judgement against what is known to be true."""

import json

import pytest
import torch

from genzoo import cli, hub
from genzoo.commands import train as command
from genzoo.core.random import generator
from genzoo.core.stream import spread
from genzoo.data.digits import Digits
from genzoo.data.toys import Ring
from genzoo.metrics.features import ClassifierFeatures, RandomFeatures
from genzoo.metrics.fidelity import FID, KID
from genzoo.metrics.manifold import PrecisionRecall
from genzoo.priors import Normal


def made(tmp_path, *overrides):
    """A tiny untrained model as an exported folder, as `genzoo train` would configure it and note its facts."""
    from omegaconf import OmegaConf

    from genzoo.fit import facts, without

    config = OmegaConf.to_container(cli.compose("train", [*overrides, f"run={tmp_path}"]), resolve=True)
    torch.manual_seed(0)
    model = hub.build({k: v for k, v in config["model"].items() if k not in ("name", "latent_dim", "width")})
    data = hub.build(config["data"], None)
    model.facts = without(facts(config, data, 1, 1), "machine")
    return hub.save(model, tmp_path / config["model"]["name"])


def evaluated(tmp_path, *arguments):
    """What the command wrote."""
    out = tmp_path / "numbers.json"
    assert cli.run("evaluate", [*arguments, f"out={out}"]) == 0
    return json.loads(out.read_text())


class Stub(torch.nn.Module):
    """What every loaded model has."""

    facts: dict = {"data": {"name": "digits"}}
    images_seen = 0


class PerfectRing(Stub):
    """Its latents tell the mode and the noise: the ring itself."""

    facts = {"data": {"name": "ring"}}
    only: slice = slice(None)

    classes = None

    def labels(self, n, *, seed=None):
        return None

    def latents(self, n, *, seed=None, truncation=None):
        self.asked = (n, seed, truncation)
        return Normal(3).sample(n, generator(seed, "stub"))

    def sample(self, n, y=None, *, seed=None, truncation=None):
        return self.generate(self.latents(n, seed=seed))

    def generate(self, z, y=None):
        centres = Ring(points=1).centres[self.only]
        mode = (torch.special.ndtr(z[:, 0]) * len(centres)).long().clamp(max=len(centres) - 1)
        return centres[mode] + 0.008 * z[:, 1:]


@pytest.mark.parametrize(("only", "found"), [(slice(None), 8), (slice(3), 3)])
def test_the_perfect_ring_has_all_its_modes(tmp_path, monkeypatch, only, found):
    model = PerfectRing()
    model.only = only
    monkeypatch.setattr(hub, "load", lambda *_, **__: model)
    values = evaluated(tmp_path, "ckpt=ring", "n=4000", "seed=3", "truncation=0.5")["values"]
    assert model.asked == (4000, 3, 0.5)
    assert values["modes_found"] == found
    assert values["good_share"] == pytest.approx(0.9889, abs=0.006)  # 1 - exp(-4.5)
    assert values["reverse_kl"] == pytest.approx(torch.log(torch.tensor(8 / found)).item(), abs=0.005)


def test_accuracy_is_the_share_of_right_answers(tmp_path, monkeypatch):
    labels = Digits("test").labels

    class Threes(Stub):
        def classify(self, x):
            assert 0 <= x.min() and x.max() <= 1
            return torch.eye(10)[torch.full((len(x),), 3)]

    monkeypatch.setattr(hub, "load", lambda *_, **__: Threes())
    result = evaluated(tmp_path, "ckpt=threes", "batch_size=77")
    assert result["values"] == {"accuracy": (labels == 3).double().mean().item()}
    assert result["n"] is None and result["images"] == len(labels) and result["split"] == "test"


def test_elbo_is_the_mean_of_the_bound_whatever_the_batch(tmp_path):
    folder = made(tmp_path, "model=vae", "data=digits", "model.width=4")
    model, store = hub.load(folder), Digits("test")
    x, _ = store.__getitems__([(i, i) for i in range(len(store))])
    error, kl = model.bound(x, model.prior.sample(len(x), generator(5, "evaluate")))
    values = evaluated(tmp_path, f"ckpt={folder}", "seed=5", "batch_size=100")["values"]
    assert values["reconstruction"] == pytest.approx(error.mean().item(), rel=1e-5)
    assert values["kl"] == pytest.approx(kl.mean().item(), rel=1e-5)
    assert values["negative_elbo"] == pytest.approx((error + kl).mean().item(), rel=1e-5)


def test_numbers_through_a_network_are_those_of_the_metrics(tmp_path, monkeypatch):
    folder = made(tmp_path, "model=dcgan", "data=digits", "model.width=4")
    judge = made(tmp_path, "model=classifier", "data=digits", "model.width=4")
    result = evaluated(tmp_path, f"ckpt={folder}", f"features={judge}", "n=120", "seed=3", "batch_size=50")
    name, values = "smallcnn-digits", result["values"]
    assert result["features"] == name and result["n"] == 120 and result["data"] == "digits"
    net, store = ClassifierFeatures(hub.load(judge).network, name), Digits("test")
    real = store.__getitems__([(i, i) for i in range(len(store))]).x
    fid = FID(net.dim)
    fid.update(net.features(real), real=True)
    fakes = hub.load(folder).sample(120, seed=3)
    fid.update(net.features(fakes), real=False)
    assert values[f"FID[{name}]"] == pytest.approx(fid.compute().item(), rel=1e-3)
    shares = net.logits(fakes).argmax(1).bincount(minlength=10) / 120
    assert values[f"class_shares[{name}]"] == pytest.approx(shares.tolist())
    assert len(values) == 11 + 1 and result["quadratic"] == {"n": 120, "images": len(store)}


class Noise(Stub):
    """Images that differ: those of an untrained network are too much alike to tell which were chosen."""

    classes = None

    def labels(self, n, *, seed=None):
        return None

    def latents(self, n, *, seed=None, truncation=None):
        return Normal(32 * 32).sample(n, generator(seed, "stub"))

    def sample(self, n, y=None, *, seed=None, truncation=None):
        return self.generate(self.latents(n, seed=seed))

    def generate(self, z, y=None):
        return (z + 3 * z[:, :1]).tanh().view(-1, 1, 32, 32)


def test_many_images_are_too_many_for_pairs_unless_asked_for(tmp_path, monkeypatch):
    from genzoo.commands import evaluate

    model, net, store = Noise(), RandomFeatures(1), Digits("test")
    monkeypatch.setattr(evaluate, "LIMIT", 40)
    monkeypatch.setattr(hub, "feature_network", lambda *_, **__: net)
    monkeypatch.setattr(hub, "load", lambda *_, **__: model)
    some = ["ckpt=noise", "features=random", "n=100", "batch_size=30"]
    few, every = evaluated(tmp_path, *some), evaluated(tmp_path, *some, "metrics=[kid,precision_recall]")
    assert few["quadratic"] == {"n": 40, "images": 40} and every["quadratic"] == {"n": 100, "images": len(store)}
    assert list(every["values"]) == ["KID[random]", "precision[random]", "recall[random]"]
    for result in (few, every):
        real = store.__getitems__([(i, i) for i in spread(len(store), result["quadratic"]["images"])]).x
        fake = model.sample(100, seed=0)[spread(100, result["quadratic"]["n"])]
        kid, covered = KID(), PrecisionRecall()
        for metric in (kid, covered):
            metric.update(net.features(real), real=True)
            metric.update(net.features(fake), real=False)
        for name, value in ({"KID": kid.compute()} | covered.compute()).items():
            assert result["values"][f"{name}[random]"] == pytest.approx(value.item(), rel=1e-4)


def test_what_is_missing_is_told(tmp_path, capsys):
    folder = made(tmp_path, "model=dcgan", "data=digits", "model.width=4")
    for arguments, words in {
        (): "genzoo train model=classifier data=digits",
        ("split=half",): "train or test",
        ("n=1",): "at least 2",
        ("metrics=beauty", "data=ring"): "makes images, data=ring",
        ("features=nowhere",): "nowhere does not exist",
        (f"features={folder}",): "cannot classify",
    }.items():
        assert cli.run("evaluate", [f"ckpt={folder}", *arguments]) == 1
        assert words in capsys.readouterr().err
    assert [path.name for path in folder.iterdir() if "evaluation" in path.name] == []
    assert cli.run("evaluate", [f"ckpt={made(tmp_path, 'model=gan', 'data=ring')}", "metrics=mode"]) == 1
    assert "did you mean modes?" in capsys.readouterr().err


def test_data_are_found_by_name_only_and_the_user_goes_first(tmp_path, monkeypatch, capsys):
    from genzoo.commands.evaluate import data_of

    model = Stub()
    model.facts = {
        "data": {"name": "mnist", "root": "theirs", "resolution": 32, "download": True, "_target_": "os.system"}
    }
    config = cli.compose("evaluate", ["ckpt=x", "data.root=mine"])
    data = data_of(config, model)
    assert (data.source["root"], data.resolution, data.source["download"]) == ("mine", 32, False)
    data = data_of(cli.compose("evaluate", ["ckpt=x", "data=mnist", "data.root=mine"]), model)
    assert (data.name, data.source["root"], data.resolution) == ("mnist", "mine", 28)
    for name in ("../data/mnist", "unheard", None):
        model.facts = {"data": {"name": name}}
        with pytest.raises(ValueError, match="say data=<name>"):
            data_of(config, model)


def test_what_a_file_names_is_opened_only_if_the_user_has_said_it(tmp_path):
    import numpy as np

    from genzoo.commands.evaluate import data_of

    np.save(tmp_path / "a.npy", np.zeros((40, 8, 8, 1), np.uint8))
    model = Stub()
    for noted in ({"path": "/dev/zero"}, {"store": {"path": "/dev/zero"}}, {"labels": "/etc/passwd"}):
        model.facts = {"data": {"name": "arrays", "resolution": 8, "channels": 1} | noted}
        with pytest.raises(ValueError, match=r"data\.(path=./dev/zero|labels=./etc/passwd)"):
            data_of(cli.compose("evaluate", [f"ckpt={tmp_path}"]), model)
    model.facts = {"data": {"name": "arrays", "resolution": 8, "channels": 1, "store": {"path": "/dev/zero"}}}
    assert len(data_of(cli.compose("evaluate", ["ckpt=x", f"data.path={tmp_path}/a.npy"]), model).store) == 36
    words = ["model=gan", "data=arrays", f"data.path={tmp_path}/a.npy", "data.resolution=8", "data.channels=1",
             "run=x", "kimg=1", "epochs=null"]  # fmt: skip
    config = command.plain(cli.compose("train", words))
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    assert (
        len(data_of(cli.compose("evaluate", [f"ckpt={tmp_path}"]), model).store) == 36
    )  # as the run's own file has it


def test_a_run_on_other_toys_is_judged_on_these(monkeypatch):
    from genzoo.commands.evaluate import data_of

    model = Stub()
    noted = {"modes": 16, "radius": 0.5, "colour": "red", "sigma": {"_target_": "os.system"}, "points": "${seed}",
             "_target_": "genzoo.data.toys.Grid"}  # fmt: skip
    model.facts = {"data": {"name": "ring", "classes": 16, "store": noted}}
    store = data_of(cli.compose("evaluate", ["ckpt=x"]), model).store_of("test")
    assert store.centres.shape == (16, 2) and len(store) == 100_000  # the rest of the notes was not taken
    assert store.centres.norm(dim=1).tolist() == pytest.approx([0.5] * 16) and store.sigma == 0.008
    store = data_of(cli.compose("evaluate", ["ckpt=x", "+data.store.modes=5"]), model).store_of("test")
    assert store.centres.shape == (5, 2) and store.centres.norm(dim=1).tolist() == pytest.approx([0.5] * 5)
    assert data_of(cli.compose("evaluate", ["ckpt=x", "data=ring"]), model).store_of("test").centres.shape == (8, 2)
    model.facts = {"data": {"name": "digits", "resolution": 16, "store": {"resolution": 8}}}
    asked = cli.compose("evaluate", ["ckpt=x", "data.resolution=28"])
    assert data_of(asked, model).store_of("test").images.shape[-1] == 28  # what follows an option goes on doing so


@pytest.mark.parametrize(
    ("noted", "told"),
    [
        ({"name": "digits", "resolution": 10**9}, r"data\.resolution=1000000000"),
        ({"name": "digits", "resolution": 8192}, r"data\.resolution=8192.* GiB"),
        ({"name": "shapes", "resolution": 8192}, r"data\.resolution=8192.* GiB"),
        ({"name": "shapes_ab", "resolution": 8192}, r"data\.resolution=8192.* GiB"),
        ({"name": "shapes_ab", "count": 10**9}, r"count=1000000000"),
        ({"name": "digits", "classes": 10**9}, r"data\.classes=1000000000"),
        ({"name": "ring", "store": {"modes": 10**9}}, r"1000000000"),
        ({"name": "ring", "store": {"points": 10**9}}, r"data\.store\.points=1000000000"),
        ({"name": "grid", "store": {"side": 10**9}}, r"data\.store\.side=1000000000"),
    ],
)
def test_absurd_sizes_that_a_file_notes_are_refused_before_anything_is_made_of_them(monkeypatch, noted, told):
    from genzoo.commands.evaluate import data_of

    monkeypatch.setattr("genzoo.data.store.free_memory", lambda: 2**30)
    model = Stub()
    model.facts = {"data": noted}
    with pytest.raises(ValueError, match=told) as caught:
        data_of(cli.compose("evaluate", ["ckpt=x"]), model).store_of("test")
    assert len(str(caught.value).splitlines()) == 1


def test_data_of_the_users_own(tmp_path):
    folder = made(tmp_path, "model=vae", "data=digits", "model.width=4")
    (tmp_path / "conf/data").mkdir(parents=True)
    ours = (cli.config_folder() / "data/digits.yaml").read_text()
    (tmp_path / "conf/data/mine.yaml").write_text(ours.replace("name: digits", "name: mine"))
    config = json.loads((folder / "config.json").read_text())
    config["data"]["name"] = "mine"
    (folder / "config.json").write_text(json.dumps(config))
    more = ["--config-dir", str(tmp_path / "conf")]
    assert evaluated(tmp_path, f"ckpt={folder}", *more)["data"] == "mine"
    assert evaluated(tmp_path, f"ckpt={folder}", "data=mine", *more)["data"] == "mine"
    assert cli.run("evaluate", [f"ckpt={folder}"]) == 1


def test_a_model_is_judged_on_images_it_can_take_only(tmp_path, monkeypatch, capsys):
    vae, classifier = (
        made(tmp_path, f"model={name}", "data=digits", "model.width=4", "data.resolution=16")
        for name in ("vae", "classifier")
    )

    class Foreign(Stub):  # as a converted file: it knows nothing of its data
        facts: dict = {}
        network = torch.nn.Module()

        def classify(self, x):
            return torch.zeros(len(x), 10)

    Foreign.network.channels = 3
    for ckpt, overrides, words in [
        (vae, ["data=digits"], "is made for data.resolution=16, but data=digits has 32"),
        (vae, ["data=shapes", "data.resolution=16"], "is made for data.channels=1, but data=shapes has 3"),
        (classifier, ["data=shapes"], "is made for data.channels=1, but data=shapes has 3"),
        ("foreign", ["data=digits"], "is made for data.channels=3, but data=digits has 1"),
    ]:
        if ckpt == "foreign":
            monkeypatch.setattr(hub, "load", lambda *_, **__: Foreign())
        assert cli.run("evaluate", [f"ckpt={ckpt}", *overrides]) == 1
        assert words in capsys.readouterr().err
    monkeypatch.undo()
    assert "accuracy" in evaluated(tmp_path, f"ckpt={classifier}", "data=digits")["values"]  # of any size


def test_lenet_knows_mnist(tmp_path, shared):
    lenet = shared / "data/checkpoints/csinva/mnist_lenet_0.991.pth"
    values = evaluated(tmp_path, f"ckpt={lenet}", "data=mnist", f"data.root={shared / 'data'}")["values"]
    assert values == {"accuracy": 0.9908}


def test_a_classifier_of_attributes_finds_its_data_again(tmp_path):
    from PIL import Image

    (tmp_path / "set").mkdir()
    rows = ["file,dark,red,blue"]
    for i in range(30):
        Image.new("RGB", (8, 8), (40 * (i % 2), 0, 0)).save(tmp_path / f"set/{i:02}.png")
        rows.append(f"{i:02}.png,{int(i % 2 == 0)},{i % 2},0")
    (tmp_path / "set/labels.csv").write_text("\n".join(rows))
    words = ["data=folder", f"data.path={tmp_path}/set", "data.labels=labels.csv", "data.attributes=[red,dark]"]
    words += ["data.resolution=8", "model.network.classes=2", "batch_size=9", "kimg=0.9", "logger=none"]
    assert cli.run("train", ["model=classifier", *words, f"run={tmp_path}/run"]) == 0
    found = evaluated(tmp_path, f"ckpt={tmp_path}/run")["values"]
    assert found == {"accuracy": 1.0, "accuracy_of_each": [1.0, 1.0]}
