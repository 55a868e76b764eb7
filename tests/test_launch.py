"""The processes of one run: where they import from, what they are told, and their end."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time

import pytest

from genzoo.core import launch
from genzoo.core.folder import Lock

RANK = """
import json, os, sys
print("on the path:", [name for name in sys.path if name == os.getcwd() or not name])

def main(launcher, lock):
    keys = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "TORCHELASTIC_RUN_ID")
    facts = {key: os.environ[key] for key in keys} | {"words": sys.argv[1:], "lock": lock is not None}
    facts["others"] = [name for name in os.environ if name.startswith(("PL_", "TORCHELASTIC_U"))]
    name = os.path.join(sys.argv[1], "rank-" + os.environ["RANK"])
    with open(name + ".part", "w") as file:
        json.dump(facts, file)
    os.rename(name + ".part", name)
    if "wait" in sys.argv:
        os.read(launcher, 1)
        open(name + ".left", "w").close()
    return 0
"""


@pytest.fixture
def ranks(tmp_path, monkeypatch):
    """Ranks that only say what they were told: they find another genzoo first on the path of the process that starts them."""
    package = tmp_path / "path" / "genzoo" / "commands"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").touch()
    (package / "train.py").write_text(RANK)
    monkeypatch.setattr(sys, "path", ["", str(package.parents[1]), *sys.path])
    (tmp_path / "here").mkdir()
    for name in ("json.py", "yaml.py", "omegaconf.py"):
        (tmp_path / "here" / name).write_text("raise SystemExit(77)")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def test_ranks_are_told_what_torchrun_tells_and_import_nothing_from_the_current_folder(ranks, monkeypatch):
    monkeypatch.setenv("PL_TRAINER_MAX_STEPS", "1")
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    lock = Lock(ranks)
    assert launch.launch(ranks, 2, lock, ["allow=[mine.]"]) == 0
    lock.release()
    for rank in range(2):
        facts = json.loads((ranks / f"rank-{rank}").read_text())
        assert facts == {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": "2",
            "LOCAL_WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1",
            "TORCHELASTIC_RUN_ID": "genzoo",
            "words": [str(ranks), "allow=[mine.]"],
            "lock": rank == 0,
            "others": [],
        }


def test_a_folder_that_was_put_on_the_path_stays_there(tmp_path, monkeypatch):
    """`--config-dir .` and sys.path.append("."): not where Python puts the current folder by itself."""
    monkeypatch.chdir(tmp_path)
    here = os.getcwd()
    for path, kept in (([here, "/a"], ["/a"]), (["", "/a"], ["/a"]), (["/a", "", here], ["/a", here])):
        monkeypatch.setattr(sys, "path", path)
        assert f"sys.path[:] = {kept!r};" in launch.beginning(3)


def test_ranks_notice_that_their_launcher_was_killed(ranks):
    child = os.fork()
    if not child:
        launch.launch(ranks, 2, Lock(ranks), ["wait"])
        os._exit(0)
    wait_for(ranks / "rank-0", ranks / "rank-1")
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    wait_for(ranks / "rank-0.left", ranks / "rank-1.left")


def wait_for(*paths):
    deadline = time.monotonic() + 300
    while not all(path.exists() for path in paths):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_rank_without_launcher_is_told_to_stop_and_ended_if_it_cannot(monkeypatch):
    sent = queue.Queue()
    monkeypatch.setattr(launch, "FAREWELL", 0)
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.put((pid, number)))
    reader, writer = os.pipe()
    launch.leave_with(reader)
    assert sent.empty()
    os.close(writer)
    assert [sent.get(timeout=300) for _ in range(2)] == [(os.getpid(), signal.SIGTERM), (os.getpid(), signal.SIGKILL)]
    os.close(reader)


def test_signals_are_answered_in_the_main_thread_and_as_before_afterwards():
    noted, before = [], [signal.getsignal(number) for number in launch.SIGNALS]
    kept = launch.answer_signals(lambda number, frame: noted.append(number))
    os.kill(os.getpid(), signal.SIGUSR1)
    launch.answer_as_before(kept)
    assert noted == [signal.SIGUSR1]
    assert [signal.getsignal(number) for number in launch.SIGNALS] == before
    in_thread = []
    thread = threading.Thread(target=lambda: in_thread.append(launch.answer_signals(print)))
    thread.start()
    thread.join()
    assert in_thread == [{}] and [signal.getsignal(number) for number in launch.SIGNALS] == before


def test_nohup_is_heeded():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        kept = launch.answer_signals(print)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN and signal.SIGHUP not in kept
        launch.answer_as_before(kept)
    finally:
        signal.signal(signal.SIGHUP, before)


SAVES = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
part = f"step-00000001.ckpt.{os.getpid()}.part"
open(part, "w").close()
while not os.path.exists("go"):
    time.sleep(0.01)
os.rename(part, "step-00000001.ckpt")
time.sleep(1000)  # for the process that has failed
"""


def test_a_process_that_saves_may_finish_when_another_has_failed(tmp_path, monkeypatch):
    asked, saving = [], launch.saving

    def counted(folder, process):
        asked.append(process)
        if len(asked) == 3:
            (tmp_path / "go").touch()
        return saving(folder, process)

    monkeypatch.setattr(launch, "saving", counted)
    monkeypatch.setattr(launch, "PATIENCE", 0)
    saves = subprocess.Popen([sys.executable, "-c", SAVES], cwd=tmp_path)
    while not list(tmp_path.glob("*.part")):
        assert saves.poll() is None
        time.sleep(0.01)
    fails = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    assert launch.wait([saves, fails], tmp_path) == 3
    assert (tmp_path / "step-00000001.ckpt").exists() and len(asked) >= 3
    assert saves.returncode == -signal.SIGKILL
