"""Two gloo processes, and one in micro-batches, equal one process: float64, weights, averages and Adam's moments."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from genzoo import cli
from genzoo.commands import train as command
from genzoo.core.io import newest

HERE = Path(__file__).parent


def neighbour(name):
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


plain_runs, contract = neighbour("plain_runs"), neighbour("test_contract")
EXACT = ["precision=64-true", "model.clip=1.0"]
CASES = {name: contract.tiny(name) for name in contract.MODELS if name != "gan_2014"} | {  # its dropout differs by rank
    "penalty": [*contract.tiny("gan"), "objective=wgan_gp"],
    "gd": [*contract.tiny("dcgan"), "model.turns=[gd]"],
}
WAYS = {"straight": [], "micro": ["micro_batch=3"], "two": ["devices=2"], "two_micro": ["devices=2", "micro_batch=3"]}


def freeze(folder, overrides):
    config = cli.compose("train", [*overrides, f"run={folder}", "kimg=0.048"])
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(command.plain(config)))
    return str(folder)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Every case in every way; the two processes are started once for all."""
    home = tmp_path_factory.mktemp("runs")
    folders = {way: [freeze(home / way / case, [*CASES[case], *EXACT, *WAYS[way]]) for case in CASES] for way in WAYS}
    assert plain_runs.main(folders["straight"] + folders["micro"]) == 0
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*launcher, str(HERE / "plain_runs.py"), *folders["two"], *folders["two_micro"]],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return home


@pytest.mark.parametrize("way", [way for way in WAYS if way != "straight"])
@pytest.mark.parametrize("case", CASES)
def test_equals_the_straight_run(runs, case, way):
    one, other = (torch.load(newest(runs / w / case), weights_only=True) for w in ("straight", way))
    assert one["global_step"] == other["global_step"] > 0
    assert one["genzoo"]["images_seen"] == other["genzoo"]["images_seen"]
    for part in ("state_dict", "live", "optimizer_states"):
        pairs = zip(contract.leaves(one.get(part, {})), contract.leaves(other.get(part, {})), strict=True)
        for (name, a), (_, b) in pairs:
            if isinstance(a, torch.Tensor):
                assert a.dtype == torch.float64 or not a.is_floating_point() or a.numel() == 1
                assert torch.allclose(a.double(), b.double(), rtol=0, atol=1e-10), f"{part}{name}"
