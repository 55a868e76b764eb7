"""What every data set is: something that answers a list of keys with one batch."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Protocol

import torch
from torch import Tensor

from genzoo.batches import Images
from genzoo.core.machine import free_memory
from genzoo.core.random import uniform
from genzoo.core.stream import spread

CLASSES_LIMIT = 1_000_000
Key = tuple[int, int]  # the index of an item in its store, and its position in the training stream


class Store(Protocol):
    """A set of images or points: x is float32 (n, c, h, w) or (n, 2) in [-1, 1].

    y holds class ids (n,) int64, or zeros where there are none, or attributes (n, a) float32.
    """

    def __len__(self) -> int: ...
    def __getitems__(self, keys: Sequence[Key]) -> Images: ...
    def fingerprint(self) -> str: ...  # another one for other data, without reading all of them


class MemoryStore:
    """Images as uint8 (n, c, h, w), or float points (n, 2), that stay in memory and are indexed by the batch.

    With `flip` half of the images are mirrored, chosen by their position in the stream alone.
    """

    names: tuple[str, ...] = ()  # of the classes or attributes

    def __init__(self, images: Tensor, labels: Tensor | None = None, seed: int = 0, flip: bool = False) -> None:
        self.images, self.seed, self.flip = images, seed, flip
        self.labels = torch.zeros(len(images), dtype=torch.int64) if labels is None else labels
        if len(self.labels) != len(images):
            raise ValueError(f"{len(images)} images with {len(self.labels)} labels: each image needs one")

    def __len__(self) -> int:
        return len(self.images)

    def fingerprint(self) -> str:
        """Another one for other labels, or other images among the thousand that it looks at.

        Points are drawn, and other processors round them otherwise: they are known by their number.
        """
        shown = self.images[spread(len(self), 0 if self.images.is_floating_point() else 1000)]
        return digest(str(tuple(self.images.shape)).encode(), shown.numpy(), self.labels.numpy())

    def stamp(self) -> str:
        """Another one for other images."""
        return digest(str(tuple(self.images.shape)).encode(), *(part.numpy() for part in self.images.split(1000)))

    def __getitems__(self, keys: Sequence[Key]) -> Images:
        return self.picked(self.images, keys)

    def picked(self, images: Tensor, keys: Sequence[Key]) -> Images:
        """A batch of these images, which may be the set's in another size."""
        index = torch.tensor([index for index, _ in keys])
        x = images.index_select(0, index)
        if self.flip:
            x = mirrored(x, self.seed, [position for _, position in keys])
        return Images(signed(x), self.labels.index_select(0, index))


def digest(*parts: Any) -> str:
    """A short hash of bytes and of numpy arrays, each apart from the next."""
    found = blake2b(digest_size=16)
    for part in parts:
        found.update(len(part).to_bytes(8, "little"))
        found.update(part if isinstance(part, bytes) else part.tobytes())
    return found.hexdigest()


def signed(x: Tensor) -> Tensor:
    """uint8 0..255 to float32 in [-1, 1], both ends exact; floats as they are."""
    return x if x.is_floating_point() else x.to(torch.float32).div_(127.5).sub_(1)


def mirrored(x: Tensor, seed: int, positions: Sequence[int]) -> Tensor:
    """Half of the images (n, c, h, w) mirrored left to right in place, each by the position it has in the stream."""
    chosen = (uniform(seed, "flip", positions) < 0.5).nonzero().squeeze(1)
    x.numpy()[chosen.numpy()] = x.index_select(0, chosen).flip(-1).numpy()  # ten times as fast as index_copy
    return x


def check_room(count: int, channels: int, resolution: int) -> None:
    """ValueError if so many images would not fit into the memory that is free."""
    size, free = count * channels * resolution**2, free_memory()
    if size > free:
        raise ValueError(
            f"data.resolution={resolution}: {count:,} images would take {size / 2**30:,.0f} GiB of memory, of "
            f"{free / 2**30:,.0f} that are free: make it smaller, or let genzoo pack write them to disk"
        )


def resized(images: Tensor, resolution: int) -> Tensor:
    """uint8 (n, c, h, w) to (n, c, resolution, resolution), bilinear as in Pillow: smoothed when it shrinks."""
    if images.shape[-2:] == (resolution, resolution):
        return images
    check_room(len(images), images.shape[1], resolution)
    size = (resolution, resolution)
    return torch.nn.functional.interpolate(images, size=size, mode="bilinear", antialias=True)
