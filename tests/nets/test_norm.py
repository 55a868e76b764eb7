"""Conditional BatchNorm, tables of statistics, and standing statistics by hand."""

from functools import partial

import pytest
import torch
from torch import nn

from genzoo.nets.norm import ConditionalNorm, place, select, standing
from genzoo.nets.spectral import ClassEmbedding


def test_gain_is_one_plus_what_the_condition_says():
    net = ConditionalNorm(3, partial(nn.Linear, 4, 3))
    x, condition = torch.randn(5, 3, 2, 2), torch.randn(5, 4)
    wanted = nn.functional.batch_norm(x, None, None, training=True)
    wanted = wanted * (1 + net.gain(condition))[:, :, None, None] + net.bias(condition)[:, :, None, None]
    torch.testing.assert_close(net(x, condition), wanted, atol=1e-6, rtol=1e-5)


def test_without_a_condition_it_is_plain():
    net, x = ConditionalNorm(3), torch.randn(5, 3, 2, 2)
    plain = nn.BatchNorm2d(3)
    assert torch.equal(net(x, torch.zeros(5, 9)), plain(x))
    assert sum(p.numel() for p in net.parameters()) == 6


def test_it_becomes_a_sync_batch_norm():
    made = nn.SyncBatchNorm.convert_sync_batchnorm(ConditionalNorm(3, partial(ClassEmbedding, 4, 3), eps=1e-4))
    assert isinstance(made.bn, nn.SyncBatchNorm) and made.bn.eps == 1e-4 and not made.bn.affine


def test_rows_of_the_table():
    """What the source takes at these truncations, of 51 rows, and what a reader would expect."""
    wrong = {0.14: 8, 0.28: 15, 0.56: 29, 0.58: 28, 0.94: 46}
    for truncation in (0.0, 0.02, 0.4, 0.42, 1.0, *wrong):
        row, share = place(truncation, 51, "compat")
        assert row + share == pytest.approx(wrong.get(truncation, round(50 * truncation)), abs=1e-9)
        row, share = place(truncation, 51, "correct")
        assert row + share == pytest.approx(50 * truncation, abs=1e-6)
    assert place(0.425, 51, "compat")[1] == pytest.approx(0.75)  # a quarter of the way: swapped
    assert place(0.425, 51, "correct") == (21, pytest.approx(0.25))


def test_select_puts_the_statistics_in_place():
    net = nn.Sequential(ConditionalNorm(2, rows=3, lookup="correct"), ConditionalNorm(2))
    net[0].means.copy_(torch.tensor([[0.0, 1], [2, 3], [4, 5]]))
    assert select(net, 0.75)
    assert net[0].bn.running_mean.tolist() == [3, 4] and net[1].bn.running_mean.tolist() == [0, 0]
    assert not select(net[1], 7.0)  # no table
    with pytest.raises(ValueError, match="truncation=1.2: this file has statistics for 0 to 1"):
        select(net, 1.2)
    with pytest.raises(ValueError, match="lookup=nearest: there are compat, correct"):
        ConditionalNorm(2, lookup="nearest")


def test_standing_statistics_by_hand():
    net = nn.Sequential(nn.BatchNorm2d(2), nn.ReLU(), nn.BatchNorm2d(2)).eval()
    net[2].weight.data.fill_(3.0)
    passes = [torch.randn(4, 2, 3, 3) * k for k in (1, 2, 5)]
    with standing(net):
        assert net[0].training and not net.training
        for x in passes:
            net(x)
    assert not net[0].training
    means = torch.stack([x.mean((0, 2, 3)) for x in passes]).mean(0)
    variances = torch.stack([x.var((0, 2, 3), correction=0) for x in passes]).mean(0)
    torch.testing.assert_close(net[0].running_mean, means)
    torch.testing.assert_close(net[0].running_var, variances)
    second = [nn.functional.batch_norm(x, None, None, training=True).relu() for x in passes]
    torch.testing.assert_close(net[2].running_mean, torch.stack([x.mean((0, 2, 3)) for x in second]).mean(0))
