"""What a command writes never takes the place of what it reads, and appears whole or not at all."""

import os
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from genzoo import cli, hub, images
from genzoo.commands.outputs import writable
from genzoo.files import replacing


def settings(**keys):
    return OmegaConf.create({"command": "sample"} | {name: str(value) for name, value in keys.items()})


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures/more").mkdir(parents=True)
    for name in ("pictures/a.png", "pictures/more/b.png", "other.png"):
        (tmp_path / name).write_text(name)
    (tmp_path / "run").mkdir()
    for name in ("config.yaml", "step-00000001.ckpt", "old.png", "model.safetensors"):
        (tmp_path / "run" / name).write_text(name)
    return tmp_path


def other_names(here):
    """Names of pictures/a.png other than its own."""
    (here / "link.png").symlink_to("pictures/a.png")
    (here / "hard.png").hardlink_to("pictures/a.png")
    (here / "folder").symlink_to("pictures")
    yield from ("pictures/a.png", "./pictures/more/../a.png", here / "pictures/a.png", "link.png", "hard.png")
    yield from ("folder/a.png",)


@pytest.mark.parametrize("key", ["src", "latents", "along", "ckpt"])
def test_a_source_is_known_by_every_name(here, key):
    for out in other_names(here):
        with pytest.raises(ValueError, match=f"out=.*{key}=pictures/a.png.*another place"):
            writable(settings(out=out, **{key: "pictures/a.png"}), (".png",))
    assert writable(settings(out="new.png", **{key: "pictures/a.png"}), (".png",)) == Path("new.png")
    assert writable(settings(out="other.png", **{key: "pictures/a.png"}), (".png",)) == Path("other.png")


def test_a_file_of_a_source_folder_is_a_source(here):
    list(other_names(here))
    for out in ("pictures/a.png", "pictures/more/b.png", "link.png", "hard.png", "folder/more/b.png"):
        for config in (settings(out=out, src="pictures"), OmegaConf.create({"out": out, "data": {"path": "pictures"}})):
            with pytest.raises(ValueError, match=f"out={out}.*pictures"):
                writable(config, (".png",))
        with pytest.raises(ValueError, match="data.path=pictures"):
            writable(settings(out=out), (".png",), noted={"path": "pictures", "download": True})
    with pytest.raises(ValueError, match="src=pictures/a.png"):  # one of several
        writable(OmegaConf.create({"out": "hard.png", "src": ["other.png", "pictures/a.png"]}), (".png",))
    assert writable(settings(out="pictures/new.png", src="pictures"), (".png",))
    (here / "pictures/linked.png").symlink_to("../other.png")  # read as pictures/linked.png
    with pytest.raises(ValueError, match="src=pictures"):
        writable(settings(out="pictures/linked.png", src="pictures"), (".png",))


def test_a_model_is_read_from_its_files_and_not_from_old_sheets_beside_them(here):
    for key in ("ckpt", "features"):
        with pytest.raises(ValueError, match=f"{key}=run"):
            writable(settings(out="run/model.safetensors", **{key: "run"}), (".safetensors",))
        assert writable(settings(out="run/old.png", **{key: "run"}), (".png",))


def test_a_name_of_another_case_is_the_same_file_where_the_file_system_says_so(here, monkeypatch):
    monkeypatch.setattr(Path, "samefile", lambda a, b: str(a).lower() == str(b).lower())
    (here / "A.png").write_text("the same in another case")
    with pytest.raises(ValueError, match="src=a.png"):
        (here / "a.png").write_text("")
        writable(settings(out="A.png", src="a.png"), (".png",))


@pytest.mark.parametrize(
    ("out", "why"),
    [
        ("pipe.png", "something else of this name"),
        ("folder.png", "something else of this name"),
        ("other.png/x.png", "other.png is no folder"),
        (f"{'x' * 300}.png", "too long"),
        ("sheet.jpg", "ends in .png"),
        ("", "ends in .png"),
    ],
)
def test_what_cannot_be_written_is_told_and_nothing_is_made(here, out, why):
    os.mkfifo(here / "pipe.png")
    (here / "folder.png").mkdir()
    before = sorted(here.rglob("*"))
    with pytest.raises(ValueError, match=why) as error:
        writable(settings(out=out), (".png",))
    assert f"out={out}" in str(error.value) and "\n" not in str(error.value)
    assert writable(settings(out="deep/er/x.png"), (".png",)) and sorted(here.rglob("*")) == before
    with pytest.raises(ValueError, match="holds files already"):
        writable(settings(out="pictures"), ("",))


def test_a_folder_for_reading_only_is_told(here, monkeypatch):
    create = Path.open

    def open_outside(path, *words):
        if path.parent.name == "run" and path.suffix == ".part":
            raise OSError(30, "Read-only file system")
        return create(path, *words)

    monkeypatch.setattr(Path, "open", open_outside)
    for out in ("run/deep/x.png", "run/old.png"):
        with pytest.raises(ValueError, match=rf"out={out} .*Read-only file system \(.*run\); choose another place"):
            writable(settings(out=out), (".png",))
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "other.png")
    with pytest.raises(ValueError, match="out=other.png cannot be written: it is read-only"):
        writable(settings(out="other.png"), (".png",))


def test_a_file_appears_whole_or_not_at_all(here):
    for path in (here / "other.png", here / f"{'x' * 251}.png"):
        old = path.read_text() if path.exists() else None
        with pytest.raises(ZeroDivisionError), replacing(path) as part:
            part.write_text("half")
            raise ZeroDivisionError
        assert (path.read_text() if path.exists() else None) == old
        with replacing(path) as part:
            part.write_text("new")
        assert path.read_text() == "new"
    assert not list(here.glob("*.part"))


def test_other_names_of_an_old_file_keep_it(here):
    list(other_names(here))
    for name in ("link.png", "hard.png"):
        images.save_png(name, torch.zeros(1, 2, 2))
        assert images.read_image(name).shape == (1, 2, 2) and Path("pictures/a.png").read_text() == "pictures/a.png"


def test_a_full_disk_is_told_by_the_name_of_the_file(here, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="x.png cannot be written: No space left") as error:
        images.save_png("x.png", torch.zeros(1, 2, 2))
    assert "Errno" not in str(error.value) and not list(here.glob("*.part"))


def test_a_file_may_be_read_by_those_whom_the_umask_lets(here, monkeypatch, tmp_path):
    class Dot(torch.nn.Module):
        facts: dict = {}
        classes, device, dtype = None, torch.device("cpu"), torch.float32

        def latents(self, n, *, seed=None, truncation=None):
            return torch.zeros(n, 2)

        def labels(self, n, *, seed=None):
            return None

        def generate(self, z, y=None):
            return z.view(-1, 1, 2, 1)

        sample = generate

    monkeypatch.setattr(hub, "load", lambda *_, **__: Dot())
    before = os.umask(0o027)
    try:
        for out in ("x.png", "x.npy", "x.safetensors", "x/00000.png"):
            assert cli.run("sample", ["ckpt=x", "n=1", f"out={out.partition('/')[0]}"]) == 0
            assert (here / out).stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(before)
