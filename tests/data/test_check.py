"""What `genzoo check` says of data, and that it says no where training would."""

import shlex

import pytest
from PIL import Image

from genzoo import cli, images
from genzoo.commands import check, train
from genzoo.core import machine
from genzoo.data import survey


def picture(path, colour=(9, 9, 9), size=(8, 8), mode="RGB", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path, **options)


def told(capsys, *words, path=None):
    """Topic -> line, and whether the check was passed."""
    where = [f"data.path={path}"] if path else []
    code = cli.run("check", [*words, *where])
    said = capsys.readouterr()
    lines = [line for line in said.out.splitlines() if not line.startswith(" ")]
    return {line.split()[0]: line.split(maxsplit=1)[1] for line in lines}, code, said.err.removeprefix("genzoo: ")


@pytest.fixture
def folder(tmp_path):
    """Two classes, twelve pictures to train on and two to test, two of them the same."""
    for i in range(6):
        picture(tmp_path / "set" / "train" / "cat" / f"{i}.png", (i, 0, 0))
        picture(tmp_path / "set" / "train" / "dog" / f"{i}.png", i, (12, 30), "L")
    picture(tmp_path / "set" / "train" / "dog" / "5.png", (4, 0, 0))
    picture(tmp_path / "set" / "test" / "cat" / "0.png", (99, 0, 0))
    picture(tmp_path / "set" / "test" / "dog" / "0.png", (0, 99, 0))
    return tmp_path / "set"


def test_a_folder_in_words(folder, capsys, tmp_path):
    out = tmp_path / "new" / "sheet.png"
    words = ["data=folder", "model=gan", "model.width=4", "data.resolution=16", "batch_size=4", f"out={out}"]
    lines, code, message = told(capsys, *words, path=folder)
    assert code == 0 and not message
    assert lines["images"] == "12 to train on, 2 to test"
    assert lines["files"] == "PNG 14; modes RGB 9, L 5"
    assert lines["sizes"].startswith(
        "smallest 8x8, median 8x8, largest 12x30 (width x height); 36% not square; 14 below 16"
    )
    assert lines["copies"] == "1, byte for byte: cat/4.png = dog/5.png"
    assert lines["broken"].startswith("none of 14 headers read and 14 files")
    assert lines["classes"] == "2: cat 6, dog 6"
    kept = " ".join([*words[:-1], f"data.path={folder}", "data.classes=2"])  # all but out=, and what was counted
    assert lines["next"] == f"genzoo train {kept}"
    assert "images/s" in lines["speed"] and images.read_image(out).shape == (3, 2 * 16 + 6, 8 * 16 + 18)


def test_memory_is_that_of_weights_and_activations(capsys, tmp_path):
    words = ["model=gan", "model.width=8", "batch_size=32", f"out={tmp_path / 'a.png'}"]
    lines, code, _ = told(capsys, *words)
    assert code == 0 and lines["classes"].startswith("10: 0 151, 1 151, 2 150") and lines["sizes"] == "32x32"
    assert lines["copies"] == "none"
    assert int(lines["model"].split()[2].replace(",", "")) > 10_000 and "for what 32 images leave" in lines["memory"]
    assert "for what 8 images leave" in told(capsys, *words, "micro_batch=8")[0]["memory"]


