"""What only BigGAN-deep has."""

import pytest
import torch

from genzoo.models.biggan_deep import Discriminator, DiscriminatorBlock, Generator, GeneratorBlock
from genzoo.nets.norm import ConditionalNorm

TINY = ["data=digits", "model.width=2", "model.latent_dim=4", "model.generator.shared=4", "batch_size=4",
        "callbacks.ema.start=2"]  # fmt: skip


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("resolution", "generator", "discriminator", "published"),
    [
        (128, 50_244_484, 34_590_210, 50_388_609),
        (256, 55_736_708, 38_247_426, 55_880_833),
        (512, None, None, 56_163_905),
    ],
)
def test_the_parameters_of_the_paper(resolution, generator, discriminator, published):
    """The published generators have 128 outputs in their last convolution, of which 3 are shown."""
    with torch.device("meta"):
        assert count(Generator(128, 3, resolution, 128, 1000, surplus=125)) == published
        if generator:
            assert count(Generator(128, 3, resolution, 128, 1000)) == generator
            assert count(Discriminator(3, resolution, 128, 1000)) == discriminator


def test_shortcuts_drop_channels_and_add_some():
    x = torch.randn(2, 8, 4, 4)
    up = GeneratorBlock(8, 4, True, False, lambda size: ConditionalNorm(size)).eval()
    down = DiscriminatorBlock(8, 12, True, False).eval()
    with torch.no_grad():
        for block in (up, down):
            block.conv4.weight.zero_()
            block.conv4.bias.zero_()
        block.conv4.sigma.fill_(1)
    up.conv4.normalized = lambda: up.conv4.weight  # a weight of zeros has no direction
    down.conv4.normalized = lambda: down.conv4.weight
    assert torch.equal(up(x, None), x[:, :4].repeat_interleave(2, 2).repeat_interleave(2, 3))
    pooled = torch.nn.functional.avg_pool2d(x, 2)
    assert torch.equal(down(x)[:, :8], pooled) and torch.equal(down(x)[:, 8:], down.skip(pooled))


def test_the_whole_latent_behind_the_class_speaks_to_every_block():
    generator, seen = Generator(6, 1, 32, 2, 5, 4).eval(), []
    y, z = torch.tensor([1]), torch.randn(1, 6)
    for block in generator.blocks:
        block.register_forward_pre_hook(lambda block, inputs: seen.append(inputs[1]))
    generator(z, y)
    assert len(seen) == 6
    for condition in seen:
        assert torch.equal(condition, torch.cat([generator.shared(y), z], 1))


def test_without_classes_the_latent_alone():
    assert Generator(6, 1, 32, 2)(torch.randn(3, 6)).shape == (3, 1, 32, 32)
