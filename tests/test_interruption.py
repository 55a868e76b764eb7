"""A short form of the drill: told to stop, killed, out of space, not a number; then resumed to the same bits."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from genzoo import cli
from genzoo.callbacks.safeguard import Safeguard
from genzoo.commands import train as command
from genzoo.core.io import AtomicCheckpointIO, newest

SPEC = importlib.util.spec_from_file_location("contract", Path(__file__).with_name("test_contract.py"))
contract = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(contract)

SETTINGS = [*contract.tiny("gan"), "callbacks=ema", "callbacks.safeguard.every=100", "trainer.log_every_n_steps=10"]
KIMG = 16  # 2,000 iterations


def genzoo(*arguments):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.Popen(
        [sys.executable, "-m", "genzoo", "train", *arguments], env=environment, stderr=subprocess.PIPE, text=True
    )


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    return contract.train(tmp_path_factory.mktemp("straight"), SETTINGS, KIMG)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP, signal.SIGKILL])
def test_a_stopped_run_goes_on_to_the_same_bits(straight, tmp_path, number):
    process = genzoo(*SETTINGS, f"run={tmp_path}", f"kimg={KIMG}")
    while not newest(tmp_path):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == (-9 if number == signal.SIGKILL else 128 + number), said
    if number != signal.SIGKILL:
        assert f"genzoo train resume={tmp_path}" in said
    assert torch.load(newest(tmp_path), weights_only=True)["global_step"] < straight["global_step"]
    contract.assert_same_bits(straight, contract.resume(tmp_path, KIMG))
    assert not list(tmp_path.glob("*.part"))


def test_a_full_disk_keeps_the_older_files_and_training(tmp_path, monkeypatch, capsys):
    save, full = torch.save, {21, 28}

    def sometimes(checkpoint, file):
        if checkpoint.get("global_step") in full:
            raise RuntimeError("No space left on device")
        save(checkpoint, file)

    monkeypatch.setattr(torch, "save", sometimes)
    settings = [*contract.tiny("gan"), "callbacks.safeguard.every=7", f"run={tmp_path}", "kimg=0.224"]
    assert command.start(cli.compose("train", settings), [])[0] == 1  # 28 iterations: the last save failed
    assert [path.name for path in sorted(tmp_path.glob("*.ckpt"))] == ["step-00000007.ckpt", "step-00000014.ckpt"]
    assert "No space left" in capsys.readouterr().err


def test_a_term_that_is_no_number_stops_the_run_and_keeps_the_good_checkpoints(tmp_path, monkeypatch, capsys):
    from genzoo.models.gan import GAN

    loss = GAN.generator_loss

    def breaks(self, batch):
        terms = loss(self, batch)
        return {k: v * (float("nan") if self.trainer.global_step >= 50 else 1) for k, v in terms.items()}

    monkeypatch.setattr(GAN, "generator_loss", breaks)
    settings = [*contract.tiny("gan"), "callbacks.safeguard.every=7", "trainer.log_every_n_steps=50"]
    config = cli.compose("train", [*settings, f"run={tmp_path}", "kimg=1"])
    assert command.start(config, [])[0] == 1
    names = [path.name for path in sorted(tmp_path.glob("*.ckpt"))]
    assert names == ["nonfinite-00000056.ckpt", "step-00000042.ckpt", "step-00000049.ckpt"]
    assert newest(tmp_path).name == "step-00000049.ckpt"
    assert "not finite" in (said := capsys.readouterr().err) and "generator/adversarial nan" in said


def test_a_reader_never_sees_half_a_file(tmp_path, monkeypatch):
    writer, path = AtomicCheckpointIO(), tmp_path / "step-00000001.ckpt"
    writer.save_checkpoint({"x": 1}, path)

    def dies(checkpoint, file):
        file.write(b"half")
        raise OSError("disk")

    monkeypatch.setattr(torch, "save", dies)
    writer.save_checkpoint({"x": 2}, path)
    assert writer.failed and torch.load(path, weights_only=True) == {"x": 1}
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_newest_passes_over_what_does_not_open(tmp_path):
    torch.save({"x": 1}, tmp_path / "step-00000001.ckpt")
    (tmp_path / "step-00000002.ckpt").write_bytes(b"junk")
    assert newest(tmp_path).name == "step-00000001.ckpt"


def test_a_second_run_in_the_same_folder_is_refused(tmp_path):
    from genzoo.core.launch import Lock

    held = Lock(tmp_path)
    with pytest.raises(OSError, match="in use by another run"):
        contract.train(tmp_path, contract.tiny("gan"), 0.008)
    held.release()


def test_only_the_second_ctrl_c_does_not_wait(tmp_path):
    guard = Safeguard(tmp_path)
    guard.note(signal.SIGINT, None)
    with pytest.raises(KeyboardInterrupt):
        guard.note(signal.SIGINT, None)
