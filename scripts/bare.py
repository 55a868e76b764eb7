"""Training by hand: what an engineer would write for one model, without a trainer. `bench.py` measures against it.

Each loop makes one iteration on resident pixels: channels last where the model says so, fused optimisers, frozen
discriminators in the generator's update, averages in one call, nothing read from the device.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, l1_loss, mse_loss, relu

Cast = Callable[[], Any]  # makes the context of a precision


def loop_of(model: Any) -> Callable[..., None]:
    """The loop by hand for a model, (model, optimizers, batch, cast): a batch holds all turns of an iteration."""
    name = type(model).__name__
    return {"VAE": variational, "BigGAN": biggan, "ProGAN": progan, "CycleGAN": cyclegan}.get(name, adversarial)


def update(optimizer: Any, loss: Tensor) -> None:
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()


def adversarial(model: Any, optimizers: dict[str, Any], batch: Any, cast: Cast) -> None:
    """GAN and DCGAN. Turn "dg" draws fakes for each player, "gd" draws them once."""
    d, g, real, n = model.discriminator, model.generator, batch[0], len(batch[0])

    def step_d(fake: Tensor) -> None:
        with cast():
            loss = sum(model.objective.discriminator(d(real), d(fake)))
        update(optimizers["d"], loss)

    def step_g() -> Tensor:
        d.requires_grad_(False)  # no gradients of weights that do not move now
        with cast():
            fake = g(model.prior.sample(n))
            loss = model.objective.generator(d(fake))
        update(optimizers["g"], loss)
        d.requires_grad_(True)
        return fake.detach()

    if model.turns == ["gd"]:
        step_d(step_g())
    else:
        with torch.no_grad(), cast():
            fake = g(model.prior.sample(n))
        step_d(fake)
        step_g()


def variational(model: Any, optimizers: dict[str, Any], batch: Any, cast: Cast) -> None:
    """VAE: the negative evidence lower bound."""
    unit = (batch[0] + 1) / 2
    with cast():
        mean, log_var = model.encoder(unit)
        logits = model.decoder(mean + (log_var / 2).exp() * torch.randn_like(mean))
    error = binary_cross_entropy_with_logits(logits.float(), unit, reduction="sum")
    kl = (mean.square() + log_var.exp() - log_var - 1).sum() / 2
    update(optimizers["v"], (error + kl) / len(unit))


def averaged(model: Any, decay: float, buffers: bool) -> None:
    """The exponential moving average of the generator, kept on the model between calls."""
    if not hasattr(model, "moving"):
        live = [*model.generator.parameters(), *(model.generator.buffers() if buffers else ())]
        live = [tensor for tensor in live if tensor.is_floating_point()]
        model.moving = live, [tensor.detach().clone() for tensor in live]
    live, average = model.moving
    with torch.no_grad():
        torch._foreach_lerp_(average, live, 1 - decay)


def biggan(model: Any, optimizers: dict[str, Any], batch: Any, cast: Cast) -> None:
    """Hinge losses; real and fake in one pass; an update of the generator after those of the discriminator."""
    d, g, share = model.discriminator, model.generator, len(batch[0]) // len(model.turns)
    for real, labels in zip(batch[0].split(share), batch[1].split(share)):
        with torch.no_grad(), cast():
            y = torch.randint(model.classes, (share,))
            fake = g(model.prior.sample(share), y)
        with cast():
            made, true = d(torch.cat([fake, real]), torch.cat([y, labels])).chunk(2)
        update(optimizers["d"], relu(1 - true).mean() + relu(1 + made).mean())
    d.requires_grad_(False)
    with cast():
        y = torch.randint(model.classes, (share,))
        loss = -d(g(model.prior.sample(share), y), y).mean()
    update(optimizers["g"], loss)
    d.requires_grad_(True)
    averaged(model, 0.9999, buffers=True)


def progan(model: Any, optimizers: dict[str, Any], batch: Any, cast: Cast) -> None:
    """WGAN-GP with drift at the full resolution, which has faded in."""
    d, g, real, n = model.discriminator, model.generator, batch[0], len(batch[0])
    with torch.no_grad(), cast():
        fake = g(model.prior.sample(n))
    with cast():
        true, made = d(real), d(fake)
    share = torch.rand(n, 1, 1, 1)
    between = torch.lerp(fake.float(), real, share.requires_grad_())  # no leaf: torch's counter of FLOPs takes none
    (slope,) = torch.autograd.grad(d(between).sum(), between, create_graph=True)
    excess = slope.flatten(1).norm(dim=1) - 1
    update(optimizers["d"], made.mean() - true.mean() + 10 * excess.square().mean() + 1e-3 * true.square().mean())
    d.requires_grad_(False)
    with cast():
        loss = -d(g(model.prior.sample(n))).mean()
    update(optimizers["g"], loss)
    d.requires_grad_(True)
    averaged(model, 0.999, buffers=False)


def cyclegan(model: Any, optimizers: dict[str, Any], batch: Any, cast: Cast) -> None:
    """Both ways, with identity; translations and identities in one pass; fakes through a pool of 50."""
    a, b = batch
    n, to_a, to_b = len(a), model.generator["a"], model.generator["b"]
    critic_a, critic_b = model.discriminator["a"], model.discriminator["b"]
    model.discriminator.requires_grad_(False)
    with cast():
        fake_b, same_b = to_b(torch.cat([a, b])).split(n)
        fake_a, same_a = to_a(torch.cat([b, a])).split(n)
        judged_a, judged_b = critic_a(fake_a), critic_b(fake_b)
        loss = mse_loss(judged_a, torch.ones_like(judged_a)) + mse_loss(judged_b, torch.ones_like(judged_b))
        loss = loss + 10 * (l1_loss(to_a(fake_b), a) + l1_loss(to_b(fake_a), b))
        loss = loss + 5 * (l1_loss(same_a, a) + l1_loss(same_b, b))
    update(optimizers["g"], loss)
    model.discriminator.requires_grad_(True)
    pools = model.__dict__.setdefault("kept", {"a": [], "b": []})
    with cast():
        loss = torch.zeros(())
        for domain, critic, real, fake in (("a", critic_a, a, fake_a), ("b", critic_b, b, fake_b)):
            true, made = critic(real), critic(from_pool(pools[domain], fake.detach()))
            loss = loss + (mse_loss(true, torch.ones_like(true)) + made.square().mean()) / 2
    update(optimizers["d"], loss)


def from_pool(pool: list[Tensor], fakes: Tensor, size: int = 50) -> Tensor:
    """New fakes, or with probability 1/2 old ones in exchange."""
    shown = []
    for fake in fakes:
        if len(pool) < size:
            pool.append(fake.clone())
        elif torch.rand(()) < 0.5:
            place = int(torch.randint(size, ()))
            fake, pool[place] = pool[place], fake.clone()
        shown.append(fake)
    return torch.stack(shown)
