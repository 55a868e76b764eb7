"""Packs: the same pixels as their source, the same bytes after any number of kills, and nothing foreign is read."""

import functools
import io
import itertools
import json
import os
import pickle
import signal

import numpy as np
import pytest
import torch
from PIL import Image

from genzoo.data import packing
from genzoo.data.folder import Folder
from genzoo.data.module import ZooData
from genzoo.data.packed import Packed
from genzoo.data.packing import halvings, plan_of, write
from genzoo.data.store import MemoryStore
from genzoo.data.toys import Ring
from genzoo.schedules import Growth

SOURCE = np.random.default_rng(0)


def memory(count, names=(), labels=None, **options):
    images = torch.from_numpy(SOURCE.integers(0, 256, (count, 3, 8, 8), np.uint8))
    store = MemoryStore(images, torch.arange(count) % 3 if labels is None else labels, **options)
    store.names = names
    return store


@pytest.fixture(scope="module")
def stores():
    return {"train": memory(23, ("a", "b", "c"), flip=True), "test": memory(9)}


def packed(out, stores, pyramid=False, workers=0, **notes):
    for _ in write(out, stores, plan_of(stores, 8, 3, pyramid, **notes), workers):
        pass
    return out


def all_of(store):
    return store.__getitems__([(i, i) for i in range(len(store))])


