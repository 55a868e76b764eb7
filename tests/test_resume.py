"""What may change when a run goes on, and what is noticed if it has."""

import pytest
import torch
from omegaconf import OmegaConf

import genzoo
from genzoo import cli, fit, hub, images
from genzoo.commands import train as command
from genzoo.core.io import newest

GAN = ["model=gan", "model.width=4", "data=folder", "data.resolution=8", "batch_size=4", "accelerator=cpu"]


def pictures(folder, names, shade=0.0):
    folder.mkdir(exist_ok=True)
    for name in names:
        images.save_png(folder / f"{name}.png", torch.full((3, 8, 8), shade))


@pytest.fixture
def frozen(tmp_path):
    """A run folder that holds a configuration, and no checkpoint yet."""
    config = cli.compose("train", [*GAN, f"data.path={tmp_path}/p", f"run={tmp_path}/r", "kimg=1"])
    (tmp_path / "r").mkdir()
    (tmp_path / "r/config.yaml").write_text(OmegaConf.to_yaml(command.plain(config)))
    return tmp_path / "r"


def resumed(run, *words):
    typed = [f"resume={run}", *words]
    config = cli.compose("train", typed)
    OmegaConf.set_struct(config, False)
    command.anchor(config)
    return command.plain(command.resumed(config, typed))


