"""A run's config.yaml from elsewhere: it runs nothing, writes nowhere else, and what is wrong with it is told at once."""

import os
import time

import pytest
import yaml

from genzoo import cli
from genzoo.commands import frozen
from genzoo.commands import train as command


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    words = ["model=gan", "data=ring", "model.width=4", "batch_size=16", "kimg=0.032", "accelerator=cpu", "logger=none"]
    folder = tmp_path_factory.mktemp("frozen") / "r"
    assert command.start(cli.compose("train", [*words, f"run={folder}"]), words)[0] == 0
    return (folder / "config.yaml").read_text()


@pytest.fixture
def run(text, tmp_path):
    (tmp_path / "r").mkdir()
    (tmp_path / "r/config.yaml").write_text(text)
    return tmp_path / "r"


def edit(run, change):
    config = yaml.safe_load((run / "config.yaml").read_text())
    config = change(config) or config
    (run / "config.yaml").write_text(yaml.safe_dump(config))


def resume(run, *words):
    words = [f"resume={run}", "kimg=0.064", *words]
    return command.start(cli.compose("train", words), words)


def put(*path_and_value):
    *path, last, value = path_and_value

    def change(config):
        for name in path:
            config = config[name]
        config[last] = value

    return change


def test_what_a_run_wrote_is_read_where_it_lies_now(run):
    found = frozen.read(run)
    assert found["run"] == str(run) and found["callbacks"]["samples"]["folder"] == f"{run}/samples"


ALIASES = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30))


@pytest.mark.parametrize(
    "content",
    ["", "\n", "5", "- a", "a:\n\t- b\n", "\0" * 100, "model: {", ALIASES, "a: ${b}${b}", "[" * 50_000, "a: [1, 2]\n" * 20_000,
     "{" * 80 + "}" * 80, "!!python/object/apply:os.mkdir [x]", "? [a]\n: b"],
)  # fmt: skip
def test_a_file_that_no_run_wrote_is_refused_at_once(run, content):
    (run / "config.yaml").write_text(content)
    began = time.process_time()
    for way in (lambda: resume(run), lambda: command.work(run)):
        with pytest.raises(ValueError, match=r"config\.yaml") as caught:
            way()
        assert len(str(caught.value).splitlines()) <= 3 and len(str(caught.value)) < 500
    assert time.process_time() - began < 10


def test_a_file_cut_anywhere_is_refused(run, text):
    for share in (0.1, 0.3, 0.5, 0.7):
        (run / "config.yaml").write_text(text[: int(share * len(text))])
        with pytest.raises(ValueError, match=r"config\.yaml"):
            resume(run)


def test_a_key_that_is_missing_or_of_another_kind_is_named(run, text):
    for name in frozen.KINDS:
        for change in (lambda d: d.pop(name) and None, put(name, [["x"]]), put(name, {"a": 1})):  # noqa: B023
            (run / "config.yaml").write_text(text)
            edit(run, change)
            if name == "batch_size" or (name == "trainer" and "a:" in (run / "config.yaml").read_text()):
                continue  # dictionaries are of the right kind
            with pytest.raises(ValueError, match=name):
                frozen.read(run)


@pytest.mark.parametrize("kind", ["fifo", "folder"])
def test_only_a_regular_file_is_read(run, kind):
    (run / "config.yaml").unlink()
    {"fifo": os.mkfifo, "folder": os.mkdir}[kind](run / "config.yaml")
    with pytest.raises((ValueError, OSError), match=r"config\.yaml is a"):
        resume(run)


@pytest.mark.parametrize("group", ["callbacks", "logger"])
def test_a_line_in_the_file_allows_nothing(run, tmp_path, group):
    node = {"_target_": "subprocess.Popen", "args": f"touch {tmp_path}/MARK", "shell": True}

    def change(config):
        config["allow"] = ["subprocess."]
        config[group] = (config[group] or {}) | {"x": node}

    edit(run, change)
    for way in (lambda: resume(run), lambda: command.work(run)):
        with pytest.raises(ValueError, match=r"subprocess\.Popen.*may not be built from a file"):
            way()
    assert cli.run("check", [f"resume={run}", f"out={tmp_path}/c.png"]) == 1
    assert not (tmp_path / "MARK").exists()


