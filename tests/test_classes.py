"""Commands on models with classes: what y says, what is drawn where it says nothing, walks from class to class."""

import json

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from genzoo import cli, hub

SMALL = ["model=biggan", "data=digits", "model.width=2", "model.latent_dim=16", "model.generator.shared=4", "run=x"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A conditional generator that was not trained, of ten named classes."""
    node = OmegaConf.to_container(cli.compose("train", SMALL).model, resolve=True)
    torch.manual_seed(0)
    model = hub.build({key: value for key, value in node.items() if key not in ("name", "latent_dim", "width")})
    with torch.no_grad():
        model.generate(model.latents(32, seed=0), model.labels(32, seed=0))  # BatchNorm's statistics
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    model.facts = {"data": {"name": "digits", "channels": 1, "resolution": 32, "classes": 10, "names": names}}
    return hub.save(model.eval(), tmp_path_factory.mktemp("model") / "ours")


@pytest.fixture
def made(folder, tmp_path, monkeypatch):
    """Run a verb and read the images that it wrote."""
    monkeypatch.chdir(tmp_path)

    def run(verb, *words):
        assert cli.run(verb, [f"ckpt={folder}", *words]) == 0
        out = tmp_path / "made.npy"
        return torch.from_numpy(np.load(out)) if out.exists() else None

    return run


def test_a_class_is_said_by_number_by_name_or_drawn(folder, made):
    model, z = hub.load(folder), hub.load(folder).latents(6, seed=3)
    by_number = made("sample", "n=6", "seed=3", "y=[4,7]", "out=made.npy")
    assert torch.equal(by_number, model.generate(z, torch.tensor([4, 7, 4, 7, 4, 7])))
    assert torch.equal(by_number, made("sample", "n=6", "seed=3", "y=[four,7]", "out=made.npy"))
    drawn = made("sample", "n=6", "seed=3", "out=made.npy")
    assert torch.equal(drawn, model.sample(6, seed=3)) and not torch.equal(drawn, by_number)
    assert torch.allclose(drawn, made("sample", "n=6", "seed=3", "batch_size=4", "out=made.npy"), atol=1e-5)


@pytest.mark.parametrize("wrong", ["10", "-1", "ten", "[]", "[3,oops]"])
def test_no_such_class(folder, capsys, tmp_path, monkeypatch, wrong):
    monkeypatch.chdir(tmp_path)
    assert cli.run("sample", [f"ckpt={folder}", f"y={wrong}"]) == 1
    assert "classes are whole numbers from 0 to 9, or zero, one" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_walk_between_classes_ends_in_them(folder, tmp_path):
    def walked(*words):
        assert cli.run("interpolate", [f"ckpt={folder}", f"out={tmp_path / 'walk'}", *words]) == 0
        files = sorted((tmp_path / "walk").iterdir())
        seen = [(file.name, file.read_bytes()) for file in files]
        for file in files:
            file.unlink()
        return [content for _, content in seen]

    same = ["ends=[2,2]", "steps=4"]  # one latent, so that only the class changes
    between = walked(*same, "y=[3,8]")
    three, eight = walked(*same, "y=3"), walked(*same, "y=8")
    assert len(between) == 8 and between[0] == three[0] and between[4] == eight[0]
    assert len(set(three)) == 1 and three[0] != eight[0] and between[2] not in (three[0], eight[0])


def test_every_walk_of_a_sheet_stays_in_its_class(folder, tmp_path, monkeypatch):
    from genzoo.commands import interpolate

    seen = []
    monkeypatch.setattr(
        interpolate, "generate", lambda model, z, size, y: seen.append(y) or torch.zeros(len(z), 1, 8, 8)
    )
    assert cli.run("interpolate", [f"ckpt={folder}", "rows=3", "steps=5", f"out={tmp_path / 'a.png'}"]) == 0
    rows = seen[0].view(3, 5, 10)
    assert torch.equal(rows, rows[:, :1].expand(-1, 5, -1)) and set(seen[0].unique().tolist()) == {0.0, 1.0}
    assert torch.equal(rows[:, 0].argmax(1), hub.load(folder).labels(3, seed=0))


def test_inversion_asks_for_the_class_and_uses_it(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.run("sample", [f"ckpt={folder}", "n=2", "y=[4,7]", "out=pictures"]) == 0
    few = ["src=pictures", "steps=30", "starts=2", "out=found"]
    assert cli.run("invert", [f"ckpt={folder}", *few]) == 1
    assert "say of which class the pictures are" in capsys.readouterr().err
    assert cli.run("invert", [f"ckpt={folder}", *few, "y=[4,7]"]) == 0
    found = torch.from_numpy(np.load(tmp_path / "found/latents.npy"))
    assert torch.equal(found, hub.load(folder).latents(2, seed=0))  # the draws to start from have the very latents
    assert min(json.loads((tmp_path / "found/inversion.json").read_text()).values()) > 50


def test_standing_statistics_are_those_of_new_samples(folder, made):
    own, standing = made("sample", "n=4", "out=made.npy"), made("sample", "n=4", "standing=2", "out=made.npy")
    model = hub.load(folder)
    model.standing(2, seed=0)
    assert torch.equal(standing, model.sample(4, seed=0)) and not torch.allclose(standing, own, atol=1e-3)


def test_edits_and_neighbours_and_metrics_know_classes(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run = [f"ckpt={folder}"]
    assert cli.run("edit", [*run, "along=pca", "rows=2", "steps=3", "y=four"]) == 0
    assert cli.run("edit", [*run, "plus=[1,2]", "minus=[3]", "y=5"]) == 0
    assert cli.run("neighbours", [*run, "n=2"]) == 0


def test_class_accuracy_is_the_share_that_shows_what_was_asked_for(folder):
    from genzoo.metrics import measure

    class Reader:
        dim = classes = 4

        def __call__(self, x):
            return {"features": x.flatten(1), "logits": x.flatten(1)}

    images, asked = torch.eye(4)[[0, 1, 2, 3, 3]].view(5, 1, 2, 2), torch.tensor([0, 1, 0, 3, 3])
    everything = torch.ones(5, dtype=torch.bool)
    found = measure.features(Reader(), ["class_accuracy"], [], [(images, everything)], asked=asked)
    assert found["class_accuracy"] == pytest.approx(0.8)


def test_an_unconditional_model_takes_no_class(tmp_path, capsys):
    node = OmegaConf.to_container(cli.compose("train", ["model=gan", "data=digits", "run=x"]).model, resolve=True)
    model = hub.build({key: value for key, value in node.items() if key not in ("name", "latent_dim", "width")})
    hub.save(model.eval(), tmp_path / "gan")
    assert cli.run("sample", [f"ckpt={tmp_path / 'gan'}", "y=3"]) == 1
    assert "trained without classes; leave y out" in capsys.readouterr().err
    assert cli.run("sample", [f"ckpt={tmp_path / 'gan'}", "level=1"]) == 1
    assert "does not grow; leave level out" in capsys.readouterr().err
    assert cli.run("sample", [f"ckpt={tmp_path / 'gan'}", "standing=3"]) == 1
    assert "leave standing out" in capsys.readouterr().err
