"""Changes of images that a discriminator looks through, the same kind for real and fake."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from genzoo.losses import Draw

POLICY = ("color", "translation", "cutout")


@dataclass(frozen=True)
class DiffAugment:
    """Differentiable augmentation (Zhao et al. 2020, section 3; strengths are those of the authors' code).

    (n, c, h, w) in [-1, 1] -> the same shape; colours may leave the range, what comes into view is 0, as in the original.
    color         brightness + U(-0.5, 0.5), saturation x U(0, 2), contrast x U(0.5, 1.5), each about the mean
    translation   by up to an eighth of the side, in whole pixels
    cutout        a hole of half the side, centred anywhere
    """

    policy: Sequence[str] = POLICY

    def __post_init__(self) -> None:
        unknown = [name for name in self.policy if name not in POLICY]
        if unknown:
            raise ValueError(f"model.augment.policy holds {', '.join(unknown)}: there are {', '.join(POLICY)}")

    def __call__(self, x: Tensor, draw: Draw) -> Tensor:
        if x.dim() != 4:
            raise ValueError(f"augment=diff_augment is for images, not for points {tuple(x.shape)}: say augment=null")
        u = draw(lambda n, generator: torch.rand(n, 7, generator=generator), len(x), "augment")  # in [0, 1)
        if "color" in self.policy:
            x = color(x, *u[:, :3].to(x).unbind(1))
        if "translation" in self.policy:
            x = translation(x, *u[:, 3:5].unbind(1))
        if "cutout" in self.policy:
            x = cutout(x, *u[:, 5:].unbind(1))
        return x


def color(x: Tensor, brightness: Tensor, saturation: Tensor, contrast: Tensor) -> Tensor:
    """Three numbers in [0, 1) for each image, (n,); saturation changes nothing where there is one channel."""
    x = x + (brightness - 0.5)[:, None, None, None]
    x = about(x, x.mean(1, keepdim=True), 2 * saturation)
    return about(x, x.mean((1, 2, 3), keepdim=True), 0.5 + contrast)


def about(x: Tensor, centre: Tensor, factor: Tensor) -> Tensor:
    return centre + (x - centre) * factor[:, None, None, None]


def translation(x: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Products with matrices of zeros and ones: exact, zero outside, and with a gradient of fixed order on CUDA."""
    rows, columns = (
        shifted(side, whole(u, -int(side / 8 + 0.5), int(side / 8 + 0.5))).to(x)
        for side, u in zip(x.shape[2:], (down, across))
    )
    with torch.autocast(x.device.type, enabled=False):
        return rows[:, None] @ x @ columns[:, None].mT


def shifted(side: int, by: Tensor) -> Tensor:
    """(n,) -> (n, side, side): row i of a product is row i + by of what it multiplies."""
    i = torch.arange(side, device=by.device)
    return i[:, None] + by[:, None, None] == i


def cutout(x: Tensor, down: Tensor, across: Tensor) -> Tensor:
    rows, columns = (hole(side, u, int(side / 2 + 0.5)) for side, u in zip(x.shape[2:], (down, across)))
    return x.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0)


def hole(side: int, u: Tensor, length: int) -> Tensor:
    """(n,) -> (n, side): where a piece of `length` pixels lies, whose centre is anywhere in 0..side."""
    first = whole(u, 0, side - length % 2) - length // 2
    i = torch.arange(side, device=u.device)
    return (i >= first[:, None]) & (i < first[:, None] + length)


def whole(u: Tensor, least: int, most: int) -> Tensor:
    """Numbers in [0, 1) as whole numbers from least to most, all equally likely."""
    return (least + (u * (most - least + 1)).long()).clamp(max=most)  # float32 may round the product up