def test_a_file_downloads_nothing(run):
    edit(run, put("data", {"_target_": "x", "name": "x", "download": True, "store": {"download": True, "root": "y"}}))
    assert frozen.read(run)["data"] == {
        "_target_": "x", "name": "x", "download": False, "store": {"download": False, "root": "y"}
    }  # fmt: skip


@pytest.mark.parametrize("name", ["callbacks.ModelCheckpoint", "cli.LightningCLI", "Trainer", "loggers.CSVLogger"])
def test_no_class_of_lightning_is_built_from_a_file(run, tmp_path, name):
    edit(run, put("callbacks", "x", {"_target_": f"pytorch_lightning.{name}", "dirpath": str(tmp_path / "elsewhere")}))
    with pytest.raises(ValueError, match="may not be built from a file"):
        resume(run)


@pytest.mark.parametrize(
    ("key", "place"),
    [("safeguard", "{}/other"), ("safeguard", "other"), ("samples", "{}/r/../other"), ("samples", "{}/r/link"),
     ("samples", "{}/rr"), ("samples", "/")],
)  # fmt: skip
def test_a_run_writes_in_its_own_folder_only(run, key, place):
    (run / "link").symlink_to(run.parent)
    edit(run, put("callbacks", key, "folder", place.format(run.parent)))
    with pytest.raises(ValueError, match=rf"callbacks\.{key}\.folder=.* outside"):
        resume(run)
    with pytest.raises(ValueError, match="outside"):
        command.work(run)
    assert frozen.read(run, typed=[f"callbacks.{key}.folder"])


def test_a_logger_writes_there_too(run):
    logger = {"_target_": "genzoo.callbacks.curves.TensorBoard", "save_dir": str(run), "name": "", "version": "../../x"}
    edit(run, put("logger", {"tensorboard": logger}))
    with pytest.raises(ValueError, match=r"logger\.tensorboard\.version=.* outside"):
        resume(run)


def test_what_is_allowed_is_typed_behind_the_run_folder():
    assert command.allowed_by(["allow=[mine.]"]) == ["mine."] and command.allowed_by(["allow=a.,b"]) == ["a.", "b"]
    for word in ("mine.", "kimg=3", "allow"):
        with pytest.raises(ValueError, match="allow="):
            command.allowed_by([word])


def test_a_checkpoint_that_opens_but_cannot_be_continued_is_told(text, tmp_path):
    import torch

    from genzoo.core.io import newest

    words = ["model=gan", "data=ring", "model.width=4", "batch_size=16", "kimg=0.032", "accelerator=cpu", "logger=none"]
    assert command.start(cli.compose("train", [*words, f"run={tmp_path}"]), words)[0] == 0
    path = newest(tmp_path)
    good = torch.load(path, weights_only=True)

    def moments(held):
        state = held["optimizer_states"][0]["state"]
        return state | {0: state[0] | {"exp_avg": torch.zeros(3)}}

    for change in (
        {"loops": {"fit_loop": {"state_dict": {}}}},
        {"loops": good["loops"] | {"fit_loop": {"x": 1}}},
        {"state_dict": {}},
        {"optimizer_states": []},
        {"optimizer_states": [{"state": {}, "param_groups": 5}] * 2},
        {"optimizer_states": [good["optimizer_states"][0] | {"state": moments(good)}, good["optimizer_states"][1]]},
        {"callbacks": {"EMA": 5}, "pytorch-lightning_version": "x"},
    ):
        torch.save(good | change, path)
        with pytest.raises(ValueError) as caught:
            resume(tmp_path)
        assert len(str(caught.value).splitlines()) <= 4, change
