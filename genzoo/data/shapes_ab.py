"""Drawn pictures of two domains whose mapping is known: flat shapes on a dark ground, and rings on stripes."""

import math
from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from genzoo.batches import Matched, Pair
from genzoo.core.random import uniform
from genzoo.data import shapes
from genzoo.data.pairs import ordered
from genzoo.data.shapes import COLOURS, GROUND, Scene
from genzoo.data.store import Key, check_room, digest, signed
from genzoo.limits import Count, Range

STRIPES, PERIODS, CORE = (0.65, 0.95), 6, 0.97  # greys of B's ground, half periods per unit, grey inside a ring
RING = 0.10  # its thickness, in units: a picture is two units wide
FLAT = torch.tensor(list(COLOURS.values()))  # red, yellow, cyan
RINGS = {
    "restyle": 0.85 * FLAT,
    "recolour": torch.tensor([(0.10, 0.20, 0.90), (0.85, 0.10, 0.60), (0.05, 0.45, 0.15)]),  # blue, magenta, green
}
SHARES = (0.5, 0.3, 0.2)  # of the colours, where they do not follow the shape
# Disc, square and triangle of one area: the circle around it, in radii of the disc. With shapes in one circle two
# thirds of all coloured pixels are discs', and CycleGAN exchanged red and yellow in every run.
AROUND = torch.tensor([1, math.sqrt(math.pi / 2), math.sqrt(4 * math.pi / math.sqrt(27))])
COUNTS = {"train": 2_000, "test": 500}
OBJECTS = 6


class ShapesAB:
    """Pairs (n, 3, resolution, resolution) of the two domains, the same in every run.

    Six discs, squares and triangles a picture, whose colour goes with the shape in 7 of 10. In training the scenes of
    A and B differ, unless `paired`; in testing both show the same, others than in training, and `mask` (n, resolution,
    resolution) says where objects are, a pixel around them included. `variant`: `restyle` keeps the colours, darker;
    `recolour` exchanges them; `single` is restyle with one object.
    """

    def __init__(
        self,
        split: str = "train",
        resolution: Count = 32,
        variant: str = "restyle",
        paired: bool = False,
        count: Annotated[int, Range(1, 1_000_000)] | None = None,
        seed: int = 0,
    ) -> None:
        if variant not in (*RINGS, "single"):
            raise ValueError(f"data.variant={variant}: there are {', '.join(RINGS)}, single")
        self.split, self.seed, self.paired = split, seed, paired
        n, objects = count or COUNTS[split], 1 if variant == "single" else OBJECTS
        colours = RINGS.get(variant, RINGS["restyle"])
        check_room(n, 7, resolution)  # A, B and the mask
        same = paired or split == "test"
        a = [scenes(split if same else "train a", part, objects) for part in torch.arange(n).split(250)]
        b = a if same else [scenes("train b", part, objects) for part in torch.arange(n).split(250)]
        self.a = torch.cat([levels(flat(scene, objects, resolution)) for scene in a])
        self.b = torch.cat([levels(rings(scene, objects, resolution, colours)) for scene in b])
        self.mask = torch.cat([foreground(scene, objects, resolution) for scene in a])

    def __len__(self) -> int:
        return len(self.a)

    def fingerprint(self) -> str:
        return digest(self.a[:100].numpy(), self.b[:100].numpy(), str(len(self)).encode())

    def __getitems__(self, keys: Sequence[Key]) -> Pair:
        chosen = [index for index, _ in keys]
        if self.split == "test" or self.paired:
            return Matched(signed(self.a[chosen]), signed(self.b[chosen]))
        partners = ordered([position for _, position in keys], len(self), self.seed, "B")
        return Pair(signed(self.a[chosen]), signed(self.b[partners]))


def scenes(purpose: str, indices: Tensor, objects: int) -> Scene:
    """The objects of these pictures, one after the other, each drawn from purpose and number alone: n * objects rows."""
    numbers = (indices[:, None] * objects + torch.arange(objects)).flatten()

    def chance(name: str) -> Tensor:
        return uniform(0, f"shapes_ab {purpose} {name}", numbers)

    def between(low: float, high: float, name: str) -> Tensor:
        return (low + (high - low) * chance(name)).float()

    shape = (3 * chance("shape")).long()
    free = torch.bucketize(chance("colour"), torch.tensor(SHARES, dtype=torch.float64).cumsum(0)[:2], right=True)
    return Scene(
        shape=shape,
        colour=torch.where(chance("bond") < 0.7, shape, free),
        centre=torch.stack([between(-0.85, 0.85, "x"), between(-0.85, 0.85, "y")], dim=1),
        radius=between(0.18, 0.30, "radius") * AROUND[shape],
        angle=between(-0.4, 0.4, "angle"),
    )


def flat(scene: Scene, objects: int, resolution: int) -> Tensor:
    """A: colours on a dark ground; float32 (n, 3, resolution, resolution) in [0, 1]."""
    share = shapes.coverage(shapes.distance(scene, resolution))[:, None]
    colour = FLAT[scene.colour][:, :, None, None].expand(-1, -1, resolution, resolution)
    return painted(torch.full((3, resolution, resolution), GROUND), colour, share, objects)


def rings(scene: Scene, objects: int, resolution: int, colours: Tensor) -> Tensor:
    """B: the same objects as rings with a white core, on vertical stripes; (n, 3, resolution, resolution) in [0, 1]."""
    distance = shapes.distance(scene, resolution)
    core = shapes.coverage(distance + RING * resolution / 2)[:, None]
    colour = torch.lerp(colours[scene.colour][:, :, None, None], torch.tensor(CORE), core)
    line = (torch.arange(resolution) + 0.5) * (2 / resolution) - 1
    stripes = torch.tensor(STRIPES)[(line * PERIODS).floor().long() % 2]
    return painted(stripes.expand(3, resolution, -1), colour, shapes.coverage(distance)[:, None], objects)


def painted(ground: Tensor, colour: Tensor, share: Tensor, objects: int) -> Tensor:
    """Objects over the ground (3, h, w), the later over the earlier: (n * objects, 3, h, w) -> (n, 3, h, w)."""
    picture = ground[None]
    by_object = (x.unflatten(0, (-1, objects)).unbind(1) for x in (colour, share))
    for own, part in zip(*by_object, strict=True):
        picture = torch.lerp(picture, own, part)
    return picture


def foreground(scene: Scene, objects: int, resolution: int) -> Tensor:
    """Where an object covers half of a pixel or of one beside it: bool (n, resolution, resolution)."""
    inside = (shapes.distance(scene, resolution) < 0).unflatten(0, (-1, objects)).any(1)
    return max_pool2d(inside.float()[:, None], 3, stride=1, padding=1)[:, 0] > 0


def levels(x: Tensor) -> Tensor:
    """[0, 1] -> uint8."""
    return (x * 255).round().byte()
