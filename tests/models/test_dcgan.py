"""What only DCGAN has."""

import pytest
import torch
from torch import nn

from genzoo.models.dcgan import Discriminator, Generator
from genzoo.nets.sizes import SIZES

TINY = ["data=digits", "model.width=4", "model.latent_dim=8", "batch_size=8"]
NORM = ["model.discriminator.norm=layer"]  # what a gradient penalty asks for


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_64_px_networks_have_the_sizes_of_pytorch_examples():
    assert count(Generator(100, 3, 64)) == 3_576_704
    assert count(Discriminator(3, 64)) == 2_765_568


def test_the_28_px_trunk():
    assert count(Generator(64, 1, 28, width=16)) == 64 * 64 * 49 + 64 * 32 * 16 + 32 * 16 + 2 * (64 + 32)
    assert count(Discriminator(1, 28, width=16)) == 16 * 16 + 16 * 32 * 16 + 2 * 32 + 32 * 49


@pytest.mark.parametrize("resolution", SIZES)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_size(resolution, channels):
    with torch.device("meta"):
        image = Generator(8, channels, resolution, width=2)(torch.empty(2, 8))
        assert image.shape == (2, channels, resolution, resolution)
        assert Discriminator(channels, resolution, width=2)(image).shape == (2,)


def test_an_impossible_size_names_the_nearest():
    with pytest.raises(ValueError, match=r"resolution=30.*the nearest are 28 and 32"):
        Generator(8, 1, 30)


def test_the_rules_of_section_3():
    generator, discriminator = Generator(8, 3, 64, width=8), Discriminator(3, 64, width=8)
    kinds = {type(module) for network in (generator, discriminator) for module in network.modules()}
    assert not kinds & {nn.MaxPool2d, nn.AvgPool2d, nn.Linear, nn.Upsample}
    assert isinstance(generator[-1], nn.Tanh) and isinstance(generator[-2], nn.ConvTranspose2d)
    assert isinstance(discriminator[0], nn.Conv2d) and isinstance(discriminator[1], nn.LeakyReLU)
    assert discriminator[1].negative_slope == 0.2
    assert sum(isinstance(m, nn.BatchNorm2d) for m in generator) == 4
    assert sum(isinstance(m, nn.BatchNorm2d) for m in discriminator) == 3


def test_weights_start_from_a_deviation_of_002():
    weight = torch.cat([m.weight.flatten() for m in Generator(100, 3, 64) if isinstance(m, nn.ConvTranspose2d)])
    assert weight.mean().abs() < 1e-4 and weight.std().item() == pytest.approx(0.02, rel=0.01)
