"""Which pictures are for training and which for testing."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from genzoo.console import brief, escape

WORDS = {"train": "train", "training": "train", "test": "test", "testing": "test", "val": "test", "valid": "test",
         "validation": "test"}  # fmt: skip


class Halves(NamedTuple):
    """By the name of each picture what is left of it below its half's own folder, and the folders that are not used.

    `test` is None where the set is not divided.
    """

    train: dict[str, str]
    test: dict[str, str] | None = None
    unused: tuple[str, ...] = ()

    def pool(self, split: str) -> dict[str, str]:
        """What a half is taken from: all of it, or as `divided` says where the set has no halves."""
        return self.test if split == "test" and self.test is not None else self.train


def word_of(name: str) -> str:
    """The first word in a name that says which half it is; "" if there is none."""
    return next((word for word in re.split(r"[^a-z]+", name.lower()) if word in WORDS), "")


def half_of(name: str) -> str | None:
    """train or test, if a word in a name says so."""
    return WORDS.get(word_of(name))


def halved(names: Sequence[str], path: str | Path) -> Halves:
    """The halves as which the top folders of a set are named, below any folders around all of it.

    Of several folders for testing the first of `WORDS` is taken whose class folders are those of training. ValueError
    where a folder has such a name, but nobody can say what the others are.
    """
    inner = {name: name for name in names}
    while len({rest.partition("/")[0] for rest in inner.values()}) == 1 and all("/" in rest for rest in inner.values()):
        inner = {name: rest.partition("/")[2] for name, rest in inner.items()}
    tops: dict[str, dict[str, str]] = {}  # "" for pictures in no folder
    for name, rest in inner.items():
        top = rest.partition("/")[0] if "/" in rest else ""
        tops.setdefault(top, {})[name] = rest.removeprefix(f"{top}/")
    train, test = ([top for top in tops if half_of(top) == half] for half in ("train", "test"))
    if not (train and test):
        train, test = ([top for top in tops if WORDS.get(top.lower()) == half] for half in ("train", "test"))
    below = {name: rest for top in train for name, rest in tops[top].items()}
    if train and test:
        classes = classes_in(below)
        test.sort(key=lambda top: list(WORDS).index(word_of(top)))
        half = next((top for top in test if not classes or classes_in(tops[top]) <= classes), test[0])
        return Halves(below, tops[half], tuple(top for top in tops if top not in (*train, half)))
    others = [top for top in tops if top not in (*train, *test)]
    if train and (not others or any("/" in rest for rest in below.values())):
        return Halves(below, None, tuple(others))
    if test or (train and (len(others) == 1 or "" in others)):  # among several classes one may be of trains
        beside = ", ".join(brief(top) or "pictures in no folder" for top in others[:3]) or "no other"
        raise ValueError(
            f"{escape(path)} has the folder {brief((test or train)[0])} beside {beside}{', ...' * (len(others) > 3)}: "
            "name the halves train and test, and a class in another way"
        )
    for top, inside in tops.items():
        second = {WORDS.get(rest.partition("/")[0].lower()) for rest in inside.values() if "/" in rest}
        if {"train", "test"} <= second:
            raise ValueError(
                f"{escape(path)} has train and test inside of {brief(top)}: put the halves on top, as in "
                f"train/{brief(top)} and test/{brief(top)}"
            )
    return Halves(inner)


def classes_in(below: dict[str, str]) -> set[str]:
    """The folders in which all pictures of a half lie; none if some lie in no folder."""
    folders = {rest.partition("/")[0] if "/" in rest else "" for rest in below.values()}
    return set() if "" in folders else folders


def divided(count: int, split: str, labels: Sequence[int] | None = None) -> list[int]:
    """The indices that one half has of a set without halves of its own.

    Of every ten the last that its class can spare is for testing: each class keeps one for training at least. Fewer
    than ten stand on both sides.
    """
    ids = [0] * count if labels is None else labels
    left = Counter(ids)
    held = list[int]()
    for first in range(0, count - 9, 10):
        for i in range(first + 9, first - 1, -1):
            if left[ids[i]] > 1:
                left[ids[i]] -= 1
                held.append(i)
                break
    if split == "test":
        return held or list(range(count))
    taken = set(held)
    return [i for i in range(count) if i not in taken]
