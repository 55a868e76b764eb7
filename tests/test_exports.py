"""Exports that were damaged or made to do harm: refused at once and in a line, or shown harmlessly."""

import json
import os
import shutil
import stat
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import genzoo
from genzoo import cli, console, hub
from genzoo.commands import train as command
from genzoo.core import archive, export, outline
from genzoo.fit import built


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    config = command.plain(cli.compose("train", ["model=gan", "data=ring", "model.width=4", "run=nowhere"]))
    model = hub.build(built(config["model"]))
    model.facts = {"data": {"name": "ring", "names": [], "resolution": 1}, "machine": {"torch": "2.6"}, "seed": 0}
    return hub.save(model, tmp_path_factory.mktemp("original") / "e")


@pytest.fixture
def folder(original, tmp_path):
    return Path(shutil.copytree(original, tmp_path / "e"))


def edit(folder, change):
    facts = json.loads((folder / "config.json").read_text())
    facts = change(facts) or facts
    (folder / "config.json").write_text(json.dumps(facts))


def reweigh(folder, change):
    """Other weights, with the SHA-256 that goes with them."""
    state = load_file(folder / "model.safetensors")
    save_file({name: change(value) for name, value in state.items()}, folder / "model.safetensors")
    edit(folder, lambda d: d.update(sha256=export.sha256(folder / "model.safetensors")))


def put(*path_and_value):
    *path, last, value = path_and_value

    def change(facts):
        for name in path:
            facts = facts[name]
        facts[last] = value

    return change


def generator(name, **values):
    return put("config", "generator", {"_target_": name} | values)


def test_a_flipped_bit_is_noticed_and_an_older_export_opens_with_a_line(folder):
    edit(folder, lambda d: d.pop("sha256") and None)
    with pytest.warns(console.Notice, match="SHA-256"):
        hub.load(folder)
    again = hub.save(hub.load(folder), folder.parent / "again")
    raw = bytearray((again / "model.safetensors").read_bytes())
    raw[-3] ^= 64
    (again / "model.safetensors").write_bytes(raw)
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged"):
        hub.load(again)


BAD = {
    "format": [put("format", value) for value in (-1, 0, True, "1", 1.5, float("nan"), None, 2, 10**400)],
    "images_seen": [put("images_seen", value) for value in (-5, float("nan"), True, "x", [], 1.5, 10**30)],
    "data": [put("data", value) for value in ("x", [], None, 3)],
    "data.names": [put("data", "names", value) for value in (5, "abc", [1], [["a"]], {"a": "b"})],
    "data.name": [put("data", "name", value) for value in (5, None, ["x"])],
    "machine": [put("machine", value) for value in ("x", [1], {"torch": {"a": 1}})],
    "evaluation": [put("evaluation", value) for value in ("x", {}, {"values": 3}, [1])],
    "seed|version|model|source|license|revision": [
        put(name, ["x"]) for name in ("seed", "version", "model", "source", "license", "revision")
    ],
    "config": [put("config", value) for value in ("x", [], None, 3)],
    "facts": [lambda d: [1], lambda d: "x"],
    "does not fit": [
        *(put("config", value) for value in ({}, {"_target_": 5}, {"_target_": "os.mkdir"})),
        put("config", "prior", None),
        put("config", "prior", 3),
        put("config", "prior", "dim", -3),
        put("config", "prior", "dim", "x"),
        put("config", "prior", "dim", 10**9),
        put("config", "turns", 3),
        put("config", "optimizers", {"_target_": "torch.optim.Adam", "params": 3}),
        put("config", "seed_", 1),
        generator("torch.nn.Linear", in_features=-5, out_features=4),
        generator("torch.nn.Linear", in_features=4, out_features=4, device="cuda"),
        generator("torch.nn.Linear", in_features=4, out_features=4, device="nowhere"),
        generator("torch.nn.Linear", in_features=100_000, out_features=10_000),
        generator("torch.nn.MultiheadAttention", embed_dim=8, num_heads=3),
        generator("torch.nn.Identity"),
        generator("torch.nn.Transformer", num_encoder_layers=1_000_000),
        generator("torch.nn.LSTM", input_size=4, hidden_size=4, num_layers=10**9),
        generator("torch.nn.LSTM", input_size=4, hidden_size=4, num_layers=1000),
        generator("genzoo.models.gan.Generator", latent_dim=2, channels=2, resolution=1, width=4, depth=10**9),
    ],
}