def test_it_takes_what_training_takes_and_says_how_long_that_would_be(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(machine, "bf16_cost", lambda: 8.0)
    words = ["experiment=biggan_mnist32", "data=digits", "model.width=2", "model.generator.shared=4", "batch_size=4"]
    words += ["callbacks.safeguard.every=9", "logger=jsonl", "epochs=2", "trainer.val_check_interval=7", "seed=3"]
    lines, code, message = told(capsys, *words, "out=a.png")
    assert code == 0, message
    assert lines["time"].startswith(("0.", "1", "2")) and " a step of 8 images, 3 kimg in " in lines["time"]
    assert "8 times as long" in lines["bf16"] and lines["next"] == f"genzoo train {' '.join(words)}"
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_both_verbs_choose_from_the_same_groups():
    texts = [(cli.config_folder() / f"{verb}.yaml").read_text() for verb in ("train", "check")]
    assert texts[0].replace("train_keys", "check_keys").replace("model: dcgan", "model: null") == texts[1]
    assert issubclass(check.Keys, train.Keys)


@pytest.mark.parametrize(("cost", "verdict"), [(0.5, "precision=bf16-mixed: "), (9.0, "does not pay")])
def test_whether_bf16_pays_is_measured(capsys, tmp_path, monkeypatch, cost, verdict):
    monkeypatch.setattr(machine, "bf16_cost", lambda: cost)
    monkeypatch.setattr(check, "SECONDS", 0.01)
    lines, code, _ = told(capsys, "model=gan", "data=ring", "model.width=4", f"out={tmp_path}/a.png")
    assert code == 0 and verdict in lines["bf16"]


def test_a_length_of_time_in_words():
    assert [check.length(s) for s in (0.2, 90, 7000, 7300, 3 * 86400)] == [
        "1 s", "90 s", "117 minutes", "2 hours", "3 days"
    ]  # fmt: skip


def test_activations_are_counted_exactly():
    import torch
    from torch import nn

    class Toy(nn.Module):
        players = {"p": ("net",)}

        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(10, 100), nn.Tanh(), nn.Linear(100, 1))

        def parameters_of(self, player):
            return list(self.parameters())

        def loss(self, player, batch):
            return {"loss": self.net(batch).sum()}

    # Kept are the input (2, 10) and the result (2, 100) of tanh, which both it and the second layer need.
    assert check.activations(Toy(), torch.ones(2, 10)) == 4 * (2 * 10 + 2 * 100)


def test_files_that_cannot_be_read_are_all_named(folder, capsys):
    (folder / "train" / "cat" / "1.png").write_bytes(b"no picture")
    whole = (folder / "train" / "cat" / "3.png").read_bytes()
    (folder / "test" / "cat" / "0.png").write_bytes(whole[:45])
    lines, code, message = told(capsys, "data=folder", "data.classes=2", path=folder)
    assert code == 1 and message == "training would stop: 2 files cannot be read; mend or remove them\n"
    assert lines["broken"].startswith("2 of 14 headers")
    cli.run("check", ["data=folder", f"data.path={folder}"])
    out = capsys.readouterr().out
    assert "train/cat/1.png cannot be read" in out and "test/cat/0.png cannot be read" in out


