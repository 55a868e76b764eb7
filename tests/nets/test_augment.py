"""DiffAugment: every pixel by its definition, the same randomness on any devices and micro-batches."""

import pytest
import torch

from genzoo import cli, hub
from genzoo.commands import train as command
from genzoo.core.io import newest
from genzoo.core.random import generator
from genzoo.fit import built
from genzoo.nets.augment import POLICY, DiffAugment, color, cutout, translation, whole


def draw(sample, n, purpose="noise"):
    return sample(n, generator(0, purpose))


def images(n=6, c=3, h=16, w=24):
    return torch.rand(n, c, h, w, generator=generator("images"), dtype=torch.float64) * 2 - 1


def test_color_by_hand():
    x = torch.tensor([[[[0.2, 0.6]], [[-0.4, 0.0]]]], dtype=torch.float64)  # two channels, two pixels
    number = torch.tensor([0.75], dtype=torch.float64)
    # brightness + 0.25: (.45, .85), (-.15, .25); saturation x 1.5 about (.15, .55): (.6, 1.0), (-.3, .1);
    # contrast x 1.25 about .35
    expected = torch.tensor([[[[0.6625, 1.1625]], [[-0.4625, 0.0375]]]], dtype=torch.float64)
    assert torch.allclose(color(x, number, number, number), expected)


def test_neutral_numbers_change_nothing_and_grey_has_no_saturation():
    half, grey = torch.full((6,), 0.5), images(c=1)
    assert torch.allclose(color(images(), half, half, half), images(), atol=1e-12)
    assert torch.allclose(color(grey, half, torch.rand(6), half), grey, atol=1e-12)
    assert not torch.allclose(color(images(), half, torch.rand(6), half), images())


def test_translation_pixel_by_pixel():
    x, down, across = (
        images(n=5, h=12),
        torch.tensor([0.0, 0.3, 0.5, 0.7, 0.999]),
        torch.tensor([0.5, 0.999, 0.0, 0.1, 0.6]),
    )
    moved = translation(x, down, across)
    for n, (dy, dx) in enumerate(zip([-2, -1, 0, 1, 2], [0, 3, -3, -3, 1])):  # of -2..2 and -3..3
        for i in range(12):
            for j in range(24):
                inside = 0 <= i + dy < 12 and 0 <= j + dx < 24
                assert torch.equal(moved[n, :, i, j], x[n, :, i + dy, j + dx] if inside else x.new_zeros(3))


@pytest.mark.parametrize("h", [16, 10])  # a hole of an even and of an odd side
def test_cutout_pixel_by_pixel(h):
    x, down, across = images(n=3, h=h), torch.tensor([0.0, 0.5, 0.9999]), torch.tensor([0.9999, 0.5, 0.0])
    cut, half = cutout(x, down, across), h // 2
    last = h if half % 2 == 0 else h - 1
    for n, (y, z) in enumerate(zip([0, (last + 1) // 2, last], [24, 12, 0])):
        for i in range(h):
            for j in range(24):
                inside = y - half // 2 <= i < y - half // 2 + half and z - 6 <= j < z + 6
                assert torch.equal(cut[n, :, i, j], x.new_zeros(3) if inside else x[n, :, i, j])


def test_whole_numbers_are_equally_likely_and_never_beyond():
    n = whole(torch.rand(70_000, generator=generator("whole")), -3, 3)
    assert (n.bincount(minlength=0) if n.min() >= 0 else (n + 3).bincount()).sub(10_000).abs().max() < 400
    assert whole(torch.tensor([0.0, 1 - 2**-24]), -16, 16).tolist() == [-16, 16]


def test_rows_draw_their_own_and_the_gradient_is_that_of_differences():
    augment, x = DiffAugment(), images(n=3, c=2, h=8, w=8)
    assert torch.autograd.gradcheck(lambda x: augment(x, draw), x.requires_grad_())
    same = augment(torch.ones(3, 1, 8, 8), draw)
    assert not torch.equal(same[0], same[1]) and not torch.equal(same[1], same[2])


def test_policy_and_points():
    assert torch.equal(DiffAugment([])(images(), draw), images())
    for name in POLICY:
        assert not torch.equal(DiffAugment([name])(images(), draw), images())
    with pytest.raises(ValueError, match="holds rotation: there are color, translation, cutout"):
        DiffAugment(["color", "rotation"])
    with pytest.raises(ValueError, match="say augment=null"):
        DiffAugment()(torch.zeros(4, 2), draw)


def test_null_is_the_default_and_a_checkpoint_can_name_it():
    def model(*overrides):
        return hub.build(built(command.plain(cli.compose("train", [*overrides, "run=nowhere"]))["model"]))

    assert model().augment is None
    assert model("augment=diff_augment", "model.augment.policy=[cutout]").augment == DiffAugment(["cutout"])


def test_real_and_fake_images_of_a_run_are_augmented(tmp_path):
    """That processes and micro-batches see the same stands in test_distributed.py."""
    words = [
        "model=gan",
        "model.width=8",
        "batch_size=16",
        "kimg=0.016",
        "logger=none",
        "trainer.val_check_interval=99",
    ]
    states = []
    for name, more in {"with": ["augment=diff_augment"], "without": []}.items():
        assert command.start(cli.compose("train", [*words, *more, f"run={tmp_path}/{name}"]), [])[0] == 0
        states.append(torch.load(newest(tmp_path / name), weights_only=True)["state_dict"])
    for network in ("generator", "discriminator"):
        moved = [(a - b).abs().max() for a, b in zip(*([v for k, v in s.items() if network in k] for s in states))]
        assert max(moved) > 1e-4