@pytest.mark.parametrize(("named", "change"), [(name, change) for name, many in BAD.items() for change in many])
def test_what_no_export_holds_is_refused_at_once(folder, named, change):
    edit(folder, change)
    began = time.process_time()
    with pytest.raises(ValueError, match=named) as caught:
        hub.load(folder)
    assert time.process_time() - began < 10 and len(str(caught.value).splitlines()) <= 3


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "\0" * 50, '{"a":' * 100_000, '{"a":' * 900 + "1" + "}" * 900])
def test_a_config_that_is_no_json_of_ours_is_refused(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(ValueError, match="no readable export"):
        hub.load(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_pipe_in_place_of_a_file_is_not_waited_for(folder, name):
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(ValueError, match="FIFO"):
        hub.load(folder)


@pytest.mark.parametrize(
    "address", ["genzoo.__main__.X", "genzoo.__main__.main", "torch.utils.cpp_extension.X", "genzoo.commands.pack.Keys"]
)
def test_nothing_off_the_list_is_even_imported(folder, monkeypatch, address):
    module = address.rpartition(".")[0]
    monkeypatch.delitem(sys.modules, module, raising=False)
    for change in (put("config", "_target_", address), generator(address)):
        edit(folder, change)
        with pytest.raises(ValueError, match="may not be built from a file"):
            hub.load(folder)
    with pytest.raises(ValueError, match="may not be built"):
        hub.resolve("genzoo.__main__.main", (*hub.ALLOWED, "genzoo."))
    assert module not in sys.modules


def test_packages_are_allowed_by_whole_names(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("class A: pass")
    (tmp_path / "mine2.py").write_text("class A: pass")
    monkeypatch.syspath_prepend(tmp_path)
    for allow in ("mine", "mine.", ["mine"], ("mine.",)):
        allowed = hub.ALLOWED + hub.packages(allow)
        assert hub.resolve("mine.A", allowed).__module__ == "mine"
        with pytest.raises(ValueError, match="may not be built"):
            hub.resolve("mine2.A", allowed)
    for allow in ("", ["."], [5], ["a b"], "..", ["mine", None]):
        with pytest.raises(ValueError, match="allow="):
            hub.packages(allow)
    assert hub.packages(()) == hub.packages(None) == ()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_not_used(folder, capsys, value):
    reweigh(folder, lambda w: w * value if w.is_floating_point() else w)
    with pytest.raises(ValueError, match=r"e: \S+ is not finite"):
        genzoo.load(folder)
    assert not genzoo.load(folder, finite=False).generator[0].weight.isfinite().all()
    assert cli.run("sample", [f"ckpt={folder}", "n=2", f"out={folder}/x.npy"]) == 1
    assert cli.run("evaluate", [f"ckpt={folder}", "n=20"]) == 1
    assert cli.run("info", [f"ckpt={folder}"]) == 0 and "not finite" in capsys.readouterr().out


def test_images_that_are_not_finite_are_not_made(folder, capsys):
    reweigh(folder, lambda w: w * 1e38 if w.is_floating_point() else w)
    for verb in (["sample", f"out={folder}/x.npy"], ["evaluate"]):
        assert cli.run(verb[0], [f"ckpt={folder}", "n=20", *verb[1:]]) in (0, 1)
    assert "Traceback" not in capsys.readouterr().err


def test_what_a_file_says_is_shown_on_one_line_without_control_codes(folder, capsys):
    edit(folder, put("data", "name", "\x1b]0;OWNED\x07\x1b[2Jdigits\nmade by trust me\u202e"))
    edit(folder, put("data", "names", ["\x1b[31ma\n" * 1000] * 10))
    edit(folder, put("license", "\ud800"))
    assert cli.run("info", [f"ckpt={folder}"]) == 0
    said = capsys.readouterr().out
    assert "\x1b" not in said and "\u202e" not in said and "\nmade by trust" not in said and r"\x1b[2Jdigits\n" in said
    assert max(map(len, said.splitlines())) < 500
    card = (hub.save(hub.load(folder), folder.parent / "again") / "README.md").read_text()
    assert "\x1b" not in card and r"\x1b" in card


def test_files_have_the_mode_that_umask_gives(folder):
    before = os.umask(0o027)
    try:
        made = hub.save(hub.load(folder), folder.parent / "again")
    finally:
        os.umask(before)
    assert {stat.S_IMODE(file.stat().st_mode) for file in made.iterdir()} == {0o640}


def test_after_a_full_disk_there_is_no_half_of_an_export(folder, monkeypatch):
    model, before = hub.load(folder), (folder / "config.json").read_bytes()

    def full(*_):
        raise export.SafetensorError("I/O error: No space left on device")

    monkeypatch.setattr(export, "save_file", full)
    for target in (folder, folder.parent / "new"):
        with pytest.raises(OSError, match="No space left"):
            hub.save(model, target)
    assert sorted(os.listdir(folder)) == ["README.md", "config.json", "model.safetensors"]
    assert (folder / "config.json").read_bytes() == before and not (folder.parent / "new").exists()


def test_home_stands_where_a_path_does(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parent))
    assert hub.save(hub.load("~/e"), "~/f") == folder.parent / "f" and (folder.parent / "f/config.json").is_file()


def test_a_pickle_of_a_few_bytes_asks_for_no_memory(tmp_path):
    import tracemalloc

    for raw in (b"\x80\x02Nr\x00\x00\x00\x18.", b"\x80\x05\x96" + (10**10).to_bytes(8, "little") + b"."):
        (tmp_path / "m.pkl").write_bytes(raw)
        tracemalloc.start()
        with pytest.raises(ValueError, match=r"m\.pkl"):
            hub.load(tmp_path / "m.pkl")
        assert tracemalloc.get_traced_memory()[1] < 10**7
        tracemalloc.stop()


def test_a_foreign_file_of_known_keys_and_other_contents_is_refused(tmp_path):
    inner = {}
    inner["state_dict"] = inner
    states = [
        inner,
        {"main.0.weight": torch.zeros(())},
        {"main.0.weight": torch.zeros(3), "main.1.weight": torch.zeros(1)},
    ]
    for state in states:
        torch.save(state, tmp_path / "x.pth")
        with pytest.raises(ValueError):
            hub.load(tmp_path / "x.pth")


def test_an_outline_takes_no_memory_and_ends():
    state = {"weight": torch.zeros(2, 2), "bias": torch.zeros(2)}
    outline.check(lambda: torch.nn.Linear(2, 2), state, {})
    with pytest.raises(ValueError, match="weight is"):
        outline.check(lambda: torch.nn.Linear(10**6, 10**6), state, {})
    with pytest.raises(ValueError, match="far more"):
        outline.check(lambda: torch.nn.Sequential(*(torch.nn.Linear(2, 2) for _ in range(10**6))), state, {})
    with pytest.raises(ValueError, match="weight is torch.int64"):
        outline.check(lambda: torch.nn.Linear(2, 2), state | {"weight": torch.zeros(2, 2, dtype=torch.int64)}, {})
    assert archive.simple({"a": (1, [2])}) == {"a": (1, [2])}
