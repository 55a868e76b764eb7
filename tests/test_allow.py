"""allow=: a model with classes of one's own is opened by every verb, if that was typed, and by none otherwise."""

import shlex
import sys

import pytest
import torch
from omegaconf import OmegaConf

from genzoo import cli, hub, images

MINE = """
from genzoo.models.gan import Generator
from genzoo.nets.classifiers import SmallCNN

class Up(Generator):
    pass

class Look(SmallCNN):
    pass
"""
ALLOW = "allow=[mine.]"


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """Exports of a generator, a classifier and a translator whose networks are of a module `mine`."""
    folder = tmp_path_factory.mktemp("mine")
    (folder / "mine.py").write_text(MINE)
    sys.path.append(str(folder))
    for name, recipe, network, address in [
        ("gan", ["data=digits", "data.resolution=8", "model.width=8"], "generator", "mine.Up"),
        ("classifier", ["data=digits", "data.resolution=8", "model.width=4"], "network", "mine.Look"),
    ]:
        node = OmegaConf.to_container(cli.compose("train", [f"model={name}", *recipe, "run=x"]), resolve=True)["model"]
        node = {key: value for key, value in node.items() if key not in ("name", "latent_dim", "width")}
        node[network]["_target_"] = address
        torch.manual_seed(0)
        model = hub.build(node, hub.ALLOWED + ("mine.",))
        model.facts = {"data": {"name": "digits", "channels": 1, "resolution": 8, "classes": 10}}
        hub.save(model.eval(), folder / name)
    images.save_png(folder / "a.png", torch.rand(1, 8, 8))
    yield folder
    sys.path.remove(str(folder))


VERBS = {
    "sample": ["ckpt={gan}", "n=2"],
    "interpolate": ["ckpt={gan}", "rows=1", "steps=2"],
    "edit": ["ckpt={gan}", "along=sefa", "rows=1", "steps=2"],
    "invert": ["ckpt={gan}", "src={zoo}/a.png", "steps=1"],
    "neighbours": ["ckpt={gan}", "n=2", "features={classifier}"],
    "evaluate": ["ckpt={gan}", "features={classifier}", "n=20"],
    "export": ["ckpt={gan}", "out=passed"],
    "info": ["ckpt={gan}"],
}


def typed(zoo, words):
    return [word.format(zoo=zoo, gan=zoo / "gan", classifier=zoo / "classifier") for word in words]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_opens_what_is_allowed_and_says_so_for_the_next(zoo, verb, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = typed(zoo, VERBS[verb])
    assert cli.run(verb, words) == 1
    complaint = capsys.readouterr().err
    assert "mine.Up" in complaint and complaint.count("\n") <= 4 and not list(tmp_path.iterdir())
    assert cli.run(verb, [*words, ALLOW]) == 0, capsys.readouterr().err
    hints = [
        line
        for line in capsys.readouterr().out.splitlines()
        if line.startswith(("next ", "      ")) and "ckpt=" in line
    ]
    for line in hints:
        assert ALLOW in shlex.split(line)
        if "evaluate" not in line and "push" not in line:
            assert cli.run(shlex.split(line)[shlex.split(line).index("genzoo") + 1], hint_of(line)) == 0


def hint_of(line):
    """The settings of a command line that was printed."""
    words = shlex.split(line)
    return words[words.index("genzoo") + 2 :]


def test_allow_for_the_network_that_judges(zoo, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.run("evaluate", typed(zoo, ["ckpt={classifier}"])) == 1
    assert cli.run("evaluate", typed(zoo, ["ckpt={classifier}", ALLOW])) == 0
    capsys.readouterr()
    words = typed(zoo, ["ckpt={gan}", "along='3'", "features={classifier}", "rows=1", "steps=2", ALLOW])
    code, complaint = cli.run("edit", words), capsys.readouterr().err
    assert code == 0 or "latents have it" in complaint  # it was not trained


@pytest.mark.parametrize("word", ["[mine.]", "[mine]", "mine.", "mine", "[other.,mine]"])
def test_packages_are_said_in_any_of_these_ways(zoo, word, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.run("info", typed(zoo, ["ckpt={gan}", f"allow={word}"])) == 0


@pytest.mark.parametrize(
    "word", ["['']", "'.'", "[3]", "true", "[mi]", "[min]", "{{mine: 1}}", "['mine/']", "[[mine]]", "['*']"]
)
def test_what_names_no_package_allows_nothing(zoo, word, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.run("info", typed(zoo, ["ckpt={gan}", f"allow={word}"])) == 1
    complaint = capsys.readouterr().err
    assert ("allow=" in complaint or "mine.Up" in complaint) and complaint.count("\n") <= 3
