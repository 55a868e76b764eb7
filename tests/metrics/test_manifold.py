import pytest
import torch

from genzoo.metrics.manifold import BLOCK, DensityCoverage, PrecisionRecall


def judged(metric, real, fake, batch=1000):
    for features in real.split(batch):
        metric.update(features=features, real=True)
    for features in fake.split(batch):
        metric.update(features=features, real=False)
    return {key: value.item() for key, value in metric.compute().items()}


def all_four(real, fake, nearest, batch=1000):
    return judged(PrecisionRecall(nearest), real, fake, batch) | judged(DensityCoverage(nearest), real, fake, batch)


@pytest.mark.parametrize("batch", [80, 7])
def test_golden(golden, batch):
    tensors, expected = golden
    assert all_four(tensors["features_real"], tensors["features_fake"], 3, batch) == pytest.approx(
        expected["prdc"], rel=1e-12
    )


def test_points_on_a_line():
    """Worked by hand: real 0 1 2 10 (radii 1 1 1 8 with k 1), generated 0.5 3.5 30 (radii 3 3 26.5)."""
    real, fake = torch.tensor([[0.0], [1], [2], [10]]), torch.tensor([[0.5], [3.5], [30]])
    found = all_four(real, fake, nearest=1)
    assert found["precision"] == pytest.approx(2 / 3)  # 0.5 is in the balls of 0 and 1, 3.5 in that of 10, 30 in none
    assert found["density"] == pytest.approx((2 + 1 + 0) / 3)
    assert found["recall"] == pytest.approx(1)  # 10 is within 26.5 of 30
    assert found["coverage"] == pytest.approx(3 / 4)  # 2 has nothing within 1


def test_same_points_and_far_points():
    points = torch.randn(BLOCK + 100, 4, generator=torch.Generator().manual_seed(0))  # more than a block
    same = all_four(points, points.flip(0), nearest=5)
    assert (same["precision"], same["recall"], same["coverage"]) == (1, 1, 1)
    # every point lies in its own ball and on average in k others
    assert same["density"] == pytest.approx(6 / 5, rel=1e-2)  # the k-th lies on the ball's edge, and rounding decides
    assert set(all_four(points, points + 100, nearest=5).values()) == {0}


def test_collapse_lowers_recall_and_coverage_only():
    generator = torch.Generator().manual_seed(1)
    real = torch.randn(500, 3, generator=generator)
    fake = 0.01 * torch.randn(500, 3, generator=generator)
    found = all_four(real, fake, nearest=3)
    assert found["precision"] > 0.99 and found["density"] > 0.9
    assert found["recall"] < 0.02 and found["coverage"] < 0.1
