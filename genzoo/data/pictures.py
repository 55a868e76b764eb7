"""Picture files, decoded when they are asked for and kept as uint8 where memory allows."""

import io
from collections.abc import Sequence

import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import get_worker_info

from genzoo.batches import Images
from genzoo.data.archives import Files
from genzoo.data.store import Key, mirrored, signed
from genzoo.images import decoded, from_pillow

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")


class Pictures:
    """Files of pictures as a store. Without workers each is decoded once, with workers again in every pass.

    channels   1 for grey, 3 for RGB
    resize     crop (the shorter side fits, the centre stays), pad (the longer side fits, black around), stretch
    memory     GiB that decoded pictures may take; a larger set is decoded again in every pass
    """

    def __init__(
        self,
        files: Files,
        names: Sequence[str],
        labels: Tensor,
        channels: int,
        resolution: int,
        resize: str = "crop",
        seed: int = 0,
        flip: bool = False,
        memory: float = 4.0,
    ) -> None:
        if channels not in (1, 3):
            raise ValueError(f"data.channels={channels}: pictures are read with 1 channel (grey) or 3 (RGB)")
        if resize not in ("crop", "pad", "stretch"):
            raise ValueError(f"data.resize={resize}: choose crop, pad or stretch")
        self.files, self.pictures, self.labels = files, list(names), labels
        self.channels, self.resolution, self.resize = channels, resolution, resize
        self.seed, self.flip = seed, flip
        self.keep = len(names) * channels * resolution**2 <= memory * 2**30
        self.kept: Tensor | None = None
        self.known = torch.zeros(len(names), dtype=torch.bool)

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitems__(self, keys: Sequence[Key]) -> Images:
        index = torch.tensor([index for index, _ in keys])
        x = self.pixels(index)
        if self.flip:
            x = mirrored(x, self.seed, [position for _, position in keys])
        return Images(signed(x), self.labels.index_select(0, index))

    def pixels(self, index: Tensor) -> Tensor:
        """uint8 (n, c, resolution, resolution)."""
        if not self.keep or get_worker_info():  # each worker would fill a memory of its own
            return torch.stack([self.decode(i) for i in index.tolist()])
        if self.kept is None:
            shape = (len(self), self.channels, self.resolution, self.resolution)
            self.kept = torch.empty(shape, dtype=torch.uint8)
        for i in index[~self.known[index]].tolist():
            self.kept[i] = self.decode(i)
            self.known[i] = True
        return self.kept.index_select(0, index)

    def decode(self, i: int) -> Tensor:
        name = self.pictures[i]
        picture = decoded(io.BytesIO(self.files.read(name)), name).convert("L" if self.channels == 1 else "RGB")
        return from_pillow(fitted(picture, self.resolution, self.resize))


def fitted(picture: Image.Image, resolution: int, resize: str) -> Image.Image:
    """The picture as a square, bilinear and smoothed when it shrinks."""
    size, bilinear = (resolution, resolution), Image.Resampling.BILINEAR
    if resize == "pad":
        return ImageOps.pad(picture, size, bilinear)
    if resize == "stretch":
        return picture.resize(size, bilinear)
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    return picture.resize(size, bilinear, box=(left, top, left + side, top + side))


def is_picture(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)
