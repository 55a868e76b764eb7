"""Several processes for one run, and one run for one folder."""

import math
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
PATIENCE = 10.0  # seconds that the other processes have once one of them has ended with an error
INHERITED = "GENZOO_LOCK"  # names the launcher's lock to the process of rank 0


def topology(devices: int) -> tuple[int, int]:
    """Devices on this node and number of nodes, as the launcher that started this process says."""
    for world, local in (("WORLD_SIZE", "LOCAL_WORLD_SIZE"), ("SLURM_NTASKS", "SLURM_NTASKS_PER_NODE")):
        if world in os.environ and local in os.environ:
            here = int(os.environ[local])
            return here, int(os.environ[world]) // here
    return devices, 1


def rank() -> int:
    """This process's place among all, before anything is set up."""
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")))


def started() -> bool:
    """Whether torchrun or srun has already made the processes."""
    return "RANK" in os.environ or int(os.environ.get("SLURM_NTASKS", "1")) > 1


def launch(folder: Path, devices: int, lock: "Lock") -> int:
    """Run `<folder>/config.yaml` in a process for each device; the exit code, 128 + signal if one was told to stop.

    What this process is told goes to all of them as SIGTERM; what any of them is told, they agree on (Safeguard).
    torch's own launcher would turn every exit code into 1 and print its own view of a stop.
    """
    told: list[int] = []
    ranks: list[subprocess.Popen[bytes]] = []

    def forward(number: int, frame: Any = None) -> None:
        told.append(number)
        for process in ranks:  # the second Ctrl-C does not wait
            process.send_signal(signal.SIGKILL if told.count(signal.SIGINT) > 1 else signal.SIGTERM)

    before = {number: signal.signal(number, forward) for number in SIGNALS}
    try:
        shared = {
            "WORLD_SIZE": devices,
            "LOCAL_WORLD_SIZE": devices,
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": free_port(),
        }
        command = [sys.executable, "-m", "genzoo.commands.train", str(folder)]
        for number in range(devices):
            own = shared | {"RANK": number, "LOCAL_RANK": number}
            held = [lock.file.fileno()] if number == 0 else []
            if held:
                own[INHERITED] = held[0]
            environment = {"OMP_NUM_THREADS": "1"} | os.environ | {name: str(value) for name, value in own.items()}
            ranks.append(subprocess.Popen(command, start_new_session=True, env=environment, pass_fds=held))
        for process in ranks if told else ():
            process.send_signal(signal.SIGTERM)
        code = wait(ranks)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 128 + told[0] if told and code > 128 else code


def wait(ranks: list[subprocess.Popen[bytes]]) -> int:
    """The exit code of processes that end together: when one fails, the others would wait for it."""
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
        if time.monotonic() > deadline:
            ended = ended or running
            for process in running:
                process.kill()
        time.sleep(0.05)
    code = min((process.returncode for process in ranks if process.returncode and process not in ended), default=0)
    return 128 - code if code < 0 else code


def free_port() -> int:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])


class Lock:
    """Holds `<folder>/.lock`; BlockingIOError with a finished message if another run does. Gone with the process.

    The process of rank 0 takes over the lock of the one that launched it.
    """

    def __init__(self, folder: Path) -> None:
        import fcntl

        inherited = os.environ.pop(INHERITED, None)
        self.file = open(int(inherited), "w") if inherited else open(folder / ".lock", "w")
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.file.close()
            raise BlockingIOError(
                f"{folder} is in use by another run: wait for it, stop it, or choose another folder with run="
            ) from None
        os.register_at_fork(after_in_child=self.release)  # a loader's worker may outlive a killed run for a while

    def release(self) -> None:
        self.file.close()
