"""Sets that come as arrays: a .npz in the manner of MedMNIST or Keras, or a lone .npy."""

import math
import zlib
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np
import torch
from torch import Tensor

from genzoo.data.archives import array_header, located
from genzoo.data.packed import mapped
from genzoo.data.store import MemoryStore, resized
from genzoo.limits import Count

LIMIT = 2**32  # bytes that one array of a .npz may expand to
IMAGES = {"train": ("train_images", "x_train", "X_train"), "test": ("test_images", "x_test", "X_test", "val_images")}
LABELS = {"train_images": "train_labels", "x_train": "y_train", "X_train": "y_train", "test_images": "test_labels",
          "x_test": "y_test", "X_test": "y_test", "val_images": "val_labels"}  # fmt: skip
WHOLE = {"images": "labels", "x": "y", "X": "y", "arr_0": "arr_1"}  # sets that are not divided
GREY = (0.299, 0.587, 0.114)  # of red, green and blue, as Pillow and ITU-R 601 have it


class Arrays(MemoryStore):
    """Images of a .npz or .npy file, uint8 (n, h, w), (n, h, w, c) or (n, c, h, w) with c 1 or 3.

    Channels are the last axis where it is 1 or 3, else the second. Keys are train_images, train_labels, test_images,
    test_labels (or val_...), or x_train, y_train, x_test, y_test; from images and labels, x and y, or a lone array,
    every tenth image is for testing. Labels are class ids (n,) or (n, 1), or attributes (n, a) of 0 and 1. Other
    resolutions are bilinear, after what is not square was treated by `resize`: crop (the centre stays), pad, stretch.
    """

    def __init__(
        self,
        split: str = "train",
        path: str | Path | None = None,
        channels: Count = 3,
        resolution: Count = 64,
        resize: str = "crop",
        seed: int = 0,
        flip: bool = False,
    ) -> None:
        if path is None:
            raise ValueError("data=arrays needs data.path=<a .npz or .npy file of images>")
        if channels not in (1, 3):
            raise ValueError(f"data.channels={channels}: images are read with 1 channel (grey) or 3 (RGB)")
        if resize not in ("crop", "pad", "stretch"):
            raise ValueError(f"data.resize={resize}: choose crop, pad or stretch")
        path = located(path)
        if not path.is_file():
            found = "is a folder" if path.is_dir() else "does not exist"
            raise FileNotFoundError(f"{path} {found}: data.path is a .npz or .npy file of images")
        images, labels = read(path, split)
        images, labels = planes(images, path), None if labels is None else known(labels, len(images), path)
        made = torch.empty(len(images), channels, resolution, resolution, dtype=torch.uint8)
        for part, into in zip(images.split(1000), made.split(1000)):
            into.copy_(coloured(resized(square(part, resize), resolution), channels))
        super().__init__(made, labels, seed, flip and split == "train")


def read(path: Path, split: str) -> tuple[Tensor, Tensor | None]:
    """Images and labels of one half as they lie in the file; ValueError for what it must not or does not hold."""
    if path.suffix == ".npy":
        return tenth(mapped(path), split), None
    try:
        with ZipFile(path) as archive:
            names = {name.removesuffix(".npy") for name in archive.namelist()}
            divided = any(key in names for key in IMAGES["train"])
            pairs = [(key, LABELS[key]) for key in IMAGES[split]] if divided else list(WHOLE.items())
            found = next(((images, labels) for images, labels in pairs if images in names), None)
            if found is None:
                wanted = " or ".join(key for key, _ in pairs)
                held = ", ".join(sorted(names)[:5]) + ", ..." * (len(names) > 5) or "nothing"
                raise ValueError(f"{path} holds {held}: {wanted} is looked for")
            images, labels = (member(archive, path, key) if key in names else None for key in found)
    except (BadZipFile, zlib.error, EOFError) as error:
        raise ValueError(f"{path} is no .npz, or damaged: {error}") from error
    assert images is not None
    if divided:
        return images, labels
    if labels is not None and len(labels) != len(images):
        raise ValueError(f"{path} holds {len(images)} images with {len(labels)} labels: each image needs one")
    return tenth(images, split), None if labels is None else tenth(labels, split)


