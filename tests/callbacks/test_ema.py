"""The average of weights, by its formula."""

from types import SimpleNamespace

import pytest
from torch import nn

from genzoo.callbacks.ema import EMA


def averages(steps, **options):
    """Weights that are t after iteration t (0 at first), and their average after each iteration."""
    module = SimpleNamespace(generator=nn.BatchNorm1d(1))
    learned, buffer = module.generator.weight.data.zero_(), module.generator.running_mean
    ema, found = EMA(**options), []
    ema.on_fit_start(None, module)
    for t in range(1, steps + 1):
        learned.fill_(t)
        buffer.fill_(t)
        ema.on_train_batch_end(SimpleNamespace(global_step=t), module)
        found.append([ema.average[f"generator.{name}"].item() for name in ("weight", "running_mean")])
    return found


def by_hand(decays):
    found = [0.0]
    for t, decay in enumerate(decays, start=1):
        found.append(decay * found[-1] + (1 - decay) * t)
    return found[1:]


@pytest.mark.parametrize("buffers", ["copy", "average"])
def test_the_decay_grows_up_to_its_limit(buffers):
    """(1 + t) / (10 + t): 2/11, 3/12, 4/13, and 0.3 from there."""
    found = averages(5, decay=0.3, buffers=buffers)
    right = by_hand([2 / 11, 3 / 12, 0.3, 0.3, 0.3])
    assert [weight for weight, _ in found] == pytest.approx(right)
    assert [mean for _, mean in found] == pytest.approx(right if buffers == "average" else [1, 2, 3, 4, 5])


def test_without_a_ramp_the_decay_is_the_same_from_the_first_iteration():
    assert [weight for weight, _ in averages(3, decay=0.9, ramp=False)] == pytest.approx(by_hand([0.9] * 3))


def test_up_to_its_start_the_average_is_a_copy():
    """And the ramp begins there."""
    assert [weight for weight, _ in averages(4, start=2)] == pytest.approx(by_hand([0, 0, 2 / 11, 3 / 12]))
