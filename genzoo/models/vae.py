"""VAE. Diederik Kingma, Max Welling, Auto-Encoding Variational Bayes, ICLR 2014; the "Modèle" of our sources.

An encoder gives mean and log variance of q(z|x), a decoder an image; the loss is the negative evidence lower bound,
reconstruction error plus KL(q(z|x) || N(0, I)), both summed over pixels and latents and averaged over the batch.
`beta` weighs the KL (Higgins et al. 2017), `capacity` is the KL in nats that it is held to (Burgess et al. 2018, Eq. 8):
each a number, or a schedule of images seen. What is reported is always the plain bound, in nats, of images in [0, 1].
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from genzoo.core.module import Shown, Terms, ZooModule
from genzoo.core.random import generator
from genzoo.core.roles import LatentSampler
from genzoo.images import to_signed, to_unit
from genzoo.limits import Count, Positive, Weight
from genzoo.losses import bernoulli_nll, full, gaussian_kl, gaussian_nll
from genzoo.nets.sizes import doublings
from genzoo.priors import Normal
from genzoo.schedules import Constant, Schedule


def plan(resolution: int, width: int, growth: int) -> tuple[int, list[int]]:
    """The side of the smallest feature map and the channels of all of them, largest map first.

    28 px: 7 and w, 2w. 64 px: 4 and w, 2w, 4w, 8w; never more than 8w. With growth 1 all have w.
    """
    base, halvings = doublings(resolution)
    return base, [width * min(growth**i, 8) for i in range(halvings)]


def linear(sizes: list[int]) -> list[nn.Module]:
    """Fully connected layers between these sizes, a ReLU behind each."""
    return [layer for inputs, outputs in pairwise(sizes) for layer in (nn.Linear(inputs, outputs), nn.ReLU())]


class Encoder(nn.Module):
    """(n, c, h, w) in [0, 1] -> mean and log variance, each (n, latent_dim).

    Convolutions of stride 2 with `growth` times more channels each, then layers of the `hidden` sizes. Burgess et al.
    (2018) have width 32, growth 1 and hidden [256, 256].
    """

    def __init__(
        self,
        latent_dim: Count,
        channels: Count,
        resolution: Count,
        width: Count = 32,
        growth: Count = 2,
        hidden: Sequence[Count] = (256,),
    ) -> None:
        super().__init__()
        base, widths = plan(resolution, width, growth)
        layers: list[nn.Module] = []
        for inputs, outputs in zip([channels] + widths, widths):
            layers += [nn.Conv2d(inputs, outputs, 4, stride=2, padding=1), nn.ReLU()]
        sizes = [widths[-1] * base**2, *hidden]
        self.body = nn.Sequential(*layers, nn.Flatten(), *linear(sizes))
        self.heads = nn.Linear(sizes[-1], 2 * latent_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_var = full(self.heads(self.body(x))).chunk(2, dim=1)
        return mean, log_var


class Decoder(nn.Sequential):
    """(n, latent_dim) -> logits of pixels (n, c, h, w): the encoder's way back."""

    def __init__(
        self,
        latent_dim: Count,
        channels: Count,
        resolution: Count,
        width: Count = 32,
        growth: Count = 2,
        hidden: Sequence[Count] = (256,),
    ) -> None:
        base, widths = plan(resolution, width, growth)
        layers = linear([latent_dim, *reversed(hidden), widths[-1] * base**2])
        layers += [nn.Unflatten(1, (widths[-1], base, base))]
        for inputs, outputs in zip(widths[::-1], widths[-2::-1]):
            layers += [nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1), nn.ReLU()]
        super().__init__(*layers, nn.ConvTranspose2d(widths[0], channels, 4, stride=2, padding=1))


class MLPEncoder(nn.Module):
    """(n, c, h, w) in [0, 1] -> mean and log variance, each (n, latent_dim), by one hidden layer (appendix C)."""

    def __init__(self, latent_dim: Count, channels: Count, resolution: Count, width: Count = 400) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(channels * resolution**2, width), nn.ReLU())
        self.heads = nn.Linear(width, 2 * latent_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_var = full(self.heads(self.body(x))).chunk(2, dim=1)
        return mean, log_var


class MLPDecoder(nn.Sequential):
    """(n, latent_dim) -> logits of pixels (n, c, h, w)."""

    def __init__(self, latent_dim: Count, channels: Count, resolution: Count, width: Count = 400) -> None:
        shape = (channels, resolution, resolution)
        super().__init__(
            nn.Linear(latent_dim, width), nn.ReLU(), nn.Linear(width, math.prod(shape)), nn.Unflatten(1, shape)
        )


class VAE(LatentSampler, ZooModule):
    """`likelihood`: bernoulli (a pixel is a probability), or gaussian with the deviation `sigma` around sigmoid(logit)."""

    players = {"v": ("encoder", "decoder")}

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        prior: Normal,
        likelihood: str = "bernoulli",
        sigma: Positive = 1.0,
        beta: Weight | Schedule = 1.0,
        capacity: Weight | Schedule = 0.0,
        **engine: Any,
    ) -> None:
        super().__init__(**engine)
        if likelihood not in ("bernoulli", "gaussian"):
            raise ValueError(f"model.likelihood={likelihood}: bernoulli or gaussian")
        self.encoder, self.decoder, self.prior = encoder, decoder, prior
        self.likelihood, self.sigma = likelihood, sigma
        self.beta = beta if callable(beta) else Constant(beta)
        self.capacity = capacity if callable(capacity) else Constant(capacity)

    def bound(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """The two parts of the negative ELBO of each image in nats, (n,) and (n,), by one draw of q(z|x) (Eq. 10)."""
        unit = to_unit(x)
        mean, log_var = self.encoder(unit)
        logits = self.decoder(mean + (log_var / 2).exp() * noise)
        if self.likelihood == "bernoulli":
            error = bernoulli_nll(logits, unit)
        else:
            error = gaussian_nll(full(logits).sigmoid(), unit, self.sigma)
        return error, gaussian_kl(mean, log_var)

    def loss(self, player: str, batch: Any) -> Terms:
        error, kl = self.bound(batch.x, self.draw(self.prior.sample, len(batch.x)))
        beta, capacity = self.beta(self.images_seen), self.capacity(self.images_seen)
        return {"vae/reconstruction": error.mean(), "vae/kl": beta * (kl.mean() - capacity).abs()}

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        rank, world = self.trainer.global_rank, self.trainer.world_size  # a rank holds every world-th image
        noise = self.prior.sample(world * len(batch.x), generator(self.seed, "validation", batch_idx))[rank::world]
        error, kl = self.bound(batch.x, noise.to(batch.x))
        self.log("vae/negative_elbo", (error + kl).mean(), batch_size=len(batch.x), sync_dist=True, logger=False)

    def generate(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """The mean image of p(x|z), in [-1, 1]."""
        return to_signed(full(self.decoder(z)).sigmoid())

    def encode(self, x: Tensor) -> Tensor:
        """The mean of q(z|x): (n, c, h, w) in [-1, 1] -> (n, latent_dim)."""
        return self.encoder(to_unit(x))[0]

    def reconstruct(self, x: Tensor) -> Tensor:
        return self.generate(self.encode(x))

    def preview(self, batch: Any) -> Shown:
        x = batch.x[:24]
        shown = {"real": x, "reconstructed": self.reconstruct(x)}
        return super().preview(batch) | {"reconstructions": shown}
