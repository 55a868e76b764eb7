"""MNIST, Fashion-MNIST, CIFAR-10 and CelebA from their original files, and what is said when these are not right."""

import gzip
import io
import os
import pickle
import struct
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from genzoo.data import archives
from genzoo.data.archives import Remote, fetch
from genzoo.data.celeba import CelebA
from genzoo.data.cifar10 import CIFAR10
from genzoo.data.mnist import MNIST, FashionMNIST, read_idx


def test_mnist_is_mnist(shared):
    train, test = (MNIST(split, shared / "data") for split in ("train", "test"))
    assert train.images.shape == (60_000, 1, 28, 28) and test.images.shape == (10_000, 1, 28, 28)
    assert abs(train.images.double().mean() / 255 - 0.1306604762738429) < 1e-12  # published with many recipes as 0.1307
    assert train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4] and test.labels[:3].tolist() == [7, 2, 1]
    assert torch.bincount(train.labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]


def test_fashion_mnist_is_fashion_mnist(shared):
    test = FashionMNIST("test", shared / "data", resolution=32)
    assert test.images.shape == (10_000, 1, 32, 32) and torch.bincount(test.labels).tolist() == [1000] * 10
    assert test.names[test.labels[0]] == "Ankle boot"


def idx(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def test_idx_packed_or_not(tmp_path):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    (tmp_path / "plain").write_bytes(idx(array))
    (tmp_path / "packed.gz").write_bytes(gzip.compress(idx(array)))
    for name in ("plain", "packed"):
        assert read_idx(tmp_path / name).tolist() == array.tolist()


GOOD = idx(np.zeros((2, 28, 28), np.uint8))


BROKEN = {
    "short": ("a", GOOD[:-1]),
    "header": ("a", GOOD[:3]),
    "empty": ("a", b""),
    "foreign": ("a", b"\x93NUMPY" + bytes(99)),
    "floats": ("a", struct.pack(">HBBI", 0, 0x0D, 1, 2) + bytes(8)),
    "enormous": ("a", struct.pack(">HBB3I", 0, 8, 3, 2**31, 2**31, 2**31)),
    "no gzip": ("a.gz", GOOD),
    "cut gzip": ("a.gz", gzip.compress(GOOD, mtime=0)[:-12]),
    "damaged gzip": ("a.gz", gzip.compress(GOOD, mtime=0)[:15] + b"xx" + gzip.compress(GOOD, mtime=0)[17:]),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_broken_idx_is_named(tmp_path, broken):
    name, data = BROKEN[broken]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=f"{name} .*put the original file there"):
        read_idx(tmp_path / "a")


def test_absent_files_are_named(tmp_path):
    cases = (
        (MNIST, "train-images-idx3-ubyte.gz .9,912,422 bytes.*t10k-labels.*\n.*data.root.*\n.*data.download=true"),
        (FashionMNIST, "FashionMNIST.*t10k-images-idx3-ubyte.gz .4,422,102 bytes"),
        (CIFAR10, "cifar-10-binary.tar.gz .170,052,171 bytes"),
        (CelebA, "img_align_celeba.zip"),
    )
    for make, message in cases:
        with pytest.raises(FileNotFoundError, match=message) as caught:
            make(root=tmp_path)
        assert str(caught.value).count("\n") < 3


class Answer(io.BytesIO):
    address = "https://example.org/a"

    def geturl(self):
        return self.address


@pytest.mark.parametrize(
    ("body", "size", "address", "message"),
    [
        (b"hello", 5, "https://example.org/a", None),
        (b"hello!", 5, "https://example.org/a", "larger than the 5 bytes"),
        (b"hellO", 5, "https://example.org/a", "SHA-256"),
        (b"hello", 5, "http://example.org/a", "not https"),
    ],
)
def test_what_is_fetched_is_checked(tmp_path, monkeypatch, body, size, address, message):
    answer = Answer(body)
    answer.address = address
    monkeypatch.setattr(archives, "urlopen", lambda *args, **keywords: answer)
    digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"  # of "hello"
    remote, path = Remote("https://example.org/a", size, digest), tmp_path / "new" / "a"
    if message is None:
        fetch(remote, path)
        assert path.read_bytes() == body
    else:
        with pytest.raises(OSError, match=message):
            fetch(remote, path)
    assert [file.name for file in path.parent.iterdir()] == ([] if message else ["a"])


def test_only_https_is_fetched(tmp_path):
    with pytest.raises(ValueError, match="only https"):
        fetch(Remote("file:///etc/passwd", 1, ""), tmp_path / "a")


def test_cifar10_is_the_same_from_every_form(tmp_path):
    source = np.random.default_rng(0)
    pixels, labels = source.integers(0, 256, (10_000, 3072), np.uint8), source.integers(0, 10, 10_000)
    binary = np.concatenate([labels[:, None].astype(np.uint8), pixels], axis=1).tobytes()
    plain = pickle.dumps({b"data": pixels, b"labels": labels.tolist()}, protocol=4)
    for form, data in (("bin", binary), ("py", plain)):
        (tmp_path / form / f"cifar-10-batches-{form}").mkdir(parents=True)
        name = "test_batch.bin" if form == "bin" else "test_batch"
        (tmp_path / form / f"cifar-10-batches-{form}" / name).write_bytes(data)
        (tmp_path / f"{form}-packed").mkdir()
        archive_name = f"cifar-10-{'binary' if form == 'bin' else 'python'}.tar.gz"
        with tarfile.open(tmp_path / f"{form}-packed" / archive_name, "w:gz", compresslevel=1) as archive:
            archive.add(tmp_path / form / f"cifar-10-batches-{form}", f"cifar-10-batches-{form}")
    for place in ("bin", "py", "bin-packed", "py-packed"):
        store = CIFAR10("test", tmp_path / place)
        assert np.array_equal(store.images.numpy().reshape(10_000, 3072), pixels), place
        assert store.labels.tolist() == labels.tolist()
    with pytest.raises(ValueError, match="lacks data_batch_1"):
        CIFAR10("train", tmp_path / "bin")


class Evil:
    """Makes a folder when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("was_here",)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (pickle.dumps({b"data": Evil()}), r"asks for (posix|nt)\.mkdir"),
        (pickle.dumps({b"data": np.zeros((2, 2)), b"labels": [1]}, protocol=4), "instead of uint8"),
        (pickle.dumps([1]), "not the original file"),
        (b"nonsense", "not the original file"),
    ],
    ids=["code", "shape", "list", "nonsense"],
)
def test_cifar10_runs_no_code_from_a_file(tmp_path, monkeypatch, data, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "test_batch").write_bytes(data)
    with pytest.raises(ValueError, match=message):
        CIFAR10("test", tmp_path)
    assert not (tmp_path / "was_here").exists()


def test_cifar10_cut_short(tmp_path):
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(gzip.compress(bytes(range(256)) * 99, mtime=0)[:-20])
    with pytest.raises(ValueError, match="cut short or damaged"):
        CIFAR10("test", tmp_path)


def test_celeba(tmp_path):
    folder = tmp_path / "celeba" / "img_align_celeba"
    folder.mkdir(parents=True)
    table = ["3", "Black_Hair Male Young"]
    for name, row in (("000001", "-1 1 1"), ("000002", "1 -1 -1"), ("182638", "1  1 -1")):
        face = Image.new("RGB", (178, 218), (0, 0, 0))
        face.paste((255, 255, 255), (0, 20, 178, 198))  # the square that is kept
        face.save(folder / f"{name}.jpg", quality=95)
        table.append(f"{name}.jpg {row}")
    (tmp_path / "celeba" / "list_attr_celeba.txt").write_text("\n".join(table))
    x, y = CelebA("train", tmp_path, ["Young", "Black_Hair"], resolution=32).__getitems__([(0, 0), (1, 1)])
    assert x.shape == (2, 3, 32, 32) and x[:, :, 1:-1].min() > 0.95
    assert y.dtype == torch.float32 and y.tolist() == [[1, 0], [0, 1]]
    assert CelebA("test", tmp_path, ["Male"]).labels.tolist() == [[1]]
    with pytest.raises(ValueError, match="no 'Mal'; near it: Male"):
        CelebA("train", tmp_path, ["Mal"])
    (tmp_path / "celeba" / "list_attr_celeba.txt").write_text("\n".join(table[:3]))
    with pytest.raises(ValueError, match=r"no line for 000002\.jpg"):
        CelebA("train", tmp_path, ["Male"])
