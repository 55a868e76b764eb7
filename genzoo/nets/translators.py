"""Networks that map pictures to pictures of the same size: residual blocks between two convolutions (Johnson et al.
2016; CycleGAN, appendix) and the U-Net of pix2pix (appendix 6.1).

Layers, biases and their order are those of the authors' code (junyanz/pytorch-CycleGAN-and-pix2pix), so that its files
can be read. Both classes take the same keys: one word of a configuration exchanges them.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from genzoo.limits import Count, Share
from genzoo.losses import full
from genzoo.nets.init import normal_init

NORMS: dict[str, Callable[[int], nn.Module]] = {
    "instance": nn.InstanceNorm2d,  # no statistics are tracked: a picture alone decides, in training and in use
    "batch": nn.BatchNorm2d,
    "none": lambda channels: nn.Identity(),
}


def norm_of(name: str) -> tuple[Callable[[int], nn.Module], bool]:
    """A layer for so many channels, and whether convolutions before it have a bias, as only instance norm's have."""
    if name not in NORMS:
        raise ValueError(f"norm={name}: there are {', '.join(NORMS)}")
    return NORMS[name], name == "instance"


class Residual(nn.Module):
    """x + f(x) with two 3x3 convolutions at reflected borders, and nothing after the sum: (n, c, h, w) -> the same."""

    def __init__(self, channels: int, norm: str = "instance", dropout: float = 0.0) -> None:
        super().__init__()
        layer, bias = norm_of(norm)
        first = [nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3, bias=bias), layer(channels), nn.ReLU(True)]
        middle = [nn.Dropout(dropout)] if dropout else []
        second = [nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3, bias=bias), layer(channels)]
        self.layers = nn.Sequential(*first, *middle, *second)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class ResNet(nn.Sequential):
    """(n, inputs, h, w) -> (n, outputs, h, w) in [-1, 1], for sizes that are multiples of 4, of 8 pixels or more.

    `depth` counts the residual blocks, by default 9 from 256 pixels on and 6 below (section 4). `upsample`: transposed
    convolutions (deconv) as in the paper, or nearest or bilinear before a plain one, which leaves no checkerboard.
    """

    multiple_of, smallest = 4, 8  # two halvings; a block reflects one pixel of at least two

    def __init__(
        self,
        inputs: Count,
        outputs: Count,
        resolution: Count,
        width: Count = 64,
        depth: Count | None = None,
        norm: str = "instance",
        dropout: Share = 0.0,
        upsample: str = "deconv",
    ) -> None:
        check_size(resolution, self.multiple_of, self.smallest)
        if upsample not in ("deconv", "nearest", "bilinear"):
            raise ValueError(f"upsample={upsample}: there are deconv, nearest, bilinear")
        depth = (9 if resolution >= 256 else 6) if depth is None else depth
        norm_layer, bias = norm_of(norm)

        def normed(convolution: nn.Module, channels: int) -> list[nn.Module]:
            return [convolution, norm_layer(channels), nn.ReLU(True)]

        layers = [nn.ReflectionPad2d(3), *normed(nn.Conv2d(inputs, width, 7, bias=bias), width)]
        for n in (width, 2 * width):
            layers += normed(nn.Conv2d(n, 2 * n, 3, stride=2, padding=1, bias=bias), 2 * n)
        layers += [Residual(4 * width, norm, dropout) for _ in range(depth)]
        for n in (2 * width, width):
            if upsample == "deconv":
                up: nn.Module = nn.ConvTranspose2d(2 * n, n, 3, stride=2, padding=1, output_padding=1, bias=bias)
            else:
                larger = nn.Upsample(scale_factor=2, mode=upsample)
                up = nn.Sequential(larger, nn.ReflectionPad2d(1), nn.Conv2d(2 * n, n, 3, bias=bias))
            layers += normed(up, n)
        super().__init__(*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, outputs, 7), nn.Tanh())
        self.inputs = inputs
        normal_init(self)

    def forward(self, x: Tensor) -> Tensor:
        return full(super().forward(x))

    @property
    def stages(self) -> tuple[nn.Sequential, nn.Sequential, nn.Sequential]:
        """The way down to a quarter of the size, what happens there, and the way up."""
        layers = list(self)  # a slice of this class would be a ResNet
        return nn.Sequential(*layers[:8]), nn.Sequential(*layers[8:-9]), nn.Sequential(*layers[-9:])


