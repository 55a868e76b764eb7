"""The kill drill: stop a training run at random moments, resume it, and compare every bit with a run left alone.

    python scripts/drill.py                                     # the whole table, about 20 minutes of CPU time
    python scripts/drill.py --events term kill --processes 2 --repeats 5 --out results/drill.json

A case starts `genzoo train`, sends an event at a drawn moment (while it starts, or once a drawn share of the images has
been seen), checks the exit code, that nothing stays behind and how long stopping took, types `genzoo train resume=<run>`
and, sometimes, stops it again. Weights, averages, the optimisers' moments and images_seen must equal the reference's.
"""

import argparse
import contextlib
import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch

from genzoo.core.io import newest

EVENTS = {
    "term": "SIGTERM to the parent",
    "term-rank": "SIGTERM to one rank",
    "term-group": "SIGTERM to the process group",
    "int": "SIGINT to all",
    "usr1": "SIGUSR1 to the parent",
    "hup": "SIGHUP to the parent",
    "kill": "SIGKILL of all",
    "kill-save": "SIGKILL during a save",
}
SETTINGS = [
    *("model=gan", "data=digits", "data.resolution=8", "model.width=16", "batch_size=16", "model.turns=[d,dg]"),
    *("objective=wgan_gp", "callbacks=ema", "callbacks.safeguard.every=20", "trainer.log_every_n_steps=5"),
    *("~model.schedule.value", "model.schedule._target_=genzoo.schedules.LinearDecay"),
    *("+model.schedule.start=1000", "+model.schedule.end=6000", "kimg=3.84"),
    *("trainer.val_check_interval=50", "logger=none", "accelerator=cpu", "threads=1"),
]
LIMIT = 20.0  # seconds that stopping may take
AGAIN = 0.3  # how often a resumed run is stopped once more
EARLY = 0.15  # how often the event comes while the run is starting


class Case(NamedTuple):
    event: str
    processes: int
    workers: int
    precision: str

    def words(self) -> list[str]:
        return [f"devices={self.processes}", f"data.workers={self.workers}", f"precision={self.precision}"]


class Run:
    """A `genzoo train` in a session of its own; how far it is can be read from what it says."""

    def __init__(self, words: list[str]) -> None:
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "genzoo", "train", *words]
        self.process = subprocess.Popen(
            command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        self.said: list[str] = []
        self.share = -1.0  # of the images; -1 before training
        self.reader = threading.Thread(target=self.listen, daemon=True)
        self.reader.start()

    def listen(self) -> None:
        for line in self.process.stderr or ():
            self.said.append(line)
            if found := re.search(r"([\d.]+)/([\d.]+) kimg", line):
                self.share = float(found[1]) / float(found[2])

    def tree(self) -> list[int]:
        """This process and all below it."""
        pids = [self.process.pid]
        for pid in pids:
            with contextlib.suppress(OSError):
                pids += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        return pids

    def ranks(self) -> list[int]:
        return [
            pid
            for pid in self.tree()[1:]
            if "genzoo.commands.train" in command_of(pid) and parent(pid) == self.process.pid
        ]

    def finish(self, limit: float) -> int | None:
        """The exit code as a shell shows it; None if it had to be ended."""
        try:
            code = self.process.wait(limit)
        except subprocess.TimeoutExpired:
            send(self.tree(), signal.SIGKILL)
            return None
        self.reader.join(10)
        return 128 - code if code < 0 else code


def command_of(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


def parent(pid: int) -> int:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def alive(pids: list[int]) -> list[int]:
    def state(pid: int) -> str:
        with contextlib.suppress(OSError):
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return "gone"

    return [pid for pid in pids if state(pid) not in ("gone", "Z", "X")]


def send(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def wait_for(run: Run, moment: Any) -> None:
    while run.process.poll() is None and not moment():
        time.sleep(0.001)


def strike(run: Run, case: Case, folder: Path, draw: random.Random) -> tuple[int, list[int]]:
    """Send the event at a drawn moment; the exit code it asks for and the processes it should end."""
    if case.event == "kill-save":
        target = draw.uniform(0, 0.9)
        wait_for(run, lambda: run.share >= target)
        wait_for(run, lambda: any(name.endswith(".ckpt.part") or ".ckpt." in name for name in os.listdir(folder)))
    elif draw.random() < EARLY:
        time.sleep(draw.uniform(0, 5))
    else:
        target = draw.uniform(0, 1)
        wait_for(run, lambda: run.share >= target)
        time.sleep(draw.uniform(0, 0.1))
    if case.event == "term-rank":
        wait_for(run, lambda: len(run.ranks()) == case.processes)
    tree = run.tree()
    number, pids = {
        "term": (signal.SIGTERM, tree[:1]),
        "term-rank": (signal.SIGTERM, [draw.choice(run.ranks() or tree)]),
        "term-group": (signal.SIGTERM, []),
        "int": (signal.SIGINT, tree),
        "usr1": (signal.SIGUSR1, tree[:1]),
        "hup": (signal.SIGHUP, tree[:1]),
        "kill": (signal.SIGKILL, tree),
        "kill-save": (signal.SIGKILL, tree),
    }[case.event]
    if case.event == "term-group":
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.process.pid, number)
    send(pids, number)
    return 128 + number, tree


def state_of(folder: Path) -> dict[str, Any]:
    path = newest(folder)
    return torch.load(path, weights_only=True) if path else {"global_step": 0}


def differences(a: Any, b: Any, name: str = "") -> list[str]:
    """Where two nests of plain data differ in any bit."""
    if isinstance(a, torch.Tensor):
        return [] if isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b) else [name]
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        return [found for key in a for found in differences(a[key], b[key], f"{name}/{key}")]
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)) and len(a) == len(b):
        return [found for i, (x, y) in enumerate(zip(a, b)) for found in differences(x, y, f"{name}/{i}")]
    return [] if a == b else [name]


