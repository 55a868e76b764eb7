"""The endless stream of training data, a pure function of a seed and a position."""

from collections.abc import Callable, Iterator

import torch
from torch.utils.data import Sampler

from genzoo.core.random import generator


class Stream(Sampler[list[tuple[int, int]]]):
    """Batch sampler: this rank's (index, position) pairs, one iteration after the other, for ever.

    Every pass over the `n` items has its own order; a batch may span two passes. `images(position)` says how many
    images, over all ranks, the iteration that starts at `position` takes. Nothing is remembered: a stream started
    at any position continues exactly as one that came there by itself.
    """

    def __init__(
        self, n: int, seed: int, start: int, images: Callable[[int], int], rank: int = 0, world: int = 1
    ) -> None:
        self.n, self.seed, self.start, self.images, self.rank, self.world = n, seed, start, images, rank, world

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        position, epoch, order = self.start, None, []
        while True:
            stop = position + self.images(position)
            keys = []
            for p in range(position, stop):
                if p // self.n != epoch:
                    epoch = p // self.n
                    order = torch.randperm(self.n, generator=generator(self.seed, "order", epoch)).tolist()
                keys.append((order[p % self.n], p))
            yield keys[self.rank :: self.world]
            position = stop


def spread(n: int, count: int) -> list[int]:
    """At most `count` indices, evenly spread over n."""
    count = min(n, count)
    return [i * n // count for i in range(count)]
