"""The engine's update in numbers that can be worked out by hand: clipping, rates, micro-batches, clamps, seeds."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from originals import one_iteration
from torch import nn

from genzoo.batches import Images
from genzoo.core.module import AdversarialModule, ZooModule
from genzoo.losses import Wasserstein

X = torch.tensor([[3.0, 0.0], [1.0, 4.0], [2.0, 5.0]], dtype=torch.float64)  # means 2 and 3
BATCH = Images(X, torch.zeros(3))
STEP = -torch.tensor([[2.0, 3.0]], dtype=torch.float64)  # of SGD at rate 1


class Linear(ZooModule):
    """Two players of two weights; what each minimises has the mean of the batch as its gradient."""

    players = {"d": ("discriminator",), "g": ("generator",)}

    def __init__(self, **engine):
        super().__init__(dict.fromkeys("dg", partial(torch.optim.SGD, lr=1.0)), **engine)
        self.discriminator, self.generator = nn.Linear(2, 1, bias=False), nn.Linear(2, 1, bias=False)
        self.double()
        for network in (self.discriminator, self.generator):
            nn.init.zeros_(network.weight)

    def loss(self, player, batch):
        return {player: self.networks_of(player)[0](batch.x).mean()}


def moved(made):
    one_iteration(made, BATCH)
    return made.discriminator.weight.detach(), made.generator.weight.detach()


@pytest.mark.parametrize("clip", [None, 1.3, 100.0])
def test_the_norm_of_a_players_gradient_is_clipped(clip):
    """The players' own: of both together it would be a smaller part for each."""
    norm = STEP.norm()
    for step in moved(Linear(clip=clip)):
        torch.testing.assert_close(step, STEP * min(1, (clip or norm) / norm), rtol=1e-5, atol=0)


def test_every_rate_follows_the_schedule_by_images():
    seen = []

    def schedule(images):
        seen.append(images)
        return 0.25

    for step in moved(Linear(schedule=schedule, start_images=40)):
        torch.testing.assert_close(step, STEP / 4)
    assert set(seen) == {40}


@pytest.mark.parametrize("micro_batch", [1, 2, 3])
def test_parts_of_a_batch_count_by_their_images(micro_batch):
    made = Linear(micro_batch=micro_batch)
    nn.init.ones_(made.generator.weight)
    one_iteration(made, BATCH)
    torch.testing.assert_close(made.discriminator.weight.detach(), STEP)
    made.report()
    assert made.terms == pytest.approx({"d": 0.0, "g": 5.0})  # of the weights before the step
    assert made.images_seen == 3


class Critic(AdversarialModule):
    def __init__(self, clip):
        super().__init__(Wasserstein(clip=clip), optimizers=dict.fromkeys("dg", partial(torch.optim.SGD, lr=1.0)))
        self.discriminator, self.generator = nn.Linear(2, 1), nn.Linear(2, 1)

    def discriminator_loss(self, batch):
        return {"d": self.discriminator(batch.x).mean()}

    def generator_loss(self, batch):
        return {"g": self.generator(batch.x).mean()}


@pytest.mark.parametrize("clip", [0.01, None])
def test_the_weights_of_a_wasserstein_critic_are_clamped_after_its_step(clip):
    made = Critic(clip)
    one_iteration(made, BATCH)
    weights, generator = made.discriminator.weight, made.generator.weight
    assert weights.flatten().tolist() == [-clip] * 2 if clip else weights.abs().min() > 1
    assert made.discriminator.bias.abs() <= clip if clip else made.discriminator.bias.abs() > 0.2
    assert generator.abs().min() > 1  # nobody else's


def test_the_default_generator_is_seeded_by_run_place_and_process(monkeypatch):
    """What dropout draws: of its own on every device, the same again after a resume."""

    def drawn(seed=0, images=0, rank=0):
        made = Linear(seed=seed, start_images=images)
        monkeypatch.setattr(Linear, "trainer", SimpleNamespace(global_rank=rank))
        made.reseed()
        return torch.rand(4)

    others = [drawn(), drawn(seed=1), drawn(images=8), drawn(rank=1)]
    assert len({tuple(numbers.tolist()) for numbers in others}) == 4
    assert torch.equal(drawn(rank=1), others[3])


def test_what_is_not_finite_is_found_in_terms_weights_and_buffers():
    """A running statistic can be lost where every weight is well."""
    made = Linear()
    made.discriminator.register_buffer("seen", torch.zeros(2))
    assert made.broken() == []
    made.discriminator.seen[1] = float("nan")
    assert made.broken() == ["the weights of discriminator"]
    made.generator.weight.data[0, 0] = float("inf")
    made.sums = {"g": torch.tensor(float("nan"))}
    assert made.broken() == ["g", "the weights of discriminator", "the weights of generator"]
