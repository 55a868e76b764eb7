"""pix2pix. Phillip Isola, Jun-Yan Zhu, Tinghui Zhou, Alexei A. Efros, Image-to-Image Translation with Conditional
Adversarial Networks, CVPR 2017.

A U-Net learns from pairs: the discriminator judges the patches of a picture beside the one that it was made from, and
an L1 term keeps it near the truth (Eq. 4). The generator's only noise is dropout, which goes on after training.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import instance_norm, l1_loss

from genzoo.batches import Matched, Pair
from genzoo.core import random
from genzoo.core.domains import TwoDomains
from genzoo.core.module import AdversarialModule, Shown, Terms
from genzoo.limits import Weight
from genzoo.nets.translators import at_any_size


class Pix2Pix(TwoDomains, AdversarialModule):
    """Makes pictures of the domain `to` (a or b) of those of the other.

    l1               weight of the distance to the truth
    inference_norm   what batch normalisation goes by in `translate`: `batch`, the statistics of each picture, as the
                     authors test (section 3.3, with batches of one), or `running`, those of training
    """

    takes = Matched

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        to: str = "b",
        l1: Weight = 100.0,
        inference_norm: str = "batch",
        **engine: Any,
    ) -> None:
        super().__init__(**engine)
        if to not in ("a", "b"):
            raise ValueError(f"model.to={to}: a or b, the domain that is made")
        if inference_norm not in ("batch", "running"):
            raise ValueError(f"model.inference_norm={inference_norm}: batch or running")
        self.generator, self.discriminator = generator, discriminator
        self.to_domain, self.l1, self.inference_norm = to, l1, inference_norm

    @property
    def makes(self) -> str:
        return self.to_domain

    def translator(self, to: Any) -> nn.Module:
        """The network that makes the domain `to`; ValueError for the one that this model starts from."""
        if self.letter(to) != self.to_domain:
            raise ValueError(
                f"to={to}: this model makes {self.to_domain} only; model.to={self.letter(to)} trains the other way"
            )
        return self.generator

    @torch.no_grad()
    def translate(self, x: Tensor, to: Any = None, seed: int | None = None) -> Tensor:
        """Images (n, c, h, w) of any size in the domain that this model makes. With a seed dropout is the same for
        every picture, however many there are; without one it comes from torch's default generator."""
        with self.as_tested(seed):
            return at_any_size(self.translator(to), x)

    @contextmanager
    def as_tested(self, seed: int | None, dropout: bool = True) -> Iterator[None]:
        """The generator with live dropout, if it is wanted, and each picture's own statistics, unless inference_norm is
        running."""
        place = None if seed is None else random.generator(seed, "dropout")

        def drop(layer: Any, inputs: tuple[Tensor], _: Tensor) -> Tensor:
            (x,) = inputs
            with random.usual():
                kept = torch.rand(x.shape if place is None else x.shape[1:], generator=place) >= layer.p
            return x * kept.to(x) / (1 - layer.p)

        def normalise(layer: Any, inputs: tuple[Tensor], _: Tensor) -> Tensor:
            return instance_norm(inputs[0], weight=layer.weight, bias=layer.bias, eps=layer.eps)

        own = self.inference_norm == "batch"
        parts, training = list(self.generator.modules()), self.generator.training
        hooks = [part.register_forward_hook(drop) for part in parts if dropout and isinstance(part, nn.Dropout)]
        norms = [part for part in parts if own and isinstance(part, nn.BatchNorm2d)]
        hooks += [part.register_forward_hook(normalise, prepend=True) for part in norms]  # tiles have the last word
        self.generator.eval()
        try:
            yield
        finally:
            self.generator.train(training)
            for hook in hooks:
                hook.remove()

    def preview(self, batch: Pair) -> Shown:
        """Up to eight test images, what is made of them, and the truth."""
        source, real = (x[:8] for x in self.ordered(batch))
        fake, to = self.translate(source, to=self.to_domain, seed=self.seed), self.to_domain
        here, there = self.names["a" if to == "b" else "b"], self.names[to]
        sheet = {f"real {here}": source, f"fake {there}": fake, f"real {there}": real}
        return {"a_to_b" if to == "b" else "b_to_a": sheet}

    def ordered(self, batch: Pair) -> tuple[Tensor, Tensor]:
        """What is translated, and what it should become."""
        return (batch.a, batch.b) if self.to_domain == "b" else (batch.b, batch.a)

    def fake(self, source: Tensor) -> Tensor:
        """Fakes for a loss. In a turn `gd` the generator leaves its own, detached, to the discriminator; in `dg`, the
        authors' order, each update makes its own."""
        at = self.place
        if at and at.player == "d" and at.rows.start in self.left:
            return self.left[at.rows.start]
        fake = self.generator(source)
        if at and at.player == "g":
            self.left[at.rows.start] = fake.detach()
        return fake

    def discriminator_loss(self, batch: Pair) -> Terms:
        """Halved, so that D learns more slowly than G (section 3.3)."""
        source, real = self.ordered(batch)
        with torch.no_grad():
            fake = torch.cat([source, self.fake(source)], 1)
        real, critic = torch.cat([source, real], 1), self.discriminator
        fake_logits, real_logits = self.judge(critic, fake), self.judge(critic, real)  # in the authors' order
        terms = {name: term / 2 for name, term in self.verdict(real_logits, fake_logits).items()}
        return terms | self.penalty_terms(critic, real, fake)

    def generator_loss(self, batch: Pair) -> Terms:
        source, real = self.ordered(batch)
        fake = self.fake(source)
        logits = self.judge(self.discriminator, torch.cat([source, fake], 1))
        return {
            "generator/adversarial": self.objective.generator(logits),
            "generator/l1": self.l1 * l1_loss(fake, real),
        }
