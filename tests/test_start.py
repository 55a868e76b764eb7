"""How a run starts: what is refused, when, and what stands in the folder then."""

import os
import shlex
import time
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from genzoo import cli, fit
from genzoo.commands import train as command
from genzoo.core import claim, launch, machine
from genzoo.models.gan import GAN

TINY = ["model=gan", "model.width=4", "data=ring", "batch_size=8", "accelerator=cpu", "threads=1", "kimg=0.016"]
DCGAN = ["model=dcgan", "data=digits", "model.width=4"]
REFUSED = {  # what only the built parts can tell: words, and part of the message
    "penalty": ([*DCGAN, "model.penalties=[{_target_: genzoo.losses.R1}]"], "norm=layer"),
    "nothing that judges": ([*DCGAN, "callbacks=fidelity"], "features="),
    "nothing to judge": ([*DCGAN, "features=x"], "callbacks=fidelity"),
    "half precision": (["precision=16-mixed"], "bf16-mixed"),
    "standing": (["callbacks=standing"], "model=biggan"),
    "average": (["model=vae", "data=digits", "callbacks=ema"], "networks=[encoder,decoder]"),
    "nothing that saves": (["~callbacks.safeguard"], "callbacks.safeguard"),
    "nothing that trains": (["~trainer"], "trainer is left out"),
    "no interval of passes": (["trainer.check_val_every_n_epoch=0"], "check_val_every_n_epoch=0: expected"),
    "less than all": (["trainer.num_sanity_val_steps=-5"], "num_sanity_val_steps=-5: expected -1"),
    "no callback": (["+callbacks.x=5"], "callbacks.x=5: expected a Callback"),
    "no logger": (["+logger.x=5"], "logger.x=5: expected a Logger"),
    "library": (["accelerator=tpu"], "accelerator=tpu"),
    "batch": (["batch_size=100008"], "100000"),
    "later batch": (
        ["~data.batch_size", "+data.batch_size={_target_: genzoo.schedules.Steps, values: [4, 7], at: [8]}", "devices=2"],
        "batch_size=7 does not divide by 2",
    ),
    "classes": (["model=progan", "data=digits", "data.resolution=8", "model.classes=12"], "has 10 classes"),
}  # fmt: skip


def started(*words):
    return command.start(cli.compose("train", [*words]), [*words])


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_leaves_nothing_and_starts_no_process(case, devices, tmp_path, monkeypatch):
    def no_process(*_):
        raise AssertionError("a process was started")

    monkeypatch.setattr(launch, "launch", no_process)
    words, message = REFUSED[case]
    with pytest.raises(ValueError) as told:
        started(*TINY, f"devices={devices}", *words, f"run={tmp_path}/a/b/run")
    assert message in str(told.value)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_was_there_keeps_what_it_held(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="features="):
        started(*TINY, *DCGAN, "callbacks=fidelity", f"run={tmp_path}")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_what_fails_before_anything_is_made_leaves_nothing(tmp_path, monkeypatch):
    """TensorBoard has written its file by then."""

    def fails(self, batch):
        raise OSError("no more of it")

    monkeypatch.setattr(GAN, "generator_loss", fails)
    with pytest.raises(OSError, match="no more"):
        started(*TINY, f"run={tmp_path}/a/run")
    assert not list(tmp_path.iterdir())


def test_runs_that_make_up_the_same_name_in_the_same_second_each_get_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(claim.time, "strftime", lambda form: "now")
    for number, name in enumerate(["now", "now-2", "now-3"]):
        code, folder = started(*TINY, f"seed={number}")
        assert code == 0 and folder == Path("runs/gan-ring") / name
        assert f"\nseed: {number}\n" in (text := (folder / "config.yaml").read_text())
        assert f"\nrun: {folder}\n" in text and f"folder: {folder}/samples\n" in text
        assert {"step-00000002.ckpt", "samples"} <= set(os.listdir(folder))
    with pytest.raises(ValueError, match="holds a run already"):
        started(*TINY, "run=runs/gan-ring/now")


def test_a_folder_is_called_by_ones_own_data_and_by_what_differs(tmp_path, monkeypatch):
    monkeypatch.setattr(claim.time, "strftime", lambda form: "now")
    (tmp_path / "my (1) photos").mkdir()
    data = cli.compose("train", ["data=folder", f"data.path='{tmp_path}/my (1) photos'"]).data
    assert command.data_name(data) == "my (1) photos" and command.data_name({"path": "x/a.zip"}) == "a"
    folder = claim.default_folder("gan", "my (1) photos", "model.penalties=[{_target_: a.R1}]_seed=1")
    assert str(folder) == "runs/gan-my-1-photos/now_model.penalties=-_target_-a.R1-_seed=1"
    assert len(claim.default_folder("gan", "/", "seed=\u82b1" * 100).name.encode()) <= 120


