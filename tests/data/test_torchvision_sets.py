"""Sets that torchvision reads: those that are safe, from files of its own formats; the others are refused."""

import bz2
import struct

import numpy as np
import pytest
import torch
import torchvision

from genzoo.data.torchvision_sets import REFUSED, SETS, TorchvisionSet

SOURCE = np.random.default_rng(0)
PIXELS = SOURCE.integers(0, 256, (6, 28, 28), np.uint8)
IDS = np.array([3, 1, 4, 1, 5, 9])


def kmnist(root, name, rows):
    folder = root / "KMNIST" / "raw"
    folder.mkdir(parents=True, exist_ok=True)
    images, labels = PIXELS[rows], IDS[rows].astype(np.uint8)
    (folder / f"{name}-images-idx3-ubyte").write_bytes(struct.pack(">4I", 0x803, *images.shape) + images.tobytes())
    (folder / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, len(labels)) + labels.tobytes())


def test_kmnist_from_its_files(tmp_path):
    kmnist(tmp_path, "train", slice(0, 4))
    kmnist(tmp_path, "t10k", slice(4, 6))
    for split, rows in (("train", slice(0, 4)), ("test", slice(4, 6))):
        store = TorchvisionSet(split, "KMNIST", tmp_path, resolution=28)
        assert np.array_equal(store.images[:, 0], PIXELS[rows]) and store.labels.tolist() == IDS[rows].tolist()
    assert TorchvisionSet("test", "KMNIST", tmp_path, resolution=32).images.shape == (2, 1, 32, 32)
    (tmp_path / "KMNIST" / "processed").mkdir()
    with pytest.raises(ValueError, match="processed holds pickles"):
        TorchvisionSet("train", "KMNIST", tmp_path)


def test_usps_from_its_files(tmp_path):
    rows = (
        " ".join([str(i + 1), *(f"{j + 1}:{value}" for j, value in enumerate([-1.0] * 128 + [1.0] * 128))])
        for i in (2, 7)
    )
    (tmp_path / "usps.t.bz2").write_bytes(bz2.compress("\n".join(rows).encode()))
    store = TorchvisionSet("test", "USPS", tmp_path, resolution=16)
    assert store.labels.tolist() == [2, 7] and store.images.unique().tolist() == [0, 255]
    x = store.__getitems__([(0, 0)]).x
    assert x.shape == (1, 1, 16, 16) and x[:, :, :8].max() == -1 and x[:, :, 8:].min() == 1


@pytest.mark.parametrize("name", ["SVHN", "STL10"])
def test_colours_and_what_torchvision_is_asked(name, monkeypatch, tmp_path):
    asked = []

    class Fake:
        def __init__(self, **options):
            asked.append(options)
            self.data = SOURCE.integers(0, 256, (5, 3, 8, 8), np.uint8)
            self.labels = np.arange(5)

    monkeypatch.setattr(torchvision.datasets, name, Fake)
    train, test = (TorchvisionSet(split, name, tmp_path, resolution=4, flip=True) for split in ("train", "test"))
    assert asked == [{"root": str(tmp_path), "download": False, "split": split} for split in ("train", "test")]
    assert train.images.shape == (5, 3, 4, 4) and train.labels.dtype == torch.int64
    assert train.flip and not test.flip


def test_absent_files_are_told_and_not_fetched(tmp_path):
    for name in SETS:
        with pytest.raises(FileNotFoundError, match=f"{name} from .*\n.*data.root=.*data.download=true") as caught:
            TorchvisionSet("train", name, tmp_path)
        assert str(caught.value).count("\n") < 3


@pytest.mark.parametrize("name", [*REFUSED, "Food101", None])
def test_the_others_are_refused_with_a_reason(name, monkeypatch):
    if name:
        monkeypatch.setattr(torchvision.datasets, name, None)
    with pytest.raises(ValueError, match=f"data.dataset={name}: .*\ndata=torchvision reads SVHN, STL10, KMNIST, USPS"):
        TorchvisionSet("train", name)
