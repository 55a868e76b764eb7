"""Iterations, images and updates: one clock, whatever the turns."""

import json

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from genzoo import cli
from genzoo.commands import train as command

TURNS = ["[dg]", "[gd]", "[d,dg]", "[d,d,d,d,dg]"]


@pytest.mark.parametrize("turns", TURNS)
def test_counters_names_and_axis_agree(turns, tmp_path):
    number = turns.count(",") + 1
    overrides = ["model=gan", "data=ring", "model.width=4", "batch_size=8", f"model.turns={turns}", f"run={tmp_path}"]
    overrides += [f"kimg={20 * 8 * number / 1000}", "callbacks.safeguard.every=7", "callbacks.safeguard.keep=9"]
    overrides += ["trainer.log_every_n_steps=5", "trainer.val_check_interval=1000", "threads=1", "accelerator=cpu"]
    assert command.start(cli.compose("train", overrides), [])[0] == 0
    assert [path.name for path in sorted(tmp_path.glob("step-*.ckpt"))] == [
        f"step-{step:08d}.ckpt" for step in (7, 14, 20)
    ]
    last = torch.load(tmp_path / "step-00000020.ckpt", weights_only=True)
    assert last["global_step"] == 20 and last["genzoo"]["images_seen"] == 20 * 8 * number
    updates = [state["state"][0]["step"].item() for state in last["optimizer_states"]]
    letters = [turns.count("d"), turns.count("g")]
    assert updates == [20 * count for count in letters]
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    reports = [1, 5, 10, 15, 20]
    assert [point.step for point in events.Scalars("generator/adversarial")] == [8 * number * n for n in reports]
    assert "images_seen" not in events.Tags()["scalars"]
    assert [point.step for point in events.Images("pictures/samples")] == [8 * number, 20 * 8 * number]
    lines = [json.loads(line) for line in (tmp_path / "curves.jsonl").read_text().splitlines()]
    assert [(line["step"], line["images_seen"]) for line in lines] == [(n, 8 * number * n) for n in reports]
