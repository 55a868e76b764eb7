"""Several processes for one run, and the signals that all of them heed."""

import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lightning_fabric.plugins.environments import ClusterEnvironment, SLURMEnvironment
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from genzoo.core.folder import Lock
from genzoo.environment import Place, of_lightning, place

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
PATIENCE = 10.0  # seconds that the other processes have once one of them has ended with an error
FAREWELL = 120.0  # seconds that a process has to save once its launcher is gone, or another process


def topology(devices: int) -> tuple[int, int]:
    """Devices on this node and number of nodes, as the launcher that started this process says."""
    here = place()
    return (here.here, here.world // here.here) if here.launcher else (devices, 1)


def rank() -> int:
    """This process's place among all, before anything is set up."""
    return place().rank


def started() -> bool:
    """Whether torchrun or srun has already made the processes."""
    return bool(place().launcher)


def launch(folder: Path, devices: int, lock: Lock, words: Sequence[str] = ()) -> int:
    """Run `<folder>/config.yaml` in a process for each device; the exit code, 128 + signal if one was told to stop.

    `words` are further arguments of `python -m genzoo.commands.train <folder>`. What this process is told goes to all
    of them as SIGTERM; what any of them is told, they agree on (Safeguard). Should this process be killed, they notice
    that a pipe has closed, and stop. torch's own launcher would turn every exit code into 1 and print its own view of
    a stop.
    """
    told: list[int] = []
    ranks: list[subprocess.Popen[bytes]] = []

    def forward(number: int, frame: Any = None) -> None:
        told.append(number)
        for process in ranks:  # the second Ctrl-C does not wait
            process.send_signal(signal.SIGKILL if told.count(signal.SIGINT) > 1 else signal.SIGTERM)

    before = answer_signals(forward)
    reader, writer = os.pipe()
    try:
        port = free_port()
        for number in range(devices):
            held = (reader, lock.descriptor) if number == 0 else (reader,)
            command = [sys.executable, "-c", beginning(*held), "genzoo.commands.train", str(folder), *words]
            own = environment(number, devices, port)
            ranks.append(subprocess.Popen(command, start_new_session=True, env=own, pass_fds=held))
        for process in ranks if told else ():
            process.send_signal(signal.SIGTERM)
        code = wait(ranks, folder)
    finally:
        os.close(reader)
        os.close(writer)
        answer_as_before(before)
    return 128 + told[0] if told and code > 128 else code


def beginning(launcher: int, lock: int | None = None) -> str:
    """What a rank runs first: it imports from where this process does, never from the current folder.

    `python -m` would put that first of all, so that a yaml.py there were taken for the library.
    """
    first = [name for name in sys.path[:1] if Path(name).resolve() != Path.cwd()]
    path = [name for name in first + sys.path[1:] if name]
    return (
        f"import sys; sys.path[:] = {path!r}; del sys.argv[0]; from genzoo.commands.train import main; "
        f"sys.exit(main(launcher={launcher}, lock={lock}))"
    )


def environment(rank: int, devices: int, port: int) -> dict[str, str]:
    """The variables of a rank: those that torchrun sets, and nothing that an older launcher has left."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TORCHELASTIC_")}
    for name in of_lightning():
        del kept[name]
    own = {
        "TORCHELASTIC_RUN_ID": "genzoo",
        "RANK": rank,
        "LOCAL_RANK": rank,
        "WORLD_SIZE": devices,
        "LOCAL_WORLD_SIZE": devices,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }
    return {"OMP_NUM_THREADS": "1"} | kept | {name: str(value) for name, value in own.items()}


def leave_with(launcher: int) -> None:
    """Stop this process as SIGTERM does, a save included, once the process that launched it is gone.

    `launcher` is the reading end of a pipe whose other end nobody else holds.
    """

    def watch() -> None:
        os.read(launcher, 1)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(FAREWELL)
        os.kill(os.getpid(), signal.SIGKILL)  # it waits for one that is gone too

    threading.Thread(target=watch, daemon=True).start()


def wait(ranks: list[subprocess.Popen[bytes]], folder: Path) -> int:
    """The exit code of processes that end together: when one fails, the others would wait for it, but finish a save."""
    ended: list[subprocess.Popen[bytes]] = []  # by us, so that their codes say nothing
    deadline = math.inf
    while running := [process for process in ranks if process.poll() is None]:
        codes = [process.returncode for process in ranks if process.returncode]
        if codes and deadline == math.inf:
            deadline = time.monotonic() + PATIENCE
            if min(codes) < 128:  # above are those that have agreed to stop
                ended = running
                for process in running:
                    process.terminate()
        if (late := time.monotonic() - deadline) > 0:
            ended = ended or running
            for process in running:
                if late > FAREWELL or not saving(folder, process.pid):
                    process.kill()
        time.sleep(0.05)
    code = min((process.returncode for process in ranks if process.returncode and process not in ended), default=0)
    return 128 - code if code < 0 else code


def saving(folder: Path, process: int) -> bool:
    """Whether a process is writing a file of the run."""
    return any(folder.glob(f"*.{process}.part"))


def free_port() -> int:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])


def answer_signals(answer: Callable[[int, Any], None]) -> dict[int, Any]:
    """Have SIGNALS answered so; what answered them before. Only the main thread may: in others nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    ignored = {signal.SIGHUP} if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else set()  # by nohup
    return {number: signal.signal(number, answer) for number in SIGNALS if number not in ignored}


def answer_as_before(before: dict[int, Any]) -> None:
    for number, answer in before.items():
        signal.signal(number, signal.SIG_DFL if answer is None else answer)  # None: not set by Python


class Cluster(ClusterEnvironment):
    """A place among processes, as Lightning asks for it."""

    creates_processes_externally = True

    def __init__(self, place: Place) -> None:
        self.place = place
        rank_zero_only.rank = place.rank  # type: ignore[attr-defined]  # not what Lightning found in the environment

    @property
    def main_address(self) -> str:
        """Where rank 0 can be reached; with srun the first node of the step."""
        nodes = SLURMEnvironment.resolve_root_node_address(os.environ.get("SLURM_NODELIST", "127.0.0.1"))
        return os.environ.get("MASTER_ADDR") or nodes

    @property
    def main_port(self) -> int:
        return self.place.port

    @staticmethod
    def detect() -> bool:
        return False

    def world_size(self) -> int:
        return self.place.world

    def set_world_size(self, size: int) -> None:
        """The launcher has said it."""

    def global_rank(self) -> int:
        return self.place.rank

    def set_global_rank(self, rank: int) -> None:
        """The launcher has said it."""

    def local_rank(self) -> int:
        return self.place.local

    def node_rank(self) -> int:
        return self.place.rank // self.place.here
