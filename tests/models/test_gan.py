"""What only the GAN of 2014 has."""

import math

import pytest
import torch

from genzoo.models.gan import Discriminator, Generator, Maxout, MaxoutDiscriminator

TINY = ["data=ring", "model.width=8", "model.latent_dim=4", "batch_size=8"]


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_small_networks_have_the_sizes_of_csinva():
    assert count(Generator(64, 1, 28)) == 283_920
    assert count(Discriminator(1, 28)) == 267_009


def test_points_are_images_of_one_pixel_without_its_axes():
    assert Generator(4, 2, 1, width=8)(torch.randn(5, 4)).shape == (5, 2)
    assert Discriminator(2, 1, width=8)(torch.randn(5, 2)).shape == (5,)


def test_maxout_takes_the_largest_piece():
    layer = Maxout(2, 1, pieces=2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        layer.bias.zero_()
    assert layer(torch.tensor([[3.0, -1.0], [-2.0, 5.0]])).flatten().tolist() == [3.0, 5.0]


def test_the_paper_discriminator():
    network = MaxoutDiscriminator(1, 28)
    assert count(network) == 784 * 1200 + 1200 + 240 * 1200 + 1200 + 240 + 1
    assert network[2].weight.abs().max() <= 0.005 and network[2].bias.abs().max() == 0


def test_an_optimal_discriminator_gives_the_density_ratio():
    """Proposition 1: trained alone between N(-1, 1) and N(1, 1), its logit is log p_d / p_g = -2x."""
    torch.manual_seed(0)
    network = Discriminator(1, 1, width=32)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    softplus = torch.nn.functional.softplus
    for _ in range(600):
        real, fake = torch.randn(512, 1) - 1, torch.randn(512, 1) + 1
        optimizer.zero_grad()
        (softplus(-network(real)).mean() + softplus(network(fake)).mean()).backward()
        optimizer.step()
    x = torch.tensor([[-1.0], [-0.5], [0.0], [0.5], [1.0]])
    assert torch.allclose(network(x).sigmoid(), (-2 * x[:, 0]).sigmoid(), atol=0.06)


def test_the_game_is_worth_minus_log_four_where_nothing_can_be_told_apart():
    from genzoo.losses import Minimax

    real, fake = Minimax().discriminator(torch.zeros(4), torch.zeros(4))
    assert -(real + fake).item() == pytest.approx(-math.log(4))
