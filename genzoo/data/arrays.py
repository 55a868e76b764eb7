"""Sets that come as arrays: a .npz in the manner of MedMNIST or Keras, or a lone .npy."""

import zlib
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from genzoo.console import brief, escape
from genzoo.data.archives import located, open_zip, zip_array
from genzoo.data.halves import divided
from genzoo.data.packed import mapped
from genzoo.data.store import CLASSES_LIMIT, MemoryStore, check_room, resized
from genzoo.files import require_regular
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
        try:
            require_regular(path)
        except OSError as error:
            raise type(error)(f"{error}; data.path is a .npz or .npy file of images") from error
        images, labels = read(path, split)
        check_room(len(images), channels, resolution)
        made = torch.empty(len(images), channels, resolution, resolution, dtype=torch.uint8)
        for part, into in zip(images.split(1000), made.split(1000)):
            into.copy_(coloured(resized(square(part, resize), resolution), channels))
        super().__init__(made, labels, seed, flip and split == "train")


def read(path: Path, split: str) -> tuple[Tensor, Tensor | None]:
    """Images (n, c, h, w) and labels of one half; ValueError for what the file must not or does not hold."""
    if path.suffix.lower() == ".npy":
        images, labels, whole = planes(mapped(path).numpy(), path), None, True
    else:
        with open_zip(path, "no .npz, or damaged") as archive:
            names = {name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")}
            whole = not any(key in names for key in IMAGES["train"])
            pairs = list(WHOLE.items()) if whole else [(key, LABELS[key]) for key in IMAGES[split]]
            found = next(((images, labels) for images, labels in pairs if images in names), None)
            if found is None:
                wanted = " or ".join(key for key, _ in pairs)
                there = sorted(name.removesuffix(".npy") for name in archive.namelist())
                held = brief(", ".join(there[:5]) + ", ..." * (len(there) > 5)) or "nothing"
                raise ValueError(f"{escape(path)} holds {held}: {wanted} is looked for")
            try:
                arrays = [zip_array(archive, key, path, LIMIT) if key in names else None for key in found]
            except (BadZipFile, zlib.error, EOFError) as error:
                raise ValueError(f"{escape(path)} is no .npz, or damaged: {error}") from error
        assert arrays[0] is not None
        images = planes(arrays[0], path)
        labels = None if arrays[1] is None else known(arrays[1], len(images), path)
    if not whole:
        return images, labels
    if labels is None and images.shape[:2] == (3, 1):  # as one picture of three planes is stored too
        shape = (3, *images.shape[2:])
        raise ValueError(
            f"{escape(path)} holds an array {shape}: save it as {(1, *shape)} if it is one picture, as {(*shape, 1)} "
            "if it is three"
        )
    index = divided(len(images), split, labels.tolist() if labels is not None and labels.dim() == 1 else None)
    return images[index], None if labels is None else labels[index]


def planes(images: "np.ndarray[Any, Any]", path: Path) -> Tensor:
    """uint8 (n, c, h, w) with c 1 or 3, from any of the layouts that are known; ValueError for others."""
    shape, name = images.shape, escape(path)
    if images.size == 0:
        raise ValueError(f"{name} holds an array {shape}: there are no images in it")
    if len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4) and shape[1] != shape[2]):
        raise ValueError(f"{name} holds one picture {shape}: a set is (n, h, w, c), which x[None] makes of it")
    if images.dtype != np.uint8:
        raise ValueError(f"{name} holds images of {images.dtype} {in_range(images[:1000])}")
    if len(shape) == 3:
        return torch.from_numpy(images)[:, None]
    if len(shape) == 4 and shape[3] in (1, 3):
        return torch.from_numpy(images).permute(0, 3, 1, 2)
    if len(shape) == 4 and shape[1] in (1, 3):
        return torch.from_numpy(images)
    raise ValueError(f"{name} holds an array {shape}: images are (n, h, w), (n, h, w, c) or (n, c, h, w), c 1 or 3")


def in_range(x: "np.ndarray[Any, Any]") -> str:
    """The range of numbers that are no bytes, and how bytes are made of them."""
    low, high = float(x.min()), float(x.max())
    ways = {
        (0, 1): "(255 * x).round()",
        (-1, 1): "(127.5 * (x + 1)).round()",
        (0, 255): "x.round()",
        (0, 65535): "(x / 257).round()",
    }
    way = next((way for (least, most), way in ways.items() if least <= low and high <= most), "")
    told = f"{way}.astype('uint8') makes them" if way else "scale them"
    return f"from {low:g} to {high:g}: save them as uint8 from 0 to 255,\n{told}"


def known(labels: "np.ndarray[Any, Any]", count: int, path: Path) -> Tensor:
    """Class ids (n,) int64, or attributes (n, a) float32; ValueError for anything else."""
    name, shape = escape(path), labels.shape
    if not shape or shape[0] != count:
        held = f"{shape[0]:,} labels" if shape else "a lone label"
        raise ValueError(f"{name} holds {count:,} images with {held}: each image needs one")
    if labels.size == count and (labels >= 0).all() and (labels < CLASSES_LIMIT).all() and (labels % 1 == 0).all():
        return torch.from_numpy(labels.reshape(count).astype(np.int64))
    if len(shape) == 2 and labels.size and ((labels == 0) | (labels == 1)).all():
        return torch.from_numpy(labels.astype(np.float32))
    raise ValueError(
        f"{name} holds labels {shape} of {labels.dtype} for {count:,} images:\n"
        f"labels are whole numbers from 0 on, below {CLASSES_LIMIT:,} (n,), or (n, a) zeros and ones"
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
