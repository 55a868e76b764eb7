"""A user's own model, data and callback: typing them allows them, and later commands are printed with `allow=`."""

import shlex
import sys
from pathlib import Path

import pytest

import genzoo
from genzoo import cli, console, fit, hub
from genzoo.commands import train
from genzoo.core import launch

OWN = """
import pytorch_lightning as pl
import torch
from torch import nn

from genzoo.batches import Images
from genzoo.core.module import ZooModule
from genzoo.core.roles import LatentSampler
from genzoo.models.gan import Generator
from genzoo.priors import Normal


class Stripes:
    def __init__(self, split="train"):
        self.x = torch.linspace(-1, 1, 64).view(1, 1, 8, 8).repeat(40, 1, 1, 1)

    def __len__(self):
        return len(self.x)

    def __getitems__(self, keys):
        return Images(self.x[[index for index, _ in keys]], torch.zeros(len(keys), dtype=torch.int64))


class Coder(LatentSampler, ZooModule):
    players = {"v": ("encoder", "decoder")}

    def __init__(self, size: int, anything: object = None, **engine):
        super().__init__(**engine)
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(size * size, 4))
        self.decoder = nn.Sequential(nn.Linear(4, size * size), nn.Unflatten(1, (1, size, size)))
        self.prior = Normal(4)
        self.scale = float(torch.ones(1))  # which the meta device cannot say

    def loss(self, player, batch):
        return {"coder/error": (self.generate(self.encoder(batch.x)) - batch.x).square().mean()}

    def generate(self, z, y=None):
        return self.scale * self.decoder(z).tanh()


class Up(Generator):
    pass


class Count(pl.Callback):
    pass


class Plain(pl.LightningModule):
    pass


def function(**settings):
    return Coder(**settings)


short = lambda **settings: Coder(**settings)
"""
MODEL = """# @package _global_
# A coder of my own
model:
  _target_: own_of_mine.Coder
  name: coder
  size: ${data.resolution}
  anything: null
  optimizers:
    v: {_target_: torch.optim.Adam, _partial_: true, lr: 1e-3}
  turns: [v]
  micro_batch: ${micro_batch}
  seed: ${seed}
"""
DATA = """# Stripes of my own
_target_: genzoo.data.module.ZooData
name: stripes
store: {_target_: own_of_mine.Stripes, _partial_: true}
channels: 1
resolution: 8
batch_size: ${batch_size}
seed: ${seed}
"""
ALLOW = "allow=[own_of_mine.]"
COUNT = "+callbacks.count._target_=own_of_mine.Count"
SMALL = ["model=coder", "data=stripes", "batch_size=8", "kimg=0.008", "logger=none", "accelerator=cpu", COUNT]
UP = "model.generator._target_=own_of_mine.Up"
DIGITS = ["model=gan", "data=digits", "data.resolution=8", "model.width=4", *SMALL[2:-1]]


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """A folder as for --config-dir, with the module that it names beside the configurations."""
    folder = tmp_path_factory.mktemp("my conf")
    (folder / "own_of_mine.py").write_text(OWN)
    for name, text in (("model/coder", MODEL), ("data/stripes", DATA)):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / f"{name}.yaml").write_text(text)
    yield folder
    sys.modules.pop("own_of_mine", None)


@pytest.fixture
def path(mine, monkeypatch):
    monkeypatch.setattr(console, "flags", [])
    monkeypatch.setattr(sys, "path", [*sys.path, str(mine)])


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])


def commands(text):
    """The command lines that were printed, as words."""
    return [shlex.split(line[line.index("genzoo ") :])[1:] for line in text.splitlines() if "genzoo " in line]


def test_what_train_prints_next_can_be_typed_as_it_stands(mine, capsys):
    own = ["--config-dir", str(mine)]
    assert cli.run("train", [*own, *SMALL, "run=r"]) == 0
    printed = commands(capsys.readouterr().err)
    assert [verb for verb, *_ in printed] == ["sample", "interpolate"]
    for verb, *words in printed:
        assert words[-3:] == [ALLOW, *own]
        assert cli.run(verb, words) == 0
    assert cli.run("train", ["resume=r", ALLOW, *own]) == 0
    [again] = commands(capsys.readouterr().err)
    assert again[1] == "resume=r" and again[-3:] == [ALLOW, *own]
    assert cli.run(again[0], again[1:]) == 0 and Path("r/step-00000002.ckpt").exists()
    assert cli.run("train", [*own, *SMALL, "run=r"]) == 1
    assert shlex.join(["resume=r", ALLOW, *own]) in capsys.readouterr().err
    assert cli.run("train", ["resume=r", "kimg=1", *own]) == 1
    assert "own_of_mine.Stripes" in capsys.readouterr().err


