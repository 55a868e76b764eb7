"""What every model in conf/model must do, whatever it is. A new model is found by its conf file."""

import importlib.util
from pathlib import Path

import pytest
import torch

from genzoo import cli, hub
from genzoo.commands import train as command
from genzoo.core.io import newest
from genzoo.core.roles import Sampler
from genzoo.fit import built

ROOT = Path(__file__).parents[1]
MODELS = sorted(path.stem for path in (ROOT / "conf/model").glob("*.yaml"))
QUIET = [
    "logger=none",
    "trainer.val_check_interval=1000",
    "accelerator=cpu",
    "threads=1",
    "callbacks.safeguard.every=3",
]


def tiny(model):
    """The settings with which a model's own test file says that it can be run in no time."""
    path = ROOT / f"tests/models/test_{model}.py"
    spec = importlib.util.spec_from_file_location(f"tiny_{model}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return [f"model={model}", *module.TINY, *QUIET]


def train(folder, overrides, kimg):
    """A run in this process; its newest checkpoint as plain data."""
    config = cli.compose("train", [*overrides, f"run={folder}", f"kimg={kimg}"])
    code, _ = command.start(config, [])
    assert code == 0
    return torch.load(newest(folder), weights_only=True)


def resume(folder, kimg):
    typed = [f"resume={folder}", f"kimg={kimg}"]
    code, _ = command.start(cli.compose("train", typed), typed)
    assert code == 0
    return torch.load(newest(folder), weights_only=True)


def leaves(node, name=""):
    """Every tensor and number of nested plain data, by its path."""
    if isinstance(node, dict):
        return [leaf for key, value in node.items() for leaf in leaves(value, f"{name}/{key}")]
    if isinstance(node, (list, tuple)):
        return [leaf for i, value in enumerate(node) for leaf in leaves(value, f"{name}/{i}")]
    return [(name, node)]


def assert_same_bits(a, b):
    for key in ("state_dict", "optimizer_states", "live"):
        for (name, one), (_, two) in zip(leaves(a.get(key, {})), leaves(b.get(key, {})), strict=True):
            assert torch.equal(one, two) if isinstance(one, torch.Tensor) else one == two, f"{key}{name}"
    assert a["genzoo"]["images_seen"] == b["genzoo"]["images_seen"]
    assert a["global_step"] == b["global_step"]


@pytest.mark.parametrize("model", MODELS)
def test_one_iteration_moves_every_player(model, tmp_path):
    overrides = tiny(model)
    start = cli.compose("train", [*overrides, f"run={tmp_path}"])
    torch.default_generator.manual_seed(0)
    first = hub.build(built(command.plain(start)["model"]), None)
    made = train(tmp_path, overrides, 0.001)
    assert made["global_step"] == 1
    for player, networks in first.players.items():
        for network in networks:
            names = [f"{network}.{name}" for name, _ in getattr(first, network).named_parameters()]
            moved = [not torch.equal(first.state_dict()[name], made["state_dict"][name]) for name in names]
            assert any(moved), f"{network} of player {player} stands still"


@pytest.mark.parametrize("model", MODELS)
def test_stop_and_resume_equals_the_straight_run(model, tmp_path):
    """The first leg ends inside a pass over the data and between two saves."""
    straight = train(tmp_path / "a", tiny(model), 0.08)
    train(tmp_path / "b", tiny(model), 0.04)
    assert straight["global_step"] == 10
    assert_same_bits(straight, resume(tmp_path / "b", 0.08))


@pytest.mark.parametrize("model", MODELS)
def test_save_and_load_give_equal_results(model, tmp_path):
    train(tmp_path / "run", tiny(model), 0.008)
    loaded = hub.load(tmp_path / "run")
    again = hub.load(hub.save(loaded, tmp_path / "export"))
    assert not loaded.training and loaded.images_seen == again.images_seen == 8
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
    if isinstance(loaded, Sampler):
        assert torch.equal(loaded.sample(5, seed=3), again.sample(5, seed=3))
        assert not torch.equal(loaded.sample(5, seed=3), loaded.sample(5, seed=4))
        assert loaded.sample(50, seed=0).abs().max() <= 1
        for verb, words in {"sample": ["n=3"], "interpolate": ["rows=1", "steps=3"]}.items():
            assert cli.run(verb, [f"ckpt={tmp_path / 'run'}", f"out={tmp_path / verb}.png", *words]) == 0
            assert (tmp_path / f"{verb}.png").stat().st_size > 0


@pytest.mark.parametrize("model", MODELS)
def test_terms_are_finite_and_full_precision_under_bf16(model, tmp_path):
    seen = {}

    def spy(module, terms, weight):
        seen.update(terms)

    from genzoo.core.module import ZooModule

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ZooModule, "tally", spy)
        train(tmp_path, [*tiny(model), "precision=bf16-mixed"], 0.008)
    assert seen
    for name, term in seen.items():
        assert term.dtype == torch.float32 and term.isfinite(), name
