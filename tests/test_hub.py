"""Files are data. What they hold is built from a list, and nothing in them runs."""

import os
import pickle
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from genzoo import cli, hub
from genzoo.commands import train as command
from genzoo.core import archive
from genzoo.fit import built

ROOT = Path(__file__).parents[1]


class Bomb:
    def __reduce__(self):
        return (os.mkdir, (os.environ["BOMB"],))


@pytest.fixture
def bomb(tmp_path, monkeypatch):
    """The folder that appears when code in a file runs."""
    monkeypatch.setenv("BOMB", str(tmp_path / "exploded"))
    return tmp_path / "exploded"


def tiny():
    config = command.plain(cli.compose("train", ["model=gan", "data=ring", "model.width=4", "run=nowhere"]))
    return hub.build(built(config["model"]))


@pytest.mark.parametrize("unsafe", ["0", "1"])
def test_a_pickle_with_code_is_refused(tmp_path, bomb, monkeypatch, unsafe):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", unsafe)
    torch.save({"state_dict": Bomb()}, tmp_path / "a.ckpt")
    (tmp_path / "b.ckpt").write_bytes(pickle.dumps(Bomb()))
    for name in ("a.ckpt", "b.ckpt"):
        with pytest.raises(ValueError, match=name):
            hub.load(tmp_path / name)
    assert not bomb.exists()


@pytest.mark.parametrize("way", ["init", "resume", "features"])
def test_no_way_into_training_runs_a_pickle_even_where_the_environment_asks_for_it(tmp_path, bomb, monkeypatch, way):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    run, bad = tmp_path / "run", tmp_path / "bad.ckpt"
    words = ["model=gan", "data=digits", "model.width=4", "kimg=0.064", "logger=none", f"run={run}"]
    if way == "resume":
        command.start(cli.compose("train", words), words)
        bad = next(run.glob("step-*.ckpt"))
        words = [f"resume={run}", "kimg=0.128"]
    words += {"init": [f"init={bad}"], "features": ["callbacks=fidelity", f"features={bad}"], "resume": []}[way]
    torch.save({"state_dict": Bomb(), "genzoo": {"format": 1, "images_seen": 0, "config": {}}}, bad)
    with pytest.raises(ValueError, match=bad.name):
        command.start(cli.compose("train", words), words)
    assert not bomb.exists()


@pytest.mark.parametrize("address", ["os.mkdir", "torch.load", "genzoo.data.os.mkdir", "pytorch_lightning.os.mkdir"])
@pytest.mark.parametrize("group", ["model", "data.store", "callbacks.samples", "logger.tensorboard"])
def test_a_run_folder_from_elsewhere_with_a_hostile_target_runs_nothing(tmp_path, bomb, group, address):
    config = cli.compose("train", ["model=gan", "data=ring", "model.width=4", f"run={tmp_path}"])
    frozen = command.plain(config)
    node = frozen
    for name in group.split(".")[:-1]:
        node = node[name]
    node[group.split(".")[-1]] = {"_target_": address, "path": str(bomb)} | ({"name": "x"} if group == "model" else {})
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(frozen))
    words = [f"resume={tmp_path}"]
    with pytest.raises(ValueError, match="may not be built from a file"):
        command.start(cli.compose("train", words), words)
    with pytest.raises(ValueError, match="may not be built from a file"):
        command.work(tmp_path)
    assert not bomb.exists()


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 60, 0.5, -1])
def test_safetensors_cut_anywhere_are_refused(tmp_path, kept):
    file = hub.save(tiny(), tmp_path) / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
    for path in (tmp_path, file):
        with pytest.raises(ValueError, match="no readable export"):
            hub.load(path)


def options_of(script, base=object):
    """A class that only its pickle remembers."""
    made = type("Options", (base,), {"__module__": script})
    module = types.ModuleType(script)
    module.Options = made
    return module, made


@pytest.mark.parametrize("zipped", [True, False])
def test_weights_beside_an_object_of_a_training_script_are_read(tmp_path, monkeypatch, zipped):
    module, made = options_of("theirscript")
    monkeypatch.setitem(sys.modules, "theirscript", module)
    options = made()
    options.width = 7
    torch.save(
        {"opt": options, "state_dict": {"w": torch.ones(2)}}, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped
    )
    monkeypatch.delitem(sys.modules, "theirscript")
    data = hub.data_of(tmp_path / "x.pth")
    assert torch.equal(data["state_dict"]["w"], torch.ones(2))
    assert isinstance(data["opt"], archive.StandIn) and data["opt"].width == 7 and "theirscript" not in sys.modules


