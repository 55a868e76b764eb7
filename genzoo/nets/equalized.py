"""Layers with an equalised learning rate, and the two normalisations of Progressive GAN (Karras et al. 2018)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from genzoo.losses import full

GAIN = math.sqrt(2)  # He et al. 2015, for layers before a rectifier


class Equalized(nn.Module):
    """Weights are stored as N(0, 1) and multiplied by gain / sqrt(fan_in) when they are used, so that Adam moves all
    layers at one relative speed (section 4.1). Biases start at 0; with `scaled_bias` they are multiplied alike.
    """

    def __init__(self, shape: tuple[int, ...], biases: int, gain: float, scaled_bias: bool) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(shape)), nn.Parameter(torch.zeros(biases))
        self.scale, self.scaled_bias = gain / math.sqrt(math.prod(shape[1:])), scaled_bias

    def effective(self) -> tuple[Tensor, Tensor]:
        return self.weight * self.scale, self.bias * self.scale if self.scaled_bias else self.bias

    def extra_repr(self) -> str:
        return f"{tuple(self.weight.shape)}, scale={self.scale:.4g}"


class EqualizedLinear(Equalized):
    """(n, inputs) -> (n, outputs). With fewer `biases` than outputs each one serves as many neighbours."""

    def __init__(
        self, inputs: int, outputs: int, gain: float = GAIN, scaled_bias: bool = False, biases: int | None = None
    ) -> None:
        super().__init__((outputs, inputs), biases or outputs, gain, scaled_bias)

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.effective()
        return functional.linear(x, weight, bias.repeat_interleave(len(weight) // len(bias)))


class EqualizedConv2d(Equalized):
    """(n, inputs, h, w) -> (n, outputs, h, w), or twice or half that size where `change` is up or down.

    Up is nearest neighbour before the convolution, down is 2x2 averages after it and before the bias: each is one
    convolution of stride 2 whose kernel is wider by one, at 16 instead of 36 products (as in the authors' code).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        gain: float = GAIN,
        scaled_bias: bool = False,
        change: str = "",
    ) -> None:
        super().__init__((outputs, inputs, kernel, kernel), outputs, gain, scaled_bias)
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.effective()
        if self.change == "up":
            wider = 4 * widened(weight.flip(2, 3)).transpose(0, 1)
            return functional.conv_transpose2d(x, wider, bias, stride=2, padding=1)
        if self.change == "down":
            return functional.conv2d(x, widened(weight), bias, stride=2, padding=1)
        return functional.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)


def widened(kernel: Tensor) -> Tensor:
    """The kernel followed by a 2x2 average, as one kernel: (o, i, k, k) -> (o, i, k + 1, k + 1)."""
    return functional.avg_pool2d(functional.pad(kernel, (1, 1, 1, 1)), 2, stride=1)


def pixel_norm(x: Tensor, eps: float = 1e-8) -> Tensor:
    """Every pixel's, or latent's, channels brought to a mean square of 1 (section 4.2): (n, c, ...) -> the same."""
    return x * (full(x).square().mean(1, keepdim=True) + eps).rsqrt().to(x.dtype)


def minibatch_deviation(x: Tensor, group: int = 4, consecutive: bool = False, unbiased: bool = False) -> Tensor:
    """Append a channel that tells how much the images of a group differ (section 3): (n, c, h, w) -> (n, c + 1, h, w).

    The deviation of every feature over a group, averaged to one number for the group. Image i belongs to group
    i mod (n / group), or to i // group where groups are `consecutive`; a batch that the group does not divide is one
    group. A single image gets 0.
    """
    n = len(x)
    size = group if n % group == 0 else n
    if size == 1:
        return functional.pad(x, (0, 0, 0, 0, 0, 1))
    groups = full(x).unflatten(0, (n // size, size) if consecutive else (size, n // size))
    variance = groups.var(int(consecutive), correction=int(unbiased))  # (groups, c, h, w)
    number = (variance + 1e-8).sqrt().mean((1, 2, 3))
    number = number.repeat_interleave(size) if consecutive else number.repeat(size)
    return torch.cat([x, number.to(x.dtype).view(n, 1, 1, 1).expand(-1, 1, *x.shape[2:])], 1)
