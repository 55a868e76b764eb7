"""CelebA, faces with forty attributes (Liu et al., ICCV 2015)."""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

import torch

from genzoo.data.archives import open_files
from genzoo.data.pictures import Pictures

NUMBERS = {"train": range(1, 162_771), "test": range(182_638, 202_600)}  # the official partition, by file number


class CelebA(Pictures):
    """162,770 and 19,962 aligned faces (178x218, centre square kept) from `<root>/celeba`.

    There lie `img_align_celeba.zip` or the folder of this name, and `list_attr_celeba.txt`. y is 1 or 0 for each of
    `attributes`.
    """

    def __init__(
        self,
        split: str = "train",
        root: str | Path = "data",
        attributes: Sequence[str] = (),
        channels: int = 3,
        resolution: int = 64,
        resize: str = "crop",
        seed: int = 0,
        flip: bool = True,
        memory: float = 4.0,
    ) -> None:
        folder = Path(root) / "celeba"
        table = folder / "list_attr_celeba.txt"
        pictures = next((p for end in ("", ".zip") if (p := folder / f"img_align_celeba{end}").exists()), None)
        if pictures is None or not table.exists():
            raise FileNotFoundError(
                f"{folder} lacks {'img_align_celeba.zip (1.4 GB)' if pictures is None else table.name}.\n"
                "Put CelebA's aligned images and attributes there (mmlab.ie.cuhk.edu.hk/projects/CelebA.html),\n"
                "or name the folder above with data.root=...; this set cannot be fetched by data.download=true"
            )
        files = open_files(pictures)
        chosen = [name for name in files.names if number(name) in NUMBERS[split]]
        if not chosen:
            raise ValueError(f"{pictures} holds no image of the official {split} half, {NUMBERS[split][0]:06}.jpg on")
        known = read_attributes(table, attributes)
        self.names = tuple(attributes)
        try:
            labels = torch.tensor([known[name.split("/")[-1]] for name in chosen], dtype=torch.float32)
        except KeyError as error:
            raise ValueError(f"{table} has no line for {error.args[0]}: put the original file there") from error
        super().__init__(files, chosen, labels, channels, resolution, resize, seed, flip and split == "train", memory)


def number(name: str) -> int:
    stem = Path(name).stem
    return int(stem) if stem.isdecimal() and name.endswith(".jpg") else 0


def read_attributes(path: Path, attributes: Sequence[str]) -> dict[str, list[bool]]:
    """File name -> whether it has each of the attributes. Line 1 is a count, line 2 the names, then 1 or -1 each."""
    lines = path.read_text().splitlines()
    names = lines[1].split() if len(lines) > 2 else []
    for attribute in attributes:
        if attribute not in names:
            near = ", ".join(get_close_matches(attribute, names)) or ", ".join(names[:5]) or "none"
            raise ValueError(f"data.attributes: {path} has no {attribute!r}; near it: {near}")
    columns = [names.index(attribute) + 1 for attribute in attributes]
    rows = (line.split() for line in lines[2:])
    return {row[0]: [row[column] == "1" for column in columns] for row in rows if len(row) == len(names) + 1}
