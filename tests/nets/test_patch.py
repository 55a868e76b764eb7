"""Patch discriminators: sizes, and what one number of theirs sees."""

import pytest
import torch

from genzoo.nets.patch import PatchDiscriminator, PixelDiscriminator


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_papers_sizes():
    with torch.device("meta"):
        assert count(PatchDiscriminator(3)) == 2_764_737
        assert count(PatchDiscriminator(3, norm="batch", condition=3)) == 2_768_705
        assert count(PixelDiscriminator(3, norm="batch")) == 8_832
        assert PatchDiscriminator(3)(torch.empty(2, 3, 256, 256)).shape == (2, 1, 30, 30)
        assert PixelDiscriminator(3)(torch.empty(2, 3, 64, 48)).shape == (2, 1, 64, 48)


@pytest.mark.parametrize(("layers", "patch"), [(1, 16), (2, 34), (3, 70), (4, 142)])
def test_one_number_sees_a_patch(layers, patch):
    network = PatchDiscriminator(1, width=2, layers=layers, norm="none").double()
    x = torch.randn(1, 1, 2 * patch, 2 * patch, dtype=torch.float64, requires_grad=True)
    logits = network(x)
    logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2].backward()
    rows, columns = (x.grad[0, 0] != 0).nonzero(as_tuple=True)
    assert int(rows.max() - rows.min()) + 1 == int(columns.max() - columns.min()) + 1 == patch


def test_a_single_pixel_is_all_the_pixel_discriminator_sees():
    network, x = PixelDiscriminator(1, width=2, norm="none"), torch.randn(1, 1, 9, 9, requires_grad=True)
    network(x)[0, 0, 4, 4].backward()
    assert (x.grad != 0).sum() == 1


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_too_small_a_picture_is_told(layers):
    network, least = PatchDiscriminator(3, width=2, layers=layers), 3 * 2**layers
    assert network(torch.randn(1, 3, least, least)).shape == (1, 1, 1, 1)
    with pytest.raises(ValueError, match=f"layers={layers} takes {least} or more"):
        network(torch.randn(1, 3, least - 1, least))
