"""How fast images come, as float32 batches in [-1, 1], and what that takes of memory and of a training step.

    python scripts/bench_data.py                              # every part; two minutes
    python scripts/bench_data.py memory packed --rounds 5 --out results/data.json

One core, one thread; processor time is what counts, since a shared machine's wall time is its neighbours'. Keys come
from the stream, as in training. Of the rounds the median is shown, with the lowest and the highest. Linux only: memory
is read from /proc/self/status.
"""

import argparse
import io
import json
import os
import platform
import resource
import runpy
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}  # before torch

import numpy as np
import torch

from genzoo import cli, hub
from genzoo.commands.train import plain
from genzoo.core.machine import tune
from genzoo.core.stream import Stream
from genzoo.data.folder import Folder
from genzoo.data.packed import Packed
from genzoo.data.packing import plan_of, write
from genzoo.data.store import MemoryStore, Store
from genzoo.fit import built

SECONDS = 1.0  # of processor time for each measurement
BATCHES = (64, 256)
FACE = (178, 218)  # width and height of CelebA's aligned pictures
WANTED: dict[str, tuple[str, Any, Any]] = {  # how a name starts: how it ends, and what is promised, at least or at most
    "memory 28x28, ": ("images/s", 300_000, None),
    "memory 64x64x3 flipped, ": ("images/s", 40_000, None),
    "packed / memory": ("", 0.8, None),
    "folder of 178x218 JPEG": ("images/s", 2_000, None),
    "loader / DCGAN-64 step": ("", None, 0.1),
    "packed 10 GB": ("RssAnon in GB", None, 1.0),
}


def rate(store: Store, batch: int) -> float:
    """Images per second of processor time, keys from the stream included."""
    stream = iter(Stream(len(store), 0, 0, lambda position: batch))
    for _ in range(len(store) // batch + 1):  # once through: files are cached, pages are mapped
        store.__getitems__(next(stream))
    count, began = 0, time.process_time()
    while time.process_time() - began < SECONDS:
        count += len(store.__getitems__(next(stream)).x)
    return count / (time.process_time() - began)


def noise(count: int, channels: int, size: int) -> torch.Tensor:
    return torch.randint(0, 256, (count, channels, size, size), generator=torch.Generator().manual_seed(0)).byte()


def packed(folder: Path, store: MemoryStore, flip: bool) -> Packed:
    """The same images from a pack."""
    _, channels, size, _ = store.images.shape
    stores = {"train": store, "test": MemoryStore(store.images[:1])}
    for _ in write(folder, stores, plan_of(stores, size, channels, False)):
        pass
    return Packed("train", folder, size, flip=flip)


def memory(folder: Path) -> Iterator[tuple[str, float]]:
    for name, count, channels, size, flip in (
        ("28x28", 60_000, 1, 28, False),
        ("28x28 flipped", 60_000, 1, 28, True),
        ("64x64x3", 10_000, 3, 64, False),
        ("64x64x3 flipped", 10_000, 3, 64, True),
    ):
        store = MemoryStore(noise(count, channels, size), flip=flip)
        mapped = packed(folder / name, store, flip)
        for batch in BATCHES:
            plain_rate, mapped_rate = rate(store, batch), rate(mapped, batch)
            yield f"memory {name}, batch {batch}, images/s", plain_rate
            yield f"packed {name}, batch {batch}, images/s", mapped_rate
            yield f"packed / memory {name}, batch {batch}", mapped_rate / plain_rate


def photo(source: np.random.Generator) -> bytes:
    """A JPEG of CelebA's size, with a falling spectrum as photographs have, and 8 kB: CelebA's have 7."""
    from PIL import Image

    width, height = FACE
    f = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None]) + 1 / height
    spectrum = np.exp(2j * np.pi * source.random((3, height, width))) / f**1.7
    plane = np.fft.ifft2(spectrum).real
    plane = np.tensordot([[1, 0.2, 0], [1, 0, 0], [1, 0, 0.2]], plane / plane.std((1, 2), keepdims=True), 1)
    file = io.BytesIO()
    pixels = (plane * 50 + 128).clip(0, 255).astype(np.uint8).transpose(1, 2, 0)
    Image.fromarray(pixels).save(file, "JPEG", quality=75)
    return file.getvalue()


def folder(folder: Path) -> Iterator[tuple[str, float]]:
    (folder / "faces").mkdir()
    source, sizes = np.random.default_rng(0), []
    for i in range(600):
        data = photo(source)
        sizes.append(len(data))
        (folder / "faces" / f"{i:06}.jpg").write_bytes(data)
    yield "a JPEG, bytes", sum(sizes) / len(sizes)
    for batch in BATCHES:
        store = Folder("train", folder / "faces", resolution=64, memory=0)  # decoded again in every pass
        yield f"folder of 178x218 JPEG to 64x64, batch {batch}, images/s", rate(store, batch)