@pytest.mark.parametrize(
    "words", [["data.path=q"], ["data=folder", "data.path=q"], ["data.path=q", "seed=0", "model=gan"]]
)
def test_data_may_lie_elsewhere(frozen, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    data = resumed(frozen, *words)["data"]
    assert data["path"] == data["store"]["path"] == f"{tmp_path}/q"
    assert data["resolution"] == data["store"]["resolution"] == 8


def test_what_belongs_to_the_machine_may_change_everywhere_it_stands(frozen):
    words = [
        "data.workers=3",
        "micro_batch=2",
        "threads=2",
        "accelerator=auto",
        "callbacks.safeguard.every=7",
        "kimg=2",
    ]
    config = resumed(frozen, *words)
    assert config["data"]["workers"] == 3 and config["micro_batch"] == config["model"]["micro_batch"] == 2
    assert config["threads"] == 2 and config["accelerator"] == config["trainer"]["accelerator"] == "auto"
    assert config["callbacks"]["safeguard"]["every"] == 7 and config["kimg"] == 2
    assert resumed(frozen, "data.root=/x")["data"]["store"].keys() == config["data"]["store"].keys()


@pytest.mark.parametrize(
    "word",
    ["seed=1", "model.width=8", "data.flip=true", "data=digits", "model=dcgan", "batch_size=8", "precision=64-true"],
)
def test_what_would_make_another_run_is_refused(frozen, word):
    with pytest.raises(ValueError, match=rf"resume=.*{word.partition('=')[0]} would make it another run.*\n.*init="):
        resumed(frozen, word)


@pytest.fixture
def run(tmp_path):
    """A short run on twelve pictures."""
    pictures(tmp_path / "p", range(12))
    words = [*GAN, f"data.path={tmp_path}/p", f"run={tmp_path}/r", "kimg=0.004", "logger=none"]
    assert command.start(cli.compose("train", words), words)[0] == 0
    return tmp_path / "r"


def go_on(run, *words):
    typed = [f"resume={run}", "kimg=0.008", *words]
    config = cli.compose("train", typed)
    OmegaConf.set_struct(config, False)
    return command.start(config, typed)[0]


def test_data_that_have_changed_are_refused_unless_that_is_said(run, tmp_path, capsys):
    pictures(tmp_path / "p", ["x", "y"])
    before = (run / "config.yaml").read_text()
    with pytest.raises(
        ValueError, match=r"(?s)has changed since step-00000001.ckpt \(11 images then, 13 now\).*data_changed=true"
    ):
        go_on(run)
    assert (run / "config.yaml").read_text() == before
    assert go_on(run, "data_changed=true") == 0
    assert "data_changed: false" in (run / "config.yaml").read_text()
    assert genzoo.load(run).facts["data"]["images"] == 13
    assert go_on(run) == 0  # they have not changed since
    said = capsys.readouterr().err
    assert said.count("complete at 0.008 kimg") == 1 and f"resume={run} kimg=0.016" in said


def test_a_moved_set_goes_on_and_so_does_one_in_smaller_parts(run, tmp_path, capsys):
    (tmp_path / "p").rename(tmp_path / "q")
    assert go_on(run, f"data.path={tmp_path}/q", "micro_batch=2") == 0
    assert genzoo.load(run).images_seen == 8
    assert "micro_batch none, now 2" in capsys.readouterr().err


@pytest.mark.parametrize(
    "part",
    [
        "a weight is missing",
        "a weight has another shape",
        "a weight has another kind",
        "an optimizer",
        "a parameter of one",
    ],
)
def test_a_checkpoint_of_another_model_is_refused_by_what_does_not_fit(frozen, part):
    config = command.plain(OmegaConf.load(frozen / "config.yaml"))
    model, path = hub.build(fit.built(config["model"])), frozen / "step-00000001.ckpt"
    moments = [{"param_groups": [{"params": list(model.parameters_of(player))}]} for player in model.players]
    data = {"state_dict": dict(model.state_dict()), "optimizer_states": moments}
    torch.save(data, path)
    fit.same_model(path, model)
    name = min(data["state_dict"])
    if "weight" in part:
        data["state_dict"].pop(name)
        others = {"shape": torch.zeros(3, 3, 3), "kind": model.state_dict()[name].int()}
        data["state_dict"].update((name, value) for word, value in others.items() if word in part)
    elif part == "an optimizer":
        moments.pop()
    else:
        moments[0]["param_groups"][0]["params"].pop()
    torch.save(data, path)
    told = name if "weight" in part else "another number" if part == "an optimizer" else "the optimizer of d"
    with pytest.raises(ValueError, match=rf"{path} does not fit.*{told}.*\n.*put the right one"):
        fit.same_model(path, model)


def test_other_pictures_of_the_same_number_are_noticed(run, tmp_path):
    pictures(tmp_path / "p", range(4))
    with torch.random.fork_rng():
        images.save_png(tmp_path / "p/0.png", torch.rand(3, 8, 8))
    with pytest.raises(ValueError, match=r"11 images, but not the same"):
        go_on(run)


DAMAGE = {
    "a weight that is not finite": lambda held: next(iter(held["state_dict"].values())).fill_(float("nan")),
    "a setting of an optimizer": lambda held: held["optimizer_states"][0]["param_groups"][0].pop("betas"),
    "a moment": lambda held: held["optimizer_states"][0]["state"][0].pop("exp_avg"),
    "the number of an update": lambda held: held["optimizer_states"][0]["state"][0].update(step="x"),
    "the shape of a moment": lambda held: held["optimizer_states"][0]["state"][0].update(exp_avg=torch.zeros(9)),
    "a version": lambda held: held.update({"pytorch-lightning_version": "x.y"}),
    "a number of iterations": lambda held: held.update(global_step=7),
    "a count": lambda held: held["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"].update(ready="x"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_checkpoint_that_opens_and_leads_nowhere_is_named(run, what):
    path = run / "step-00000001.ckpt"
    held = torch.load(path, weights_only=True)
    DAMAGE[what](held)
    torch.save(held, path)
    with pytest.raises(ValueError, match=str(path)):
        go_on(run)
    assert [file.name for file in run.glob("*.ckpt")] == [path.name]


def test_weights_that_are_not_finite_begin_no_run(run, tmp_path):
    state = hub.read(run)[0]
    next(iter(state.values())).fill_(float("inf"))
    model = hub.load(run)
    model.load_state_dict(state)
    hub.save(model, tmp_path / "e")
    words = [*GAN, f"data.path={tmp_path}/p", f"run={tmp_path}/s", f"init={tmp_path}/e", "logger=none"]
    with pytest.raises(ValueError, match=r"init=.*not finite: choose another"):
        command.start(cli.compose("train", words), words)
    assert not (tmp_path / "s").exists()


def test_labels_are_found_from_any_folder(tmp_path, monkeypatch):
    """A file that lies elsewhere is frozen with its whole path; one of the set keeps its name, and goes before."""
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
    pictures(tmp_path / "p", "abc")
    (tmp_path / "here/labels.csv").write_text("file,label\na.png,x\nb.png,y\nc.png,x\n")
    monkeypatch.chdir(tmp_path / "here")
    data = OmegaConf.create({"path": f"{tmp_path}/p", "labels": "labels.csv"})
    command.anchor_labels(data)
    assert data == {"path": f"{tmp_path}/p", "labels": f"{tmp_path}/here/labels.csv"}
    words = [
        *GAN,
        f"data.path={tmp_path}/p",
        "data.labels=labels.csv",
        "batch_size=2",
        f"run={tmp_path}/r",
        "kimg=0.004",
    ]
    assert command.start(cli.compose("train", words), words)[0] == 0
    monkeypatch.chdir(tmp_path / "there")
    words = [f"resume={tmp_path}/r", "kimg=0.008"]
    assert command.start(cli.compose("train", words), words)[0] == 0

    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "p/labels.csv").write_text("file,label\n")
    data.labels = "labels.csv"
    command.anchor_labels(data)
    assert data.labels == "labels.csv"


def test_a_run_takes_over_the_order_of_classes_that_its_first_weights_have_learned(tmp_path):
    for kind in "xyz":
        (tmp_path / "p").mkdir(exist_ok=True)
        pictures(tmp_path / "p" / kind, "abcd")
    words = ["model=classifier", *GAN[2:], f"data.path={tmp_path}/p", "batch_size=2", "kimg=0.004"]
    assert command.start(cli.compose("train", [*words, f"run={tmp_path}/a"]), [])[0] == 0
    path = newest(tmp_path / "a")
    learned = torch.load(path, weights_only=True)
    assert learned["genzoo"]["data"]["names"] == ["x", "y", "z"]
    learned["genzoo"]["data"]["names"] = ["z", "x", "y"]
    torch.save(learned, path)

    for way, follows in ([f"init={tmp_path}/a"], True), ([], False):
        config = cli.compose("train", [*words, *way, f"run={tmp_path}/b"])
        OmegaConf.set_struct(config, False)
        data = command.settle(config, None)
        y = data.store.labels.clone()
        run = fit.prepare(command.plain(config), None, data, new=True)
        assert run.module.facts["data"]["names"] == (["z", "x", "y"] if follows else ["x", "y", "z"])
        assert torch.equal(data.store.labels, torch.tensor([1, 2, 0])[y] if follows else y)


def test_a_new_run_says_what_it_leaves_out_of_the_data(tmp_path, capfd):
    pictures(tmp_path / "p", "abcdefgh")
    for name in ("notes.txt", "a\nb.heic"):
        (tmp_path / "p" / name).touch()
    words = [*GAN, f"data.path={tmp_path}/p", "kimg=0.004", f"run={tmp_path}/r"]
    assert command.start(cli.compose("train", words), words)[0] == 0
    told = [line for line in capfd.readouterr().err.splitlines() if "passed over" in line]
    assert len(told) == 1 and "2 files" in told[0] and "notes.txt" in told[0] and "a\\nb.heic" in told[0]
    words = [f"resume={tmp_path}/r", "kimg=0.008"]
    assert command.start(cli.compose("train", words), words)[0] == 0
    assert "passed over" not in capfd.readouterr().err  # it has been said
