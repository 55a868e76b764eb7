"""CycleGAN. Jun-Yan Zhu, Taesung Park, Phillip Isola, Alexei A. Efros, Unpaired Image-to-Image Translation using
Cycle-Consistent Adversarial Networks, ICCV 2017.

Two translators, each judged by the patches of what it makes and, through the other one, by whether the picture comes
back (Eq. 3). Least squares, earlier fakes from a pool, and the identity term of section 5.2, which the authors' code
has on for all pictures. Everywhere `a` and `b` are the domain that is made or judged: `generator["b"]` maps A to B
(theirs is G_A), `discriminator["b"]` judges pictures of B (theirs is D_A).
"""

from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from genzoo.batches import Pair
from genzoo.core.domains import TwoDomains
from genzoo.core.module import AdversarialModule, Shown, Terms
from genzoo.core.random import uniform
from genzoo.limits import Natural, Weight
from genzoo.nets.layers import Absent
from genzoo.nets.translators import at_any_size

Domain = Literal["a", "b"]
OTHER = {"a": "b", "b": "a"}


class ImagePool:
    """Fakes of the past: a critic judges the new one or, with probability 1/2, an old one whose place it then takes
    (Shrivastava et al. 2017, section 2.3). Until `size` are there it judges what is new."""

    def __init__(self, size: int) -> None:
        self.size, self.images = size, list[Tensor]()

    def replace(self, fakes: Tensor, chances: Tensor) -> Tensor:
        """What is judged in place of each of the fakes (n, c, h, w), by its own number in [0, 1): the same shape."""
        if not self.size:
            return fakes
        judged = []
        for fake, chance in zip(fakes, chances.tolist(), strict=True):
            place = int(2 * chance * self.size)  # of the old one; without one above
            if len(self.images) < self.size:
                self.images.append(fake.clone())  # a part of the batch would keep all of it
            elif place < self.size:
                fake, self.images[place] = self.images[place].to(fake), fake.clone()
            judged.append(fake)
        return torch.stack(judged)


