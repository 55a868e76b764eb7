"""MNIST and its kin, read from the files in which they were published."""

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genzoo.console import escape
from genzoo.data.archives import Remote, fetch, located
from genzoo.data.store import MemoryStore, resized
from genzoo.files import open_regular
from genzoo.limits import Count

LIMIT = 2**28  # bytes of one file; MNIST's largest has 47 million
FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


class MNIST(MemoryStore):
    """60,000 and 10,000 grey digits of 28x28 pixels (LeCun et al. 1998) from `<root>/MNIST/raw`.

    The four IDX files may be packed (.gz) or not. Other resolutions are bilinear.
    """

    names = tuple("0123456789")
    folder = "MNIST"
    address = "https://ossci-datasets.s3.amazonaws.com/mnist"
    sums = (  # bytes and SHA-256 of each of FILES, packed
        (9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
        (28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        (1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
        (4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    )

    def __init__(
        self, split: str = "train", root: str | Path = "data", resolution: Count = 28, download: bool = False
    ) -> None:
        folder = located(root) / self.folder / "raw"
        remotes = {n: Remote(f"{self.address}/{n}.gz", *facts) for n, facts in zip(FILES, self.sums, strict=True)}
        absent = [n for n in FILES if not ((folder / n).exists() or (folder / f"{n}.gz").exists())]
        if absent and not download:
            wanted = ", ".join(f"{name}.gz ({remotes[name].size:,} bytes)" for name in absent)
            raise FileNotFoundError(
                f"{folder} lacks {wanted}.\n"
                f"Put the original files there, or say data.root=<the folder that holds {self.folder}>,\n"
                "or fetch them with data.download=true"
            )
        for name in absent:
            fetch(remotes[name], folder / f"{name}.gz")
        images, labels = (read_idx(folder / name) for name in (FILES[:2] if split == "train" else FILES[2:]))
        if images.dim() != 3 or labels.shape != images.shape[:1]:
            raise ValueError(f"{folder}: images {tuple(images.shape)} and labels {tuple(labels.shape)} do not fit")
        super().__init__(resized(images[:, None], resolution), labels.long())


class FashionMNIST(MNIST):
    """60,000 and 10,000 grey pictures of clothes, 28x28 (Xiao et al. 2017), from `<root>/FashionMNIST/raw`."""

    names = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
    folder = "FashionMNIST"
    address = "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion"
    sums = (
        (26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
        (29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
        (4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
        (5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
    )


def read_idx(path: Path) -> Tensor:
    """An IDX file of bytes, `path` or `path`.gz, as uint8 of the shape its header names; ValueError if broken."""
    packed = not os.path.lexists(path)
    path = path.with_name(f"{path.name}.gz") if packed else path
    with open_regular(path) as file:
        try:
            return from_idx(gzip.GzipFile(fileobj=file) if packed else file)
        except (EOFError, struct.error, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(
                f"{escape(path)} is cut short or damaged: delete it and put the original file there"
            ) from error
        except ValueError as error:
            raise ValueError(
                f"{escape(path)} cannot be read, {error}: delete it and put the original file there"
            ) from error


def from_idx(file: Any) -> Tensor:
    zeros, kind, dimensions = struct.unpack(">HBB", file.read(4))
    if zeros != 0 or kind != 0x08 or dimensions not in (1, 3):
        raise ValueError("it is no IDX file of bytes")
    shape = struct.unpack(f">{dimensions}I", file.read(4 * dimensions))
    if math.prod(shape) > LIMIT:
        raise ValueError(f"its header asks for {math.prod(shape):,} bytes")
    data = file.read(math.prod(shape))
    if len(data) < math.prod(shape):
        raise EOFError
    return torch.from_numpy(np.frombuffer(data, np.uint8).copy()).view(shape)
