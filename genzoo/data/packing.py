"""Writes what `genzoo.data.packed` reads: once, on several cores, and on from where it was stopped."""

import contextlib
import errno
import json
import math
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from time import monotonic
from typing import IO, Any

import numpy as np
import torch
from numpy.lib.format import write_array_header_1_0
from torch import Tensor
from torch.utils.data import DataLoader

from genzoo.console import escape
from genzoo.core.folder import sync
from genzoo.data.module import same
from genzoo.data.packed import FACTS_LIMIT, FORMAT, part_of
from genzoo.data.pairs import Paired
from genzoo.data.pictures import Pictures
from genzoo.data.store import MemoryStore
from genzoo.files import read_text

FOUND = ("count", "names")  # of a plan, what nobody asked for: it follows from the pictures
BLOCK = 64  # images that a worker hands over at once
Source = Pictures | MemoryStore


class Pixels:
    """The bytes of a store, without augmentation: indices to uint8 (n, c, h, w)."""

    def __init__(self, store: Source) -> None:
        self.store = store

    def __getitems__(self, indices: Sequence[int]) -> Tensor:
        if isinstance(self.store, Pictures):
            return torch.stack([self.store.decode(i) for i in indices])
        return self.store.images[list(indices)]


def plan_of(stores: dict[str, Any], resolution: int, channels: int, pyramid: bool, **notes: Any) -> dict[str, Any]:
    """What pack.json will say of the stores of `train` and `test`; ValueError if they do not fit. `notes` go in too."""
    for split, store in stores.items():
        if (
            isinstance(store, Paired)
            or not isinstance(store, Source)
            or (isinstance(store, MemoryStore) and store.images.dtype != torch.uint8)
        ):
            raise ValueError(
                f"a pack holds single pictures with their labels; {type(store).__name__} gives something else"
            )
        if isinstance(store, Pictures) and store.resize == "scale":
            raise ValueError(
                "resize=scale keeps pictures of any shape, a pack holds squares: take crop, pad or stretch"
            )
        found = tuple(Pixels(store).__getitems__([0])[0].shape) if len(store) else "nothing"
        if found != (channels, resolution, resolution):
            raise ValueError(
                f"the {split} half gives {found}, but channels={channels} and resolution={resolution} make "
                f"{(channels, resolution, resolution)}: make them agree"
            )
    return {
        "format": FORMAT,
        "count": {split: len(store) for split, store in stores.items()},
        "channels": channels,
        "resolutions": halves(resolution) if pyramid else [resolution],
        "names": list(getattr(stores["train"], "names", ())),
        **notes,
    }


def write(
    out: Path, stores: dict[str, Source], plan: dict[str, Any], workers: int = 0, tell: Callable[[str], None] = str
) -> Iterator[int]:
    """Write a pack; yields how many images are done, first of all those that an earlier call did.

    It grows in `<out>.part`, which becomes `out` when all is done. Stopped at any moment, the same call goes on where
    it was, and the files are the same to the byte; where the pictures have changed in between, it starts anew and tells
    so. ValueError if another pack was begun there, OSError if it cannot be written.
    """
    part = part_of(out)
    part.mkdir(parents=True, exist_ok=True)
    if not os.path.lexists(part / ".lock") and any(part.iterdir()):
        raise ValueError(f"{escape(part)} holds files that no genzoo pack has begun: choose another out=")
    with locked(part):
        facts = {"plan": plan, "stamps": {split: store.stamp() for split, store in stores.items()}}
        done, reason = begun(part, facts)
        if reason:
            tell(f"starts anew: {reason}")
        if not any(done.values()):
            for old in [file for split in stores for file in part.glob(f"{split}-*.npy")]:
                old.unlink()
        yield sum(done.values())
        for split, store in stores.items():
            with own(part / f"{split}-labels.npy", "wb") as file:
                np.save(file, store.labels.numpy(), allow_pickle=False)
            for count in written(part, split, store, facts, done, workers):
                done[split] = count
                yield sum(done.values())
        note(part / "pack.json", plan)
        for name in ("done.json", ".lock"):
            (part / name).unlink()
        os.replace(part, out)
        sync(out.parent)


def written(
    part: Path, split: str, store: Source, facts: dict[str, Any], done: dict[str, int], workers: int
) -> Iterator[int]:
    """Write the images of one half, noting about once a second how many are safe; yields how many are done."""
    with contextlib.ExitStack() as opened:
        files = [opened.enter_context(file) for file in growing(part, split, facts["plan"], done[split])]
        count, noted = done[split], monotonic()
        for pixels in blocks(store, range(count, len(store)), workers):
            for file, level in zip(files, halvings(pixels, len(files))):
                file.write(level.numpy().tobytes())
            count += len(pixels)
            if monotonic() - noted > 1 or count == len(store):
                for file in files:  # the note must never be ahead of the bytes on the disk
                    file.flush()
                    os.fsync(file.fileno())
                note(part / "done.json", facts | {"done": done | {split: count}})
                noted = monotonic()
            yield count