class CycleGAN(TwoDomains, AdversarialModule):
    """`generator` and `discriminator` hold a network for a and one for b.

    adversarial   weight of the generators' adversarial term; 2 undoes the half in our least squares, which the
                  authors have for the discriminators only
    cycle         weight of a -> b -> a and of b -> a -> b; 0 leaves one out, as the ablation of section 5.1.4 does
    identity      weight of G_b(b) = b and G_a(a) = a, times that of the domain's cycle; left out where a and b have
                  different channels
    pool          fakes of each domain that are kept
    """

    def __init__(
        self,
        generator: dict[Domain, nn.Module],
        discriminator: dict[Domain, nn.Module],
        cycle: dict[Domain, Weight],
        identity: Weight = 0.5,
        adversarial: Weight = 2.0,
        pool: Natural = 50,
        **engine: Any,
    ) -> None:
        super().__init__(**engine)
        if set(self.turns) != {"gd"}:
            raise ValueError(
                f"model.turns={self.turns}: CycleGAN plays [gd], its critics judge what the generators left"
            )
        for name, held in {"generator": generator, "discriminator": discriminator, "cycle": cycle}.items():
            if set(held) != {"a", "b"}:
                raise ValueError(f"model.{name} has {', '.join(held) or 'nothing'}: expected one for a and one for b")
        self.generator, self.discriminator = nn.ModuleDict(generator), nn.ModuleDict(discriminator)
        self.cycle, self.identity, self.adversarial = cycle, identity, adversarial
        self.pools = {domain: ImagePool(pool) for domain in "ab"}
        self.judged: dict[str, Tensor] = {}  # this turn's fakes, after the pools

    @property
    def makes(self) -> str:
        return "".join(domain for domain in "ab" if not isinstance(self.generator[domain], Absent))

    def translator(self, to: Any) -> nn.Module:
        """The network that makes the domain `to`, a name or a or b; ValueError if the file of this model had none."""
        network = self.generator[self.letter(to)]
        if isinstance(network, Absent):
            network()  # tells so
        return network

    @torch.no_grad()
    def translate(self, x: Tensor, to: Any = None, seed: int | None = None) -> Tensor:
        """Images (n, c, h, w) of any size in the domain `to`. Nothing is random in a model that does not train."""
        return at_any_size(self.translator(to), x)

    def preview(self, batch: Pair) -> Shown:
        """Up to eight test images of each domain, their translation, what comes back, and the identity."""
        shown: Shown = {}
        for domain, real in zip("ab", batch):
            real, other = real[:8], OTHER[domain]
            fake, here, there = self.translate(real, other), self.names[domain], self.names[other]
            sheet = {f"real {here}": real, f"fake {there}": fake, f"reconstructed {here}": self.translate(fake, domain)}
            if real.shape[1] == fake.shape[1]:
                sheet[f"identity {here}"] = self.translate(real, domain)
            shown[f"{domain}_to_{other}"] = sheet
        return shown

    def generator_loss(self, batch: Pair) -> Terms:
        """Translation and identity are one pass, which is faster and, with instance norm, the same."""
        real, n = batch._asdict(), len(batch.a)
        fakes, terms = {}, {}
        for domain, other in OTHER.items():
            weight = self.identity * self.cycle[domain]
            same = weight > 0 and batch.a.shape[1] == batch.b.shape[1]
            made = self.generator[domain](torch.cat([real[other], real[domain]]) if same else real[other])
            fakes[domain] = made[:n]
            if same:
                terms[f"generator/identity_{domain}"] = weight * l1_loss(made[n:], real[domain])
        for domain, other in OTHER.items():
            logits = self.judge(self.discriminator[domain], fakes[domain])
            terms[f"generator/adversarial_{domain}"] = self.adversarial * self.objective.generator(logits)
            if weight := self.cycle[domain]:
                back = self.generator[domain](fakes[other])
                terms[f"generator/cycle_{domain}"] = weight * l1_loss(back, real[domain])
        if self.place:
            self.left[self.place.rows.start] = torch.cat([fakes["a"], fakes["b"]], 1).detach()
        return terms

    def discriminator_loss(self, batch: Pair) -> Terms:
        terms: Terms = {}
        for domain, real in zip("ab", batch):
            critic, fake = self.discriminator[domain], self.from_pool(domain, batch)
            terms |= self.verdict(self.judge(critic, real), self.judge(critic, fake), of=f"_{domain}")
            penalties = self.penalty_terms(critic, real, fake)
            terms |= {f"{name}_{domain}": term for name, term in penalties.items()}
        return terms

    def from_pool(self, domain: str, batch: Pair) -> Tensor:
        """This part's fakes out of the pool, which takes those of the whole turn and of all devices at once, in the
        order of the data: however the turn is cut, the pool and the critic see the same."""
        at = self.place
        if at is None:  # outside an update, as in `genzoo check`, nothing was left and the pool stays as it is
            with torch.no_grad():
                return cast(Tensor, self.generator[domain](batch._asdict()[OTHER[domain]]))
        if domain == "a" and at.rows.start == 0:  # the first question of an update
            left: Any = torch.cat([self.left[start] for start in sorted(self.left)])
            if at.world > 1:
                left = self.all_gather(left)  # (world, n, ...), of which every rank holds each world-th image
                left = left.transpose(0, 1).flatten(0, 1)
            fakes = left.split([batch.a.shape[1], batch.b.shape[1]], 1)
            for name, part in zip("ab", fakes):
                chances = uniform(self.seed, f"pool {name}", range(at.position, at.position + at.total))
                self.judged[name] = self.pools[name].replace(part, chances)[at.rank :: at.world]
        return self.judged[domain][at.rows]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        filled = {name: pool.images for name, pool in self.pools.items() if pool.images}
        checkpoint["pools"] = {name: torch.stack([x.cpu() for x in images]) for name, images in filled.items()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        for name, images in checkpoint["pools"].items():
            self.pools[name].images = list(images)
