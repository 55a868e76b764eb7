"""Objectives, penalties and variational terms against published numbers and closed forms."""

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.distributions import Bernoulli, Normal, kl_divergence

from genzoo import losses

GOLDEN = Path(__file__).parent / "golden"
LOSSES = json.loads((GOLDEN / "formulas/losses/case.json").read_text())["sets"]
OBJECTIVES = {
    "minimax": (losses.Minimax(), "minimax_D", "minimax_G"),
    "non_saturating": (losses.NonSaturating(), "minimax_D", "non_saturating_G"),
    "least_squares": (losses.LeastSquares(), "least_squares_D_half", "least_squares_G_half"),
    "hinge": (losses.Hinge(), "hinge_D", "hinge_G"),
    "wasserstein": (losses.Wasserstein(), "wasserstein_D", "wasserstein_G"),
}
PENALTIES = [losses.GradientPenalty(), losses.R1(), losses.DRAGAN()]


def draw(sample, n, purpose):
    return sample(n, torch.Generator().manual_seed(7))


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-9), (torch.float32, 1e-5)])
@pytest.mark.parametrize("case", LOSSES)
@pytest.mark.parametrize("name", OBJECTIVES)
def test_objectives_and_their_gradients(name, case, dtype, tolerance):
    objective, side_d, side_g = OBJECTIVES[name]
    case = LOSSES[case]

    def check(key, compute):
        real = torch.tensor(case["real_logits"], dtype=dtype, requires_grad=True)
        fake = torch.tensor(case["fake_logits"], dtype=dtype, requires_grad=True)
        value = compute(real, fake)
        value.backward()
        expected = case["losses"][key]
        for ours, theirs in ((value, "value"), (real.grad, "grad_real"), (fake.grad, "grad_fake")):
            if ours is None:
                assert expected[theirs] is None
            else:
                theirs = torch.tensor(expected[theirs], dtype=dtype)
                torch.testing.assert_close(ours.detach(), theirs, rtol=tolerance, atol=tolerance)

    check(side_d, lambda real, fake: sum(objective.discriminator(real, fake)))
    check(side_g, lambda real, fake: objective.generator(fake))


def test_the_first_term_is_about_real_images():
    for objective, *_ in OBJECTIVES.values():
        real = torch.zeros(3, requires_grad=True)
        fake = torch.zeros(3, requires_grad=True)
        of_real, of_fake = objective.discriminator(real, fake)
        assert torch.autograd.grad(of_real, fake, allow_unused=True) == (None,)
        assert torch.autograd.grad(of_fake, real, allow_unused=True) == (None,)


def test_least_squares_takes_other_labels():
    objective = losses.LeastSquares(a=-1, b=1, c=0)
    real_term, fake_term = objective.discriminator(torch.tensor([3.0]), torch.tensor([2.0]))
    assert (real_term, fake_term, objective.generator(torch.tensor([4.0]))) == (2.0, 4.5, 8.0)


def conv32():
    layers = []
    for inside, outside in ((3, 3), (3, 6), (6, 12)):
        layers += [nn.Conv2d(inside, outside, 3, 2, 1), nn.LeakyReLU()]
    return nn.ModuleDict({"main": nn.Sequential(*layers), "linear": nn.Linear(192, 1)})


def toy():
    layers = [nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1)]
    return nn.ModuleDict({"main": nn.Sequential(*layers)})


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name, make", [("toy", toy), ("conv32", conv32)])
def test_gradient_penalty_and_its_gradients_of_the_original(name, make, dtype):
    folder = GOLDEN / f"caogang+wgan-gp/gradient_penalty_{name}"
    tensors = {k: v.to(dtype) for k, v in load_file(folder / "io.safetensors").items()}
    network = make()
    network.load_state_dict(torch.load(folder / "weights.pth", map_location="cpu", weights_only=True))
    network.to(dtype)

    def critic(x):
        h = network["main"](x)
        return network["linear"](h.flatten(1)) if "linear" in network else h

    def given(sample, n, purpose):
        assert sample(n, torch.Generator()).shape == (n,)  # one share per sample
        return tensors["alpha"][:, 0]

    penalty = losses.GradientPenalty(weight=10)(critic, tensors["real"], tensors["fake"], given)
    expected = json.loads((folder / "case.json").read_text())["scalars"]["gradient_penalty_float64"]
    assert penalty.item() == pytest.approx(expected, rel=1e-5)
    penalty.backward()
    theirs = {k.removeprefix("grad/"): v for k, v in tensors.items() if k.startswith("grad/")}
    assert len(theirs) == len(dict(network.named_parameters())) - 1  # all but the last bias
    for key, gradient in theirs.items():
        noise = 1e-5 * max(gradient.abs().max().item(), 0.1)  # of the largest, as the case says
        torch.testing.assert_close(network.get_parameter(key).grad, gradient, rtol=0, atol=noise)


