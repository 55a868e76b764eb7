"""Translators: sizes, borders, and what a picture's result may depend on."""

import pytest
import torch
from torch import nn

from genzoo.nets.translators import Residual, ResNet, UNet, at_any_size


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("make", "size"),
    [
        (lambda: ResNet(3, 3, 256), 11_378_179),
        (lambda: ResNet(3, 3, 128), 7_837_699),
        (lambda: ResNet(3, 3, 256, norm="batch"), 11_383_427),
        (lambda: UNet(3, 3, 256), 54_413_955),
        (lambda: UNet(3, 3, 128), 41_828_995),
        (lambda: UNet(3, 3, 256, norm="instance"), 54_409_603),
    ],
)
def test_the_papers_sizes(make, size):
    with torch.device("meta"):
        assert count(make()) == size


@pytest.mark.parametrize("network", [ResNet, UNet])
@pytest.mark.parametrize("resolution", [28, 32, 64, 96])
def test_every_resolution_comes_back_and_channels_may_change(network, resolution):
    with torch.device("meta"):
        made = network(1, 3, resolution, width=4)
        assert made(torch.empty(2, 1, resolution, resolution)).shape == (2, 3, resolution, resolution)


def test_the_unet_halves_as_often_as_it_can():
    depths = {28: 2, 32: 5, 96: 5, 128: 7, 256: 8, 512: 8}
    with torch.device("meta"):
        assert {size: len(UNet(3, 3, size, width=1).downs) for size in depths} == depths
        drops = [sum(isinstance(m, nn.Dropout) for m in UNet(3, 3, size, width=1).modules()) for size in (32, 128, 256)]
    assert drops == [0, 2, 3]  # five less than it halves


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ResNet(3, 3, 30), r"data.resolution=30.*multiples of 4, the nearest are 28 and 32"),
        (lambda: ResNet(3, 3, 4), r"data.resolution=4.*the nearest is 8"),
        (lambda: UNet(3, 3, 100, depth=7), r"data.resolution=100.*halves 7 times.*the nearest is 128"),
        (lambda: UNet(3, 3, 300, depth=8), r"data.resolution=300.*256 and 512"),
        (lambda: UNet(3, 3, 31), r"data.resolution=31.*28 and 32"),
        (lambda: UNet(3, 3, 32, depth=1), r"depth=1"),
        (lambda: UNet(3, 3, 32, norm="layer"), r"norm=layer: there are instance, batch, none"),
        (lambda: ResNet(3, 3, 32, upsample="cubic"), r"upsample=cubic"),
    ],
)
def test_what_cannot_be_built_names_what_can(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("network", [ResNet(3, 3, 32, width=4, depth=2), UNet(3, 3, 32, width=4, norm="instance")])
def test_instance_norm_looks_at_the_picture_alone_in_every_mode(network):
    x = 3 * torch.randn(3, 3, 32, 32) + 1
    for part in network.modules():
        if isinstance(part, nn.InstanceNorm2d):
            assert not part.track_running_stats and not part.affine and not list(part.buffers())
    trained = network.train()(x)
    assert (trained - network.eval()(x)).abs().max() == 0
    assert torch.allclose(trained[1:2], network(x[1:2]), atol=1e-5)
    assert (network(x.flip(1)) - trained).abs().max() > 0.01  # red and blue are not the same


def test_borders_are_reflected_and_the_sum_is_left_alone():
    """On a constant picture every pixel looks alike, which zero padding would spoil; a ReLU would cut the sum."""
    block = Residual(4, norm="none")
    out = block(torch.full((1, 4, 5, 5), -2.0))
    assert (out - out[:, :, :1, :1]).abs().max() < 1e-6 and out.min() < -1


@pytest.mark.parametrize("upsample", ["nearest", "bilinear"])
def test_plain_convolutions_after_enlarging(upsample):
    made = ResNet(3, 3, 32, width=4, depth=1, upsample=upsample)
    assert made(torch.zeros(1, 3, 16, 24)).shape == (1, 3, 16, 24)
    assert not any(isinstance(part, nn.ConvTranspose2d) for part in made.modules())


@pytest.mark.parametrize("size", [(250, 333), (8, 9), (5, 40), (3, 2), (1, 1), (32, 64)])
@pytest.mark.parametrize("network", [ResNet(3, 3, 32, width=2, depth=1), UNet(3, 1, 32, width=2)])
def test_any_size_comes_back(network, size):
    made = at_any_size(network.eval(), torch.rand(1, 3, *size))
    assert made.shape[-2:] == size and made.isfinite().all()


def test_the_picture_is_continued_by_reflection_and_the_wrong_channels_are_told():
    class Seen(nn.Module):
        multiple_of, inputs = 8, 1

        def forward(self, x):
            self.x = x
            return x

    network, x = Seen(), torch.arange(35.0).view(1, 1, 5, 7)
    assert torch.equal(at_any_size(network, x), x)
    assert torch.equal(network.x[..., 5:, :7], x[..., 1:4, :].flip(2)) and torch.equal(network.x[..., :5, 7], x[..., 5])
    at_any_size(network, x[..., :2, :2])  # too small to be reflected
    assert (network.x[..., 2:, 2:] == x[0, 0, 1, 1]).all() and network.x.shape[-2:] == (8, 8)
    with pytest.raises(ValueError, match="images of 3 channels: this translator takes 1"):
        at_any_size(network, torch.zeros(1, 3, 8, 8))


def test_weights_start_from_a_deviation_of_002():
    made = UNet(3, 3, 64, width=32)
    weight = torch.cat([p.flatten() for name, p in made.named_parameters() if p.dim() == 4])
    assert weight.std().item() == pytest.approx(0.02, rel=0.01)
    assert all((p == 0).all() for name, p in made.named_parameters() if name.endswith("bias"))
