"""Scenes of two domains: what is random about them, and that the truth is exact."""

import pytest
import torch

from genzoo.data import shapes
from genzoo.data.shapes_ab import AROUND, CORE, FLAT, RING, SHARES, ShapesAB, flat, foreground, rings, scenes


def every(store):
    return store.__getitems__([(i, i) for i in range(len(store))])


def test_testing_shows_the_same_scene_twice_and_training_does_not():
    train, paired, test = ShapesAB(count=40), ShapesAB(count=40, paired=True), ShapesAB("test", count=40)

    def agreement(store):
        """Where A has an object, B is mostly coloured or white and no stripe: the part of A's colours found in B."""
        a, b = every(store)
        colour = a.amax(1) - a.amin(1) > 0.8
        return ((b.amax(1) - b.amin(1))[colour] > 0.2).double().mean().item()

    assert agreement(test) > 0.6 and agreement(paired) > 0.6 and agreement(train) < 0.4
    for one in (train.a, train.b, test.a):
        assert len({picture.numpy().tobytes() for picture in one}) == 40
    assert not torch.equal(train.a, test.a) and not torch.equal(paired.b, train.b)
    assert torch.equal(every(test).a, every(ShapesAB("test", count=40)).a)
    assert torch.equal(ShapesAB("test", count=8).a, test.a[:8])


def test_partners_change_from_pass_to_pass():
    store = ShapesAB(count=16)
    first, second = (store.__getitems__([(i, p + i) for i in range(16)]) for p in (0, 16))
    assert torch.equal(first.a, second.a) and not torch.equal(first.b, second.b)
    assert torch.equal(first.b.sum((1, 2, 3)).sort().values, second.b.sum((1, 2, 3)).sort().values)
    pairs = ShapesAB(count=16, paired=True)
    assert torch.equal(pairs.__getitems__([(3, 99)]).b, pairs.__getitems__([(3, 0)]).b)


def test_the_distributions_of_a_scene():
    scene = scenes("x", torch.arange(2000), 6)
    assert len(scene.shape) == 12_000 and scene.shape.bincount().div(12_000).tolist() == pytest.approx(
        [1 / 3] * 3, abs=0.02
    )
    for shape in range(3):
        shares = scene.colour[scene.shape == shape].bincount(minlength=3).double().div((scene.shape == shape).sum())
        told = [0.3 * share + 0.7 * (colour == shape) for colour, share in enumerate(SHARES)]
        assert shares.tolist() == pytest.approx(told, abs=0.02)
    own = scene.radius / AROUND[scene.shape]
    assert scene.centre.abs().max() < 0.85 and 0.18 <= own.min() and own.max() < 0.30
    assert scene.angle.abs().max() < 0.4 and scene.angle.std().item() == pytest.approx(0.8 / 12**0.5, rel=0.02)


def test_shapes_of_one_radius_have_one_area():
    n, size = 3, 512
    scene = scenes("x", torch.arange(n), 1)._replace(
        shape=torch.arange(n), centre=torch.zeros(n, 2), radius=0.3 * AROUND, angle=torch.tensor([0.0, 0.3, -0.2])
    )
    areas = (shapes.distance(scene, size) < 0).double().sum((1, 2)) * (2 / size) ** 2
    assert areas.tolist() == pytest.approx([0.09 * torch.pi] * n, rel=0.01)


def one_disc(radius=0.3):
    scene = scenes("x", torch.arange(1), 1)
    return scene._replace(
        shape=torch.tensor([0]), colour=torch.tensor([2]), centre=torch.zeros(1, 2), radius=torch.tensor([radius])
    )


def test_colours_along_a_line_through_a_disc():
    size = 256
    a, b = flat(one_disc(), 1, size)[0], rings(one_disc(), 1, size, 0.85 * FLAT)[0]
    place = lambda x: round((x + 1) * size / 2)  # noqa: E731
    row = size // 2
    assert torch.allclose(a[:, row, place(0)], FLAT[2], atol=1e-3) and torch.allclose(a[:, row, 3], torch.tensor(0.12))
    assert torch.allclose(b[:, row, place(0)], torch.tensor(CORE), atol=1e-3)
    assert torch.allclose(b[:, row, place(0.3 - RING / 2)], 0.85 * FLAT[2], atol=1e-3)
    assert torch.equal(flat(one_disc(), 1, size)[0, :, row, :20], flat(one_disc(), 1, size)[0, :, 5, :20])
    stripes = b[0, 2]
    assert stripes.unique().tolist() == pytest.approx([0.65, 0.95])
    assert (stripes.diff() != 0).sum() == 11  # twelve half periods in two units
    mask = foreground(one_disc(), 1, size)[0]
    radius = mask[row].sum().item() / size
    assert radius == pytest.approx(0.3 + 2 / size, abs=3 / size)


def test_the_later_object_lies_above():
    scene = scenes("x", torch.arange(1), 2)
    scene = scene._replace(
        shape=torch.zeros(2, dtype=torch.long), colour=torch.tensor([0, 1]), centre=torch.zeros(2, 2),
        radius=torch.tensor([0.3, 0.2]),
    )  # fmt: skip
    picture = flat(scene, 2, 256)[0]
    assert torch.allclose(picture[:, 128, 128], FLAT[1], atol=1e-3)
    assert torch.allclose(picture[:, 128, 128 + 32], FLAT[0], atol=1e-3)


@pytest.mark.parametrize("variant", ["restyle", "recolour", "single"])
def test_variants(variant):
    store = ShapesAB("test", variant=variant, count=20)
    batch = every(store)
    assert batch.a.shape == batch.b.shape == (20, 3, 32, 32) and store.mask.shape == (20, 32, 32)
    assert batch.a.abs().max() <= 1 and 0.02 < store.mask.float().mean() < 0.5
    if variant == "single":
        assert store.mask.float().mean() < 0.1
    if variant == "recolour":
        plain = every(ShapesAB("test", count=20))
        assert torch.equal(batch.a, plain.a) and not torch.equal(batch.b, plain.b)


def test_an_unknown_variant_is_told():
    with pytest.raises(ValueError, match="data.variant=repaint: there are restyle, recolour, single"):
        ShapesAB(variant="repaint")
