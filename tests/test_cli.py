"""The command line as a person meets it: fast answers, and mistakes told in at most three lines."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from children import ROOT, python
from PIL import Image

from genzoo import cli


def imported(code):
    """The heavy modules that a line of code brings in."""
    done = python("-c", f"import sys\n{code}\nprint(*sorted({{'torch', 'hydra', 'torchvision'}} & set(sys.modules)))")
    return done.stdout.splitlines()[-1].split()


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["sample", "--help"], ["evaluate", "--help"]])
def test_help_answers_at_once(arguments):
    """Modules are what takes time: the interpreter's own are some 60, NumPy's alone would be 150."""
    done = python("-X", "importtime", "-m", "genzoo", *arguments)
    assert done.returncode == 0 and "genzoo" in done.stdout
    assert 30 < done.stderr.count("import time:") < 150


def test_nothing_heavy_is_imported_before_it_is_needed():
    assert imported("import genzoo") == []
    assert (
        imported("from genzoo import cli; cli.overview(); [cli.manual(v) for g in cli.VERBS.values() for v in g]") == []
    )


def test_every_verb_has_a_manual():
    for group in cli.VERBS.values():
        for verb in group:
            assert "keys" in cli.manual(verb)


def test_a_manual_shows_defaults_as_they_are_typed():
    manual = cli.manual("sample")
    assert "(samples.png)" in manual and "(64)" in manual and "(null)" in manual and '"' not in manual
    assert "false)" in cli.manual("train") and '"' not in cli.manual("train")


def save(path, size=(40, 40)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((*size, 3), np.uint8)).save(path)


SMALL = ["model=gan", "data=ring", "model.width=4", "kimg=0.064", "threads=1", "accelerator=cpu", "logger=none"]
MISTAKES = {
    "unknown key": (["bach_size=8"], ["bach_size", "batch_size"]),
    "unknown key in a group": (["model.witdh=8"], ["model.witdh", "model.width"]),
    "unknown file of a group": (["model=dcgn"], ["dcgn", "dcgan"]),
    "unknown data": (["data=minst"], ["minst", "mnist"]),
    "wrong type": (["kimg=abc"], ["kimg=abc", "a number"]),
    "wrong type in a group": (["model.width=abc"], ["model.width=abc", "a whole number"]),
    "wrong flag": (["deterministic=5x"], ["deterministic=5x", "true or false"]),
    "unquoted value": (["model.turns=[ä]"], ["model.turns=[ä]", "stands in quotes"]),
    "impossible size": (["model=dcgan", "data=digits", "data.resolution=30"], ["30", "28 and 32"]),
    "points for a model of images": (["model=dcgan", "data=ring"], ["are points", "model=gan"]),
    "impossible size of the VAE": (["model=vae", "data=digits", "data.resolution=30"], ["30", "28 and 32"]),
    "unknown player": (["model.turns=[dx]"], ["dx", "d, g"]),
    "objective of a VAE": (["model=vae", "data=digits", "objective=hinge"], ["takes no 'objective'", "leave it out"]),
    "no key": (["dcgan"], ["dcgan", "model=dcgan"]),
    "no images": (["kimg=0"], ["kimg=0", "0.001"]),
    "less than no epochs": (["epochs=-1"], ["epochs=-1", "above 0"]),
    "no device": (["devices=0"], ["devices=0", "at least 1"]),
    "no thread": (["threads=0"], ["threads=0", "at least 1"]),
    "no width": (["model.width=0"], ["model.width=0", "at least 1"]),
    "batch of letters": (["batch_size=abc"], ["batch_size=abc", "a whole number"]),
    "half precision on a CPU": (["precision=16-mixed"], ["16-mixed", "bf16-mixed"]),
    "a GPU that is not there": (["accelerator=gpu"], ["accelerator=gpu", "auto"]),
    "a judge without work": (["model=gan", "data=digits", "features=x"], ["features=x", "callbacks=fidelity"]),
    "penalty on BatchNorm": (["model=dcgan", "data=digits", "objective=wgan_gp"], ["norm=layer"]),
    "indivisible batch": (["batch_size=10", "micro_batch=4"], ["10", "8 or 12"]),
    "batch below devices": (["batch_size=3", "devices=2"], ["3", "2 or 4"]),
    "no data": (["data=mnist", "data.root=nowhere"], ["nowhere", "train-images-idx3-ubyte"]),
    "empty folder": (["data=folder", "data.path={tmp}/empty"], ["empty"]),
    "missing folder": (["data=folder", "data.path={tmp}/none"], ["none"]),
    "wrong channels": (["model=dcgan", "data=digits", "data.channels=3"], ["1 channel,", "data.channels=3"]),
    "wrong classes": (["model=classifier", "data=digits", "data.classes=5"], ["data.classes=5"]),
    "pairs of nothing": (
        ["model=pix2pix", "data=shapes_ab"],
        ["learns from pairs that belong together", "data=paired"],
    ),
    "one weight for two cycles": (
        ["model=cyclegan", "data=shapes_ab", "model.cycle=1"],
        ["model.cycle=1", "{a or b: a number"],
    ),
    "resume of nothing": (["resume={tmp}/empty"], ["config.yaml"]),
    "unwritable run": (["run=/proc/nowhere/run"], ["/proc/nowhere/run", "run="]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told_in_plain_words(mistake, tmp_path, capfd):
    (tmp_path / "empty").mkdir()
    arguments, words = MISTAKES[mistake]
    arguments = [word.format(tmp=tmp_path) for word in arguments]
    if not any(word.startswith("resume") for word in arguments):
        arguments = [
            word for word in SMALL if word.split("=")[0] not in {a.split("=")[0] for a in arguments}
        ] + arguments
    if not any(word.startswith(("run=", "resume=")) for word in arguments):
        arguments += [f"run={tmp_path}/run"]
    try:
        code = cli.run("train", arguments)
    except SystemExit as stop:
        code = stop.code
    _, said = capfd.readouterr()
    assert code not in (0, None)
    told = said[said.index("genzoo: ") :]
    assert "Traceback" not in said and len(told.strip().splitlines()) <= 3, said
    for word in words:
        assert word in told, said
    assert not list(tmp_path.glob("run/*.ckpt"))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_picture_is_told_in_one_line(workers, tmp_path, capfd):
    for i in range(128):
        save(tmp_path / f"set/train/{i:03}.png", (8, 8))
    save(tmp_path / "set/test/0.png", (8, 8))
    (tmp_path / "set/train/001.png").write_bytes(b"no picture")  # not among those that are looked at beforehand
    data = ["data=folder", f"data.path={tmp_path}/set", "data.resolution=16", f"data.workers={workers}"]
    arguments = [
        "model=dcgan",
        "model.width=4",
        *SMALL[3:],
        *data,
        "batch_size=64",
        f"run={tmp_path}/run",
        "kimg=0.128",
    ]
    assert cli.run("train", arguments) == 1
    said = capfd.readouterr().err
    told = said[said.index("genzoo: ") :].strip().splitlines()
    assert "Traceback" not in said and len(told) == 1
    assert told[0].startswith(f"genzoo: {tmp_path}/set/train/001.png cannot be read: it is no picture")


def test_an_unknown_verb_is_answered_with_the_nearest():
    done = python("-m", "genzoo", "smaple")
    assert done.returncode == 1 and "sample" in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_sweep_runs_every_job_and_tells_of_the_failed_one(tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = [*SMALL, "-m", "batch_size=8,16", "micro_batch=null,12", "run=${batch_size}-${micro_batch}"]
    assert cli.run("train", arguments) == 1
    out, _ = capfd.readouterr()
    assert sorted(path.parent.name for path in tmp_path.glob("*/step-*.ckpt")) == ["16-None", "8-None"]
    assert [line.split()[0] for line in out.strip().splitlines()[-4:]] == ["ok", "failed", "ok", "failed"]


def test_the_folders_of_a_sweep_and_its_table_say_what_differs(tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = [
        *SMALL[:-1],
        "logger=jsonl",
        "trainer.log_every_n_steps=1",
        "batch_size=32",
        "-m",
        "seed=0,1",
        "run=auto",
    ]
    assert cli.run("train", arguments) == 0
    lines = capfd.readouterr().out.strip().splitlines()
    folders = sorted(str(path.parent) for path in Path().glob("runs/*/*/config.yaml"))
    assert [folder.rpartition("_")[2] for folder in folders] == ["seed=0", "seed=1"]
    assert [line.split()[:2] for line in lines] == [["ok", folder] for folder in folders]
    assert all("generator/" in line and line.endswith(f"seed={n} run=auto") for n, line in enumerate(lines))


@pytest.mark.thorough
def test_a_sweep_of_two_jobs_with_two_processes_each_gives_two_right_results(tmp_path, capfd):
    """As one process does to 1e-10; and torchrun by hand on the frozen configuration leads to the same bits."""
    words = [*SMALL, "batch_size=8", "precision=64-true", "seed=1,2"]
    assert cli.run("train", ["-m", *words, "devices=2", f"run={tmp_path}/two-${{seed}}"]) == 0
    assert [line.split()[0] for line in capfd.readouterr().out.strip().splitlines()] == ["ok", "ok"]
    assert cli.run("train", ["-m", *words, f"run={tmp_path}/one-${{seed}}"]) == 0
    (tmp_path / "hand").mkdir()
    shutil.copy(tmp_path / "two-1/config.yaml", tmp_path / "hand")
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = python(*launcher, "-m", "genzoo.commands.train", f"{tmp_path}/hand")
    assert done.returncode == 0, done.stderr
    names = ("one-1", "one-2", "two-1", "two-2", "hand")
    states = {name: torch.load(tmp_path / name / "step-00000008.ckpt", weights_only=True) for name in names}
    weights = {name: torch.cat([w.flatten() for w in states[name]["state_dict"].values()]) for name in names}
    assert all(states[name]["genzoo"]["machine"]["processes"] == 2 for name in ("two-1", "two-2", "hand"))
    assert torch.equal(weights["hand"], weights["two-1"])
    for seed in (1, 2):
        assert torch.allclose(weights[f"one-{seed}"], weights[f"two-{seed}"], rtol=0, atol=1e-10)
    assert not torch.allclose(weights["two-1"], weights["two-2"], atol=1e-3)
    assert sorted(path.name for path in (tmp_path / "hand").iterdir()) == sorted(
        path.name for path in (tmp_path / "two-1").iterdir()
    )


def test_resume_refuses_what_would_be_another_run(tmp_path, capfd):
    assert cli.run("train", [*SMALL, f"run={tmp_path}"]) == 0
    assert cli.run("train", [f"resume={tmp_path}", "model.width=8"]) == 1
    assert "model.width" in capfd.readouterr().err
    assert cli.run("train", [f"resume={tmp_path}", "kimg=0.5"]) == 0
    assert [path.name for path in sorted(tmp_path.glob("step-*"))] == ["step-00000001.ckpt", "step-00000002.ckpt"]


def test_training_leaves_nothing_but_the_run_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.run("train", [*SMALL, "run=here", "logger=tensorboard"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_a_run_says_what_it_made_and_what_to_type_next(tmp_path, capfd):
    assert cli.run("train", [*SMALL, f"run={tmp_path}"]) == 0
    said = capfd.readouterr().err
    assert "images/s" in said or "kimg" in said
    assert f"made   {tmp_path}/step-00000001.ckpt" in said and f"genzoo sample ckpt={tmp_path}" in said


def test_init_takes_weights_by_name_and_shape(tmp_path, capfd):
    assert cli.run("train", [*SMALL, f"run={tmp_path}/a"]) == 0
    assert cli.run("train", [*SMALL, f"run={tmp_path}/b", f"init={tmp_path}/a"]) == 0
    assert "took 14 of 14 tensors" in capfd.readouterr().err
    assert cli.run("train", [*SMALL, f"run={tmp_path}/c", f"init={tmp_path}/a", "model.latent_dim=5"]) == 0
    assert "took 13 of 14" in (said := capfd.readouterr().err) and "another shape: generator.0.weight\n" in said
    assert cli.run("train", ["model=dcgan", "data=digits", f"run={tmp_path}/d", f"init={tmp_path}/a"]) == 1
    assert "no tensor of it fits" in capfd.readouterr().err


def test_notebooks_train_the_same_way(tmp_path):
    import genzoo

    model = genzoo.train(*SMALL, f"run={tmp_path}")
    assert model.sample(3, seed=0).shape == (3, 2) and not model.training
    with pytest.raises(ValueError, match="batch_size=10"):
        genzoo.train(*SMALL, f"run={tmp_path}/x", batch_size=10, micro_batch=4)


def test_a_user_adds_a_model_of_his_own(tmp_path):
    (tmp_path / "conf/model").mkdir(parents=True)
    ours = (ROOT / "conf/model/gan.yaml").read_text()
    (tmp_path / "conf/model/mine.yaml").write_text(
        ours.replace("name: gan", "name: mine").replace("depth: 2", "depth: 3")
    )
    arguments = ["model=mine", "--config-dir", f"{tmp_path}/conf", *SMALL[1:], f"run={tmp_path}/run", "batch_size=8"]
    assert cli.run("train", arguments) == 0
    state = torch.load(tmp_path / "run/step-00000008.ckpt", weights_only=True)
    assert state["genzoo"]["model"] == "mine" and state["genzoo"]["config"]["generator"]["depth"] == 3


def test_nothing_can_be_said_of_a_group_that_is_empty_by_default():
    for group in ("objective", "augment", "experiment"):
        assert cli.compose("train", ["model=dcgan", f"{group}=null", "run=x"]) == cli.compose(
            "train", ["model=dcgan", "run=x"]
        )


@pytest.mark.parametrize("word", ["~model", "callbacks=5", "data=[]"])
def test_what_hydra_cannot_put_together_is_named_as_typed(word, capfd):
    assert cli.run("train", ["logger=none", word]) == 1
    told = capfd.readouterr().err
    assert word in told and "Traceback" not in told and len(told.splitlines()) <= 4
