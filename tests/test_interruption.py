"""A short form of the drill: told to stop, killed, out of space, not a number; then resumed to the same bits."""

import os
import random
import resource
import signal
import sys
import time
from pathlib import Path

import pytest
import test_contract as contract
import torch
from children import FAR, started

from genzoo import cli, images
from genzoo.callbacks.safeguard import Safeguard
from genzoo.commands import train as command
from genzoo.core.folder import Lock
from genzoo.core.io import AtomicCheckpointIO, newest

SETTINGS = [*contract.tiny("gan"), "callbacks=ema", "callbacks.safeguard.every=100", "trainer.log_every_n_steps=10"]
ENDLESS = "kimg=1e9"  # it is stopped when the test has seen what it waits for, however long that takes


def genzoo(*arguments):
    return started("-m", "genzoo", "train", *arguments)


def wait_for(process, event):
    """Until something is true that a running process brings about."""
    while not (found := event()):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.001)
    return found


def assert_goes_on_to_the_bits_of_a_straight_run(run, settings, straight):
    """It is resumed for another twenty iterations."""
    kimg = torch.load(newest(run), weights_only=True)["genzoo"]["images_seen"] / 1000 + 0.16
    contract.assert_same_bits(contract.train(straight, settings, kimg), contract.resume(run, kimg))
    assert not list(run.glob("*.part"))


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGKILL, marks=pytest.mark.thorough)])
def test_a_stopped_run_goes_on_to_the_same_bits(tmp_path, number):
    run = tmp_path / "run"
    process = genzoo(*SETTINGS, f"run={run}", ENDLESS)
    wait_for(process, lambda: newest(run))
    process.send_signal(number)
    _, said = process.communicate(timeout=FAR)
    assert process.returncode == (-9 if number == signal.SIGKILL else 128 + number), said
    if number != signal.SIGKILL:
        assert f"genzoo train resume={run}" in said
    assert_goes_on_to_the_bits_of_a_straight_run(run, SETTINGS, tmp_path / "straight")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGUSR1, signal.SIGHUP])
def test_other_signals_stop_a_run_as_well(tmp_path, number, monkeypatch, capsys):
    end = Safeguard.on_train_batch_end

    def told(self, trainer, *rest):
        if trainer.global_step == 30:
            os.kill(os.getpid(), number)
        end(self, trainer, *rest)

    monkeypatch.setattr(Safeguard, "on_train_batch_end", told)
    config = cli.compose("train", [*SETTINGS, f"run={tmp_path / 'run'}", "kimg=10"])
    assert command.start(config, [])[0] == 128 + number
    assert f"genzoo train resume={tmp_path / 'run'}" in capsys.readouterr().err
    monkeypatch.undo()
    assert_goes_on_to_the_bits_of_a_straight_run(tmp_path / "run", SETTINGS, tmp_path / "straight")


@pytest.mark.thorough
def test_a_run_killed_while_it_saves_goes_on_with_other_workers_and_in_bf16(tmp_path):
    settings = [*SETTINGS, "precision=bf16-mixed", "callbacks.safeguard.every=10"]
    run = tmp_path / "run"
    process = genzoo(*settings, "data.workers=2", f"run={run}", ENDLESS)
    wait_for(process, lambda: newest(run) and any(".ckpt." in path for path in os.listdir(run)))
    process.kill()
    process.communicate(timeout=FAR)
    assert_goes_on_to_the_bits_of_a_straight_run(run, settings, tmp_path / "straight")


@pytest.mark.thorough
def test_one_of_two_processes_is_told_to_stop_and_both_do(tmp_path):
    """Bit for bit it is scripts/drill.py that compares; here one process in float64 stands for the straight run."""
    settings = [*SETTINGS, "precision=64-true", "callbacks.safeguard.every=20"]
    run = tmp_path / "run"
    process = genzoo(*settings, "devices=2", f"run={run}", ENDLESS)
    wait_for(process, lambda: newest(run))
    ranks = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(ranks) == 2
    os.kill(int(ranks[1]), signal.SIGTERM)
    _, said = process.communicate(timeout=FAR)
    assert process.returncode == 143, said
    assert "Traceback" not in said and "torch" not in said and f"genzoo train resume={run}" in said
    kimg = torch.load(newest(run), weights_only=True)["genzoo"]["images_seen"] / 1000 + 0.16
    assert cli.run("train", [f"resume={run}", f"kimg={kimg}"]) == 0
    resumed = torch.load(newest(run), weights_only=True)
    straight = contract.train(tmp_path / "straight", settings, kimg)
    assert resumed["genzoo"]["images_seen"] == straight["genzoo"]["images_seen"]
    for (name, a), (_, b) in zip(contract.leaves(straight["live"]), contract.leaves(resumed["live"]), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-10), name