@pytest.mark.parametrize("call", [(os.mkdir, "BOMB"), (eval, "CODE"), (exec, "CODE"), (subprocess.call, "LIST")])
def test_no_function_is_stood_in_for(tmp_path, bomb, call):
    function, kind = call
    what = {"BOMB": str(bomb), "CODE": f"__import__('os').mkdir({str(bomb)!r})", "LIST": ["mkdir", str(bomb)]}[kind]

    class Calls:
        def __reduce__(self):
            return function, (what,)

    torch.save({"state_dict": {"w": torch.ones(2)}, "opt": Calls()}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match="could run code; nothing in it was run"):
        hub.data_of(tmp_path / "x.pth")
    assert not bomb.exists()


@pytest.mark.parametrize(
    "address",
    ["os.system", "builtins.eval", "torch.load", "torch.hub.load", "torch.nn.modules.module.torch.load",
     "genzoo.hub.load", "genzoo.nets.init.normal_init", "genzoo.models.gan.torch.load", "subprocess.Popen",
     "torch.nn.modules.os.system", "torch.optim.lr_scheduler.weakref.finalize", "", "gan", "antigravity.x"],
)  # fmt: skip
def test_addresses_that_no_file_may_build(address):
    with pytest.raises(ValueError, match="may not be built from a file"):
        hub.build({"_target_": address})


@pytest.mark.parametrize("address", ["torch.optim.Adam", "torch.nn.ReLU", "genzoo.models.gan.GAN", "genzoo.losses.R1"])
def test_addresses_that_a_file_may_build(address):
    assert isinstance(hub.resolve(address), type)


def test_a_checkpoint_with_a_hostile_target_runs_nothing(tmp_path, bomb):
    config = {"_target_": "os.mkdir", "path": str(bomb)}
    torch.save({"state_dict": {}, "genzoo": {"format": 1, "images_seen": 0, "config": config}}, tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match="os.mkdir"):
        hub.load(tmp_path / "a.ckpt")
    assert not bomb.exists()


def test_truncated_foreign_and_missing_files(tmp_path):
    torch.save({"x": torch.zeros(10_000)}, tmp_path / "foreign.pth")
    whole = (tmp_path / "foreign.pth").read_bytes()
    (tmp_path / "short.ckpt").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.ckpt").write_bytes(b"")
    (tmp_path / "text.ckpt").write_text("not a checkpoint")
    hub.save(tiny(), tmp_path / "export")
    file = tmp_path / "export/model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    for name in ("foreign.pth", "short.ckpt", "empty.ckpt", "text.ckpt", "export"):
        with pytest.raises(ValueError) as caught:
            hub.load(tmp_path / name)
        assert len(str(caught.value).splitlines()) <= 3
    for name in ("missing", "."):
        with pytest.raises(FileNotFoundError):
            hub.load(tmp_path / name)


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"format": "x", "config": {}},
        {"format": 1, "config": {}},
        {"format": 1, "config": {"_target_": "torch.nn.modules.linear.Linear", "in_features": 1, "out_features": 1}},
        {"format": 1, "config": {"_target_": "genzoo.models.gan.GAN", "generator": 3}},
    ],
)
def test_a_file_that_describes_no_model_is_refused(tmp_path, facts):
    torch.save({"state_dict": {}, "genzoo": facts}, tmp_path / "odd.ckpt")
    with pytest.raises(ValueError, match="odd.ckpt"):
        hub.load(tmp_path / "odd.ckpt")


def test_weights_that_do_not_fit_are_named(tmp_path):
    folder = hub.save(tiny(), tmp_path)
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text.replace('"width": 4', '"width": 5'))
    with pytest.raises(ValueError, match="does not fit the model it describes"):
        hub.load(folder)


UNSAFE = re.compile(
    r"(torch\.load|load_from_checkpoint|load_state_dict_from_url|trainer\.fit)\((?![^()]*(\([^()]*\)[^()]*)*weights_only=True)"
    r"|weights_only=(False|None)\b|allow_pickle=True|yaml\.(unsafe_|full_)?load\(|extractall\(|torch\.hub\.|joblib"
    r"|\b(pickle|dill|marshal|shelve)\.(loads?|open)\b|(?<![.\w])(eval|exec)\("
)


@pytest.mark.parametrize(
    ("line", "unsafe"),
    [
        ("torch.load(path)", True),
        ("torch.load(\n    path,\n    map_location=place('cpu'),\n)", True),
        ("torch.load(\n    f(path), map_location='cpu',\n    weights_only=True,\n)", False),
        ("trainer.fit(module, data, ckpt_path=path)", True),
        ("load_state_dict_from_url(url)", True),
        ("pickle.loads(data)", True),
        ("np.load(file, allow_pickle=True)", True),
        ("model.eval()", False),
    ],
)
def test_what_counts_as_an_unsafe_load(line, unsafe):
    assert bool(UNSAFE.search(line)) is unsafe


def test_no_unsafe_load_in_the_tree():
    for path in [*ROOT.glob("genzoo/**/*.py"), *ROOT.glob("scripts/*.py")]:
        text = re.sub(r"weights_only: bool \| None = None", "", path.read_text())  # a signature of Lightning's
        found = UNSAFE.search(text)
        assert not found, f"{path.name}: {found[0]}"
