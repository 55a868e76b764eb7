"""CelebA, faces with forty attributes (Liu et al., ICCV 2015)."""

from collections.abc import Sequence
from pathlib import Path

from genzoo.data.archives import open_files
from genzoo.data.labels import attributes_of, read_table
from genzoo.data.pictures import Pictures
from genzoo.limits import Count, Weight

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
        channels: Count = 3,
        resolution: Count = 64,
        resize: str = "crop",
        seed: int = 0,
        flip: bool = True,
        memory: Weight = 4.0,
        load: Count | None = None,
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
        self.names, training = tuple(attributes), split == "train"
        labels = attributes_of(read_table(str(table), table.read_text()), chosen, attributes)
        super().__init__(files, chosen, labels, channels, resolution, resize, seed, flip, memory, load, training)


def number(name: str) -> int:
    stem = Path(name).stem
    return int(stem) if stem.isdecimal() and name.endswith(".jpg") else 0