def test_a_signal_before_the_first_iteration_is_answered_after_it(tmp_path, monkeypatch):
    """Lightning has just put its own handlers in place, which would talk to the other processes."""
    start = Safeguard.on_fit_start

    def told(self, trainer, module):
        start(self, trainer, module)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Safeguard, "on_fit_start", told)
    config = cli.compose("train", [*SETTINGS, f"run={tmp_path}", "kimg=1"])
    assert command.start(config, [])[0] == 143
    assert newest(tmp_path).name == "step-00000001.ckpt"
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_ctrl_c_before_the_first_iteration_ends_the_run_with_its_code(tmp_path, monkeypatch):
    def interrupted(self, trainer, module, stage):
        raise KeyboardInterrupt

    monkeypatch.setattr(Safeguard, "setup", interrupted)
    before = signal.getsignal(signal.SIGINT)
    try:
        assert command.start(cli.compose("train", [*SETTINGS, f"run={tmp_path}", "kimg=1"]), [])[0] == 130
    finally:
        signal.signal(signal.SIGINT, before)  # Lightning ignores it from then on


def test_no_file_may_grow_and_the_older_checkpoint_stays(tmp_path, capfd):
    settings = [*contract.tiny("gan"), "callbacks.safeguard.every=7"]
    contract.train(tmp_path, settings, 0.056)
    before = newest(tmp_path).read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    typed = [f"resume={tmp_path}", "kimg=0.112"]
    config = cli.compose("train", typed)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))
    try:
        assert command.start(config, typed)[0] == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "could not save" in (said := capfd.readouterr().err) and "File too large" in said
    assert [path.name for path in tmp_path.glob("*.ckpt*")] == ["step-00000007.ckpt"]
    assert newest(tmp_path).read_bytes() == before


def in_a_child(work):
    """A copy of this process that does some work; its exit code is what the work returns."""
    if child := os.fork():
        return child
    code = 99
    try:
        code = work()
    finally:
        os._exit(code)


def test_there_is_always_a_checkpoint_that_opens_wherever_saving_is_killed(tmp_path):
    """Every call of a function, of Python or C, is a place to be killed at; thirty of them are tried."""
    writer, path, calls = AtomicCheckpointIO(), tmp_path / "step-00000000.ckpt", []

    def save(step, last=10**9):
        """Killed at the last of so many calls."""

        def count(frame, event, argument):
            calls.append(event)
            if len(calls) == last:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.setprofile(count)
        try:
            writer.save_checkpoint({"step": step, "weights": torch.zeros(1000)}, path)
        finally:
            sys.setprofile(None)

    save(-1)
    places, torn, seen = range(1, len(calls)), 0, set()
    for last in random.Random(0).sample(places, 30):
        calls.clear()
        os.waitpid(in_a_child(lambda last=last: save(last, last)), 0)
        torn += len(parts := list(tmp_path.glob("*.part")))
        for part in parts:
            part.unlink()
        seen.add(torch.load(path, weights_only=True)["step"])
    assert torn and len(seen) > 1  # some were hit while they wrote, some after they had


@pytest.mark.thorough
def test_of_two_runs_started_in_one_folder_at_once_one_runs_with_its_own_configuration(tmp_path):
    for number in range(4):
        run = tmp_path / str(number)
        configs = [cli.compose("train", [*SETTINGS, f"run={run}", "kimg=0.4", f"seed={seed}"]) for seed in (1, 2)]
        gate, opener = os.pipe()

        def work(config, gate=gate, opener=opener):
            os.close(opener)
            os.read(gate, 1)  # until the parent closes the other end
            try:
                return command.start(config, [])[0]
            except (BlockingIOError, ValueError):  # in use by another run, or holds one already
                return 7

        children = [in_a_child(lambda config=config: work(config)) for config in configs]
        os.close(gate)
        os.close(opener)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        assert sorted(codes) == [0, 7]
        state = torch.load(newest(run), weights_only=True)
        assert state["genzoo"]["seed"] == 1 + codes.index(0)
        assert f"\nseed: {1 + codes.index(0)}\n" in (run / "config.yaml").read_text()


