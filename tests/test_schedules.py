"""Schedules at and around their corners."""

import pickle

import pytest

from genzoo.schedules import Constant, Growth, LinearDecay, PerStage, Steps


def test_values():
    assert [Constant(64)(images) for images in (0, 10**9)] == [64, 64]
    decay = LinearDecay(start=100, end=300)
    assert [decay(images) for images in (0, 100, 150, 200, 299, 300, 10**9)] == [1, 1, 0.75, 0.5, 0.005, 0, 0]
    steps = Steps(values=[16, 8, 4], at=[100, 200])
    assert [steps(images) for images in (0, 99, 100, 199, 200, 10**9)] == [16, 16, 8, 8, 4, 4]
    assert Steps([3], [])(5) == 3


@pytest.mark.parametrize("schedule", [Constant(2), LinearDecay(1, 2), Steps([1, 2], [3])])
def test_they_are_plain_values(schedule):
    assert pickle.loads(pickle.dumps(schedule)) == schedule


@pytest.mark.parametrize("make", [lambda: LinearDecay(5, 5), lambda: Steps([1], [2]), lambda: Steps([1, 2, 3], [5, 4])])
def test_impossible_ones_are_refused(make):
    with pytest.raises(ValueError):
        make()


def test_growth_holds_a_stage_and_then_fades_the_next_one_in():
    growth = Growth(32, hold=800, fade=400)
    places = [0, 799, 800, 900, 1000, 1199, 1200, 2000, 2200, 2399, 2400, 3599, 3600, 10**9]
    assert [growth(images) for images in places] == [
        0, 0, 0, 0.25, 0.5, 0.9975, 1, 1, 1.5, 1.9975, 2, 2.9975, 3, 3,
    ]  # fmt: skip
    assert (growth.last, Growth(1024, 1, 1).last, Growth(4, 1, 1).last) == (3, 8, 0)


@pytest.mark.parametrize("resolution, nearest", [(28, "16 and 32"), (48, "32 and 64"), (2, "4 and 8"), (1, "4 and 8")])
def test_growth_needs_a_resolution_that_it_can_double_into(resolution, nearest):
    with pytest.raises(ValueError, match=f"resolution={resolution}: .*{nearest}"):
        Growth(resolution, 1, 1)
    with pytest.raises(ValueError, match="hold and fade"):
        Growth(32, 0, 1)


def test_values_per_stage_change_where_a_stage_begins_to_fade_in():
    growth = Growth(32, hold=800, fade=400)
    batch = PerStage(growth, [64, 32, 16])
    assert [batch(images) for images in (0, 800, 801, 1200, 2000, 2001, 3300)] == [64, 64, 32, 32, 32, 16, 16]
