"""Who made this process: a person, torchrun or srun. The one place that reads what launchers leave in the environment.

Variables left over in the shell (RANK of an earlier job, Lightning's PL_*) are ignored and reported in one line. If the
launcher of this process has set values that contradict each other, they are refused.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from genzoo.console import say

TORCHRUN = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
SRUN = ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_NTASKS")
READ_ON_IMPORT = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")  # by Lightning, as its rank


class Place(NamedTuple):
    """Where a process stands among those of its run: `rank` of `world`, `local` of the `here` on its node."""

    launcher: str = ""  # torchrun, whose variables genzoo sets too when it starts ranks, or srun; none for one process
    rank: int = 0
    world: int = 1
    local: int = 0
    here: int = 1
    port: int = 0  # of the process of rank 0


def place(found: Mapping[str, str] = os.environ) -> Place:
    """What the launcher that made this process says; ValueError if that cannot be."""
    if "TORCHELASTIC_RUN_ID" in found:
        rank, local, world, here = (number(found, name, "torchrun") for name in TORCHRUN)
        port = number(found, "MASTER_PORT", "torchrun") if world > 1 else 0
        return sound(Place("torchrun", rank, world, local, here, port), found)
    in_script = found.get("ENVIRONMENT") == "BATCH" and "SLURM_STEP_ID" not in found  # of sbatch, before any srun
    if in_script or not all(name in found for name in SRUN):
        return Place()
    rank, local, _, world = (number(found, name, "srun") for name in SRUN)
    if world == 1:
        return Place()
    ports = "MASTER_PORT" if "MASTER_PORT" in found else "SLURM_JOB_ID"
    port = number(found, ports, "srun") if ports in found else 12910
    port = port if ports == "MASTER_PORT" else 15000 + port % 10000  # jobs of one node need ports of their own
    return sound(Place("srun", rank, world, local, tasks_per_node(found, world), port), found)


def tasks_per_node(found: Mapping[str, str], world: int) -> int:
    """How many tasks srun has started on each node: what it says of this step goes before what sbatch was asked for."""
    if "SLURM_STEP_NUM_NODES" not in found and "SLURM_NTASKS_PER_NODE" in found:
        return number(found, "SLURM_NTASKS_PER_NODE", "srun")
    nodes = next((name for name in ("SLURM_STEP_NUM_NODES", "SLURM_NNODES") if name in found), None)
    return world // max(number(found, nodes, "srun"), 1) if nodes else world


def number(found: Mapping[str, str], name: str, launcher: str) -> int:
    """A whole number from 0 on; ValueError if the launcher has set none."""
    value = found.get(name)
    if value is None or not (value.isascii() and value.isdecimal()):
        told = f"{name} is not set" if value is None else f"{name}={value} is no whole number"
        raise ValueError(f"{told}, though {launcher} seems to have made this process: {way_out(launcher)}")
    return int(value)


def sound(place: Place, found: Mapping[str, str]) -> Place:
    """The place, if its numbers fit each other; ValueError if not."""
    whole = place.here > 0 and place.world > 0 and place.world % place.here == 0
    if not whole or place.rank >= place.world or place.local >= place.here:
        names = TORCHRUN if place.launcher == "torchrun" else (*SRUN, "SLURM_NTASKS_PER_NODE", "SLURM_NNODES")
        told = ", ".join(f"{name}={found[name]}" for name in names if name in found)
        raise ValueError(
            f"{told}: these do not fit each other; every node needs as many processes, counted from 0.\n"
            f"{way_out(place.launcher).capitalize()}"
        )
    if place.world > 1 and not 0 < place.port < 2**16:
        raise ValueError(f"MASTER_PORT={place.port}: from 1 to 65535 is expected; {way_out(place.launcher)}")
    return place


def way_out(launcher: str) -> str:
    marks = "TORCHELASTIC_RUN_ID" if launcher == "torchrun" else " ".join(SRUN)
    return f"start it with {launcher}, or unset {marks}"


def strays(found: Mapping[str, str] = os.environ) -> list[str]:
    """What stands in the environment and counts for nothing, a line each."""
    launcher, lines = place(found).launcher, []
    names = [name for name in TORCHRUN if name in found]
    if names and launcher != "torchrun" and found.get("WORLD_SIZE") != "1":
        told = ", ".join(f"{name}={found[name]}" for name in names)
        lines.append(f"{told}: ignored, torchrun has not made this process")
    if not launcher and found.get("SLURM_NTASKS", "1") != "1":
        lines.append(f"SLURM_NTASKS={found['SLURM_NTASKS']}: ignored, srun has not made this process")
    if names := of_lightning(found):
        lines.append(f"{', '.join(names)}: ignored, settings are typed, as in trainer.log_every_n_steps=10")
    return lines


def of_lightning(found: Mapping[str, str] = os.environ) -> list[str]:
    """Variables that Lightning takes for arguments which nobody typed: PL_TRAINER_MAX_TIME, PL_GLOBAL_SEED, ..."""
    return sorted(name for name in found if name.startswith("PL_"))


@contextlib.contextmanager
def without(names: Iterable[str]) -> Iterator[None]:
    """The environment without these variables."""
    kept = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


@contextlib.contextmanager
def settled() -> Iterator[None]:
    """What a run is started in: strays are told, by the first process, and kept from Lightning."""
    for line in strays() if place().rank == 0 else ():
        say(line)
    with without(of_lightning()):
        yield