@pytest.mark.parametrize(("cost", "precision"), [(7.0, "32-true"), (0.5, "bf16-mixed")])
def test_auto_takes_the_precision_that_the_processor_has_units_for(cost, precision, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(machine, "bf16_cost", lambda: cost)
    assert started(*TINY, "precision=auto", f"run={tmp_path}/run")[0] == 0
    frozen = (tmp_path / "run/config.yaml").read_text()
    assert f"\nprecision: {precision}\n" in frozen and ": auto\n" not in frozen
    assert "times as long" not in capfd.readouterr().err
    monkeypatch.setattr(machine, "bf16_cost", lambda: 9.0)  # another machine
    assert started(f"resume={tmp_path}/run", "kimg=0.032")[0] == 0
    assert f"\nprecision: {precision}\n" in (tmp_path / "run/config.yaml").read_text()
    assert ("9 times as long" in capfd.readouterr().err) == (precision == "bf16-mixed")


def test_bf16_by_hand_on_a_processor_without_units_for_it_is_told_in_a_line(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(machine, "bf16_cost", lambda: 7.4)
    assert started(*TINY, "precision=bf16-mixed", f"run={tmp_path}/run")[0] == 0
    (line,) = [line for line in capfd.readouterr().err.splitlines() if "times as long" in line]
    assert "bf16-mixed" in line and "7 times" in line and "precision=32-true" in line


def test_what_bf16_costs_is_measured_in_moments():
    began = time.process_time()
    assert machine.bf16_cost(0.02) > 0
    assert time.process_time() - began < 2


def test_half_of_the_tensors_have_to_fit_unless_fewer_are_asked_for(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(launch, "launch", lambda *_: 0)
    assert started(*TINY, f"run={tmp_path}/a")[0] == 0
    other = [*TINY, "model.width=8", f"init={tmp_path}/a"]  # of the weights only the last biases fit
    with pytest.raises(ValueError, match=r"(?s)only \d of the model's 14 tensors.*init_partial=true"):
        started(*other, f"run={tmp_path}/b")
    assert not (tmp_path / "b").exists()
    assert started(*other, "init_partial=true", f"run={tmp_path}/b")[0] == 0
    assert "of 14 tensors" in capfd.readouterr().err


def test_what_a_run_says_to_type_next_can_be_pasted(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert started(*TINY, "run='my run [1] a'", "logger=jsonl", "trainer.log_every_n_steps=1")[0] == 0
    lines = [line[7:] for line in capfd.readouterr().err.splitlines() if "genzoo " in line]
    assert len(lines) == 2 and all(shlex.split(line)[2].startswith("ckpt=") for line in lines)
    assert all("my run [1] a" in shlex.split(line)[2] and "<" not in line for line in lines)
    config = OmegaConf.create({"run": "my run [1] a", "resume": None})
    assert command.outcome(config).startswith("'my run [1] a'  discriminator/real 0.")
    assert command.outcome(OmegaConf.create({"run": "auto", "resume": None})) == ""


def test_a_process_of_a_launch_leaves_the_telling_to_the_first_one(tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "launch", lambda *_: 0)
    assert started(*TINY, "devices=2", f"run={tmp_path}/run")[0] == 0
    for variable, value in {
        "RANK": 1,
        "LOCAL_RANK": 1,
        "WORLD_SIZE": 2,
        "LOCAL_WORLD_SIZE": 2,
        "MASTER_ADDR": "x",
    }.items():
        monkeypatch.setenv(variable, str(value))
    monkeypatch.setenv("MASTER_PORT", "1")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setattr(fit, "prepare", refuses)
    assert command.work(tmp_path / "run") == 1
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(ValueError, match="both"):
        command.work(tmp_path / "run")


def refuses(*_, **__):
    raise ValueError("both meet it")


def test_the_launcher_builds_no_weights(tmp_path, monkeypatch):
    """It looks at a model of any size, and hands the folder on with what it has settled."""
    seen = []
    monkeypatch.setattr(launch, "launch", lambda folder, *_: seen.append((folder / "config.yaml").read_text()) or 0)
    built = []
    check = GAN.check
    monkeypatch.setattr(GAN, "check", lambda self, data: built.append(self) or check(self, data))
    words = [*TINY[:-2], "threads=auto", "epochs=0.5", "devices=2", f"run={tmp_path}/run"]
    assert started(*words) == (0, tmp_path / "run")
    assert len(seen) == 1 and all(parameter.is_meta for parameter in built[0].parameters())
    assert "\nkimg: 50.0\nepochs: null\n" in seen[0] and "\nthreads: 1\n" in seen[0]  # 100,000 points, a small model
