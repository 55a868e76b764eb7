"""How fast `genzoo train` is, beside a bare loop on the same networks and data. Processor time is what counts.

    python scripts/bench.py                                  # every case; half an hour
    python scripts/bench.py dcgan64 dcgan64-bf16 --rounds 5 --turn gd --out results/bench-dcgan64.json
    python scripts/bench.py dcgan64 --peer "their/main.py --dataset mnist" --peer-batch 64 --peer-updates 2

Each measurement is a process of its own: the command as a user types it, with its callbacks, logger and progress;
the bare loop below; or a peer's script, unchanged. All are metered alike, by torch's hook after every optimizer step.
Rounds repeat the cases, every other one in reverse; ratios are taken inside a round, where neighbours share the weather.
On a CPU only: on a GPU a step has not happened yet when it returns.
"""

import argparse
import contextlib
import functools
import json
import os
import platform
import resource
import runpy
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple


class Case(NamedTuple):
    """Words for `genzoo train`, the iterations that are measured, and the turns of each of them."""

    words: list[str]
    iterations: int
    turns: str = "dg"  # with commas between them


DCGAN64 = ["model=dcgan", "data=digits", "data.resolution=64"]
BIGGAN32 = ["model=biggan", "data=digits", "model.width=16", "batch_size=50", "model.latent_dim=128"]
PROGAN = ["model=progan", "data=digits", "model.width=64", "model.latent_dim=64", "model.start_images=1000000000"]
CYCLEGAN = ["model=cyclegan", "data=shapes_ab", "data.count=100", "model.width=32"]
BF16 = "precision=bf16-mixed"
CASES = {  # small models over 500 iterations or a multiple: that often a run shows samples and saves
    "dcgan64": Case(DCGAN64, 15),
    "dcgan64-bf16": Case([*DCGAN64, BF16, "model.channels_last=true"], 25),
    "dcgan32": Case(["model=dcgan", "data=digits", "model.width=16", "batch_size=128"], 500),
    "vae": Case(["model=vae", "data=digits"], 500, "v"),
    "gan": Case(["model=gan", "data=digits"], 2000),
    "biggan32": Case(BIGGAN32, 10, "d,d,d,dg"),
    "biggan32-bf16": Case([*BIGGAN32, BF16], 15, "d,d,d,dg"),
    "progan8": Case([*PROGAN, "data.resolution=8"], 500),
    "progan8-bf16": Case([*PROGAN, "data.resolution=8", BF16], 500),
    "progan32": Case([*PROGAN, "data.resolution=32"], 25),
    "progan32-bf16": Case([*PROGAN, "data.resolution=32", BF16], 40),
    "cyclegan64": Case([*CYCLEGAN, "data.resolution=64"], 25, "gd"),
    "cyclegan64-bf16": Case([*CYCLEGAN, "data.resolution=64", BF16], 40, "gd"),
    "cyclegan128": Case([*CYCLEGAN, "data.resolution=128"], 10, "gd"),
    "cyclegan128-bf16": Case([*CYCLEGAN, "data.resolution=128", BF16], 15, "gd"),
}
TRAIN = ["-m", "genzoo", "train"]
STARTUP = ["model=gan", "data=digits"]
READY = """
import time, torch
torch_is_there = time.process_time()
from genzoo.data.digits import Digits
before = time.process_time()
Digits()
print(torch_is_there + time.process_time() - before)
"""
WARM = 5  # iterations before those that are measured
NOTES: dict[str, float] = {}  # what a contestant knows about itself


# What is measured


def run_program(words: list[str]) -> None:
    """What `python <words>` runs, in this process: `-m genzoo train ...`, or a peer's script."""
    if words[0] == "-m":
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv, sys.path[0] = words, str(Path(words[0]).resolve().parent)
        runpy.run_path(words[0], run_name="__main__")


