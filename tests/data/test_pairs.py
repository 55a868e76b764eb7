"""Two domains: apart from each other in an order of their own, or side by side and treated alike."""

import numpy as np
import pytest
import torch
from PIL import Image

from genzoo import cli, hub
from genzoo.batches import Images, Matched, Pair, images_of
from genzoo.commands.train import plain
from genzoo.data.module import ZooData
from genzoo.data.pairs import Paired, Unpaired


def grey(path, level, size=(4, 4)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, level).save(path)


def levels(x):
    """The level of the first pixel of each image."""
    return ((x[:, 0, 0, 0] + 1) * 127.5).round().long().tolist()


@pytest.fixture
def domains(tmp_path):
    """Five pictures of A with the levels 0 to 4, three of B from 100 on, and two of each for testing."""
    for side, count, base in (("A", 5, 0), ("B", 3, 100)):
        for i in range(count):
            grey(tmp_path / f"train{side}" / f"{i}.png", base + i)
        for i in range(2):
            grey(tmp_path / f"test{side}" / f"{i}.png", base + 50 + i)
    return tmp_path


def test_each_domain_goes_through_its_own_passes(domains):
    store = Unpaired(path=domains, resolution=4, seed=1)
    assert len(store) == 5
    batch = store.__getitems__([(0, position) for position in range(60)])
    a, b = levels(batch.a), levels(batch.b)
    for seen, count, base in ((a, 5, 0), (b, 3, 100)):
        passes = [seen[i : i + count] for i in range(0, 60, count)]
        assert all(sorted(one) == list(range(base, base + count)) for one in passes)
        assert len({tuple(one) for one in passes}) > 3  # not always the same order
    assert len(set(zip(a, b, strict=True))) > 12  # of 15: none are bound to each other
    for positions in ([17], range(8, 23)):
        again = store.__getitems__([(4, position) for position in positions])
        assert levels(again.a) == [a[p] for p in positions] and levels(again.b) == [b[p] for p in positions]
    other = Unpaired(path=domains, resolution=4, seed=2).__getitems__([(0, position) for position in range(60)])
    assert levels(other.a) != a and levels(other.b) != b


def test_testing_is_in_the_order_of_names(domains):
    store = Unpaired("test", domains, resolution=4, flip=True, load=6)
    batch = store.__getitems__([(i, i) for i in (1, 0)])
    assert levels(batch.a) == [51, 50] and levels(batch.b) == [151, 150] and len(store) == 2


def test_domains_are_cut_and_mirrored_apart(tmp_path):
    for side in "AB":
        (tmp_path / f"train{side}").mkdir()
        ramp = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))
        ramp.save(tmp_path / f"train{side}" / "one.png")  # one picture is enough
    keys = [(0, position) for position in range(64)]
    for options in ({"flip": True, "resolution": 8}, {"load": 8, "resolution": 6}):
        batch = Unpaired(path=tmp_path, channels=1, **options).__getitems__(keys)
        same = sum(one == two for one, two in zip(levels(batch.a), levels(batch.b), strict=True))
        assert len(set(levels(batch.a))) > 1 and same < 50
        tested = Unpaired("test", tmp_path, channels=1, **options).__getitems__(keys)
        assert len(set(levels(tested.a))) == len(set(levels(tested.b))) == 1


def test_domains_of_one_length_have_orders_of_their_own(tmp_path):
    for side in "AB":
        for i in range(8):
            grey(tmp_path / f"train{side}" / f"{i}.png", i)
    batch = Unpaired(path=tmp_path, resolution=4).__getitems__([(p, p) for p in range(8)])
    assert levels(batch.a) != levels(batch.b) and sorted(levels(batch.a)) == sorted(levels(batch.b))


def test_without_test_folders_every_tenth_is_held_out(tmp_path):
    for i in range(20):
        grey(tmp_path / "trainA" / f"{i:02}.png", i)
    grey(tmp_path / "trainB" / "0.png", 99)
    train, test = (Unpaired(split, tmp_path, resolution=4) for split in ("train", "test"))
    assert [len(part) for part in train.domains] == [18, 1] and [len(part) for part in test.domains] == [2, 1]
    assert levels(test.__getitems__([(0, 0), (1, 1)]).a) == [9, 19]


def test_absent_domains_are_named(tmp_path):
    grey(tmp_path / "trainA" / "0.png", 1)
    with pytest.raises(ValueError, match="no pictures in trainB, but in trainA: trainA and trainB are expected"):
        Unpaired(path=tmp_path)
    for make in (Unpaired, Paired):
        with pytest.raises(ValueError, match=r"data\.path"):
            make()


def ramps(path, name="train/0.png"):
    """A file 20x10 with a ramp on the left and the same ramp 100 levels brighter on the right."""
    left = np.arange(100, dtype=np.uint8).reshape(10, 10)
    (path / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate([left, left + 100], axis=1)).save(path / name)
    return path


