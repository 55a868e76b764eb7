"""Settings as they are typed: names and paths stay what they are."""

from pathlib import Path

import pytest

from genzoo import cli, words

RUN = {"run=1e3": "1e3", "run=007": "007", "run=true": "true", "run=2024-01-01": "2024-01-01", "run=a,b": "a,b",
       "run=my run [1] a=b, c": "my run [1] a=b, c", "run=photos(1)": "photos(1)", "run=Tom's": "Tom's", "run=[1]": "[1]",
       'run="a b"': "a b", "run=ümlaut": "ümlaut", "run=x{1}": "x{1}", "run=${seed}": "${seed}", "run=null": None,
       "data.path=1e3": "1e3", "data.name=007": "007", "kimg=1e3": 1000.0, "model.width=3": 3, "threads=auto": "auto",
       "run=~/r": "{home}/r", 'run="~/r"': "{home}/r", "init=~": "{home}", "data.root=~/d": "{home}/d"}  # fmt: skip


@pytest.mark.parametrize("word", RUN)
def test_a_name_is_what_was_typed(word, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    read = words.read(words.overrides([word], cli.hints_of("train"))[0])
    assert read == (RUN[word].format(home=tmp_path) if "{home}" in str(RUN[word]) else RUN[word])


def test_a_list_of_paths_is_one_of_words(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (word,) = words.overrides(["src=[~/a.png, 1e3]"], cli.hints_of("interpolate"))
    assert words.read(word) == [f"{tmp_path}/a.png", "1e3"]


def test_a_sweep_keeps_its_commas():
    assert words.overrides(["run=a,b"], cli.hints_of("train"), sweep=True) == ["run=a,b"]


VALUES = [None, True, 3, 1e-5, "x, y [1] {a: b}", "ümlaut 'q' \"r\"", "", "a\\", [1, "a,b", None], {"a": {"b": "x y"}}]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_of_python_need_no_quotes(value):
    assert words.read(words.said("key", value)) == value


def test_a_path_of_python_is_taken_as_it_is():
    assert words.read(words.said("run", Path("a=[1] ${x}"))) == "a=[1] \\${x}"  # which OmegaConf reads as ${x}
    with pytest.raises(ValueError, match=r"run=.*object.*expected"):
        words.said("run", object())


@pytest.mark.parametrize(
    ("verb", "arguments", "told"),
    [
        ("sample", ["--seed=3"], ["--seed=3", "key=value", "seed=3"]),
        ("sample", ["-n", "4"], ["-n", "as in n=4"]),
        ("train", ["--epochs", "3"], ["--epochs", "as in epochs=3"]),
        ("train", ["dcgan"], ["as in model=dcgan"]),
        ("info", ["my run"], ["as in 'ckpt=my run'"]),
        ("train", ["--colour"], ["--colour", "genzoo train --help"]),
        ("train", ["--cfg", "jobs"], ["jobs", "job"]),
        ("train", ["--config-dir", "~/nowhere"], ["/nowhere", "no such folder"]),
        ("train", ["callbacks=null"], ["callbacks=null", "default, ema"]),
        ("train", ["logger=null"], ["logger=null", "none"]),
        ("train", ["run="], ["run=", "a path"]),
        ("train", ["~model.nothing"], ["model.nothing", "no key"]),
    ],
)
def test_what_is_no_setting_is_answered_with_what_was_meant(verb, arguments, told, capfd):
    assert cli.run(verb, arguments) == 1
    said = capfd.readouterr().err
    assert len(said.splitlines()) <= 3 and all(word in said for word in told), said


def test_cfg_job_shows_the_configuration(capfd):
    assert cli.run("train", ["--cfg", "job", "model=gan", "seed=7"]) == 0
    assert "seed: 7" in capfd.readouterr().out


def test_a_group_that_is_empty_by_default_can_be_typed_so():
    assert cli.compose("check", ["model=null"]) == cli.compose("check", [])


def test_a_version_is_ours_behind_a_command_too(capfd):
    assert cli.answer(["sample", "--version"]) == 0 and "ydra" not in capfd.readouterr().out


def test_help_says_only_what_applies():
    assert "sweep" not in cli.manual("info") and "width" not in cli.manual("info") and "sweep" in cli.manual("train")


def test_a_folder_that_is_gone_is_told_in_a_line(tmp_path, monkeypatch, capfd):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert cli.run("list", []) == 1 and "folder is gone" in capfd.readouterr().err
