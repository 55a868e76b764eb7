"""Picture files, decoded when they are asked for and kept as uint8 where memory allows."""

import io
import itertools
import os
from collections.abc import Iterable, Sequence

import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import get_worker_info

from genzoo.batches import Images
from genzoo.console import escape
from genzoo.core.random import uniform
from genzoo.core.stream import spread
from genzoo.data.archives import Files
from genzoo.data.store import Key, digest, mirrored, signed
from genzoo.images import decoded, from_pillow

SUFFIXES = (".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".ppm",
            ".pgm", ".pbm", ".pnm")  # fmt: skip
SIZES = 10_000  # files, evenly spread, whose sizes a fingerprint holds: asking for all of a million takes a while

ADVICE = "; mend or remove it (genzoo check names all such files)"


class Pictures:
    """Files of pictures as a store. Without workers each is decoded once, with workers again in every pass.

    channels   1 for grey, 3 for RGB
    resize     crop (the shorter side fits, the centre stays), pad (the longer side fits, black around), stretch, or
               scale: the shorter side becomes `load`, or what it was without it, and a square of `resolution` is cut
               out of the whole picture, in testing out of its middle
    memory     GiB that decoded pictures may take; what is beyond is decoded again in every pass
    load       in training pictures are resized to this first, and a square of `resolution` is cut out where their
               position in the stream says
    flip       half of the training pictures are mirrored, chosen by their position in the stream alone
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
        load: int | None = None,
        training: bool = True,
    ) -> None:
        if channels not in (1, 3):
            raise ValueError(f"data.channels={channels}: pictures are read with 1 channel (grey) or 3 (RGB)")
        if resize not in ("crop", "pad", "stretch", "scale"):
            raise ValueError(f"data.resize={resize}: choose crop, pad, stretch or scale")
        if load is not None and load < resolution:
            raise ValueError(
                f"data.load={load} leaves nothing to cut data.resolution={resolution} from: make it larger"
            )
        self.files, self.pictures, self.labels = files, list(names), labels
        self.channels, self.resolution, self.resize = channels, resolution, resize
        self.side = load if resize == "scale" or (load and training) else resolution  # None: as they are
        self.seed, self.flip, self.training = seed, flip and training, training
        self.room = memory * 2**30  # bytes that are left
        self.keep = resize != "scale" and len(names) * channels * (self.side or 0) ** 2 <= self.room
        self.kept: Tensor | None = None
        self.known = torch.zeros(len(names), dtype=torch.bool)
        self.wholes: dict[int, Tensor] = {}  # of any shape, in place of `kept`

    def __len__(self) -> int:
        return len(self.pictures)

    def fingerprint(self) -> str:
        """Another one for other pictures or labels, as far as names and sizes of files tell."""
        sizes = [size for size, _ in self.files.stamps([self.pictures[i] for i in spread(len(self), SIZES)])]
        return digest(*map(os.fsencode, self.pictures), str(sizes).encode(), self.labels.numpy())

    def stamp(self) -> str:
        """Another one for other pictures, as far as anything tells but reading them all."""
        return digest(*map(os.fsencode, self.pictures), str(self.files.stamps(self.pictures)).encode())

    def __getitems__(self, keys: Sequence[Key]) -> Images:
        index = torch.tensor([index for index, _ in keys])
        return Images(signed(self.varied(keys)), self.labels.index_select(0, index))

    def varied(self, keys: Sequence[Key]) -> Tensor:
        """uint8 (n, c, resolution, resolution), cut and mirrored as the positions say."""
        positions, indices = [position for _, position in keys], [index for index, _ in keys]
        if self.resize == "scale":
            x = cut([self.whole(i) for i in indices], self.resolution, self.seed, positions if self.training else None)
        else:
            x = self.pixels(torch.tensor(indices))
            if x.shape[-1] > self.resolution:
                x = cut(x, self.resolution, self.seed, positions)
        return mirrored(x, self.seed, positions) if self.flip else x

    def whole(self, i: int) -> Tensor:
        """uint8 (c, h, w) of the picture's own shape."""
        if (known := self.wholes.get(i)) is not None:
            return known
        image = self.decode(i)
        if image.numel() <= self.room and not get_worker_info():
            self.room -= image.numel()
            self.wholes[i] = image
        return image

    def pixels(self, index: Tensor) -> Tensor:
        """uint8 (n, c, side, side)."""
        if not self.keep or get_worker_info():  # each worker would fill a memory of its own
            return torch.stack([self.decode(i) for i in index.tolist()])
        for i in index[~self.known[index]].tolist():
            image = self.decode(i)
            if self.kept is None:
                self.kept = torch.empty((len(self), *image.shape), dtype=torch.uint8)
            self.kept[i], self.known[i] = image, True
        assert self.kept is not None
        return self.kept.index_select(0, index)

    def decode(self, i: int) -> Tensor:
        """uint8 (c, side, side), or (c, h, w) with `scale`. ValueError with the file's name and folder if it cannot be
        read."""
        return self.shaped(self.picture(i, (self.side or 0) * 4 // 3), i)

    def shaped(self, picture: Image.Image, i: int) -> Tensor:
        """Picture i, or a part of it, in the size that is kept."""
        if self.side is not None:
            return from_pillow(fitted(picture, self.side, self.resize))
        if min(picture.size) < self.resolution:
            raise ValueError(
                f"{self.address(i)} is {picture.width}x{picture.height} pixels, less than data.resolution="
                f"{self.resolution}: say data.load={self.resolution}, which enlarges it, or remove it"
            )
        return from_pillow(picture)

    def picture(self, i: int, smallest: int = 0) -> Image.Image:
        """The whole picture in mode L or RGB; `smallest` as in `images.decoded`."""
        mode = "L" if self.channels == 1 else "RGB"
        try:
            picture = decoded(io.BytesIO(self.files.read(self.pictures[i])), self.address(i), smallest)
        except ValueError as error:
            raise ValueError(f"{error}{ADVICE}") from error
        return picture if picture.mode == mode else picture.convert(mode)

    def address(self, i: int) -> str:
        """Where picture i lies, for messages."""
        return f"{escape(self.files.path)}/{escape(self.pictures[i])}"


def fitted(picture: Image.Image, resolution: int, resize: str) -> Image.Image:
    """The picture as a square, or with `scale` its shorter side at the resolution; bilinear, smoothed when it shrinks."""
    size, bilinear = (resolution, resolution), Image.Resampling.BILINEAR
    if resize == "scale":
        width, height = (round(side * resolution / min(picture.size)) for side in picture.size)
        return picture.resize((width, height), bilinear)
    if resize == "pad":
        return ImageOps.pad(picture, size, bilinear)
    if resize == "stretch":
        return picture.resize(size, bilinear)
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    return picture.resize(size, bilinear, box=(left, top, left + side, top + side))


def cut(images: Iterable[Tensor], size: int, seed: int, positions: Sequence[int] | None) -> Tensor:
    """A square (n, c, size, size) of each image (c, h, w), where its position says; from the middle without positions."""
    middle = itertools.repeat(0.5)
    tops, lefts = (
        middle if positions is None else uniform(seed, f"cut {side}", positions).tolist() for side in ("top", "left")
    )
    squares = []
    for image, *chances in zip(images, tops, lefts):
        top, left = (int(chance * (side - size + 1)) for chance, side in zip(chances, image.shape[1:], strict=True))
        squares.append(image[:, top : top + size, left : left + size])
    return torch.stack(squares)


def is_picture(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)
