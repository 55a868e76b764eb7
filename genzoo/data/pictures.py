"""Picture files, decoded when they are asked for and kept as uint8 where memory allows."""

import io
from collections.abc import Sequence

import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import get_worker_info

from genzoo.batches import Images
from genzoo.core.random import uniform
from genzoo.data.archives import Files
from genzoo.data.store import Key, mirrored, signed
from genzoo.images import decoded, from_pillow

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")

ADVICE = "; mend or remove it (genzoo check names all such files)"


class Pictures:
    """Files of pictures as a store. Without workers each is decoded once, with workers again in every pass.

    channels   1 for grey, 3 for RGB
    resize     crop (the shorter side fits, the centre stays), pad (the longer side fits, black around), stretch
    memory     GiB that decoded pictures may take; a larger set is decoded again in every pass
    load       pictures are resized to this first, and a square of `resolution` is cut out where their position in the
               stream says
    flip       half of the pictures are mirrored, chosen by their position in the stream alone
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
    ) -> None:
        if channels not in (1, 3):
            raise ValueError(f"data.channels={channels}: pictures are read with 1 channel (grey) or 3 (RGB)")
        if resize not in ("crop", "pad", "stretch"):
            raise ValueError(f"data.resize={resize}: choose crop, pad or stretch")
        if load is not None and load < resolution:
            raise ValueError(
                f"data.load={load} leaves nothing to cut data.resolution={resolution} from: make it larger"
            )
        self.files, self.pictures, self.labels = files, list(names), labels
        self.channels, self.resolution, self.resize, self.side = channels, resolution, resize, load or resolution
        self.seed, self.flip = seed, flip
        self.keep = len(names) * channels * self.side**2 <= memory * 2**30
        self.kept: Tensor | None = None
        self.known = torch.zeros(len(names), dtype=torch.bool)

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitems__(self, keys: Sequence[Key]) -> Images:
        index = torch.tensor([index for index, _ in keys])
        return Images(signed(self.varied(keys)), self.labels.index_select(0, index))

    def varied(self, keys: Sequence[Key]) -> Tensor:
        """uint8 (n, c, resolution, resolution), cut and mirrored as the positions say."""
        positions = [position for _, position in keys]
        x = self.pixels(torch.tensor([index for index, _ in keys]))
        if self.side > self.resolution:
            x = cut(x, self.resolution, self.seed, positions)
        return mirrored(x, self.seed, positions) if self.flip else x

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
        """uint8 (c, side, side). ValueError with the file's name and folder if it cannot be read."""
        return from_pillow(fitted(self.picture(i, self.side * 4 // 3), self.side, self.resize))

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
        return f"{self.files.path}/{self.pictures[i]}"


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


def cut(x: Tensor, size: int, seed: int, positions: Sequence[int]) -> Tensor:
    """A square (n, c, size, size) of each of the larger ones (n, c, s, s), at the place that its position says."""
    room = x.shape[-1] - size + 1
    tops, lefts = ((uniform(seed, f"cut {side}", positions) * room).long().tolist() for side in ("top", "left"))
    squares = [image[:, t : t + size, k : k + size] for image, t, k in zip(x, tops, lefts, strict=True)]
    return torch.stack(squares)


def is_picture(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)
