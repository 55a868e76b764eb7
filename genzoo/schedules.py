"""Pure functions of the images seen, so that a resumed run has the right value at once."""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from genzoo.limits import Count, Natural

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

    start: Natural
    end: Count

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
    images: Count

    def __call__(self, images: int) -> float:
        return self.first + (self.last - self.first) * min(images / self.images, 1.0)


@dataclass(frozen=True)
class Steps:
    """`values[0]` at first, `values[i + 1]` from `at[i]` images on: one value more than positions, positions ascending."""

    values: Sequence[float]
    at: Sequence[Natural]

    def __post_init__(self) -> None:
        if len(self.values) != len(self.at) + 1:
            raise ValueError(
                f"Steps has {len(self.values)} values and {len(self.at)} positions; it needs one value more than positions"
            )
        if any(a >= b for a, b in zip(self.at, self.at[1:])):
            raise ValueError(f"the positions of Steps must ascend (in images), not {list(self.at)}")

    def __call__(self, images: int) -> float:
        return self.values[bisect_right(self.at, images)]


@dataclass(frozen=True)
class Growth:
    """The level of a growing model: 0 at `smallest` pixels, one more for each doubling up to `resolution`.

    A stage is held for `hold` images, then the next one fades in over `fade` images, in which the level rises from one
    whole number to the next (Karras et al. 2018, section 2 and appendix A).
    """

    resolution: Count
    hold: Count
    fade: Count
    smallest: Count = 4

    def __post_init__(self) -> None:
        whole = self.smallest * 2**self.last
        if self.resolution != whole:
            below = max(whole, self.smallest)
            raise ValueError(
                f"data.resolution={self.resolution}: a growing model doubles {self.smallest} pixels, "
                f"the nearest are {below} and {2 * below}"
            )
        if self.hold < 1 or self.fade < 1:
            raise ValueError(f"Growth needs hold and fade of 1 image or more, not {self.hold} and {self.fade}")

    @property
    def last(self) -> int:
        """The level of the full resolution."""
        return max(self.resolution // self.smallest, 1).bit_length() - 1

    def __call__(self, images: int) -> float:
        stage, within = divmod(images, self.hold + self.fade)
        return min(stage + max(within - self.hold, 0) / self.fade, float(self.last))


@dataclass(frozen=True)
class PerStage:
    """`values[stage]` of the stage that a `growth` has reached or is fading in; the last value holds for all beyond."""

    growth: Growth
    values: Sequence[float]

    def __call__(self, images: int) -> float:
        return self.values[min(math.ceil(self.growth(images)), len(self.values) - 1)]
