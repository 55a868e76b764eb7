"""CelebA, faces with forty attributes (Liu et al., ICCV 2015)."""

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from genzoo.console import escape
from genzoo.data.archives import located
from genzoo.data.folder import LABELS_LIMIT, opened
from genzoo.data.labels import attributes_of, read_table
from genzoo.data.pictures import Pictures
from genzoo.files import read_text
from genzoo.limits import Count, Weight

PICTURES = tuple(f"{place}img_align_celeba{end}" for place in ("", "Img/") for end in ("", ".zip"))
TABLES = ("list_attr_celeba.txt", "list_attr_celeba.csv", "Anno/list_attr_celeba.txt")
PARTITIONS = ("list_eval_partition.txt", "list_eval_partition.csv", "Eval/list_eval_partition.txt")
NUMBERS = {"train": range(1, 162_771), "test": range(182_638, 202_600)}  # the official partition, by file number


class CelebA(Pictures):
    """162,770 and 19,962 aligned faces (178x218, centre square kept) from `<root>/celeba`, or `<root>` itself.

    There lie `img_align_celeba.zip` or the folder of this name, and `list_attr_celeba.txt`, or its CSV as Kaggle has it,
    and perhaps `list_eval_partition`, the official halves by name. y is 1 or 0 for each of `attributes`.
    """

    def __init__(
        self,
        split: str = "train",
        root: str | Path = "data",
        attributes: Sequence[str] = (),
        channels: Count = 3,
        resolution: Count = 64,
        resize: str = "crop",
        seed: int = 0,
        flip: bool = True,
        memory: Weight = 4.0,
        load: Count | None = None,
    ) -> None:
        root = located(root)
        folder = next((place for place in (root / "celeba", root) if found(place, TABLES)), root / "celeba")
        table, pictures, partition = (found(folder, places) for places in (TABLES, PICTURES, PARTITIONS))
        if pictures is None or table is None:
            raise FileNotFoundError(
                f"{escape(folder)} lacks {'img_align_celeba.zip (1.4 GB)' if pictures is None else TABLES[0]}.\n"
                "Put CelebA's aligned images and attributes there (mmlab.ie.cuhk.edu.hk/projects/CelebA.html),\n"
                "or name the folder above with data.root=...; this set cannot be fetched by data.download=true"
            )
        files = opened(pictures)
        half = half_of(split, partition)
        chosen = [name for name in files.names if name.lower().endswith(".jpg") and half(name)]
        if not chosen:
            raise ValueError(
                f"{escape(pictures)} holds no image of the official {split} half, {NUMBERS[split][0]:06}.jpg on"
            )
        self.names, training = tuple(attributes), split == "train"
        labels = attributes_of(read_table(str(table), read_text(table, LABELS_LIMIT)), chosen, attributes)
        super().__init__(files, chosen, labels, channels, resolution, resize, seed, flip, memory, load, training)


def found(folder: Path, places: Sequence[str]) -> Path | None:
    """The first of these places below a folder that is there."""
    return next((path for place in places if os.path.lexists(path := folder / place)), None)


def half_of(split: str, partition: Path | None) -> Callable[[str], bool]:
    """Whether a picture belongs to a half, as a file says, or the numbers of the official partition."""
    if partition is None:
        return lambda name: number(name) in NUMBERS[split]
    text = read_text(partition, LABELS_LIMIT)
    lines = (re.split(r"[\s,;]+", line.strip()) for line in text.splitlines())
    wanted = {line[0] for line in lines if line[-1] == ("0" if split == "train" else "2")}
    return lambda name: name.rpartition("/")[2] in wanted


def number(name: str) -> int:
    stem = Path(name).stem
    return int(stem) if stem.isdecimal() and len(stem) < 10 else 0
