"""The handwritten digits that come with scikit-learn (Alpaydin and Kaynak 1998), for work without a network."""

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from genzoo.data.store import MemoryStore, resized
from genzoo.limits import Count


class Digits(MemoryStore):
    """1,797 grey digits of 8x8 pixels with 17 levels, scaled up bilinearly; 10 classes.

    Training takes the first 1,500 of the file, testing the last 297. The file runs writer by writer, about 130 digits
    each, so that most of the test half is by hands that training never saw.
    """

    names = tuple("0123456789")

    def __init__(self, split: str = "train", resolution: Count = 32) -> None:
        package = find_spec("sklearn")
        if package is None or package.origin is None:
            raise FileNotFoundError("data=digits comes with scikit-learn: pip install scikit-learn")
        # Read beside load_digits: importing sklearn takes a second and a half, the file a twentieth of one.
        path = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
        with gzip.open(path, "rt") as file:
            table = np.loadtxt(file, delimiter=",", dtype=np.uint8)  # 64 pixels 0..16 and the class
        table = table[:1500] if split == "train" else table[1500:]
        pixels = (table[:, :64].astype(np.float32) * (255 / 16)).round().astype(np.uint8)
        images = torch.from_numpy(pixels).view(-1, 1, 8, 8)
        super().__init__(resized(images, resolution), torch.from_numpy(table[:, 64].astype(np.int64)))
