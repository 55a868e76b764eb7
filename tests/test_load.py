"""A model that is loaded is the one of the file, whatever the caller has set torch to, and leaves all of that alone."""

import contextlib
import importlib.util
from pathlib import Path

import pytest
import torch

from genzoo import cli, hub
from genzoo.commands import train as command
from genzoo.core.roles import Labeller, Sampler, Translator, roles
from genzoo.fit import built

SPEC = importlib.util.spec_from_file_location("contract", Path(__file__).with_name("test_contract.py"))
contract = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(contract)


@pytest.fixture(scope="module", params=contract.MODELS)
def exported(request, tmp_path_factory):
    config = command.plain(cli.compose("train", [*contract.tiny(request.param), "run=nowhere"]))
    return hub.save(hub.build(built(config["model"])), tmp_path_factory.mktemp("load") / request.param)


def shown(model):
    """What the model makes, always of the same."""
    if Sampler in roles(model):
        return model.sample(3, seed=5)
    x = torch.linspace(-1, 1, 2 * 3 * 32 * 32).view(2, 3, 32, 32).to(model.device, model.dtype)
    if Translator in roles(model):
        return model.translate(x, to=model.makes[-1], seed=5)
    assert Labeller in roles(model)
    return model.classify(x[:, : model.network.channels])


@contextlib.contextmanager
def float64():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def test_what_the_caller_has_set_changes_nothing(exported):
    usual, before = hub.load(exported), torch.get_rng_state()
    images = shown(usual)
    with float64(), torch.device("meta"), torch.inference_mode():
        model = hub.load(exported)
        made = model.sample(3, seed=5) if Sampler in roles(model) else images
        kinds = {name: value.dtype for name, value in model.state_dict().items()}
    assert torch.equal(made, images) and torch.equal(shown(model), images)
    assert kinds == {name: value.dtype for name, value in usual.state_dict().items()}
    assert not any(value.is_inference() for value in model.state_dict().values())
    assert torch.equal(torch.get_rng_state(), before)


def test_weights_of_another_type_work(exported):
    model = hub.load(exported)
    exact = shown(model).double()
    for way, kind in ((model.double, torch.float64), (model.half, torch.float16), (model.bfloat16, torch.bfloat16)):
        assert way() is model and model.dtype == kind
        off = (shown(model).double() - exact).abs() / max(1, exact.abs().max())
        assert off.max() < 1e-4 if kind == torch.float64 else off.mean() < 0.05  # a single pixel may be far off
