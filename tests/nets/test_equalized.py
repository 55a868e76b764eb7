"""Layers of equalised learning rate against plain ones, and minibatch deviation against loops over its groups."""

import math

import pytest
import torch
from torch.nn import functional

from genzoo.nets.equalized import EqualizedConv2d, EqualizedLinear, minibatch_deviation, pixel_norm


def seeded():
    torch.default_generator.manual_seed(0)


def test_weights_start_from_the_standard_normal_and_are_scaled_when_used():
    seeded()
    layer, x = EqualizedConv2d(64, 48), torch.randn(2, 64, 8, 8)
    assert layer.weight.std().item() == pytest.approx(1, abs=0.02) and not layer.bias.any()
    scale = math.sqrt(2 / (64 * 9))
    assert torch.allclose(layer(x), functional.conv2d(x, layer.weight * scale, padding=1), atol=1e-5)


def test_biases_are_scaled_only_where_asked():
    seeded()
    x = torch.randn(3, 8)
    plain, scaled = EqualizedLinear(8, 4, gain=1.0), EqualizedLinear(8, 4, gain=1.0, scaled_bias=True)
    scaled.load_state_dict(plain.state_dict())
    for layer in (plain, scaled):
        layer.bias.data.fill_(1.0)
    without = x @ plain.weight.T / math.sqrt(8)
    assert torch.allclose(plain(x), without + 1, atol=1e-6)
    assert torch.allclose(scaled(x), without + 1 / math.sqrt(8), atol=1e-6)


def test_fewer_biases_serve_neighbours():
    layer = EqualizedLinear(8, 6, biases=2)
    layer.bias.data.copy_(torch.tensor([1.0, 2.0]))
    assert layer(torch.zeros(1, 8)).tolist() == [[1, 1, 1, 2, 2, 2]]


@pytest.mark.parametrize("side", [4, 6])
def test_changes_of_size_are_one_convolution(side):
    """Equal to doubling before, and averaging after, the convolution with the stored kernel."""
    seeded()
    x = torch.randn(2, 5, side, side, dtype=torch.float64)
    for change in ("up", "down"):
        layer = EqualizedConv2d(5, 7, change=change).double()
        layer.bias.data.normal_()
        weight, bias = layer.effective()
        if change == "up":
            expected = functional.conv2d(functional.interpolate(x, scale_factor=2), weight, bias, padding=1)
        else:
            expected = functional.avg_pool2d(functional.conv2d(x, weight, padding=1), 2) + bias.view(1, -1, 1, 1)
        assert torch.allclose(layer(x), expected, atol=1e-12)


def test_gradients_through_the_changes_of_size():
    seeded()
    for change in ("up", "down"):
        layer = EqualizedConv2d(2, 3, change=change).double()
        x = torch.randn(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(layer, (x,)) and torch.autograd.gradgradcheck(layer, (x,))


def test_pixel_norm():
    x = torch.tensor([[3.0, 4.0]])
    assert torch.allclose(pixel_norm(x), x / math.sqrt(12.5))
    maps = torch.randn(2, 8, 4, 4)
    assert torch.allclose(pixel_norm(maps).square().mean(1), torch.ones(2, 4, 4), atol=1e-5)
    assert not pixel_norm(torch.zeros(2, 8)).any()
    assert pixel_norm(maps.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("n", "options", "groups"),
    [
        (8, {}, [[0, 2, 4, 6], [1, 3, 5, 7]]),
        (8, {"consecutive": True}, [[0, 1, 2, 3], [4, 5, 6, 7]]),
        (8, {"unbiased": True}, [[0, 2, 4, 6], [1, 3, 5, 7]]),
        (9, {"group": 3}, [[0, 3, 6], [1, 4, 7], [2, 5, 8]]),
        (6, {}, [[0, 1, 2, 3, 4, 5]]),
        (3, {}, [[0, 1, 2]]),
        (2, {"group": 1}, [[0], [1]]),
    ],
)
def test_minibatch_deviation(n, options, groups):
    seeded()
    x = torch.randn(n, 3, 2, 2)
    found = minibatch_deviation(x, **options)
    assert torch.equal(found[:, :3], x) and found.shape == (n, 4, 2, 2)
    for group in groups:
        expected = 0.0
        if len(group) > 1:
            expected = x[group].std(0, correction=int(options.get("unbiased", False))).mean().item()
        assert found[group, 3].flatten().tolist() == pytest.approx([expected] * 4 * len(group), abs=1e-6)


def test_minibatch_deviation_of_equal_images_has_a_finite_slope():
    x = torch.ones(4, 2, 2, 2, requires_grad=True)
    minibatch_deviation(x).sum().backward()
    assert x.grad.isfinite().all()
    single = minibatch_deviation(torch.ones(1, 2, 2, 2))
    assert single.shape == (1, 3, 2, 2) and not single[:, 2].any()
