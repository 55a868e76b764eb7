"""When a run ends: by images, by passes over the data, by minutes."""

import itertools
from types import SimpleNamespace

import pytest
import torch

from genzoo import cli
from genzoo.callbacks import budget, safeguard
from genzoo.commands import train as command
from genzoo.core.io import newest

TINY = ["model=gan", "model.width=4", "batch_size=8", "logger=none", "accelerator=cpu", "threads=1"]
QUIET = ["trainer.val_check_interval=1000", "callbacks.safeguard.every=1000"]


def trained(run, *words):
    assert command.start(cli.compose("train", [*TINY, *QUIET, *words, f"run={run}"]), [])[0] == 0
    return torch.load(newest(run), weights_only=True)


def clock(step):
    """A module `time` whose hands move by `step` seconds with every look."""
    return SimpleNamespace(monotonic=itertools.count(0, step).__next__)


@pytest.mark.parametrize(("minutes", "iterations"), [(0.5, 2), (1, 3)])
def test_minutes_end_a_run_whole_and_saved(tmp_path, monkeypatch, minutes, iterations):
    """Twenty-five seconds pass with every iteration."""
    monkeypatch.setattr(budget, "time", clock(25))
    made = trained(tmp_path, "data=ring", f"minutes={minutes}", "kimg=1e9")
    assert made["global_step"] == iterations and made["genzoo"]["images_seen"] == 8 * iterations


@pytest.mark.parametrize(("epochs", "images"), [(0.01, 16), (0.02, 32)])
def test_epochs_are_passes_over_the_training_half(tmp_path, epochs, images):
    """Of the 1,617 digits; the last batch is a whole one. They go before kimg."""
    assert trained(tmp_path, "data=digits", "data.resolution=8", f"epochs={epochs}", "kimg=1e9")["genzoo"][
        "images_seen"
    ] == 8 * -(-images // 8)


def test_a_run_that_has_seen_enough_does_not_take_another_step(tmp_path):
    trained(tmp_path, "data=ring", "kimg=0.016")
    before = newest(tmp_path).read_bytes()
    words = [f"resume={tmp_path}", "minutes=60"]
    command.start(cli.compose("train", words), words)
    assert newest(tmp_path).read_bytes() == before


def test_a_run_that_begins_behind_its_budget_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"model\.start_images=16: kimg=0\.016 .*kimg=<more>"):
        trained(tmp_path / "run", "data=ring", "kimg=0.016", "+model.start_images=16")
    assert not (tmp_path / "run").exists()
    assert trained(tmp_path / "run", "data=ring", "kimg=0.017", "+model.start_images=16")["global_step"] == 1


def test_minutes_of_the_safeguard_save_and_go_on(tmp_path, monkeypatch):
    """Ten seconds pass with every look: one at the start, one in an iteration, one after a save."""
    monkeypatch.setattr(safeguard, "time", clock(10))
    trained(tmp_path, "data=ring", "callbacks.safeguard.minutes=0.5", "callbacks.safeguard.keep=all", "kimg=0.08")
    assert [int(path.name[5:13]) for path in sorted(tmp_path.glob("step-*"))] == [4, 8, 10]
