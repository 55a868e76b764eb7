"""Pictures of two domains: A and B apart from each other, or each A beside the B that belongs to it."""

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genzoo.batches import Matched, Pair
from genzoo.console import brief, escape
from genzoo.core.random import generator, key
from genzoo.data.archives import Files
from genzoo.data.folder import halves_of, opened
from genzoo.data.halves import WORDS, divided
from genzoo.data.pictures import ADVICE, Pictures, is_picture
from genzoo.data.store import Key, signed
from genzoo.limits import Count, Weight

LAYOUT = "trainA and trainB are expected in it, and testA and testB if there are any"


class Unpaired:
    """Two domains of any lengths from the folders `trainA`, `trainB`, `testA` and `testB` below `path`, or a zip.

    In training position p takes picture p modulo n of each domain, in an order of its own for every pass over it, so
    that no two are bound to each other; flips and cuts differ as well. In testing picture i of both stands together.
    Without test folders every tenth picture is for testing. Other options are as in `Pictures`; `load` and `flip` are
    for training.
    """

    def __init__(
        self,
        split: str = "train",
        path: str | Path | None = None,
        channels: Count = 3,
        resolution: Count = 64,
        resize: str = "crop",
        seed: int = 0,
        flip: bool = False,
        memory: Weight = 4.0,
        load: Count | None = None,
    ) -> None:
        if path is None:
            raise ValueError(f"data=unpaired needs data.path=<a folder or zip>: {LAYOUT}")
        files = opened(path)
        options = {"channels": channels, "resize": resize, "flip": flip, "memory": memory, "load": load}
        self.split, self.seed = split, seed
        self.domains = tuple(domain(files, path, split, side, resolution, key(seed, side), options) for side in "AB")

    def __len__(self) -> int:
        return max(map(len, self.domains))

    def fingerprint(self) -> str:
        return " ".join(store.fingerprint() for store in self.domains)

    def __getitems__(self, keys: Sequence[Key]) -> Pair:
        if self.split == "train":
            places = [position for _, position in keys]
            chosen = [ordered(places, len(store), self.seed, side) for store, side in zip(self.domains, "AB")]
        else:
            chosen = [[index % len(store) for index, _ in keys] for store in self.domains]
        a, b = (
            signed(store.varied([(i, position) for i, (_, position) in zip(indices, keys, strict=True)]))
            for store, indices in zip(self.domains, chosen, strict=True)
        )
        return Pair(a, b)


def domain(
    files: Files, path: str | Path, split: str, side: str, resolution: int, seed: int, options: dict[str, Any]
) -> Pictures:
    """One half of one domain; ValueError if there is no picture for training."""
    pictures = [name for name in files.names if is_picture(name)]
    folders = {folder: word_for(folder, side) for folder in {name.rpartition("/")[0] for name in pictures}}
    found: dict[str, list[str]] = {word: [] for word in ("", *WORDS)}
    for name in pictures:
        found[folders[name.rpartition("/")[0]]].append(name)
    train = found["train"] + found["training"]
    test = next((found[word] for word, half in WORDS.items() if half == "test" and found[word]), None)
    if not train:
        told = brief(", ".join(sorted(folder or "no folder" for folder in folders)))
        raise ValueError(f"{escape(path)} has no pictures in train{side}{told and f', but in {told}'}: {LAYOUT}")
    if test is None:
        names = [train[i] for i in divided(len(train), split)]
    else:
        names = train if split == "train" else test
    labels = torch.zeros(len(names), dtype=torch.int64)
    return Pictures(files, names, labels, resolution=resolution, seed=seed, training=split == "train", **options)


def word_for(folder: str, side: str) -> str:
    """`train` of `x/trainA`, `test` of `test_a`, if a part of a path is called so for this side; else ""."""
    parts = (re.fullmatch(f"([a-z]+)[ _-]?{side}", part, re.IGNORECASE) for part in folder.split("/"))
    return next((word for part in parts if part and (word := part[1].lower()) in WORDS), "")


def ordered(positions: Sequence[int], n: int, seed: int, side: str) -> list[int]:
    """The index that each position takes of n pictures, every pass over them in an order of its own."""
    return [order(n, seed, side, position // n)[position % n] for position in positions]


@lru_cache(maxsize=4)  # two domains, and a batch may span two passes
def order(n: int, seed: int, side: str, turn: int) -> list[int]:
    return torch.randperm(n, generator=generator(seed, f"order {side}", turn)).tolist()


class Paired(Pictures):
    """Pictures that belong together in one file: the left half is A, the right half B. Folders as in `Folder`.

    Both are cut and mirrored alike. Other options are as in `Pictures`; `load` and `flip` are for training.
    """

    def __init__(
        self,
        split: str = "train",
        path: str | Path | None = None,
        channels: Count = 3,
        resolution: Count = 64,
        resize: str = "crop",
        seed: int = 0,
        flip: bool = False,
        memory: Weight = 4.0,
        load: Count | None = None,
    ) -> None:
        if path is None:
            raise ValueError("data=paired needs data.path=<a folder or zip of files with A and B side by side>")
        files, training = opened(path), split == "train"
        folders = {part for name in files.names for part in name.split("/")[:-1]}
        if {"trainA", "trainB"} <= folders:
            raise ValueError(f"{path} holds trainA and trainB, two domains apart: they are read by data=unpaired")
        if {"A", "B"} <= folders:
            raise ValueError(f"{path} holds A and B in folders of their own: join each pair in one file, A on the left")
        halves = halves_of(files, path)
        names = list(halves.pool(split))
        if halves.test is None:
            names = [names[i] for i in divided(len(names), split)]
        labels = torch.zeros(len(names), dtype=torch.int64)
        super().__init__(files, names, labels, channels, resolution, resize, seed, flip, memory / 2, load, training)

    def decode(self, i: int) -> Tensor:
        """uint8 (2c, side, side): the channels of A, then those of B."""
        both = self.picture(i)
        if both.width % 2:
            raise ValueError(
                f"{self.address(i)} is {both.width} pixels wide: two halves side by side need an even width{ADVICE}"
            )
        half = both.width // 2
        boxes = ((0, 0, half, both.height), (half, 0, both.width, both.height))
        return torch.cat([self.shaped(both.crop(box), i) for box in boxes])

    def __getitems__(self, keys: Sequence[Key]) -> Matched:  # type: ignore[override]  # a set of pairs
        a, b = signed(self.varied(keys)).split(self.channels, dim=1)
        return Matched(a, b)
