"""Several processes for one run, and one run for one folder."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any


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


def launch(folder: Path, devices: int) -> int:
    """Run `<folder>/config.yaml` on several devices; 128 + signal if this process was told to stop.

    torch's own launcher turns every exit code into 1, so the signal is remembered here.
    """
    told: list[int] = []
    child: list[subprocess.Popen[bytes]] = []

    def forward(number: int, frame: Any) -> None:
        told.append(number)
        if child:
            child[0].send_signal(signal.SIGTERM)  # the launcher passes it on to every rank

    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
    before = {number: signal.signal(number, forward) for number in numbers}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={devices}"]
    command += ["-m", "genzoo.commands.train", str(folder)]
    environment = os.environ | {"PET_SHUTDOWN_TIMEOUT": "600"}  # time for the ranks to save
    environment.setdefault("OMP_NUM_THREADS", "1")  # as the launcher would, at length
    try:
        child.append(subprocess.Popen(command, start_new_session=True, env=environment))
        if told:
            child[0].send_signal(signal.SIGTERM)
        code = child[0].wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 128 + told[0] if told else code


class Lock:
    """Holds `<folder>/.lock`; BlockingIOError with a finished message if another run does. Gone with the process."""

    def __init__(self, folder: Path) -> None:
        import fcntl

        self.file = open(folder / ".lock", "w")
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.file.close()
            raise BlockingIOError(
                f"{folder} is in use by another run: wait for it, stop it, or choose another folder with run="
            ) from None

    def release(self) -> None:
        self.file.close()
