"""Pure functions of the images seen, so that a resumed run has the right value at once."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Schedule = Callable[[int], float]  # images seen -> factor, level or batch size


@dataclass(frozen=True)
class Constant:
    """Always `value`."""

    value: float

    def __call__(self, images: int) -> float:
        return self.value


@dataclass(frozen=True)
class LinearDecay:
    """1 up to `start` images, then a straight line to 0 at `end` images, and 0 from there on, as in CycleGAN."""

    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end:
            raise ValueError(
                f"LinearDecay needs 0 <= start < end, not start={self.start} and end={self.end} (in images)"
            )

    def __call__(self, images: int) -> float:
        return min(1.0, max(0.0, (self.end - images) / (self.end - self.start)))


@dataclass(frozen=True)
class Ramp:
    """A straight line from `first` at 0 images to `last` at `images`, and `last` from there on."""

    first: float
    last: float
    images: int

    def __call__(self, images: int) -> float:
        return self.first + (self.last - self.first) * min(images / self.images, 1.0)


@dataclass(frozen=True)
class Steps:
    """`values[0]` at first, `values[i + 1]` from `at[i]` images on: one value more than positions, positions ascending."""

    values: Sequence[float]
    at: Sequence[int]

    def __post_init__(self) -> None:
        if len(self.values) != len(self.at) + 1:
            raise ValueError(
                f"Steps has {len(self.values)} values and {len(self.at)} positions; it needs one value more than positions"
            )
        if any(a >= b for a, b in zip(self.at, self.at[1:])):
            raise ValueError(f"the positions of Steps must ascend (in images), not {list(self.at)}")

    def __call__(self, images: int) -> float:
        return self.values[bisect_right(self.at, images)]
