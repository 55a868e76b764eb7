"""Which checkpoints are kept, and a run folder that goes away."""

import shutil

import pytest
import torch

from genzoo import cli, hub
from genzoo.callbacks.safeguard import Safeguard
from genzoo.commands import train as command
from genzoo.core import io
from genzoo.limits import shown

TINY = ["model=gan", "model.width=4", "data=ring", "batch_size=8", "logger=none", "accelerator=cpu"]
EVERY = ["callbacks.safeguard.every=5", "trainer.val_check_interval=1000"]
GOOD = {
    "state_dict": {},
    "genzoo": {"format": 1, "images_seen": 1, "config": {}},
    **{"epoch": 0, "global_step": 1, "pytorch-lightning_version": "2", "callbacks": {}, "lr_schedulers": []},
    **{"optimizer_states": [], "loops": {"fit_loop": {}}},
}


@pytest.fixture
def folder(tmp_path):
    """Good checkpoints 1, 3, 5, 7; damaged ones 2, 6, 90; others' files."""
    for step in (1, 3, 5, 7):
        torch.save(GOOD, tmp_path / f"step-{step:08d}.ckpt")
    for step in (2, 6, 90):
        torch.save(GOOD, tmp_path / f"step-{step:08d}.ckpt")
        data = bytearray((tmp_path / f"step-{step:08d}.ckpt").read_bytes())
        data[len(data) // 2] ^= 1
        (tmp_path / f"step-{step:08d}.ckpt").write_bytes(data if step != 6 else b"")
    (tmp_path / "step-mine.ckpt").write_text("precious")
    (tmp_path / "step-00000000.ckpt").mkdir()
    return tmp_path


def steps(folder):
    return [int(path.name[5:13]) for path in sorted(folder.glob("step-0*.ckpt"))]


def test_only_checkpoints_that_open_count_as_kept(folder):
    Safeguard(folder, keep=2).prune()
    assert steps(folder) == [0, 5, 6, 7, 90]
    assert (folder / "step-mine.ckpt").read_text() == "precious"
    Safeguard(folder, keep=1).prune()
    assert steps(folder) == [0, 7, 90]


def test_nothing_is_deleted_where_nothing_opens_or_all_are_kept(folder):
    Safeguard(folder, keep="all").prune()
    Safeguard(folder, keep=4).prune()
    assert steps(folder) == [0, 1, 2, 3, 5, 6, 7, 90]
    for step in (1, 3, 5, 7):
        (folder / f"step-{step:08d}.ckpt").write_bytes(b"junk")
    Safeguard(folder, keep=1).prune()
    assert len(steps(folder)) == 8


def test_what_this_process_has_written_is_not_read_again(tmp_path, monkeypatch):
    writer = io.AtomicCheckpointIO()
    for step in range(4):
        writer.save_checkpoint(GOOD, tmp_path / f"step-{step:08d}.ckpt")
    monkeypatch.setattr(io, "read_checkpoint", lambda *_, **__: pytest.fail("read"))
    Safeguard(tmp_path, keep=2).prune()
    assert steps(tmp_path) == [2, 3]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("keep", value) for value in (0, -1, -3, 1.5, True, "none", None)),
        *(("every", value) for value in (0, -5, 2.5, None)),
        *(("minutes", value) for value in (0, -1.0, float("nan"), "x")),
    ],
)
def test_numbers_that_cannot_be_are_refused_by_name(tmp_path, name, value):
    node = {"_target_": "genzoo.callbacks.safeguard.Safeguard", "folder": str(tmp_path), name: value}
    with pytest.raises(ValueError, match=rf"callbacks\.safeguard\.{name}={shown(value)}: expected .*(1|0|all)"):
        hub.build({"safeguard": node}, None, "callbacks")


def run_that_loses_its_folder(run, monkeypatch, lose):
    """Train 100 iterations into `run`, which is lost after the seventh; the exit code."""
    after = Safeguard.on_train_batch_end

    def losing(self, trainer, module, *rest):
        after(self, trainer, module, *rest)
        if trainer.global_step == 7:
            lose()

    monkeypatch.setattr(Safeguard, "on_train_batch_end", losing)
    return command.start(cli.compose("train", [*TINY, *EVERY, f"run={run}", "kimg=0.8"]), [])[0]


@pytest.mark.parametrize("another", [False, True])
def test_a_folder_that_is_moved_is_followed_and_the_run_stops(tmp_path, monkeypatch, capsys, another):
    def lose():
        (tmp_path / "r").rename(tmp_path / "s")
        if another:
            (tmp_path / "r").mkdir()  # of another run

    assert run_that_loses_its_folder(tmp_path / "r", monkeypatch, lose) == 1
    assert steps(tmp_path / "s") == [5, 10]
    assert (list((tmp_path / "r").iterdir()) == []) if another else not (tmp_path / "r").exists()
    said = capsys.readouterr().err
    assert f"{tmp_path}/r was moved to {tmp_path}/s" in said and f"genzoo train resume={tmp_path}/s" in said


def test_a_folder_that_is_removed_ends_the_run(tmp_path, monkeypatch, capsys):
    assert run_that_loses_its_folder(tmp_path / "r", monkeypatch, lambda: shutil.rmtree(tmp_path / "r")) == 1
    assert not (tmp_path / "r").exists()
    assert f"{tmp_path}/r was removed" in capsys.readouterr().err


def test_a_disk_that_is_full_for_a_while_is_told_once_and_so_is_its_end(tmp_path, monkeypatch, capsys):
    save = torch.save

    def sometimes(checkpoint, file):
        if 10 <= checkpoint["global_step"] <= 20:
            raise OSError(28, "No space left on device")
        save(checkpoint, file)

    monkeypatch.setattr(torch, "save", sometimes)
    settings = [*TINY, *EVERY, "callbacks.safeguard.keep=all", f"run={tmp_path}", "kimg=0.24"]
    assert command.start(cli.compose("train", settings), [])[0] == 0
    assert steps(tmp_path) == [5, 25, 30]
    said = capsys.readouterr().err
    assert said.count("could not save") == 1 and said.count("step-00000010.ckpt") == 1
    assert said.count("can be written again") == 1 and f"saved {tmp_path}/step-00000025.ckpt" in said
