"""Sets that torchvision reads, where that is safe: SVHN, STL10, KMNIST, USPS."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from genzoo.data.archives import located
from genzoo.data.store import MemoryStore, resized
from genzoo.files import require_regular
from genzoo.limits import Count


class Spelling(NamedTuple):
    """What torchvision calls the two halves: an argument and its two values."""

    argument: str
    train: str | bool
    test: str | bool


SPLIT, TRAIN = Spelling("split", "train", "test"), Spelling("train", True, False)
SETS = {"SVHN": SPLIT, "STL10": SPLIT, "KMNIST": TRAIN, "USPS": TRAIN}
PLACES = {"SVHN": "*_32x32.mat", "STL10": "stl10_binary/*", "KMNIST": "KMNIST/raw/*", "USPS": "usps*.bz2"}
REFUSED = {
    "CIFAR10": "torchvision unpickles it, which can run code: data=cifar10 reads the same files",
    "CIFAR100": "torchvision unpickles it, which can run code",
    "LSUN": "torchvision unpickles a list of keys, which can run code",
    "PhotoTour": "torchvision keeps it as a pickle",
    "EMNIST": "torchvision turns its letters on their side",
    "MNIST": "data=mnist reads the same files",
    "FashionMNIST": "data=fashion_mnist reads the same files",
    "CelebA": "data=celeba reads the same files",
    "FakeData": "it is noise: data=shapes needs no files either",
}


class TorchvisionSet(MemoryStore):
    """One of SETS by torchvision's name for it, from where torchvision keeps it below `root`.

    Class ids as torchvision numbers them; other resolutions are bilinear. Nothing is fetched unless `download`.
    """

    def __init__(
        self,
        split: str = "train",
        dataset: str | None = None,
        root: str | Path = "data",
        resolution: Count = 32,
        seed: int = 0,
        flip: bool = False,
        download: bool = False,
    ) -> None:
        if dataset not in SETS:
            reason = REFUSED.get(str(dataset), "folders of pictures are read by data=folder data.path=...")
            raise ValueError(f"data.dataset={dataset}: {reason}\ndata=torchvision reads {', '.join(SETS)}")
        root = located(root)
        for path in root.glob(PLACES[dataset]):
            require_regular(path)
        if (root / dataset / "processed").exists():
            raise ValueError(f"{root / dataset / 'processed'} holds pickles of an old torchvision: delete that folder")
        import torchvision

        argument, *values = SETS[dataset]
        options = {"root": str(root), "download": download, argument: values[split == "test"]}
        try:
            found: Any = getattr(torchvision.datasets, dataset)(**options)
        except (RuntimeError, OSError, ImportError) as error:
            way_out = (
                "" if download else f"\nPut its files below data.root={root}, or fetch them with data.download=true"
            )
            raise FileNotFoundError(f"torchvision cannot read {dataset} from {root}: {error}{way_out}") from error
        images = torch.as_tensor(np.asarray(found.data))
        images = images[:, None] if images.dim() == 3 else images
        if images.dtype != torch.uint8 or images.dim() != 4 or images.shape[1] not in (1, 3):
            raise ValueError(
                f"{dataset} of this torchvision holds {images.dtype} {tuple(images.shape)}, not uint8 (n, c, h, w)"
            )
        labels = getattr(found, "targets", getattr(found, "labels", None))
        super().__init__(
            resized(images, resolution), torch.as_tensor(np.asarray(labels)).long(), seed, flip and split == "train"
        )
