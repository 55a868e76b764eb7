"""Two gloo processes, and one in micro-batches, equal one process: float64, weights, averages and Adam's moments."""

import functools
import json
import weakref

import plain_runs
import pytest
import test_contract as contract
import torch

from genzoo import cli
from genzoo.commands import train as command
from genzoo.core.io import newest

EXACT = ["precision=64-true", "model.clip=1.0"]
CASES = {name: contract.tiny(name) for name in contract.MODELS if name != "gan_2014"} | {  # its dropout differs by rank
    "penalty": [*contract.tiny("gan"), "objective=wgan_gp"],
    "gd": [*contract.tiny("dcgan"), "model.turns=[gd]"],
    "augmented": [*contract.tiny("dcgan"), "augment=diff_augment"],
    "growing": [
        *contract.tiny("gan"),
        *(
            "objective=wgan_gp",
            "model.turns=[d,dg]",
            "~data.batch_size",
            "+data.batch_size._target_=genzoo.schedules.Steps",
        ),
        *("+data.batch_size.values=[4,10,14]", "+data.batch_size.at=[8,28]", "kimg=0.048"),
    ],
}
WAYS = {"straight": [], "micro": ["micro_batch=3"], "two": ["devices=2"], "two_micro": ["devices=2", "micro_batch=3"]}


@pytest.fixture(scope="module")
def trained(request, tmp_path_factory):
    """A case and a way -> the last checkpoint; trained once, when the first test asks for it."""
    home = tmp_path_factory.mktemp("runs")

    @functools.cache
    def made(case, way):
        folder = plain_runs.freeze(home / way / case, ["kimg=0.024", *CASES[case], *EXACT, *WAYS[way]])
        if "devices=2" in WAYS[way]:
            request.getfixturevalue("ranks").train(plain_runs.__file__, folder)
        else:
            assert plain_runs.train(folder) == 0
        lines = map(json.loads, (folder / "curves.jsonl").read_text().splitlines())
        return torch.load(newest(folder), weights_only=True) | {"curves": list(lines)}

    return made


@pytest.mark.parametrize(
    "way", [*(pytest.param(way, marks=pytest.mark.thorough) for way in ("micro", "two")), "two_micro"]
)
@pytest.mark.parametrize("case", CASES)
def test_equals_the_straight_run(trained, case, way):
    one, other = trained(case, "straight"), trained(case, way)
    assert one["global_step"] == other["global_step"] > 0
    assert other["genzoo"]["machine"]["processes"] == (2 if "two" in way else 1)
    assert one["genzoo"]["images_seen"] == other["genzoo"]["images_seen"]
    for part in ("state_dict", "live", "optimizer_states"):
        pairs = zip(contract.leaves(one.get(part, {})), contract.leaves(other.get(part, {})), strict=True)
        for (name, a), (_, b) in pairs:
            if isinstance(a, torch.Tensor):
                assert a.dtype == torch.float64 or not a.is_floating_point() or a.numel() == 1
                assert torch.allclose(a.double(), b.double(), rtol=0, atol=1e-10), f"{part}{name}"


@pytest.mark.parametrize("case", CASES)
def test_curves_of_two_processes_are_those_of_one(trained, case):
    one, other = trained(case, "straight")["curves"], trained(case, "two_micro")["curves"]
    assert len(one) == len(other) > 0
    for a, b in zip(one, other):
        assert a.keys() == b.keys() and any("/" in name for name in a.keys() - {"speed/images_per_second"})
        for name in a.keys() - {"speed/images_per_second"}:
            assert a[name] == pytest.approx(b[name], rel=1e-4, abs=1e-6), name


@pytest.mark.parametrize("way", WAYS)
def test_the_batch_grows(trained, way):
    state = trained("growing", way)
    assert state["global_step"] == 3 and state["genzoo"]["images_seen"] == 2 * (4 + 10 + 14)


class Kept:
    """Bytes that wait for a backward pass, and the most there were at once."""

    def __init__(self):
        self.now = self.most = 0

    def pack(self, tensor):
        self.add(tensor.nbytes)
        weakref.finalize(holder := Holder(tensor), self.add, -tensor.nbytes)
        return holder

    def add(self, size):
        self.now += size
        self.most = max(self.most, self.now)


class Holder:
    def __init__(self, tensor):
        self.tensor = tensor


def test_a_large_batch_in_parts_is_the_same_update_in_the_memory_of_a_part(tmp_path):
    """batch_size=2048 where 64 fit, as in BigGAN: weights, averages and moments to 1e-10 in float64."""
    kept, states = {}, {}
    for micro in (2048, 64):
        words = [*contract.tiny("gan"), "objective=wgan_gp", "callbacks=ema", "precision=64-true", "batch_size=2048"]
        config = cli.compose("train", [*words, f"micro_batch={micro}", "kimg=2.048", f"run={tmp_path}/{micro}"])
        kept[micro] = Kept()
        with torch.autograd.graph.saved_tensors_hooks(kept[micro].pack, lambda holder: holder.tensor):
            assert command.start(config, [])[0] == 0
        states[micro] = torch.load(newest(tmp_path / str(micro)), weights_only=True)
    for part in ("state_dict", "live", "optimizer_states"):
        one, other = (contract.leaves(states[micro][part]) for micro in (2048, 64))
        for (name, a), (_, b) in zip(one, other, strict=True):
            if isinstance(a, torch.Tensor):
                assert torch.allclose(a.double(), b.double(), rtol=0, atol=1e-10), f"{part}{name}"
    assert states[64]["genzoo"]["images_seen"] == 5 * 2048 and kept[64].most < kept[2048].most / 16