def bare_loop(words: list[str]) -> None:
    """Training by hand, without end, on the networks, data and optimisers of the same configuration."""
    import torch
    from bare import loop_of
    from torch.utils.flop_counter import FlopCounterMode

    from genzoo import cli, hub
    from genzoo.commands.train import plain
    from genzoo.core.machine import tune
    from genzoo.fit import built

    frozen = plain(cli.compose("train", words))
    model = hub.build(built(frozen["model"]), None)
    resident = tensors(hub.build(frozen["data"], None).store)
    tune(frozen["threads"], 0)
    if model.channels_last:
        model.to(memory_format=torch.channels_last)
    cast = functools.partial(torch.autocast, "cpu", torch.bfloat16, enabled=frozen["precision"] == "bf16-mixed")
    optimizers = {player: make(model.parameters_of(player)) for player, make in model.make_optimizers.items()}
    step, size, n = loop_of(model), frozen["batch_size"] * len(model.turns), len(resident[0])

    def batch(index: Any) -> list[Any]:
        parts = [tensor[index] for tensor in resident]
        return [part.float().div_(127.5).sub_(1) if part.dtype == torch.uint8 else part for part in parts]

    with FlopCounterMode(display=False) as counter:
        step(model, optimizers, batch(slice(size)), cast)
    NOTES.update(images=size, flops=counter.get_total_flops())  # of convolutions and matrix products
    while True:
        for index in torch.randperm(n)[: n // size * size].split(size):
            step(model, optimizers, batch(index), cast)


def tensors(store: Any) -> list[Any]:
    """What a set in memory holds: uint8 images (n, c, h, w) and labels (n,), or images of two domains."""
    return [store.a, store.b] if hasattr(store, "a") else [store.images, store.labels]


def convolution_peak(dtypes: list[str]) -> None:
    """GFLOP per processor second of a convolution that suits a CPU: 64 to 64 channels, 3x3, 64 images of 32x32."""
    import torch

    for dtype in (getattr(torch, name) for name in dtypes):
        convolution = torch.nn.Conv2d(64, 64, 3, padding=1).to(dtype).to(memory_format=torch.channels_last)
        x = torch.randn(64, 64, 32, 32).to(dtype, memory_format=torch.channels_last)
        times = [time.process_time()]
        with torch.inference_mode():
            while len(times) <= 60 and times[-1] - times[0] < 10:  # a dtype without units of its own takes seconds
                convolution(x)
                times.append(time.process_time())
        shortest = min(after - before for before, after in zip(times, times[1:]))
        NOTES[str(dtype).removeprefix("torch.")] = 2 * 9 * 64 * 64 * (64 * 32 * 32) / shortest / 1e9
    print(json.dumps(NOTES))


# How it is measured


def meter(updates: int, warm: int, iterations: int) -> None:
    """End this process after warm + iterations times so many optimizer steps, with an answer about the last iterations."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    steps, began = 0, (time.perf_counter(), 0.0)

    def after_step(*_: Any) -> None:
        nonlocal steps, began
        steps += 1
        now = time.perf_counter(), time.process_time()  # user and system, of all threads
        if steps == warm * updates:
            began = now
        if steps == (warm + iterations) * updates:
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
            found = {"iterations": iterations, "wall": now[0] - began[0], "cpu": now[1] - began[1], "megabytes": memory}
            print("\n" + json.dumps(found | NOTES), flush=True)
            os._exit(0)

    register_optimizer_step_post_hook(after_step)


CHILDREN = {"genzoo": run_program, "bare": bare_loop, "peer": run_program, "peak": convolution_peak}


def child(kind: str, words: list[str], *metered: int) -> dict[str, float]:
    """The answer of a process that runs one of CHILDREN, metered if it is told how."""
    command = [sys.executable, str(Path(__file__).resolve()), "--child", json.dumps([kind, words, metered])]
    with tempfile.TemporaryDirectory() as folder:  # for the run folder; a peer stays where its paths make sense
        done = subprocess.run(command, cwd=None if kind == "peer" else folder, capture_output=True, text=True)
    with contextlib.suppress(IndexError, ValueError):
        return json.loads(done.stdout.splitlines()[-1])
    sys.exit(f"bench.py: {kind} {shlex.join(words)} ended without an answer\n{done.stderr[-2000:]}")


def measure(who: str, case: Case, args: argparse.Namespace) -> dict[str, float]:
    iterations = args.iterations or case.iterations
    if who == "peer":
        return child(who, shlex.split(args.peer), args.peer_updates, WARM, iterations)
    words = [*case.words, f"model.turns=[{case.turns}]", f"threads={args.threads}", "accelerator=cpu", "kimg=1e9"]
    updates = len(case.turns.replace(",", ""))
    return child(who, [*TRAIN, *words] if who == "genzoo" else words, updates, WARM, iterations)


def startup() -> dict[str, float]:
    """Processor seconds until the first iteration is over, and those of importing torch and reading the data."""
    ready = subprocess.run([sys.executable, "-c", READY], capture_output=True, text=True, check=True).stdout
    return {"first": child("genzoo", [*TRAIN, *STARTUP], 2, 0, 1)["cpu"], "ready": float(ready)}


def main(args: argparse.Namespace) -> None:
    os.environ.update(OMP_NUM_THREADS=str(args.threads), OMP_WAIT_POLICY="PASSIVE")
    cases = {name: CASES[name] for name in args.cases if name != "startup"}
    swapped = {name: case for name, case in cases.items() if case.words[0] in ("model=gan", "model=dcgan")}
    cases |= {name: case._replace(turns=args.turn) for name, case in swapped.items()}
    contests = [(name, who) for name in cases for who in ("genzoo", "bare", *["peer"] * bool(args.peer))]
    dtypes = sorted({dtype_of(case) for case in cases.values()}, reverse=True)
    rounds: list[dict[str, Any]] = []
    for number in range(args.rounds):
        rounds.append({"peak": child("peak", dtypes), **{name: {} for name in cases}})
        for name, who in contests[:: -1 if number % 2 else 1]:
            print(f"round {number + 1} of {args.rounds}: {name}, {who}", file=sys.stderr)
            rounds[-1][name][who] = measure(who, cases[name], args)
        if "startup" in args.cases:
            rounds[-1]["startup"] = startup()
        for found in (rounds[-1][name] for name in cases):
            for who, seen in found.items():
                n = seen["iterations"] * (args.peer_batch if who == "peer" else found["bare"]["images"])
                seen |= {"images/s": n / seen["wall"], "ms": 1000 * seen["cpu"] / n}
    table = list(told(rounds, cases))
    print("\n".join(table))
    if args.out:
        settings = {"machine": platform.platform(), "python": platform.python_version(), **vars(args)}
        del settings["out"]
        args.out.write_text(json.dumps(settings | {"table": table, "rounds": rounds}, indent=1, default=str) + "\n")


def dtype_of(case: Case) -> str:
    return "bfloat16" if BF16 in case.words else "float32"


def told(rounds: list[dict[str, Any]], cases: dict[str, Case]) -> Iterator[str]:
    """The table, line by line. Ratios are taken inside a round and told as median (least to most)."""

    def middle(values: Iterable[float], form: str = ".2f") -> str:
        seen = sorted(values)
        return f"{median(seen):{form}} ({seen[0]:{form}} to {seen[-1]:{form}})"

    if cases:
        yield f"{'':14} {'':7} {'images':>8} {'CPU ms':>8} {'peak':>8} {'of conv':>8}  CPU time:"
        yield f"{'case':14} {'':7} {'a second':>8} {'an image':>8} {'memory':>8} {'peak':>8}  bare loop / this"
    for name, case in cases.items():
        dtype = dtype_of(case)
        for who in rounds[0][name]:
            seen, bare = [r[name][who] for r in rounds], [r[name]["bare"] for r in rounds]
            speed, cpu, memory = (median(s[key] for s in seen) for key in ("images/s", "ms", "megabytes"))
            rate = [b["flops"] / b["images"] / s["ms"] / 1e6 / r["peak"][dtype] for r, b, s in zip(rounds, bare, seen)]
            ratio = middle(b["ms"] / s["ms"] for b, s in zip(bare, seen))
            yield f"{name:14} {who:7} {speed:8.4g} {cpu:8.4g} {memory:5.0f} MB {median(rate):8.0%}  {ratio}"
    for name in cases:
        if name.endswith("-bf16") and (full := name.removesuffix("-bf16")) in cases:
            gain = middle(r[full]["genzoo"]["ms"] / r[name]["genzoo"]["ms"] for r in rounds)
            yield f"{name} against {full}, genzoo train: {gain} times as fast"
    if "startup" in rounds[0]:
        first, ready = ([r["startup"][key] for r in rounds] for key in ("first", "ready"))
        over = middle(a - b for a, b in zip(first, ready))
        yield f"startup: first iteration over after {middle(first)} CPU s, {over} more than import torch and the data take"
    for dtype in rounds[0]["peak"]:
        yield f"conv peak, {dtype}: {middle((r['peak'][dtype] for r in rounds), '.0f')} GFLOP per CPU second"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        kind, words, metered = json.loads(sys.argv[2])
        if metered:
            meter(*metered)
        CHILDREN[kind](words)
        sys.exit()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [*CASES, "startup"]
    parser.add_argument("cases", nargs="*", default=names, metavar="case", help=f"of {', '.join(names)}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--iterations", type=int, help="measured in each process, instead of the case's own number")
    parser.add_argument("--turn", choices=["dg", "gd"], default="dg", help="gd shows the discriminator G's own fakes")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--peer", help="a script and its arguments, or -m module ...: a third contestant with the same networks"
    )
    parser.add_argument("--peer-batch", type=int, default=64, help="its real images in an iteration")
    parser.add_argument("--peer-updates", type=int, default=2, help="its optimizer steps in an iteration")
    parser.add_argument("--out", type=Path, help="all numbers of all rounds, as JSON")
    chosen = parser.parse_args()
    if wrong := set(chosen.cases) - set(names):
        parser.error(f"{', '.join(sorted(wrong))}: the cases are {', '.join(names)}")
    main(chosen)