class UNet(nn.Module):
    """(n, inputs, h, w) -> (n, outputs, h, w) in [-1, 1], for sizes that are multiples of 2^depth.

    Every halving hands what it saw to the doubling of its size. `depth` is their number, by default 8, or fewer where
    the resolution cannot be halved so often. `dropout` acts between the innermost and the last four doublings.
    """

    def __init__(
        self,
        inputs: Count,
        outputs: Count,
        resolution: Count,
        width: Count = 64,
        depth: Count | None = None,
        norm: str = "batch",
        dropout: Share = 0.5,
    ) -> None:
        super().__init__()
        depth = max(2, min(8, (resolution & -resolution).bit_length() - 1)) if depth is None else depth
        if depth < 2:
            raise ValueError(f"depth={depth}: a U-Net halves twice or more")
        self.inputs, self.multiple_of, self.smallest = inputs, 2**depth, 2**depth
        check_size(resolution, self.multiple_of, self.smallest)
        layer, bias = norm_of(norm)
        widths = [width * 2 ** min(k, 3) for k in range(depth)]
        downs: list[list[nn.Module]] = [[nn.Conv2d(inputs, width, 4, stride=2, padding=1, bias=bias)]]
        ups: list[list[nn.Module]] = []
        for k in range(1, depth):
            convolution = nn.Conv2d(widths[k - 1], widths[k], 4, stride=2, padding=1, bias=bias)
            normed = [layer(widths[k])] if k < depth - 1 else []  # of a single pixel a norm would leave nothing
            downs.append([nn.LeakyReLU(0.2), convolution, *normed])
        for k in range(depth):
            n = widths[k] if k == depth - 1 else 2 * widths[k]
            if k == 0:
                ups.append([nn.ReLU(), nn.ConvTranspose2d(n, outputs, 4, stride=2, padding=1), nn.Tanh()])
                continue
            doubling = nn.ConvTranspose2d(n, widths[k - 1], 4, stride=2, padding=1, bias=bias)
            dropped = [nn.Dropout(dropout)] if dropout and 4 <= k < depth - 1 else []
            ups.append([nn.ReLU(), doubling, layer(widths[k - 1]), *dropped])
        self.downs = nn.ModuleList(nn.Sequential(*layers) for layers in downs)  # the outermost first
        self.ups = nn.ModuleList(nn.Sequential(*layers) for layers in ups)
        normal_init(self)

    def forward(self, x: Tensor) -> Tensor:
        seen = []
        for down in self.downs:
            x = down(x)
            seen.append(x)
        x = self.ups[-1](seen.pop())
        for up in list(self.ups)[-2::-1]:
            x = up(torch.cat([seen.pop(), x], 1))
        return full(x)


def check_size(resolution: int, multiple: int, smallest: int) -> None:
    """ValueError with the nearest sizes that a network of so many halvings can be trained with."""
    if resolution % multiple or resolution < smallest:
        below = max(resolution // multiple * multiple, smallest)
        nearest = f"the nearest are {below} and {below + multiple}" if below < resolution else f"the nearest is {below}"
        halvings = multiple.bit_length() - 1
        raise ValueError(
            f"data.resolution={resolution}: a translator that halves {halvings} times is trained with multiples of "
            f"{multiple}, {nearest}"
        )


def at_any_size(network: nn.Module, x: Tensor, through: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """network(x), or through(x), for pictures of any size: continued to the right and downwards up to a size that the
    network takes, by reflection or, where they are too small, by their border; what comes out is cut back."""
    inputs, multiple = getattr(network, "inputs", x.shape[1]), getattr(network, "multiple_of", 1)
    if x.dim() != 4:
        raise ValueError(
            f"a tensor of the shape {tuple(x.shape)}: images (n, {inputs}, h, w) in [-1, 1] are translated"
        )
    if x.shape[1] != inputs:
        raise ValueError(f"images of {x.shape[1]} channel{'s' * (x.shape[1] > 1)}: this translator takes {inputs}")
    h, w = x.shape[-2:]
    down, right = (max(-size % multiple, getattr(network, "smallest", 1) - size) for size in (h, w))
    if down or right:
        x = pad(x, (0, right, 0, down), mode="reflect" if down < h and right < w else "replicate")
    return (through or network)(x)[..., :h, :w]
