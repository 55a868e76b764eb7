"""CIFAR-10 (Krizhevsky 2009), from either form in which it was published, packed or not."""

import gzip
import io
import os
import pickle
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genzoo.console import escape
from genzoo.data.archives import MEMBER_LIMIT, Bounded, Remote, fetch, located, tar_members
from genzoo.data.store import MemoryStore, resized
from genzoo.files import open_regular, read_bytes
from genzoo.limits import Count

BINARY = Remote(
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    170_052_171,
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
)
PLACES = ("cifar-10-batches-bin", "cifar-10-batches-py", "cifar-10-binary.tar.gz", "cifar-10-python.tar.gz")
BATCHES = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}
ROWS = 10_000  # images of one file
LIMIT = 2 * ROWS * 3073  # bytes of one file
TOTAL = 8 * LIMIT


class CIFAR10(MemoryStore):
    """50,000 and 10,000 colour pictures of 32x32 in 10 classes, from `<root>`.

    Read are `cifar-10-batches-bin`, `cifar-10-batches-py`, `cifar-10-binary.tar.gz` or `cifar-10-python.tar.gz`,
    the first of them that is there. Other resolutions are bilinear.
    """

    names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

    def __init__(
        self,
        split: str = "train",
        root: str | Path = "data",
        resolution: Count = 32,
        seed: int = 0,
        flip: bool = False,
        download: bool = False,
    ) -> None:
        root = located(root)
        place = next((root / name for name in PLACES if os.path.lexists(root / name)), None)
        if place is None:
            place = root / "cifar-10-binary.tar.gz"
            if not download:
                raise FileNotFoundError(
                    f"{root} lacks cifar-10-binary.tar.gz ({BINARY.size:,} bytes) or cifar-10-batches-py.\n"
                    "Put one of them there, name its folder with data.root=..., or fetch it with data.download=true"
                )
            fetch(BINARY, place)
        read = from_pickle if "py" in place.name else from_binary
        found = dict(batches(place, BATCHES[split]))
        if missing := [name for name in BATCHES[split] if name not in found]:
            raise ValueError(f"{place} lacks {', '.join(missing)}: delete it and put the original there")
        parts = [read(found[name], f"{place}: {name}") for name in BATCHES[split]]
        images = torch.from_numpy(np.concatenate([pixels for pixels, _ in parts])).view(-1, 3, 32, 32)
        labels = torch.from_numpy(np.concatenate([labels for _, labels in parts])).long()
        super().__init__(resized(images, resolution), labels, seed, flip and split == "train")


def batches(place: Path, wanted: list[str]) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of the wanted files in a folder or an archive, which is read and never unpacked."""
    if place.is_dir():
        for path in place.iterdir():
            if path.stem in wanted:
                yield path.stem, read_bytes(path, LIMIT)
        return
    with open_regular(place) as packed, Bounded(gzip.GzipFile(fileobj=packed), MEMBER_LIMIT) as file:
        left = TOTAL
        try:
            for member in tar_members(file, place):
                left -= member.size
                if left < 0 or member.size > LIMIT:
                    raise EOFError(f"{member.name} is too large")
                if (name := Path(member.name).stem) in wanted:
                    file.seek(member.offset_data)
                    yield name, io.BufferedReader.read(file, member.size)
        except (ValueError, EOFError, zlib.error, OSError) as error:
            raise ValueError(
                f"{escape(place)} is cut short or damaged: delete it and put the original there"
            ) from error


def from_binary(data: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (10000, 3072) and labels (10000,): each row is a label and the three planes."""
    if len(data) != ROWS * 3073:
        raise ValueError(f"{name} has {len(data):,} bytes instead of {ROWS * 3073:,}: put the original file there")
    table = np.frombuffer(data, np.uint8).reshape(ROWS, 3073)
    return table[:, 1:], table[:, 0]


def from_pickle(data: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The same from the form for Python, a pickle of which nothing is taken but arrays and plain values."""
    try:
        batch = ArraysOnly(io.BytesIO(data), encoding="bytes").load()
        pixels, labels = np.asarray(batch[b"data"]), np.asarray(batch[b"labels"], dtype=np.int64)
    except Exception as error:  # a damaged pickle can raise anything
        raise ValueError(f"{name} is not the original file, {error}: put that there") from error
    if pixels.shape != (ROWS, 3072) or pixels.dtype != np.uint8 or labels.shape != (ROWS,):
        raise ValueError(f"{name} holds {pixels.dtype} {pixels.shape} instead of uint8 {(ROWS, 3072)}")
    return pixels, labels


class ArraysOnly(pickle.Unpickler):
    """A pickle can name any function to be called; here only what rebuilds a numpy array."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return np.dtype
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return np.empty(0).__reduce__()[0]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")