def test_check_prints_how_to_train(mine, capsys):
    own = ["--config-dir", str(mine)]
    assert cli.run("check", [*own, *SMALL]) == 0
    [(verb, *words)] = commands(capsys.readouterr().out)
    assert (verb, words[-3:]) == ("train", [ALLOW, *own]) and set(SMALL) <= set(words)
    assert cli.run(verb, [*words, "run=r"]) == 0


def test_train_in_python_returns_a_model_of_ones_own(path):
    model = genzoo.train(*DIGITS, UP, run="r")
    assert type(model.generator).__name__ == "Up" and hub.foreign(model.config) == ["own_of_mine."]
    with pytest.raises(ValueError, match=r"own_of_mine\.Up.*allow="):
        hub.load("r")
    page = (hub.save(model, "e") / "README.md").read_text()
    assert f"genzoo sample ckpt=e '{ALLOW}'" in page and "allow=['own_of_mine.'])" in page


def test_ranks_are_told_what_was_typed_and_where_it_lies(mine, monkeypatch):
    told = []
    monkeypatch.setattr(launch, "launch", lambda folder, devices, lock, words: told.extend(words) or 0)
    own = ["--config-dir", str(mine)]
    assert cli.run("train", [*own, *SMALL, "devices=2", "run=r"]) == 0
    assert told == [*own, ALLOW]
    sys.path.remove(str(mine))
    monkeypatch.setattr(sys, "argv", ["train", "r", *told])
    monkeypatch.setattr(
        train, "work", lambda folder, lock, allow, launched: [folder, allow] != [Path("r"), ["own_of_mine."]]
    )
    assert train.main() == 0 and console.flags == ["--config-dir", mine] and sys.path[-1] == str(mine)


@pytest.mark.parametrize(
    ("address", "reason"),
    [("own_of_mine.function", "no class"), ("own_of_mine.short", "no class"), ("__main__.Mine", "file of its own"),
     ("own_of_mine.Nothing", "Nothing"), ("own_of_nobody.A", "PYTHONPATH")],
)  # fmt: skip
def test_what_could_never_be_opened_again_is_not_trained(path, address, reason, monkeypatch):
    monkeypatch.setattr(sys.modules["__main__"], "Mine", type("Mine", (), {"__module__": "__main__"}), raising=False)
    with pytest.raises(ValueError, match=reason) as caught:
        genzoo.train(*DIGITS, run="r", **{"model.generator._target_": address})
    assert address in str(caught.value) and str(caught.value).count("\n") < 3 and not Path("r").exists()


def test_a_module_of_another_kind_is_not_trained(path):
    with pytest.raises(ValueError, match=r"own_of_mine\.Plain.*ZooModule"):
        fit.model_of(
            {"model": {"_target_": "own_of_mine.Plain", "name": "x"}, "seed": 0}, hub.ALLOWED + ("own_of_mine.",)
        )


def test_a_model_that_does_not_know_the_meta_device_is_compared_with_its_file(path):
    node = {
        "_target_": "own_of_mine.Coder",
        "size": 8,
        "turns": ["v"],
        "optimizers": {"v": {"_target_": "torch.optim.Adam", "_partial_": True}},
    }
    state = hub.build(node, hub.ALLOWED + ("own_of_mine.",)).state_dict()
    assert hub.assembled(state, {"config": node}, Path("r"), allow="own_of_mine").scale == 1
    with pytest.raises(ValueError, match=r"r does not fit.*encoder"):
        hub.assembled(state, {"config": node | {"size": 4}}, Path("r"), allow="own_of_mine")


def test_what_is_wrong_with_an_allowed_package_is_told(path, tmp_path):
    (tmp_path / "own_and_broken.py").write_text("x = (")
    sys.path.append(str(tmp_path))
    for address, reason in (("own_of_nobody.A", "PYTHONPATH"), ("own_of_mine.B", "B"), ("own_and_broken.A", "closed")):
        with pytest.raises(ValueError, match=reason) as caught:
            hub.resolve(address, hub.ALLOWED + (f"{address[:-1]}",))
        assert "may not" not in str(caught.value)


def test_only_the_module_of_a_library_is_allowed():
    found = hub.foreign([{"_target_": "torch.nn.Conv2d"}, {"_target_": "torch.utils.data.DataLoader"}])
    assert found == ["torch.utils.data."]
    assert hub.foreign({"x": {"_target_": "pytorch_lightning.loggers.CSVLogger"}}) == ["pytorch_lightning.loggers."]
