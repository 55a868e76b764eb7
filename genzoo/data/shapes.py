"""Drawn pictures whose whole truth is known: one coloured shape on a dark ground."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from genzoo.core.random import uniform
from genzoo.data.store import MemoryStore, check_room
from genzoo.limits import Count

SHAPES = ("disc", "square", "triangle", "cross")
COLOURS = {"red": (0.90, 0.20, 0.20), "yellow": (0.95, 0.80, 0.10), "cyan": (0.20, 0.75, 0.95)}
GROUND = 0.12
EDGE = 1.5  # pixels from ground to colour
COUNTS = {"train": 20_000, "test": 5_000}


class Scene(NamedTuple):
    """What n pictures show. The picture's square is [-1, 1]^2, x to the right and y down; angles in radians."""

    shape: Tensor  # (n,) index in SHAPES
    colour: Tensor  # (n,) index in COLOURS
    centre: Tensor  # (n, 2), each coordinate uniform in (-0.5, 0.5)
    radius: Tensor  # (n,) of the circle around the shape, uniform in (0.25, 0.45)
    angle: Tensor  # (n,) uniform in (-0.4, 0.4)


class Shapes(MemoryStore):
    """Pictures (3, resolution, resolution) of one shape each; class = 3 * shape + colour, 12 classes.

    20,000 training and 5,000 test pictures, the same in every run; `scene` is their truth up
    to the rounding to 8 bits.
    """

    names = tuple(f"{colour} {shape}" for shape in SHAPES for colour in COLOURS)

    def __init__(self, split: str = "train", resolution: Count = 32) -> None:
        check_room(COUNTS[split], 3, resolution)
        self.scene = scene = scenes(split, range(COUNTS[split]))
        parts = (Scene(*part) for part in zip(*(field.split(500) for field in scene), strict=True))
        images = torch.cat([(render(part, resolution) * 127.5 + 127.5).round().byte() for part in parts])
        super().__init__(images, len(COLOURS) * scene.shape + scene.colour)


def scenes(split: str, indices: Sequence[int]) -> Scene:
    """What the pictures with these indices show, each drawn from split and index alone."""

    def between(low: float, high: float, purpose: str) -> Tensor:
        return low + (high - low) * uniform(0, f"shapes {split} {purpose}", indices)

    return Scene(
        shape=between(0, len(SHAPES), "shape").long(),
        colour=between(0, len(COLOURS), "colour").long(),
        centre=torch.stack([between(-0.5, 0.5, "x"), between(-0.5, 0.5, "y")], dim=1).float(),
        radius=between(0.25, 0.45, "radius").float(),
        angle=between(-0.4, 0.4, "angle").float(),
    )


def render(scene: Scene, resolution: int) -> Tensor:
    """float32 (n, 3, resolution, resolution) in [-1, 1]."""
    share = coverage(distance(scene, resolution))[:, None]
    colour = torch.tensor(list(COLOURS.values()))[scene.colour][:, :, None, None]
    return (GROUND + share * (colour - GROUND)) * 2 - 1


def coverage(distance: Tensor) -> Tensor:
    """A pixel's share of colour: the logistic function of its signed distance to the edge, EDGE pixels wide."""
    return torch.sigmoid(distance * (-4 / EDGE))


def distance(scene: Scene, resolution: int) -> Tensor:
    """Of every pixel from the edge of the shape, in pixels, below zero inside: (n, resolution, resolution)."""
    line = (torch.arange(resolution) + 0.5) * (2 / resolution) - 1
    x = line[None, None, :] - scene.centre[:, 0, None, None]  # (n, 1, w)
    y = line[None, :, None] - scene.centre[:, 1, None, None]  # (n, h, 1)
    cos, sin = scene.angle.cos()[:, None, None], scene.angle.sin()[:, None, None]
    x, y = (cos * x + sin * y) / scene.radius[:, None, None], (cos * y - sin * x) / scene.radius[:, None, None]
    radii = torch.empty_like(x)  # (n, h, w)
    for number, measure in enumerate((disc, square, triangle, cross)):
        own = scene.shape == number
        radii[own] = measure(x[own], y[own])
    return radii * scene.radius[:, None, None] * (resolution / 2)


# Distances to the edge of a shape that fits in the unit circle, below zero inside.


def disc(x: Tensor, y: Tensor) -> Tensor:
    return torch.hypot(x, y) - 1


def square(x: Tensor, y: Tensor) -> Tensor:
    return torch.maximum(x.abs(), y.abs()) - math.sqrt(0.5)


def triangle(x: Tensor, y: Tensor) -> Tensor:
    return torch.maximum(y, x.abs() * math.sqrt(0.75) - y / 2) - 0.5  # stands on its base, y is down


def cross(x: Tensor, y: Tensor) -> Tensor:
    long, short = torch.maximum(x.abs(), y.abs()), torch.minimum(x.abs(), y.abs())
    return torch.maximum(long - 0.95, short - 0.3)