def files_of(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_pack_holds_the_pixels_and_labels_of_its_source(tmp_path, stores):
    out = packed(tmp_path / "pack", stores)
    for split, store in stores.items():
        read = Packed(split, out, 8)
        assert torch.equal(read.images, store.images) and torch.equal(read.labels, store.labels)
        assert read.names == ("a", "b", "c")
        assert np.array_equal(np.load(out / f"{split}-8.npy", allow_pickle=False), store.images.numpy())
    assert torch.equal(all_of(Packed("train", out, 8, flip=True)).x, all_of(stores["train"]).x)  # mirrored as in memory
    assert not torch.equal(all_of(Packed("train", out, 8)).x, all_of(stores["train"]).x)
    assert torch.equal(all_of(Packed("test", out, 8, flip=True)).x, all_of(stores["test"]).x)
    assert sorted(files_of(out)) == ["pack.json", "test-8.npy", "test-labels.npy", "train-8.npy", "train-labels.npy"]


def png(seed):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (9, 12, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def pictures(tmp_path):
    (tmp_path / "set").mkdir()
    for i in range(20):
        (tmp_path / "set" / f"{i:02}.png").write_bytes(png(i))
    return {split: Folder(split, tmp_path / "set", resolution=8) for split in ("train", "test")}


def test_workers_change_no_byte_of_a_pack_of_pictures(tmp_path, monkeypatch, pictures):
    monkeypatch.setattr(packing, "BLOCK", 4)
    alone, helped = (packed(tmp_path / f"{n}", pictures, pyramid=True, workers=n) for n in (0, 2))
    assert files_of(alone) == files_of(helped)
    assert torch.equal(all_of(Packed("train", alone, 8)).x, all_of(pictures["train"]).x)


def test_the_pyramid_is_made_of_box_averages(tmp_path, stores):
    out = packed(tmp_path / "pack", stores, pyramid=True)
    whole = stores["train"].images.double()
    for k, resolution in enumerate((8, 4)):
        wanted = torch.nn.functional.avg_pool2d(whole, 2**k) + 0.5
        assert torch.equal(Packed("train", out, resolution).images, wanted.floor().byte())
    pixels = torch.tensor([[0, 0, 255, 255], [1, 1, 255, 255], [2, 3, 0, 0], [3, 3, 0, 1]]).byte().view(1, 1, 4, 4)
    _, half, quarter = halvings(pixels, 3)
    assert half.flatten().tolist() == [1, 255, 3, 0]  # 0.5, 255, 2.75, 0.25
    assert quarter.item() == 65  # 64.625; from the rounded ones it would be 64.75 too


def killed(work):
    """Run `work` in a fork that kills itself."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def die(*args, **keywords):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("often", [True, False], ids=["a note each block", "a note at the end"])
def test_a_killed_pack_goes_on_and_equals_an_unbroken_one(tmp_path, monkeypatch, stores, often):
    monkeypatch.setattr(packing, "BLOCK", 4)
    if often:
        monkeypatch.setattr(packing, "monotonic", itertools.count(0, 2).__next__)
    plan = plan_of(stores, 8, 3, True)
    wanted, continued = files_of(packed(tmp_path / "unbroken", stores, pyramid=True)), []

    def after(blocks):
        for count, _ in enumerate(write(out, stores, plan)):
            if count == blocks:
                die()

    def within(name, times):
        calls, real = [], getattr(os, name)
        monkeypatch.setattr(
            packing.os, name, lambda *args: die() if len(calls) == times else calls.append(1) or real(*args)
        )
        after(1000)

    points = [*((after, n) for n in (0, 1, 3, 7)), *((within, n, t) for n in ("fsync", "replace") for t in (0, 1))]
    for number, (work, *arguments) in enumerate(points):
        out = tmp_path / str(number)
        for dies in (lambda: work(*arguments), lambda: after(1)):  # noqa: B023
            assert killed(dies) == -signal.SIGKILL
            with pytest.raises(FileNotFoundError, match="unfinished, and the same genzoo pack command goes on"):
                Packed("train", out, 8)
        continued.append(next(write(out, stores, plan)))
        assert files_of(packed(out, stores, pyramid=True)) == wanted
    assert continued[3] == (31 if often else 23) and len(list(tmp_path.iterdir())) == len(points) + 1


def test_an_unfinished_pack_of_something_else_is_not_continued(tmp_path, stores):
    going = write(tmp_path / "pack", stores, plan_of(stores, 8, 3, False))
    next(going), next(going)
    with pytest.raises(ValueError, match="unfinished pack with another resolutions"):
        next(write(tmp_path / "pack", stores, plan_of(stores, 8, 3, True)))


def test_two_packs_do_not_write_to_one_folder(tmp_path, stores):
    going = write(tmp_path / "pack", stores, plan_of(stores, 8, 3, False))
    next(going)

    def second():
        with pytest.raises(ValueError, match="being written by another"):
            next(write(tmp_path / "pack", stores, plan_of(stores, 8, 3, False)))
        die()

    assert killed(second) == -signal.SIGKILL
    going.close()
    packed(tmp_path / "pack", stores)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: {"train": Ring(), "test": Ring()}, "single pictures.*Ring"),
        (lambda: {"train": memory(3), "test": object()}, "single pictures.*object"),
        (lambda: {"train": memory(3), "test": memory(0)}, "test half gives nothing"),
        (
            lambda: {"train": MemoryStore(torch.zeros(3, 1, 8, 8).byte()), "test": memory(3)},
            r"train half gives \(1, 8, 8\)",
        ),
    ],
)
def test_what_cannot_be_packed_is_told(make, message):
    with pytest.raises(ValueError, match=message):
        plan_of(make(), 8, 3, False)


def test_a_pyramid_needs_a_power_of_two():
    stores = {"train": MemoryStore(torch.zeros(3, 3, 20, 20).byte())}
    with pytest.raises(ValueError, match="20 is none of 8"):
        plan_of(stores, 20, 3, True)


def test_attributes_by_name(tmp_path):
    table = torch.tensor([[0.0, 1, 0], [1, 1, 0]])
    stores = {split: memory(2, ("Male", "Young", "Hat"), table) for split in ("train", "test")}
    out = packed(tmp_path / "pack", stores)
    store = Packed("train", out, 8, attributes=["Hat", "Young"])
    assert store.names == ("Hat", "Young") and all_of(store).y.tolist() == [[0, 1], [0, 1]]
    assert all_of(Packed("train", out, 8)).y.tolist() == table.tolist()
    with pytest.raises(ValueError, match="has no 'Bald'; it has Male, Young, Hat"):
        Packed("train", out, 8, attributes=["Bald"])


def test_a_worker_that_is_not_forked_opens_the_files_anew(tmp_path, stores):
    store = Packed("train", packed(tmp_path / "pack", stores), 8, seed=3, flip=True)
    data = pickle.dumps(store)
    assert len(data) < 1000  # no pixels in it
    assert torch.equal(all_of(pickle.loads(data)).x, all_of(store).x)


def rewrite(name, array=None, **facts):
    def do(folder):
        if array is not None:
            np.save(folder / name, array, allow_pickle=True)
        else:
            (folder / name).write_text(json.dumps(json.loads((folder / name).read_text()) | facts))

    return do


def cut(name, size):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size])


BAD = {
    "resolution": (lambda folder: None, {"resolution": 16}, "data.resolution=16: .*pack holds 8"),
    "no json": (lambda folder: (folder / "pack.json").unlink(), {}, "holds no pack.json: genzoo pack"),
    "foreign json": (lambda folder: (folder / "pack.json").write_text("[1]"), {}, "pack.json is damaged or not from"),
    "no counts": (rewrite("pack.json", count={"train": "many"}), {}, "pack.json is damaged"),
    "newer": (rewrite("pack.json", format=99), {}, "format 99.*upgrade"),
    "cut": (cut("train-8.npy", -1), {}, "train-8.npy has .* bytes instead of"),
    "cut header": (cut("train-8.npy", 20), {}, "train-8.npy is no .npy array, or damaged"),
    "missing": (lambda folder: (folder / "train-8.npy").unlink(), {}, "train-8.npy is missing"),
    "type": (rewrite("train-8.npy", np.zeros((23, 3, 8, 8), np.int8)), {}, "torch.int8 .* instead of uint8"),
    "shape": (rewrite("train-8.npy", np.zeros((23, 8, 8, 3), np.uint8)), {}, r"\(23, 8, 8, 3\) instead of"),
    "count": (rewrite("pack.json", count={"train": 22, "test": 9}), {}, r"instead of uint8 \(22, 3, 8, 8\)"),
    "pickle": (rewrite("train-labels.npy", np.array([{}] * 23, object)), {}, "none of the plain numbers"),
    "labels": (rewrite("train-labels.npy", np.zeros(7, np.int64)), {}, r"\(7,\) for 23 images"),
    "attributes": (rewrite("train-labels.npy", np.zeros((23, 9), np.float32)), {}, r"\(23, 9\) for 23 images"),
    "classes": (lambda folder: None, {"attributes": ["a"]}, "has no 'a'; it has none"),
    "path": (lambda folder: None, {"path": None}, "data.path"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_whole_pack_is_refused(tmp_path, stores, case):
    damage, options, message = BAD[case]
    damage(packed(tmp_path / "pack", stores))
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        Packed(**{"path": tmp_path / "pack", "resolution": 8} | options)
    assert str(caught.value).count("\n") < 3


def anonymous():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("RssAnon"))


def test_a_large_pack_takes_no_memory_of_its_own(tmp_path, stores):
    out, count = packed(tmp_path / "pack", stores), 1_000_000
    with open(out / "train-8.npy", "r+b") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (count, 3, 8, 8)})
        file.truncate(file.tell() + count * 192)  # 192 MB, sparse
    rewrite("train-labels.npy", np.zeros(count, np.int64))(out)
    rewrite("pack.json", count={"train": count, "test": 9})(out)
    before = anonymous()
    store = Packed("train", out, 8)
    for first in range(0, count, 5000):
        store.__getitems__([(i, i) for i in range(first, first + 5000, 2)])
    assert anonymous() - before < 40e6


def test_a_pyramid_is_read_at_the_size_of_the_stage(tmp_path, stores):
    out, growth = packed(tmp_path / "pack", stores, pyramid=True), Growth(8, hold=10, fade=10)
    grown, whole = Packed("train", out, 8, growth=growth), Packed("train", out, 8)
    small = Packed("train", out, 4)

    def at(store, position):
        return store.__getitems__([(3, position), (5, position + 1)]).x

    assert torch.equal(at(grown, 0), at(small, 0)) and at(grown, 0).shape == (2, 3, 4, 4)
    assert torch.equal(at(grown, 10), at(small, 10))  # nothing has faded in yet
    for position in (11, 19, 40, 2**62):
        assert torch.equal(at(grown, position), at(whole, position))
    assert at(pickle.loads(pickle.dumps(grown)), 0).shape == (2, 3, 4, 4)
    assert at(Packed("test", out, 8, growth=growth), 0).shape == (2, 3, 8, 8)  # what models are judged by does not grow


def test_a_growing_set_passes_the_check_by_its_full_size(tmp_path, stores):
    out = packed(tmp_path / "pack", stores, pyramid=True)
    store = functools.partial(Packed, path=out, resolution=8, growth=Growth(8, hold=10, fade=10))
    ZooData(store, 4, channels=3, resolution=8, classes=3).check()