def own(path: Path, mode: str, **options: Any) -> IO[Any]:
    """Open a file of the pack; a link of its name is not followed, and what it leads to stays what it is."""
    return open(path, mode, opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW, 0o666), **options)


def locked(part: Path) -> IO[str]:
    """Holds `<part>/.lock` until it is closed or this process is gone; ValueError if another process does."""
    import fcntl

    file = own(part / ".lock", "w")
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # not flock: workers that outlive a kill would hold that too
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):  # anything else: this file system has no locks
            file.close()
            raise ValueError(
                f"{escape(part)} is being written by another genzoo pack: wait for it, or choose another out="
            ) from error
    return file


def begun(part: Path, facts: dict[str, Any]) -> tuple[dict[str, int], str]:
    """How many images of each half an unfinished pack holds already, and why none of them is any good, if so.

    ValueError if it was to be another.
    """
    plan, nothing = facts["plan"], dict.fromkeys(facts["plan"]["count"], 0)
    if not os.path.lexists(part / "done.json"):
        return nothing, ""
    try:
        before = json.loads(read_text(part / "done.json", FACTS_LIMIT))
        then, stamps, done = (
            before["plan"],
            before.get("stamps"),
            {split: int(before["done"][split]) for split in nothing},
        )
        asked = [name for name in plan if name not in FOUND and then.get(name) != plan[name]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return nothing, f"{escape(part)} is damaged"
    if asked:
        raise ValueError(
            f"{escape(part)} is an unfinished pack with another {', '.join(asked)}: delete it, or choose another out="
        )
    if stamps != facts["stamps"] or then != plan:
        return nothing, f"the pictures have changed since {escape(part)} was begun"
    if not all(0 <= count <= plan["count"][split] and fits(part, split, plan, count) for split, count in done.items()):
        return nothing, f"{escape(part)} has lost images that it had"
    return done, ""


def fits(part: Path, split: str, plan: dict[str, Any], count: int) -> bool:
    """Whether so many images can be in the files of a half."""
    paths = {side: part / f"{split}-{side}.npy" for side in plan["resolutions"]}
    return not count or all(
        path.is_file() and path.stat().st_size > count * plan["channels"] * side**2 for side, path in paths.items()
    )


def growing(part: Path, split: str, plan: dict[str, Any], done: int) -> Iterator[IO[bytes]]:
    """For each resolution a .npy file that tells its final shape, open behind its first `done` images."""
    for resolution in plan["resolutions"]:
        shape = (plan["count"][split], plan["channels"], resolution, resolution)
        path = part / f"{split}-{resolution}.npy"
        file = own(path, "r+b" if path.exists() else "w+b")
        write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        file.seek(file.tell() + done * math.prod(shape[1:]))
        yield file


def blocks(store: Source, indices: range, workers: int) -> Iterator[Tensor]:
    """uint8 (n, c, h, w) of a store's images in order."""
    parts = [indices[first : first + BLOCK] for first in range(0, len(indices), BLOCK)]
    loader: Any = DataLoader(
        Pixels(store),  # type: ignore[arg-type]  # it answers __getitems__ only
        batch_sampler=parts,  # type: ignore[arg-type]
        collate_fn=partial(same, setting="workers"),
        num_workers=min(workers, len(parts)),
        worker_init_fn=uninterrupted,
    )
    yield from loader


def uninterrupted(worker: int) -> None:
    """Ctrl-C reaches every process; only the one that writes answers. It ends its workers by SIGTERM, if it must."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def note(path: Path, facts: dict[str, Any]) -> None:
    """Write JSON, whole or not at all."""
    fresh = path.with_name(f"{path.name}.new")
    with own(fresh, "w", encoding="utf-8") as file:
        file.write(json.dumps(facts, indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)


def halves(top: int) -> list[int]:
    """A resolution and its halves down to 4, for progressive growing; ValueError unless it is a power of two."""
    if top < 8 or top & (top - 1):
        raise ValueError(f"pyramid=true halves the resolution down to 4: {top} is none of 8, 16, 32, 64, 128, ...")
    return [top >> k for k in range(top.bit_length() - 2)]


def halvings(pixels: Tensor, levels: int) -> Iterator[Tensor]:
    """uint8 (n, c, h, w), then its 2x2 box averages, then theirs: `levels` sizes, each rounded half up.

    As in the data set tool of Karras et al. (2018), averages of averages are not rounded in between.
    """
    sums = pixels.int()
    yield pixels
    for k in range(1, levels):
        sums = sums[:, :, 0::2, 0::2] + sums[:, :, 0::2, 1::2] + sums[:, :, 1::2, 0::2] + sums[:, :, 1::2, 1::2]
        yield ((sums + (4**k >> 1)) >> 2 * k).to(torch.uint8)