def loader(folder: Path) -> Iterator[tuple[str, float]]:
    """The share of a DCGAN-64 step (batch 64, three channels) that its images take, from memory and from a pack."""
    frozen = plain(cli.compose("train", ["model=dcgan", "data=cifar10", "data.resolution=64", "run=x"]))
    model = hub.build(built(frozen["model"]), None)
    tune(1, 0)
    bench = runpy.run_path(str(Path(__file__).with_name("bench.py")))
    optimizers = {player: make(model.parameters_of(player)) for player, make in model.make_optimizers.items()}
    pixels = noise(64, 3, 64)
    steps = []
    for _ in range(4):
        began = time.process_time()
        bench["adversarial"](model, optimizers, pixels.float(), lambda: torch.autocast("cpu", enabled=False))
        steps.append(time.process_time() - began)
    yield "a step of DCGAN-64, s", median(steps[1:])
    store = MemoryStore(noise(2000, 3, 64), flip=True)
    for name, made in (("memory", store), ("packed", packed(folder / "step", store, True))):
        yield f"loader / DCGAN-64 step, {name}", 64 / rate(made, 64) / median(steps[1:])


def anonymous() -> float:
    """Memory of this process that no file stands behind, in GB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) * 1024 / 1e9


def large(folder: Path) -> Iterator[tuple[str, float]]:
    """In a fresh process each: what the imports take, and a loader that has read 2 GB of a sparse pack of 10 GB."""
    count = 10**10 // (3 * 64 * 64) + 1
    pack = folder / "large"
    packed(pack, MemoryStore(noise(1, 3, 64)), False)
    np.save(pack / "train-labels.npy", np.zeros(count, np.int64))
    facts = json.loads((pack / "pack.json").read_text())
    (pack / "pack.json").write_text(json.dumps(facts | {"count": {"train": count, "test": 1}}))
    with open(pack / "train-64.npy", "r+b") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "|u1", "fortran_order": False, "shape": (count, 3, 64, 64)}
        )
        file.truncate(file.tell() + count * 3 * 64 * 64)
    for name, workers in (("", 0), (" with 2 workers", 2)):
        answer = subprocess.run(
            [sys.executable, __file__, "--read", str(pack), str(workers)], capture_output=True, check=True
        )
        before, after = json.loads(answer.stdout)
        yield f"packed 10 GB{name}, RssAnon in GB", after
        yield f"packed 10 GB{name}, RssAnon of that from imports, in GB", before


def read(pack: str, workers: str) -> None:
    """Anonymous memory before and after training would have read 2 GB, the most of any process, as JSON."""
    from types import SimpleNamespace

    from genzoo.data.module import ZooData

    before = anonymous()
    make: Callable[..., Store] = lambda split: Probe(split, pack, 64)  # noqa: E731
    data = ZooData(make, 256, workers=int(workers), channels=3, resolution=64)
    data.trainer = SimpleNamespace(  # type: ignore[assignment]
        lightning_module=SimpleNamespace(turns=("dg",), images_seen=0), global_rank=0, world_size=1
    )
    most = 0.0
    for number, batch in enumerate(data.train_dataloader()):
        most = max(most, anonymous(), float(batch.y.max()))
        if number == 2 * 10**9 // (256 * 3 * 64 * 64):
            break
    print(json.dumps([before, most]))
    os._exit(0)


class Probe(Packed):
    """Answers with its process's anonymous memory for labels."""

    def __getitems__(self, keys: Any) -> Any:
        batch = super().__getitems__(keys)
        return batch._replace(y=torch.full((len(keys),), anonymous(), dtype=torch.float64))


PARTS = {"memory": memory, "folder": folder, "loader": loader, "large": large}


def verdict(name: str, value: float) -> str:
    """Whether a promise is kept, where there is one."""
    for start, (end, least, most) in WANTED.items():
        if name.startswith(start) and name.endswith(end):
            good = value >= least if least is not None else value <= most
            return f"{'kept' if good else 'MISSED'}, at {'least' if least is not None else 'most'} {least or most:,}"
    return ""


def main(args: argparse.Namespace) -> None:
    tune(1, 0)
    seen: dict[str, list[float]] = {}
    for _ in range(args.rounds):
        for part in args.parts:
            with tempfile.TemporaryDirectory() as folder:
                for name, value in PARTS[part](Path(folder)):
                    seen.setdefault(name, []).append(value)
    for name, values in seen.items():
        digits = 0 if median(values) > 100 else 3
        shown = f"{median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"
        print(f"{name:66} {shown:32} {verdict(name, median(values))}".rstrip())
    print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_utime:.0f} s of processor time")
    if args.out:
        machine = {"machine": platform.platform(), "python": platform.python_version(), "torch": str(torch.__version__)}
        args.out.parent.mkdir(parents=True, exist_ok=True)
        rows = {name: {"values": values, "promise": verdict(name, median(values))} for name, values in seen.items()}
        args.out.write_text(json.dumps({**machine, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=list(PARTS), help=f"of {', '.join(PARTS)}; all if not said")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="a JSON file for the numbers")
    parser.add_argument("--read", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    read(*arguments.read) if arguments.read else main(arguments)