def member(archive: ZipFile, path: Path, key: str) -> Tensor:
    """One array of a .npz, which is not expanded before its size is known to fit."""
    size = archive.getinfo(f"{key}.npy").file_size
    if size > LIMIT:
        raise ValueError(
            f"{path}: {key} would expand to {size:,} bytes, the limit is {LIMIT:,}: save it as a .npy file"
        )
    with archive.open(f"{key}.npy") as file:
        shape, kind = array_header(file, f"{path}: {key}")
        if file.tell() + math.prod(shape) * kind.itemsize != size:
            raise ValueError(f"{path}: {key} says it has the shape {shape}, which does not fit its {size:,} bytes")
    with archive.open(f"{key}.npy") as file:
        return torch.from_numpy(np.lib.format.read_array(file, allow_pickle=False))


def tenth(x: Tensor, split: str) -> Tensor:
    """Every tenth for testing and the others for training; fewer than ten stand on both sides."""
    held = torch.arange(len(x)) % 10 == 9
    return x if len(x) < 10 else x[held] if split == "test" else x[~held]


def planes(images: Tensor, path: Path) -> Tensor:
    """uint8 (n, c, h, w) with c 1 or 3, from any of the layouts that are known; ValueError for others."""
    if images.dtype != torch.uint8:
        raise ValueError(
            f"{path} holds images of {str(images.dtype).removeprefix('torch.')}: save them as uint8 from 0 to 255,\n"
            "(255 * x).round().astype('uint8') where x is from 0 to 1"
        )
    if images.dim() == 3:
        return images[:, None]
    if images.dim() == 4 and images.shape[3] in (1, 3):
        return images.permute(0, 3, 1, 2)
    if images.dim() == 4 and images.shape[1] in (1, 3):
        return images
    raise ValueError(
        f"{path} holds an array {tuple(images.shape)}: images are (n, h, w), (n, h, w, c) or (n, c, h, w), c 1 or 3"
    )


def known(labels: Tensor, count: int, path: Path) -> Tensor:
    """Class ids (n,) int64, or attributes (n, a) float32; ValueError for anything else."""
    if len(labels) == count and not labels.is_floating_point() and labels[0].numel() == 1 and labels.min() >= 0:
        return labels.reshape(count).long()
    if len(labels) == count and labels.dim() == 2 and ((labels == 0) | (labels == 1)).all():
        return labels.float()
    raise ValueError(
        f"{path} holds labels {tuple(labels.shape)} of {str(labels.dtype).removeprefix('torch.')} for {count} images:\n"
        "labels are whole numbers from 0 on (n,), or (n, a) zeros and ones"
    )


def square(x: Tensor, resize: str) -> Tensor:
    """The centre of images (n, c, h, w), or all of them with black around; nothing for stretch, which resizing does."""
    h, w = x.shape[-2:]
    if resize == "crop":
        side = min(h, w)
        top, left = (h - side) // 2, (w - side) // 2
        return x[:, :, top : top + side, left : left + side]
    if resize == "pad":
        side = max(h, w)
        top, left = (side - h) // 2, (side - w) // 2
        return torch.nn.functional.pad(x, (left, side - w - left, top, side - h - top))
    return x


def coloured(x: Tensor, channels: int) -> Tensor:
    """uint8 (n, c, h, w) with 1 or 3 channels, whatever it had."""
    if x.shape[1] == channels:
        return x
    if channels == 3:
        return x.expand(-1, 3, -1, -1)
    return torch.einsum("nchw,c->nhw", x.float(), torch.tensor(GREY))[:, None].round().to(torch.uint8)