def bits(state: dict[str, Any]) -> dict[str, Any]:
    kept = {key: state.get(key) for key in ("state_dict", "live", "optimizer_states", "global_step")}
    return kept | {"images_seen": state.get("genzoo", {}).get("images_seen")}


def drill(case: Case, folder: Path, reference: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    """One case to its end; what it did and what was wrong."""
    words, stops, faults, longest = [*SETTINGS, *case.words(), f"run={folder}"], 0, [], 0.0
    folder.mkdir(parents=True)
    while True:
        run = Run(words)
        if stops == 0 or (stops < 3 and draw.random() < AGAIN):
            wanted, tree = strike(run, case, folder, draw)
            began, stops = time.monotonic(), stops + 1
            code = run.finish(60)
            longest = max(longest, time.monotonic() - began)
            done = state_of(folder)["global_step"] == reference["global_step"]
            if code != wanted and not (code == 0 and done):
                faults.append(f"exit code {code}, not {wanted}")
            if left := [pid for pid in alive(tree) if "genzoo" in command_of(pid)]:
                time.sleep(1)
                faults += [f"{len(left)} processes stay behind"] * bool(alive(left))
                send(left, signal.SIGKILL)
            if wanted != 137 and code == wanted and run.share >= 0 and any("Traceback" in line for line in run.said):
                faults.append("a traceback")
        else:
            code = run.finish(300)
            if code:
                faults.append(f"exit code {code} of the resumed run")
        if faults or (code == 0 and stops):
            break
        words = [f"resume={folder}"] if (folder / "config.yaml").exists() else words
    wrong = differences(bits(reference), bits(state_of(folder)))
    faults += [f"differs in {wrong[0]} and {len(wrong) - 1} more"] if wrong and not faults else []
    faults += ["stopping took longer than 20 s"] if longest > LIMIT else []
    faults += ["a *.part file stays"] if not faults and list(folder.glob("*.part")) else []
    if faults:
        (folder / "said.txt").write_text("".join(run.said))
    return {"stops": stops, "longest": round(longest, 2), "faults": faults}


def table(done: dict[Case, list[dict[str, Any]]]) -> str:
    lines = [f"{'event':30} processes workers precision   exact  stops  longest stop"]
    for case, tries in done.items():
        exact, stops = sum(not one["faults"] for one in tries), sum(one["stops"] for one in tries)
        longest = max(one["longest"] for one in tries)
        place = f"{EVENTS[case.event]:30} {case.processes:9} {case.workers:7} {case.precision:10}"
        lines.append(f"{place} {exact:4}/{len(tries)}  {stops:5}  {longest:10.1f} s")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--events", nargs="+", choices=EVENTS, default=list(EVENTS), metavar="event", help=", ".join(EVENTS)
    )
    parser.add_argument("--processes", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--workers", nargs="+", type=int, default=[0, 2])
    parser.add_argument("--precision", nargs="+", default=["32-true", "bf16-mixed"])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="a JSON file, written after every case")
    chosen = parser.parse_args()
    cases = [
        Case(*parts)
        for parts in itertools.product(chosen.events, chosen.processes, chosen.workers, chosen.precision)
        if parts[0] != "term-rank" or parts[1] > 1  # one process is its only rank
    ]
    done: dict[Case, list[dict[str, Any]]] = {}
    references: dict[tuple[int, str], dict[str, Any]] = {}
    began, total = time.monotonic(), len(cases) * chosen.repeats
    with tempfile.TemporaryDirectory() as home:
        for number, (repeat, case) in enumerate(itertools.product(range(chosen.repeats), cases), start=1):
            key = (case.processes, case.precision)
            if key not in references:
                folder = Path(home, f"reference-{case.processes}-{case.precision}")
                alone = Run([*SETTINGS, *case._replace(workers=0).words(), f"run={folder}"])
                if alone.finish(300) != 0:
                    sys.exit("the reference failed:\n" + "".join(alone.said))
                references[key] = state_of(folder)
            folder = Path(home, f"{case.event}-{case.processes}-{case.workers}-{case.precision}-{repeat}")
            one = drill(case, folder, references[key], random.Random(f"{chosen.seed} {repeat} {case}"))
            done.setdefault(case, []).append(one)
            left = (time.monotonic() - began) / number * (total - number)
            told = "; ".join(one["faults"]) or f"exact, {one['stops']} stops, longest {one['longest']:.1f} s"
            print(f"{number}/{total}  {left / 60:.0f} min left  {' '.join(map(str, case))}: {told}", flush=True)
            if one["faults"]:
                with contextlib.suppress(OSError):
                    print("    " + "    ".join((folder / "said.txt").read_text().splitlines(True)[-12:]), flush=True)
            if chosen.out:
                rows = [
                    {"told": EVENTS[case.event]} | case._asdict() | {"tries": tries} for case, tries in done.items()
                ]
                used = sum(os.times()[2:4])
                chosen.out.write_text(json.dumps({"cpu_seconds": round(used), "cases": rows}, indent=1) + "\n")
    print(table(done), f"{sum(os.times()[2:4]) / 60:.1f} minutes of CPU time", sep="\n")
    return int(any(one["faults"] for tries in done.values() for one in tries))


if __name__ == "__main__":
    sys.exit(main())
