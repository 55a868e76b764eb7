"""What a model can do for its user, as protocols that commands ask for."""

import math
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from genzoo.core import random
from genzoo.nets.layers import Absent
from genzoo.priors import Prior


@runtime_checkable
class Sampler(Protocol):
    """Makes new images: GAN, DCGAN, VAE and their kin; of `classes`, where that is a number."""

    classes: int | None

    def sample(
        self, n: int, y: Tensor | None = None, *, seed: int | None = None, truncation: float | None = None
    ) -> Tensor: ...
    def generate(self, z: Tensor, y: Tensor | None = None) -> Tensor: ...
    def latents(self, n: int, *, seed: int | None = None, truncation: float | None = None) -> Tensor: ...
    def labels(self, n: int, *, seed: int | None = None) -> Tensor | None: ...


@runtime_checkable
class Autoencoder(Protocol):
    """Maps images to latents and back: VAE."""

    def encode(self, x: Tensor) -> Tensor: ...
    def reconstruct(self, x: Tensor) -> Tensor: ...


@runtime_checkable
class Translator(Protocol):
    """Maps images of one domain to another; `translator` is the network that does it, `still` what becomes ONNX.

    `makes` holds the letters of the domains that it makes, `names` what the data called them.
    """

    @property
    def makes(self) -> str: ...
    @property
    def names(self) -> dict[str, str]: ...
    def translator(self, to: Any) -> torch.nn.Module: ...
    def translate(self, x: Tensor, to: Any = None, seed: int | None = None) -> Tensor: ...
    def still(self, x: Tensor, to: Any) -> Tensor: ...


@runtime_checkable
class Labeller(Protocol):
    """Names what an image shows; images in [0, 1]."""

    def classify(self, x: Tensor) -> Tensor: ...


@runtime_checkable
class Grows(Protocol):
    """Has stages of growing size; `level` is the one that is shown: 0 is 4x4 pixels, 1.5 half-way from 8 to 16."""

    level: float


@runtime_checkable
class Standing(Protocol):
    """Can recompute its BatchNorm statistics from samples (BigGAN, appendix)."""

    def standing(self, passes: int, batch: int = 64, seed: int = 0, truncation: float | None = None) -> None: ...


@runtime_checkable
class Likelihood(Protocol):
    """Has a lower bound on the log-likelihood of images, by which it is judged without a feature network: VAE."""

    def bound(self, x: Tensor, noise: Tensor) -> Any: ...


ABILITY: dict[Any, str] = {Sampler: "sample", Autoencoder: "reconstruct", Translator: "translate", Labeller: "classify"}


def roles(model: Any) -> list[Any]:
    """The roles that a model has; one whose file held no generator cannot sample."""
    generator = getattr(model, "generator", None)
    networks = list(generator.values()) if isinstance(generator, torch.nn.ModuleDict) else [generator]
    without = all(isinstance(network, Absent) for network in networks)
    return [role for role in ABILITY if isinstance(model, role) and not (without and role in (Sampler, Translator))]


def require(model: Any, role: type) -> Any:
    """The model, if it has the role; else a ValueError that says what it can do instead."""
    able = roles(model)
    if role in able:
        return model
    if role in (Sampler, Translator) and isinstance(generator := getattr(model, "generator", None), Absent):
        generator()  # tells that it is absent, and the way out
    verbs = " and ".join(ABILITY[known] for known in able) or "only train"
    raise ValueError(f"{type(model).__name__} cannot {ABILITY[role]}; it can {verbs}")


class LatentSampler:
    """For models that draw latents from `self.prior` and turn them into images by `self.generate(z, y)`.

    Where `classes` is a number an image has a class too: y holds ids (n,), or mixtures of classes (n, classes) float.
    """

    prior: Prior
    classes: int | None = None

    def fake(self: Any, n: int) -> Tensor:
        """Fakes for a loss. In a turn `gd` the generator leaves its own, detached, to the discriminator;
        in a turn `dg` each update draws afresh, as in Algorithm 1 of Goodfellow et al. 2014."""
        at = self.place
        if at and at.player == "d" and at.rows.start in self.left:
            return self.left[at.rows.start]
        fake = self.generate(self.draw(self.prior.sample, n))
        if at and at.player == "g":
            self.left[at.rows.start] = fake.detach()
        return fake

    def latents(self: Any, n: int, *, seed: int | None = None, truncation: float | None = None) -> Tensor:
        """What `sample` makes images of: (n, dim), drawn on the CPU, then in the model's place and precision.

        With a seed a latent is the same however many are drawn with it: torch draws the last numbers of a tensor anew
        unless there is a multiple of sixteen.
        """
        place = [None, None] if seed is None else [random.generator(seed, "sample"), random.generator(seed, "truncate")]
        with random.usual():
            z = self.prior.sample(math.ceil(n / 16) * 16, place[0])[:n]
            if truncation is not None:
                z = self.prior.truncate(z, truncation, generator=place[1])
        return z.to(self.device, self.dtype)

    def labels(self: Any, n: int, *, seed: int | None = None) -> Tensor | None:
        """The classes of n images, all equally likely: ids (n,), or None for a model without classes."""
        if not self.classes:
            return None
        place = None if seed is None else random.generator(seed, "labels")
        with random.usual():
            return self.draw_labels(n, place).to(self.device)

    def draw_labels(self: Any, n: int, generator: torch.Generator | None = None) -> Tensor:
        return torch.randint(self.classes, (n,), generator=generator)

    @torch.no_grad()
    def sample(
        self: Any, n: int, y: Tensor | None = None, *, seed: int | None = None, truncation: float | None = None
    ) -> Tensor:
        """n new images in [-1, 1], of the classes y or of any; without a seed from torch's default generator."""
        z = self.latents(n, seed=seed, truncation=truncation)
        return self.generate(z, self.labels(n, seed=seed) if y is None else y)

    def preview(self: Any, batch: Any) -> dict[str, Tensor]:
        """A sheet of samples of the same latents each time, however small the batch is; classes in turn.

        64 of them, or as many as fill 2,048 x 2,048 pixels, made a few at a time where they are large.
        """
        z, y = self.latents(64, seed=self.seed), None
        if self.classes:
            y = torch.arange(64, device=self.device) % self.classes

        def some(part: slice) -> Tensor:
            return self.generate(z[part], None if y is None else y[part])

        with torch.no_grad():
            first = some(slice(1))
            side = first.shape[-1] if first.dim() == 4 else 1
            count, step = min(64, max(4, (2048 // side) ** 2)), max(1, 2**21 // side**2)
            return {
                "samples": torch.cat([first, *(some(slice(i, min(i + step, count))) for i in range(1, count, step))])
            }
