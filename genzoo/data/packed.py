"""Packed sets: pictures decoded once into plain .npy files, which training maps into memory."""

import json
import math
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genzoo.batches import Images
from genzoo.console import brief, escape
from genzoo.data.archives import array_header, located
from genzoo.data.store import Key, MemoryStore
from genzoo.files import open_regular, read_text
from genzoo.limits import Count
from genzoo.schedules import Growth

FORMAT = 1
FACTS_LIMIT = 2**26  # bytes of pack.json, which names the classes


class Packed(MemoryStore):
    """Images of a folder that `genzoo pack` wrote, at one of its resolutions.

    The folder holds `pack.json` and, for `train` and `test`, `<split>-<resolution>.npy`, uint8 (n, c, h, w), and
    `<split>-labels.npy`: class ids (n,) int64, or attributes (n, a) float32 of which `attributes` may choose some by
    name. The images are mapped: no process holds them in memory of its own, and the system drops them when it must.

    With the `growth` of a model that grows, training reads a pyramid (genzoo pack pyramid=true) at the size of the
    stage that the model has reached, or at the next larger one that is there.
    """

    def __init__(
        self,
        split: str = "train",
        path: str | Path | None = None,
        resolution: Count = 64,
        attributes: Sequence[str] | None = None,
        seed: int = 0,
        flip: bool = False,
        growth: Growth | None = None,
    ) -> None:
        self.arguments = (split, path, resolution, attributes, seed, flip, growth)
        if path is None:
            raise ValueError("data=packed needs data.path=<a folder that genzoo pack made>")
        folder, facts = located(path), facts_of(located(path))
        if resolution not in facts["resolutions"]:
            known = ", ".join(map(str, facts["resolutions"]))
            raise ValueError(f"data.resolution={resolution}: {escape(folder)} holds {known}")
        count = facts["count"][split]
        self.growth = growth if split == "train" else None
        sides = [side for side in facts["resolutions"] if side == resolution or (self.growth and side < resolution)]
        self.levels = {side: pictures(folder, split, side, count, facts["channels"]) for side in sorted(sides)}
        labels = mapped(folder / f"{split}-labels.npy").clone()
        width = () if labels.dtype == torch.int64 else (len(facts["names"]),)
        if labels.dtype not in (torch.int64, torch.float32) or labels.shape != (count, *width):
            raise ValueError(
                f"{escape(folder)}: {split}-labels.npy holds {labels.dtype} {tuple(labels.shape)} for {count} images"
            )
        self.names = tuple(facts["names"])
        if attributes is not None:
            if unknown := [name for name in attributes if name not in self.names or not width]:
                known = ", ".join(self.names if width else ()) or "none"
                raise ValueError(
                    f"data.attributes: {escape(folder)} has no {brief(repr(unknown[0]))}; it has {brief(known)}"
                )
            labels = labels[:, [self.names.index(name) for name in attributes]]
            self.names = tuple(attributes)
        super().__init__(self.levels[resolution], labels, seed, flip and split == "train")

    def __getitems__(self, keys: Sequence[Key]) -> Images:
        if not self.growth:
            return super().__getitems__(keys)
        stage = math.ceil(self.growth(min(position for _, position in keys)))
        side = next(side for side in self.levels if side >= self.growth.smallest << stage)
        return self.picked(self.levels[side], keys)

    def __reduce__(self) -> tuple[type["Packed"], tuple[Any, ...]]:  # a worker that is not forked maps it anew
        return Packed, self.arguments


def pictures(folder: Path, split: str, side: int, count: int, channels: int) -> Tensor:
    """The images of one resolution; ValueError if the file holds others."""
    images = mapped(folder / f"{split}-{side}.npy")
    found, wanted = tuple(images.shape), (count, channels, side, side)
    if found != wanted or images.dtype != torch.uint8:
        raise ValueError(f"{escape(folder)}: {split}-{side}.npy holds {images.dtype} {found} instead of uint8 {wanted}")
    return images


def facts_of(folder: Path) -> dict[str, Any]:
    """What `pack.json` says; FileNotFoundError or ValueError if it is not there or not right."""
    path = folder / "pack.json"
    if not os.path.lexists(path):
        way_out = "genzoo pack src=... out=... makes one"
        if part_of(folder).is_dir():
            way_out = f"{escape(part_of(folder))} is unfinished, and the same genzoo pack command goes on"
        raise FileNotFoundError(f"{escape(folder)} holds no pack.json: {way_out}")
    text = read_text(path, FACTS_LIMIT)
    try:
        facts = json.loads(text)
        form = facts["format"]
        numbers = (form, facts["channels"], *facts["resolutions"], facts["count"]["train"], facts["count"]["test"])
        right = bool(facts["resolutions"]) and all(type(number) is int and number > 0 for number in numbers)
        right = right and isinstance(facts["names"], list) and all(isinstance(name, str) for name in facts["names"])
    except (ValueError, KeyError, TypeError, RecursionError):
        right = False
    if not right:
        raise ValueError(f"{escape(path)} is damaged or not from genzoo pack: make the pack again")
    if form > FORMAT:
        raise ValueError(f"{escape(path)} has format {form}, this version reads {FORMAT}: upgrade genzoo or pack anew")
    return facts


def mapped(path: Path) -> Tensor:
    """A .npy file as a tensor over the file itself, which must not be written to; ValueError if it is not whole."""
    try:
        with open_regular(path) as file:
            shape, kind = array_header(file, escape(path))
            expected, size = file.tell() + math.prod(shape) * kind.itemsize, os.fstat(file.fileno()).st_size
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{escape(path)} is missing: make the pack again") from error
    if size != expected:
        raise ValueError(f"{escape(path)} has {size:,} bytes instead of {expected:,}: it is cut short or damaged")
    if not math.prod(shape):
        return torch.empty(shape, dtype=torch.uint8)  # there is nothing to map
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that the tensor cannot be written to
        return torch.from_numpy(np.load(path, mmap_mode="r", allow_pickle=False))


def part_of(out: Path) -> Path:
    """Where a pack grows until it is complete."""
    return out.with_name(f"{out.name}.part")
