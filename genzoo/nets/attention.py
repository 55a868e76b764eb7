"""Self-attention over the places of a feature map (Zhang et al. 2019, SAGAN, Eq. 1 to 3)."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from genzoo.nets.spectral import SNConv2d


class SelfAttention(nn.Module):
    """(n, c, h, w) -> the same shape; at first it changes nothing, since gamma starts at 0.

    Keys and values are max-pooled 2x2, as in the authors' code. Plain products and a softmax, which, unlike fused
    kernels, have the second derivative that gradient penalties need.
    """

    def __init__(self, channels: int, **spectral: Any) -> None:
        super().__init__()
        keys = max(channels // 8, 1)
        self.theta = SNConv2d(channels, keys, 1, bias=False, **spectral)
        self.phi = SNConv2d(channels, keys, 1, bias=False, **spectral)
        self.g = SNConv2d(channels, channels // 2, 1, bias=False, **spectral)
        self.o = SNConv2d(channels // 2, channels, 1, bias=False, **spectral)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        queries = self.theta(x).flatten(2)  # (n, c/8, hw)
        keys = max_pool2d(self.phi(x), 2).flatten(2)  # (n, c/8, hw/4)
        values = max_pool2d(self.g(x), 2).flatten(2)  # (n, c/2, hw/4)
        shares = (queries.mT @ keys).softmax(-1)  # (n, hw, hw/4)
        return x + self.gamma * self.o((values @ shares.mT).unflatten(2, x.shape[2:]))
