"""Discriminators that judge every patch of a picture by itself (pix2pix, section 3.2; CycleGAN, section 4).

Layers and biases are those of the authors' code (junyanz/pytorch-CycleGAN-and-pix2pix).
"""

from itertools import pairwise

from torch import Tensor, nn

from genzoo.limits import Count, Natural
from genzoo.losses import full
from genzoo.nets.init import normal_init
from genzoo.nets.translators import norm_of


class PatchDiscriminator(nn.Sequential):
    """(n, condition + channels, h, w) -> (n, 1, h', w') logits, one for each overlapping patch.

    A patch has 16, 34, 70, 142, 286 or 574 pixels for 1 to 6 `layers` of stride 2; the paper's is 70. `condition`
    counts the channels of a picture that is shown beside the one to be judged.
    """

    def __init__(
        self, channels: Count, width: Count = 64, layers: Count = 3, norm: str = "instance", condition: Natural = 0
    ) -> None:
        layer, bias = norm_of(norm)
        widths = [width * 2 ** min(k, 3) for k in range(layers + 1)]
        modules = [nn.Conv2d(condition + channels, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2, True)]
        for k, (inputs, outputs) in enumerate(pairwise(widths), start=1):
            stride = 2 if k < layers else 1
            modules += [nn.Conv2d(inputs, outputs, 4, stride=stride, padding=1, bias=bias)]
            modules += [layer(outputs), nn.LeakyReLU(0.2, True)]
        super().__init__(*modules, nn.Conv2d(widths[-1], 1, 4, padding=1))
        self.layers, self.smallest = layers, 3 * 2**layers  # two pixels are left for the last norm
        normal_init(self)

    def forward(self, x: Tensor) -> Tensor:
        if min(x.shape[-2:]) < self.smallest:
            raise ValueError(
                f"images of {x.shape[-2]}x{x.shape[-1]} pixels: a patch discriminator with layers={self.layers} "
                f"takes {self.smallest} or more; take fewer layers"
            )
        return full(super().forward(x))


class PixelDiscriminator(nn.Sequential):
    """(n, condition + channels, h, w) -> (n, 1, h, w) logits of single pixels: it sees colours and no shapes."""

    def __init__(self, channels: Count, width: Count = 64, norm: str = "instance", condition: Natural = 0) -> None:
        layer, bias = norm_of(norm)
        super().__init__(
            nn.Conv2d(condition + channels, width, 1),
            nn.LeakyReLU(0.2, True),
            nn.Conv2d(width, 2 * width, 1, bias=bias),
            layer(2 * width),
            nn.LeakyReLU(0.2, True),
            nn.Conv2d(2 * width, 1, 1, bias=bias),
        )
        normal_init(self)

    def forward(self, x: Tensor) -> Tensor:
        return full(super().forward(x))