def test_a_forked_worker_does_not_hold_the_folder(tmp_path):
    lock = Lock(tmp_path)
    reader, writer = os.pipe()
    child = in_a_child(lambda: os.write(writer, b"x") and signal.pause())
    os.read(reader, 1)
    lock.release()
    Lock(tmp_path).release()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def test_a_folder_that_cannot_be_written_is_told_before_training(tmp_path):
    contract.train(tmp_path, contract.tiny("gan"), 0.008)
    tmp_path.chmod(0o500)
    try:
        if os.access(tmp_path, os.W_OK):
            pytest.skip("this user may write anywhere")
        for words in ([f"resume={tmp_path}"], [*SETTINGS, f"run={tmp_path}/new"]):
            with pytest.raises(OSError, match="cannot be written"):
                command.start(cli.compose("train", words), words if "resume" in words[0] else [])
    finally:
        tmp_path.chmod(0o700)


def test_a_run_on_a_relative_path_is_resumed_from_another_folder(tmp_path, monkeypatch):
    (tmp_path / "other").mkdir()
    (tmp_path / "set").mkdir()
    for i in range(4):
        images.save_png(tmp_path / "set" / f"{i}.png", torch.zeros(3, 8, 8))
    words = ["model=gan", "model.width=4", "data=folder", "data.path=set", "data.resolution=8", "batch_size=2"]
    monkeypatch.chdir(tmp_path)
    assert cli.run("train", [*words, "kimg=0.004", "run=run", "logger=none"]) == 0
    monkeypatch.chdir(tmp_path / "other")
    assert cli.run("train", ["resume=../run", "kimg=0.008"]) == 0
    assert cli.run("neighbours", ["ckpt=../run", "n=1", "nearest=1"]) == 0
    assert (tmp_path / "run" / "step-00000004.ckpt").is_file()


@pytest.mark.thorough
def test_of_two_processes_one_tells_what_both_have_met(tmp_path):
    run = genzoo("model=gan", "data=digits", "data.classes=3", "devices=2", f"run={tmp_path}")
    said = run.communicate(timeout=FAR)[1]
    assert run.returncode == 1 and said.count("but data.classes=3") == 1 and "Traceback" not in said


def test_a_run_none_of_whose_checkpoints_opens_is_not_begun_anew(tmp_path):
    contract.train(tmp_path, contract.tiny("gan"), 0.008)
    newest(tmp_path).write_bytes(b"junk")
    with pytest.raises(ValueError, match=r"delete step-\*.ckpt"):
        contract.resume(tmp_path, 0.016)


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


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_gradient_that_is_no_number_poisons_no_checkpoint(tmp_path, monkeypatch, capsys, value):
    """All terms are finite, and iteration 49, where it happens, is one that saves."""
    from genzoo.models.gan import GAN

    loss = GAN.generator_loss

    def breaks(self, batch):
        weight = next(self.generator.parameters())
        if self.trainer.global_step == 48:
            weight.register_hook(lambda gradient: gradient * float(value))
        return loss(self, batch)

    monkeypatch.setattr(GAN, "generator_loss", breaks)
    settings = [*contract.tiny("gan"), "callbacks=ema", "callbacks.safeguard.every=7", "trainer.log_every_n_steps=50"]
    assert command.start(cli.compose("train", [*settings, f"run={tmp_path}", "kimg=1"]), [])[0] == 1
    names = [path.name for path in sorted(tmp_path.glob("*.ckpt"))]
    assert names == ["nonfinite-00000049.ckpt", "step-00000035.ckpt", "step-00000042.ckpt"]
    said = capsys.readouterr().err
    assert "not finite: the weights of generator, the averages\n" in said and "generator/adversarial 0." in said


def test_averages_are_looked_at_too(tmp_path, monkeypatch):
    from genzoo.callbacks.ema import EMA

    moved = EMA.on_train_batch_end

    def breaks(self, trainer, module, *rest):
        moved(self, trainer, module, *rest)
        if trainer.global_step == 14:
            next(iter(self.average.values())).fill_(float("nan"))

    monkeypatch.setattr(EMA, "on_train_batch_end", breaks)
    settings = [*contract.tiny("gan"), "callbacks=ema", "callbacks.safeguard.every=7", f"run={tmp_path}", "kimg=1"]
    assert command.start(cli.compose("train", settings), [])[0] == 1
    assert newest(tmp_path).name == "step-00000007.ckpt"


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


def test_a_second_run_in_the_same_folder_is_refused(tmp_path):
    held = Lock(tmp_path)
    with pytest.raises(OSError, match="in use by another run"):
        contract.train(tmp_path, contract.tiny("gan"), 0.008)
    held.release()


def test_only_the_second_ctrl_c_does_not_wait(tmp_path):
    guard = Safeguard(tmp_path)
    guard.note(signal.SIGINT, None)
    with pytest.raises(KeyboardInterrupt):
        guard.note(signal.SIGINT, None)
