"""Sets with an exact truth: memory, digits, toys, drawn shapes."""

import math

import numpy as np
import pytest
import torch

from genzoo.data.digits import Digits
from genzoo.data.shapes import COLOURS, GROUND, Scene, Shapes, render, scenes
from genzoo.data.store import MemoryStore, resized
from genzoo.data.toys import Grid, Ring


def keys(*indices):
    return [(index, index) for index in indices]


def test_memory_maps_bytes_to_both_ends_exactly():
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    x, y = MemoryStore(images).__getitems__(keys(0))
    assert x.dtype == torch.float32 and x.min() == -1 and x.max() == 1
    assert torch.allclose(x.double().flatten(), torch.arange(256).double() / 127.5 - 1, atol=1e-7)
    assert y.tolist() == [0]


def test_memory_refuses_labels_that_do_not_fit():
    with pytest.raises(ValueError, match="3 images with 2 labels"):
        MemoryStore(torch.zeros(3, 1, 2, 2, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64))


def test_flip_depends_on_the_position_alone():
    image = torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 1, 2)
    store = MemoryStore(image, seed=3, flip=True)
    together = store.__getitems__([(0, position) for position in range(2000)]).x[:, 0, 0, 0] > 0
    alone = torch.cat([store.__getitems__([(0, position)]).x[:, 0, 0, 0] > 0 for position in range(50)])
    assert torch.equal(together[:50], alone)
    assert abs(together.double().mean() - 0.5) < 4 * 0.5 / math.sqrt(2000)  # four standard errors
    other = MemoryStore(image, seed=4, flip=True).__getitems__([(0, p) for p in range(2000)]).x[:, 0, 0, 0] > 0
    assert not torch.equal(together, other)


def test_resized_is_pillows_bilinear():
    from PIL import Image

    image = torch.randint(0, 256, (1, 1, 28, 28), generator=torch.Generator().manual_seed(0)).byte()
    for size in (14, 32, 64):
        wanted = np.asarray(Image.fromarray(image[0, 0].numpy()).resize((size, size), Image.Resampling.BILINEAR))
        assert np.abs(resized(image, size)[0, 0].int().numpy() - wanted.astype(int)).max() <= 1


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    truth = load_digits()
    for split, rows in (("train", slice(0, 1500)), ("test", slice(1500, 1797))):
        store = Digits(split, resolution=8)
        x, y = store.__getitems__(keys(*range(len(store))))
        assert torch.allclose(x[:, 0] * 8 + 8, torch.from_numpy(truth.images[rows]).float(), atol=0.04)  # half a level
        assert y.tolist() == truth.target[rows].tolist()
    assert Digits(resolution=32).__getitems__(keys(0, 5)).x.shape == (2, 1, 32, 32)


@pytest.mark.parametrize(("make", "modes", "nearest"), [(Ring, 8, 1.6 * math.sin(math.pi / 8)), (Grid, 25, 0.4)])
def test_toys_follow_their_truth(make, modes, nearest):
    store = make()
    x, y = store.__getitems__(keys(*range(len(store))))
    assert x.shape == (100_000, 2) and store.centres.shape == (modes, 2) and x.abs().max() < 1
    between = torch.pdist(store.centres)
    assert abs(between.min() - nearest) < 1e-6
    distance = (x - store.centres[y]).norm(dim=1)
    share = 1 - math.exp(-4.5)  # of a round Gaussian within three sigma
    assert abs((distance < 3 * store.sigma).double().mean() - share) < 4 * math.sqrt(share * (1 - share) / 100_000)
    counts = torch.bincount(y, minlength=modes)
    assert (counts - 100_000 / modes).abs().max() < 5 * math.sqrt(100_000 / modes)
    assert not torch.equal(make("test").images, store.images) and torch.equal(make().images, store.images)


def test_shapes_show_what_their_scene_says():
    store = Shapes(resolution=64)
    indices = list(range(0, 400, 2))
    x, y = store.__getitems__([(i, 0) for i in indices])
    scene = Scene(*(field[indices] for field in store.scene))
    exact = render(scene, 64)
    assert x.shape == (200, 3, 64, 64) and (x - exact).abs().max() < 1 / 255 + 1e-6
    assert y.tolist() == (3 * scene.shape + scene.colour).tolist() and sorted(set(y.tolist())) == list(range(12))
    picture = (exact + 1) / 2
    palette = torch.tensor(list(COLOURS.values()))[scene.colour]
    column, row = ((scene.centre + 1) * 32).long().clamp(0, 63).unbind(1)
    assert torch.allclose(picture[range(200), :, row, column], palette, atol=0.02)  # every shape covers its centre
    assert torch.allclose(picture[:, :, 0, 0], torch.full((200, 3), GROUND), atol=0.01)
    change = (palette - GROUND)[:, :, None, None]
    share = ((picture - GROUND) * change).sum(1) / (change**2).sum(1)  # of colour in each pixel
    area = share.sum(dim=(1, 2)) / 32**2 / scene.radius**2  # in squared radii
    long, short = 0.95, 0.3
    for shape, wanted in enumerate((math.pi, 2.0, math.sqrt(27) / 4, 8 * long * short - 4 * short**2)):
        assert torch.allclose(area[scene.shape == shape], torch.tensor(wanted), atol=0.05), shape
    line = (torch.arange(64) + 0.5) / 32 - 1
    weight = share / share.sum(dim=(1, 2), keepdim=True)
    middle = torch.stack([(weight.sum(1) * line).sum(1), (weight.sum(2) * line).sum(1)], dim=1)
    assert (middle - scene.centre).abs().max() < 0.01


def test_scenes_come_from_split_and_index_alone():
    whole, some = scenes("train", range(8)), scenes("train", [5, 2])
    assert all(torch.equal(field[[5, 2]], alone) for field, alone in zip(whole, some, strict=True))
    assert not torch.equal(scenes("test", range(8)).centre, whole.centre)