REFUSED = {
    "classes": (["data.classes=3"], "has 2 classes, but data.classes=3"),
    "batch": (["model=gan", "batch_size=13"], "batch_size=13 is more than the 12 training images"),
    "micro": (["model=gan", "batch_size=9", "micro_batch=2"], "batch_size=9 is no multiple"),
    "size": (["model=dcgan", "data.resolution=33", "batch_size=4"], "33"),
    "channels": (["data.channels=2"], "data.channels=2"),
    "no batch": (["batch_size=0"], "batch_size=0: expected a whole number of at least 1"),
    "sheet": (["out=sheet.jpg"], "out=sheet.jpg: it ends in .png"),
    "nowhere to write": (["out=/proc/no/sheet.png"], "out=/proc/no/sheet.png cannot be written"),
    "no pixels": (["data.resolution=0"], "data.resolution=0: expected a whole number of at least 1"),
    "workers": (["data.workers=-1"], "data.workers=-1: expected a whole number of at least 0"),
    "one word": (["data.attributes=Smiling"], "data.attributes=Smiling: expected a list"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_training_would_refuse_is_refused(folder, capsys, case):
    words, message = REFUSED[case]
    _, code, said = told(capsys, "data=folder", *words, path=folder)
    assert code == 1 and message in said and said.count("\n") <= 3


def test_a_model_for_other_batches_is_refused(capsys, tmp_path):
    for side in "AB":
        for i in range(3):
            picture(tmp_path / f"train{side}" / f"{i}.png", (20 * i, 0, 0))
    options = ["data=unpaired", "batch_size=2", f"out={tmp_path / 'pairs.png'}", "data.resolution=8"]
    _, code, said = told(capsys, *options, "model=gan", path=tmp_path)
    assert code == 1 and "images of two domains, but the model learns from single images" in said
    lines, code, _ = told(capsys, *options, path=tmp_path)
    assert code == 0 and lines["images"] == "3 to train on (3 A and 3 B), 3 to test"
    assert images.read_image(tmp_path / "pairs.png").shape == (3, 8 + 4, 3 * 16 + 8)
    assert lines["next"].startswith("genzoo check model=cyclegan data=unpaired")
    (tmp_path / "pairs.png").unlink()
    words = [*options[:-1], "data.resolution=32", "model=cyclegan", "model.width=4"]
    lines, code, _ = told(capsys, *words, path=tmp_path)
    assert code == 0 and lines["model"].startswith("cyclegan fits") and lines["next"].startswith("genzoo train data=")


def test_an_empty_path_is_not_the_working_folder(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    for name in ("folder", "shards", "unpaired", "paired", "arrays", "packed"):
        _, code, said = told(capsys, f"data={name}", "data.path=")
        assert code == 1 and said.startswith("data.path= is empty")


def test_what_it_says_to_type_next_works(folder, capsys, tmp_path, monkeypatch):
    """From the first look without a model, by pasting, to training; with a batch that fits and a path to be quoted."""
    monkeypatch.chdir(tmp_path)
    folder.rename(tmp_path / "my (1) \u00e4")
    words = ["data=folder", 'data.path="my (1) \u00e4"', "data.resolution=16", "batch_size=4", "out=a.png"]
    lines, code, _ = told(capsys, *words)
    first = shlex.split(lines["next"])
    assert code == 0 and first[:3] == ["genzoo", "check", "model=dcgan"]
    lines, code, _ = told(capsys, *first[2:])
    second = shlex.split(lines["next"])
    assert code == 0 and second[1] == "train"
    assert cli.run(second[1], [*second[2:], "model.width=4", "kimg=0.004", "run=run", "logger=none"]) == 0


def test_points(capsys, tmp_path):
    lines, code, _ = told(capsys, "data=ring", f"out={tmp_path / 'ring.png'}")
    assert lines["next"] == "genzoo check model=gan data=ring"
    assert (
        code == 0 and lines["images"].startswith("100,000") and images.read_image(tmp_path / "ring.png").shape[0] == 3
    )


REAL = {
    "png4k": (
        ["data=folder", "data.resolution=32", "data.classes=10", "model=dcgan", "model.width=4"],
        "cifar10/png4k.zip",
    ),
    "bsds256": (["data=folder", "model=dcgan", "model.width=4", "data.load=72"], "bsds256"),
    "orl_faces": (["data=folder", "data.channels=1", "data.resolution=28", "model=vae"], "orl_faces_23x28"),
    "avatars": (["data=folder", "data.labels=list_attr_celeba.txt", "data.attributes=[Smiling]"], "avatars/train"),
    "apple2tomato": (["data=unpaired"], "apple2tomato"),
    "edges2fruit": (["data=paired"], "edges2fruit"),
}


@pytest.mark.parametrize("case", REAL)
def test_real_sets_pass(shared, capsys, tmp_path, monkeypatch, case):
    monkeypatch.setattr(survey, "DECODED", 200)
    words, place = REAL[case]
    lines, code, message = told(capsys, *words, f"out={tmp_path / 'a.png'}", path=shared / "data" / place)
    assert code == 0, message
    assert lines["broken"].startswith("none of")
