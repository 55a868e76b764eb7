"""scripts/bench.py: its bare loop does the work it is compared for, its table says what was measured, its parts fit."""

import functools
import json
import runpy

import pytest
import torch
from children import ROOT, python

from genzoo import cli, hub
from genzoo.commands.train import plain
from genzoo.fit import built

SCRIPT = ROOT / "scripts/bench.py"


@pytest.fixture(scope="module")
def bench():
    return runpy.run_path(str(SCRIPT))


@pytest.fixture(scope="module")
def bare():
    return runpy.run_path(str(SCRIPT.with_name("bare.py")))


@pytest.mark.parametrize(("turn", "generated"), [("dg", 2), ("gd", 1)])
def test_bare_loop_passes(bare, turn, generated):
    """As many passes of each network as the engine makes: fresh fakes for each player in dg, the same in gd."""
    words = ["model=dcgan", "model.width=4", "data=digits", f"model.turns=[{turn}]", "run=x"]
    model = hub.build(built(plain(cli.compose("train", words))["model"]))
    passes = dict.fromkeys(("generator", "discriminator"), 0)

    def count(name, *_):
        passes[name] += 1

    for name in passes:
        getattr(model, name).register_forward_hook(functools.partial(count, name))
    optimizers = {player: make(model.parameters_of(player)) for player, make in model.make_optimizers.items()}
    before = [parameter.clone() for parameter in model.parameters()]
    batch = [2 * torch.rand(8, 1, 32, 32) - 1, torch.zeros(8, dtype=torch.int64)]
    bare["loop_of"](model)(model, optimizers, batch, functools.partial(torch.autocast, "cpu", enabled=False))
    assert passes == {"generator": generated, "discriminator": 3}
    assert not any(torch.equal(old, new) for old, new in zip(before, model.parameters()))


def test_table(bench):
    """Two rounds by hand: ratios inside a round, medians over rounds, bf16 against float32, share of the peak."""

    def seen(ms):
        return {"images/s": 100.0, "ms": ms, "megabytes": 500.0, "images": 10, "flops": 1e9}

    rounds = [
        {
            "peak": {"float32": 100.0, "bfloat16": 200.0},
            "dcgan64": {"genzoo": seen(10.0 * busy), "bare": seen(8.0 * busy)},
            "dcgan64-bf16": {"genzoo": seen(5.0 * busy), "bare": seen(5.0 * busy)},
        }
        for busy in (1, 2)
    ]
    table = list(bench["told"](rounds, {name: bench["CASES"][name] for name in ("dcgan64", "dcgan64-bf16")}))
    assert table[2].split() == "dcgan64 genzoo 100 15 500 MB 8% 0.80 (0.80 to 0.80)".split()
    assert table[4].split()[6] == "8%"  # 0.1 GFLOP in 5 and 10 ms, of 200 a second: 10 % and 5 %
    assert "2.00 (2.00 to 2.00) times as fast" in table[6]


@pytest.mark.thorough
def test_one_round(tmp_path):
    """The whole of it on the smallest case; the times themselves prove nothing here."""
    out = tmp_path / "bench.json"
    done = python(SCRIPT, "gan", "--rounds", "1", "--iterations", "2", "--out", out)
    assert done.returncode == 0, done.stderr
    table = done.stdout
    assert [line.split()[:2] for line in table.splitlines()[2:4]] == [["gan", "genzoo"], ["gan", "bare"]]
    found = json.loads(out.read_text())["rounds"][0]["gan"]
    assert found["bare"]["images"] == 64 and all(part["cpu"] > 0 and part["iterations"] == 2 for part in found.values())
    weights = 64 * 256 + 256 * 256 + 256 * 1024, 1024 * 256 + 256 * 256 + 256
    generator, discriminator = (2 * 64 * w for w in weights)
    inputs = [
        2 * 64 * w for w in (64 * 256, 1024 * 256)
    ]  # first layers have no gradient of what enters, D's in G's turn has
    forward = 2 * generator + 3 * discriminator
    backward = (2 * generator - inputs[0]) + 2 * (2 * discriminator - inputs[1]) + discriminator
    assert found["bare"]["flops"] == forward + backward
