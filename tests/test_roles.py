"""What models get from their roles: latents that do not depend on their number, classes, sheets of a bearable size."""

import pytest
import torch

from genzoo.core.domains import TwoDomains
from genzoo.core.roles import LatentSampler, Translator, require, roles
from genzoo.nets.layers import Absent
from genzoo.priors import Normal


class Flat(LatentSampler):
    """Images of one grey, whose size is chosen; keeps how many were made at once."""

    device, dtype, seed = torch.device("cpu"), torch.float32, 0
    prior = Normal(2)

    def __init__(self, side, classes=None):
        self.side, self.classes, self.made = side, classes, []

    def generate(self, z, y=None):
        self.made.append(len(z))
        grey = z[:, 0].tanh() if y is None else y / 10
        return grey[:, None, None, None].expand(-1, 1, self.side, self.side)


@pytest.mark.parametrize(("side", "count", "most"), [(28, 64, 63), (256, 64, 32), (512, 16, 8), (1024, 4, 2)])
def test_a_sheet_fits_a_screen_and_memory(side, count, most):
    model = Flat(side)
    shown = model.preview(None)["samples"]
    assert shown.shape == (count, 1, side, side) and max(model.made) == most
    torch.testing.assert_close(shown[:, 0, 0, 0], model.latents(64, seed=0)[:count, 0].tanh())


def test_a_sheet_shows_classes_in_turn():
    shown = Flat(32, classes=10).preview(None)["samples"]
    assert torch.equal((10 * shown[:, 0, 0, 0]).round().long(), torch.arange(64) % 10)


def test_classes_are_drawn_evenly_and_by_seed():
    model = Flat(4, classes=5)
    y = model.labels(5000, seed=1)
    assert torch.equal(y, model.labels(5000, seed=1)) and not torch.equal(y, model.labels(5000, seed=2))
    assert (y.bincount(minlength=5) / 5000 - 0.2).abs().max() < 0.03
    assert torch.equal(y[:7], model.labels(7, seed=1))
    assert Flat(4).labels(3, seed=1) is None
    assert torch.equal((10 * model.sample(6, seed=1)[:, 0, 0, 0]).round().long(), y[:6])


def test_a_translator_without_its_networks_translates_nothing():
    class Both(TwoDomains, torch.nn.Module):
        makes, facts = "b", {}

        def translator(self, to):
            return self.generator[to]

        def translate(self, x, to, seed=None):
            return self.translator(to)(x)

        def __init__(self, b):
            super().__init__()
            self.generator = torch.nn.ModuleDict({"a": Absent("generator of a"), "b": b})

    assert Translator in roles(Both(torch.nn.Identity())) and Translator not in roles(Both(Absent("generator of b")))
    with pytest.raises(ValueError, match="Both cannot translate; it can only train"):
        require(Both(Absent("generator of b")), Translator)
