"""Schedules at and around their corners."""

import pickle

import pytest

from genzoo.schedules import Constant, LinearDecay, Steps


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