def test_side_by_side_left_is_a_and_right_is_b(tmp_path):
    batch = Paired(path=ramps(tmp_path), channels=1, resolution=10).__getitems__([(0, 0)])
    a, b = (((x + 1) * 127.5).round().long()[0, 0] for x in batch)
    assert torch.equal(a, torch.arange(100).view(10, 10)) and torch.equal(b, a + 100)
    assert Paired(path=tmp_path, resolution=5).__getitems__([(0, 0)]).b.shape == (1, 3, 5, 5)


def test_pairs_are_cut_and_mirrored_alike(tmp_path):
    store = Paired(path=ramps(tmp_path), channels=1, resolution=7, load=10, flip=True, seed=1)
    batch = store.__getitems__([(0, position) for position in range(100)])
    a, b = (((x + 1) * 127.5).round().long() for x in batch)
    assert torch.equal(b, a + 100) and len(set(levels(batch.a))) > 16
    assert {1, -1} == set((a[:, 0, 0, 1] - a[:, 0, 0, 0]).tolist())


def test_halves_of_pairs(tmp_path):
    ramps(tmp_path, "val/0.png")
    ramps(tmp_path, "train/0.png")
    ramps(tmp_path, "train/1.png")
    assert [len(Paired(split, tmp_path)) for split in ("train", "test")] == [2, 1]
    Image.new("L", (21, 10)).save(tmp_path / "train" / "1.png")
    with pytest.raises(ValueError, match=r"train/1.png is 21 pixels wide"):
        Paired(path=tmp_path).__getitems__([(1, 0)])


def test_domains_apart_are_no_pairs(domains):
    with pytest.raises(ValueError, match="holds trainA and trainB, two domains apart: they are read by data=unpaired"):
        Paired(path=domains)


def test_pairs_in_two_folders_are_not_cut_in_halves(tmp_path):
    for side in "AB":
        ramps(tmp_path, f"train/{side}/0.png")
    with pytest.raises(ValueError, match="holds A and B in folders of their own: join each pair in one file"):
        Paired(path=tmp_path)


@pytest.mark.parametrize("names", ["[apple]", "[x,x]", "[b,a]", "[x,A]", "[a,b,c]"])
def test_names_of_domains_must_tell_them_apart(names, domains):
    with pytest.raises(ValueError, match="two different names are expected"):
        module_of("data=unpaired", f"data.path={domains}", f"data.domains={names}")


def module_of(*words):
    return hub.build(plain(cli.compose("train", [*words, "run=x"]))["data"], None)


def test_the_data_module_takes_pairs(domains):
    data = module_of("data=unpaired", f"data.path={domains}", "data.resolution=8", "batch_size=2", "data.load=9")
    assert data.domains == ["A", "B"]
    (batch,) = data.val_dataloader()
    assert isinstance(batch, Pair) and [x.shape for x in images_of(batch)] == [(2, 3, 8, 8)] * 2
    data.check(Pair, 2)
    with pytest.raises(ValueError, match="images of two domains, but the model learns from single images"):
        data.check(Images, 2)
    with pytest.raises(ValueError, match="images of two domains, but the model learns from pairs that belong together"):
        data.check(Matched, 2)
    with pytest.raises(ValueError, match="batch_size=6 is more than the 5 training images.*batch_size=5"):
        data.check(Pair, 6)
    data.attributes = ["x"]
    with pytest.raises(ValueError, match="no labels for data.attributes"):
        data.check()


def test_both_images_of_a_pair_are_checked():
    class Odd:
        def __len__(self):
            return 1

        def __getitems__(self, keys):
            return Pair(torch.zeros(len(keys), 3, 4, 4), 2 + torch.zeros(len(keys), 3, 4, 4))

    with pytest.raises(ValueError, match="from 2 to 2"):
        ZooData(lambda split: Odd(), 1, channels=3, resolution=4).check()


def test_real_domains(shared):
    unpaired = Unpaired(path=shared / "data" / "apple2tomato", resolution=16)
    assert [len(part) for part in unpaired.domains] == [252, 252] and len(
        Unpaired("test", unpaired.domains[0].files.path)
    ) == 48
    batch = unpaired.__getitems__([(i, i) for i in range(32)])
    centre = [x[:, :, 6:10, 6:10].mean((0, 2, 3)) for x in batch]
    assert centre[0][1] > centre[1][1] + 0.5  # apples are greener than tomatoes
    paired = Paired(path=shared / "data" / "edges2fruit", resolution=16)
    assert len(paired) == 268 and len(Paired("test", shared / "data" / "edges2fruit")) == 67
    edges = paired.__getitems__([(i, i) for i in range(8)]).a
    assert (edges.amax(1) - edges.amin(1)).mean() < 0.02  # black on white


def test_pairs_are_cut_out_of_the_whole_alike(tmp_path):
    both = np.concatenate([np.arange(40, dtype=np.uint8)[None].repeat(20, 0)] * 2, 1)
    Image.fromarray(both).save(tmp_path / "0.png")
    store = Paired(path=tmp_path, channels=1, resolution=12, resize="scale")
    pairs = store.__getitems__([(0, position) for position in range(50)])
    assert torch.equal(pairs.a, pairs.b) and len(pairs.a[:, 0, 0, 0].unique()) > 15
