import math

import pytest
import torch

from genzoo.metrics.modes import Modes

ANGLES = torch.arange(8) * math.tau / 8
RING = 0.8 * torch.stack([ANGLES.cos(), ANGLES.sin()], 1)


def judged(points, batch=10_000):
    metric = Modes(RING, sigma=0.008)
    for part in points.split(batch):
        metric.update(points=part)
    return {key: value.item() for key, value in metric.compute().items()}


@pytest.mark.parametrize("batch", [80_000, 777])
def test_true_points(batch):
    generator = torch.Generator().manual_seed(0)
    points = RING.repeat(10_000, 1) + 0.008 * torch.randn(80_000, 2, generator=generator)
    found = judged(points, batch)
    assert found["modes_found"] == 8
    assert found["good_share"] == pytest.approx(
        1 - math.exp(-4.5), abs=0.0015
    )  # Rayleigh: 4 deviations of 80,000 draws
    assert found["reverse_kl"] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("modes", [1, 3, 8])
def test_collapse(modes):
    found = judged(RING[:modes].repeat(100, 1))
    assert found == {"modes_found": modes, "good_share": 1, "reverse_kl": pytest.approx(math.log(8 / modes))}


def test_a_mode_is_found_from_a_tenth_of_its_fair_share():
    """Of 800 points a mode's fair share is 100: ten good points find it, nine do not."""
    ten = judged(torch.cat([RING[:1].expand(790, 2), RING[1:2].expand(10, 2)]))
    nine = judged(torch.cat([RING[:1].expand(791, 2), RING[1:2].expand(9, 2)]))
    assert (ten["modes_found"], nine["modes_found"]) == (2, 1)


def test_points_beside_a_mode_count_for_it_but_are_not_good():
    out = torch.tensor([[1.0, 0.0]])
    points = torch.cat([RING[0] + 2.99 * 0.008 * out, RING[0] + 3.01 * 0.008 * out])
    found = judged(points)
    assert found["good_share"] == 0.5 and found["reverse_kl"] == pytest.approx(math.log(8))
