"""Spectral normalisation: layers whose weights are divided by their largest singular value (Miyato et al. 2018,
Algorithm 1), in the convention of ajbrock/BigGAN-PyTorch.

Every pass in training makes one step of the power iteration, keeps its vector u, and divides by the estimate sigma,
through which gradients flow. In eval mode a step from the kept u is made and forgotten (`eval_iterations=1`); with 0
the kept u and v are used as they are, as in torch and huggingface/pytorch-pretrained-BigGAN.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, linear, normalize

from genzoo.losses import full


class Spectral(nn.Module):
    """Adds spectral normalisation to a layer with a weight (out, ...): buffers u (1, out) and sigma (1,), in eval mode
    without iterations also v (1, rest). `eps` is the least length of the vectors.
    """

    weight: Tensor
    u: Tensor
    v: Tensor
    sigma: Tensor

    def __init__(self, *args: Any, eps: float = 1e-6, eval_iterations: int = 1, **options: Any) -> None:
        super().__init__(*args, **options)
        if eval_iterations not in (0, 1):
            raise ValueError(f"eval_iterations={eval_iterations}: 0 or 1")
        self.eps, self.eval_iterations = eps, eval_iterations
        matrix = self.weight.flatten(1)
        self.register_buffer("u", torch.randn(1, len(matrix)))
        self.register_buffer("sigma", torch.ones(1))
        if not eval_iterations:
            self.register_buffer("v", torch.randn(1, matrix.shape[1]))

    def normalized(self) -> Tensor:
        """weight / sigma, in full precision whatever the pass around it has."""
        kind = self.weight.device.type
        with torch.autocast("cpu" if kind == "meta" else kind, enabled=False):  # the meta device has none
            weight = full(self.weight)
            matrix = weight.flatten(1)  # (out, rest)
            if self.training or self.eval_iterations:
                with torch.no_grad():
                    v = normalize(full(self.u) @ matrix, eps=self.eps)
                image = v @ matrix.T  # its gradient makes sigma's: the vectors count as constant
                u = normalize(image.detach(), eps=self.eps)
            else:
                u, image = full(self.u), full(self.v) @ matrix.T
            sigma = (image * u).sum(1)
            if self.training:
                with torch.no_grad():
                    self.u.copy_(u)
                    self.sigma.copy_(sigma)
                    if not self.eval_iterations:
                        self.v.copy_(v)
            return (weight / sigma).to(self.weight.dtype)


class SNConv2d(Spectral, nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.normalized(), self.bias)


class SNLinear(Spectral, nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.normalized(), self.bias)


class ClassEmbedding(nn.Embedding):
    """A row of the table for each class id (n,), or the mean of rows by the shares in (n, classes)."""

    def forward(self, y: Tensor) -> Tensor:
        return looked_up(y, self.weight)


class SNEmbedding(Spectral, nn.Embedding):
    """`ClassEmbedding` with its table (classes, dim) normalised."""

    def forward(self, y: Tensor) -> Tensor:
        return looked_up(y, self.normalized())


def looked_up(y: Tensor, table: Tensor) -> Tensor:
    """(n,) ids, or (n, classes) shares -> (n, dim)."""
    return embedding(y, table) if y.dim() == 1 else y.to(table) @ table