@pytest.mark.parametrize("shape", [(5, 3, 4, 4), (5, 2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_penalties_of_a_linear_critic(shape, dtype):
    """Its slope is the same everywhere, so every penalty has a closed form."""
    slope = torch.randn(shape[1:], dtype=dtype, generator=torch.Generator().manual_seed(0))
    real, fake = torch.rand(2, *shape, dtype=dtype)
    norm = slope.norm().item()

    def value(penalty, *images):
        result = penalty(lambda x: (x * slope).flatten(1).sum(1), *images, draw)
        assert result.shape == () and result.dtype == dtype
        return result.item()

    assert value(losses.GradientPenalty(3, target=0.5), real, fake) == pytest.approx(3 * (norm - 0.5) ** 2, rel=1e-5)
    assert value(losses.R1(3), real, fake) == pytest.approx(1.5 * norm**2, rel=1e-5)
    assert value(losses.DRAGAN(3), real, fake) == pytest.approx(3 * (norm - 1) ** 2, rel=1e-5)


def test_where_the_penalties_look():
    seen = []

    def critic(x):
        seen.append(x.detach().double())
        return x.square().sum((1, 2, 3))

    real, fake = torch.full((6, 1, 5, 5), 1.0), torch.full((6, 1, 5, 5), -1.0)
    real[:3] = 3.0
    for penalty in PENALTIES:
        penalty(critic, real, fake, draw)
    between, exact, near = seen
    share = torch.rand(6, generator=torch.Generator().manual_seed(7)).double().view(-1, 1, 1, 1)
    torch.testing.assert_close(between, share * real + (1 - share) * fake)
    assert torch.equal(exact, real.double())
    assert (
        (near >= real).all() and (near - real).max() < 0.5 and (near - real).std() > 0
    )  # the deviation of `real` is 1
    noise = torch.rand(6, 1, 5, 5, generator=torch.Generator().manual_seed(7)).double()
    torch.testing.assert_close(near, real + share * 0.5 * noise)


@pytest.mark.parametrize("penalty", PENALTIES, ids=lambda penalty: type(penalty).__name__)
def test_penalties_stay_in_float32_under_autocast(penalty):
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Conv2d(1, 4, 3), nn.LeakyReLU(), nn.Flatten(), nn.Linear(144, 1))
    real, fake = torch.randn(2, 4, 1, 8, 8).bfloat16()
    expected = penalty(critic, real.float(), fake.float(), draw)
    with torch.autocast("cpu", torch.bfloat16):
        value = penalty(critic, real, fake, draw)
    assert value.dtype == torch.float32 and torch.equal(value, expected)


@pytest.mark.parametrize("penalty", PENALTIES, ids=lambda penalty: type(penalty).__name__)
def test_a_flat_critic_has_finite_gradients(penalty):
    critic = nn.Linear(2, 1)
    nn.init.zeros_(critic.weight)
    penalty(critic, torch.randn(4, 2), torch.randn(4, 2), draw).backward()
    assert critic.weight.grad.isfinite().all()


def test_penalties_do_not_reach_the_generator():
    fake = torch.randn(4, 2, requires_grad=True)
    critic = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
    losses.GradientPenalty()(critic, torch.randn(4, 2), fake, draw).backward()
    assert fake.grad is None


def test_gaussian_kl():
    mean, log_var = torch.randn(2, 6, 5, dtype=torch.float64)
    expected = kl_divergence(Normal(mean, (log_var / 2).exp()), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(losses.gaussian_kl(mean, log_var), expected)
    assert losses.gaussian_kl(torch.zeros(3, 5), torch.zeros(3, 5)).tolist() == [0, 0, 0]
    small = losses.gaussian_kl(torch.zeros(1, 1), torch.full((1, 1), 1e-4))  # lost in rounding by exp(x) - 1 - x
    assert small.item() == pytest.approx(2.5e-9, rel=0.05)
    assert losses.gaussian_kl(mean.bfloat16(), log_var.bfloat16()).dtype == torch.float32


def test_negative_log_likelihoods():
    torch.manual_seed(0)
    logits, binary = torch.randn(4, 1, 3, 3), torch.randint(2, (4, 1, 3, 3)).float()
    expected = -Bernoulli(logits=logits).log_prob(binary).flatten(1).sum(1)
    torch.testing.assert_close(losses.bernoulli_nll(logits, binary), expected)
    grey = torch.rand(4, 1, 3, 3)
    assert losses.bernoulli_nll(torch.zeros_like(grey), grey).tolist() == pytest.approx([9 * math.log(2)] * 4)
    for sigma in (1.0, 0.3):
        expected = -Normal(logits, sigma).log_prob(grey).flatten(1).sum(1)
        torch.testing.assert_close(losses.gaussian_nll(logits, grey, sigma), expected)
