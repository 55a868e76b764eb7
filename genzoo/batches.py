"""What a loader hands over: named tuples of tensors with the same first dimension."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from torch import Tensor


class Images(NamedTuple):
    """Images (n, c, h, w) in [-1, 1], or points (n, 2); `y` holds class ids (n,), attributes (n, k), or zeros (n,)."""

    x: Tensor
    y: Tensor


class Pair(NamedTuple):
    """Images of two domains, each (n, c, h, w) in [-1, 1], whose rows do not belong together."""

    a: Tensor
    b: Tensor


class Matched(Pair):
    """A pair in which row i of both belongs together."""


class Captioned(NamedTuple):
    """Images (n, c, h, w) in [-1, 1], the embeddings (n, k) of their captions, and images that do not fit these."""

    x: Tensor
    y: Tensor
    wrong: Tensor


def pieces(x: Tensor, y: Tensor | None, size: int) -> Iterator[tuple[Tensor, Tensor | None]]:
    """The rows of x, and of y where there is one, `size` at a time."""
    for first in range(0, len(x), size):
        yield x[first : first + size], None if y is None else y[first : first + size]


def images_of(batch: Any) -> list[Tensor]:
    """The images of a batch of any kind: all but `y`."""
    return [part for name, part in zip(batch._fields, batch, strict=True) if name != "y"]
