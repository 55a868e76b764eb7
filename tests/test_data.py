"""The data module: what the stream yields depends on seed and position, not on workers or ranks."""

import os
import signal
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from children import python
from omegaconf import OmegaConf

from genzoo import cli, hub
from genzoo.core.stream import spread
from genzoo.data.module import ZooData
from genzoo.data.shapes import Shapes
from genzoo.data.store import MemoryStore
from genzoo.data.toys import Ring

CONF = Path(__file__).parents[1] / "conf" / "data"
COUNT = 100


def store(split="train", flip=True):
    images = torch.arange(COUNT * 12).remainder(251).byte().view(COUNT, 1, 3, 4)[:, :, :, :3]
    return MemoryStore(images, torch.arange(COUNT) % 10, seed=1, flip=flip and split == "train")


def data(batch_size=12, start=0, rank=0, world=1, turns=("dg",), make=store, **options):
    made = ZooData(make, batch_size, **({"channels": 1, "resolution": 3, "classes": 10, "name": "test"} | options))
    module = SimpleNamespace(turns=turns, images_seen=start)
    made.trainer = SimpleNamespace(lightning_module=module, global_rank=rank, world_size=world)
    return made


def take(data, count):
    batches = iter(data.train_dataloader())
    return [next(batches) for _ in range(count)]


def test_workers_change_nothing():
    for alone, helped in zip(take(data(), 20), take(data(workers=2), 20), strict=True):
        assert torch.equal(alone.x, helped.x) and torch.equal(alone.y, helped.y)


def test_ranks_share_the_same_stream():
    whole = take(data(turns=("d", "dg")), 5)
    parts = [take(data(turns=("d", "dg"), rank=rank, world=3), 5) for rank in range(3)]
    for i, batch in enumerate(whole):
        assert len(batch.x) == 24
        assert all(torch.equal(batch.x[rank::3], parts[rank][i].x) for rank in range(3))


def test_a_late_start_continues_exactly():
    straight, resumed = take(data(), 12), take(data(start=7 * 12), 5)
    assert all(torch.equal(a.x, b.x) for a, b in zip(straight[7:], resumed, strict=True))


def test_every_pass_shows_each_image_once():
    seen = torch.cat([batch.y for batch in take(data(batch_size=20, make=labelled, classes=COUNT), 10)])
    assert sorted(seen[:COUNT].tolist()) == sorted(seen[COUNT:].tolist()) == list(range(COUNT))
    assert seen[:COUNT].tolist() != seen[COUNT:].tolist()


def labelled(split):
    return MemoryStore(torch.zeros(COUNT, 1, 3, 3, dtype=torch.uint8), torch.arange(COUNT))


def test_batch_size_may_follow_the_position():
    sizes = [len(batch.x) for batch in take(data(batch_size=lambda position: 12 if position < 24 else 6), 4)]
    assert sizes == [12, 12, 6, 6]


def test_validation_is_fixed_and_shared():
    whole = [batch.x for batch in data(validation=50).val_dataloader()]
    assert [len(x) for x in whole] == [12, 12, 12, 12, 2]
    assert torch.equal(torch.cat(whole), store("test").__getitems__([(i, i) for i in spread(COUNT, 50)]).x)
    parts = [[batch.x for batch in data(validation=50, rank=r, world=4).val_dataloader()] for r in range(4)]
    assert {len(part) for part in parts} == {4}
    assert all(torch.equal(whole[i][r::4], parts[r][i]) for i in range(4) for r in range(4))


@pytest.mark.parametrize(("world", "sizes"), [(1, [8, 2]), (2, [4, 1]), (3, [3])])
def test_validation_shows_a_row_however_small_a_batch_is(world, sizes):
    for rank in range(world):
        shown = data(batch_size=world, validation=10, rank=rank, world=world).val_dataloader()
        assert [len(batch.x) for batch in shown] == sizes


def test_signals_do_not_kill_workers():
    loader = iter(data(workers=1).train_dataloader())
    next(loader)
    worker = loader._workers[0].pid
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP):
        os.kill(worker, number)
    assert len([next(loader) for _ in range(10)]) == 10


BAD = {
    "processes": ({"batch_size": 10, "world": 4}, "batch_size=10 does not divide by 4 devices.* 8 or 12"),
    "few": ({"batch_size": 3, "world": 4}, "nearest is 4"),
    "none": ({"batch_size": 0}, "batch_size=0"),
    "channels": ({"channels": 3}, "1 channel, 3x3 pixels, but data.channels=3 and data.resolution=3"),
    "resolution": ({"resolution": 4}, "data.resolution=4"),
    "classes": ({"classes": 9}, "labels from 0 to 9.*data.classes=9"),
    "names": ({"make": partial(Shapes, resolution=3), "channels": 3}, "has 12 classes, but data.classes=10"),
    "range": ({"make": lambda split: MemoryStore(2 * torch.ones(20, 1, 3, 3))}, "from 2 to 2"),
    "labels": ({"make": lambda split: MemoryStore(torch.zeros(20, 1, 3, 3).byte())}, "no labels for data.classes=10"),
    "attributes": ({"classes": None, "attributes": ["Male"]}, "data.attributes=.'Male'"),
    "empty": ({"make": lambda split: MemoryStore(torch.zeros(0, 1, 3, 3).byte())}, "no training images"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_told_before_training(case):
    options, message = BAD[case]
    with pytest.raises(ValueError, match=message) as caught:
        data(**options).train_dataloader()
    assert str(caught.value).count("\n") < 3


def test_points_have_two_channels():
    (batch,) = take(data(make=Ring, channels=2, resolution=1, classes=8), 1)
    assert batch.x.shape == (12, 2)


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_set_says_what_it_is(path):
    text = path.read_text()
    described, conf = text.splitlines()[0], yaml.safe_load(text)
    assert described.startswith("# ") and len(described) < 110
    assert conf["name"] == path.stem and {"channels", "resolution", "classes", "batch_size", "seed"} <= conf.keys()
    for key, value in conf["store"].items():  # whatever the store asks for by name is there to be set
        if isinstance(value, str) and value.startswith("${data."):
            assert value == f"${{data.{key}}}" and key in conf


@pytest.mark.parametrize("name", ["digits", "ring", "grid", "shapes", "mnist", "fashion_mnist"])
def test_embedded_sets_are_what_their_conf_says(name, request):
    root = [f"data.root={request.getfixturevalue('shared') / 'data'}"] if "mnist" in name else []
    conf = OmegaConf.to_container(cli.compose("train", [f"data={name}", *root]).data, resolve=True)
    make = hub.build(conf["store"], None)
    made = data(make=make, **{key: conf[key] for key in ("name", "channels", "resolution", "classes")})
    (batch,) = take(made, 1)
    assert len(batch.x) == len(batch.y) == 12


@pytest.mark.thorough
def test_a_loader_that_is_still_held_does_not_keep_a_process_from_ending():
    """Workers do not hear the SIGTERM by which multiprocessing would end them at exit."""
    code = (
        "from types import SimpleNamespace as N; from genzoo.data.toys import Ring; from genzoo.data.module import ZooData\n"
        "data = ZooData(Ring, 8, workers=1, channels=2, resolution=1)\n"
        "data.trainer = N(lightning_module=N(turns=('dg',), images_seen=0), global_rank=0, world_size=1)\n"
        "held = iter(data.train_dataloader()); next(held); import builtins; builtins.held = held; print('out')"
    )
    done = python("-c", code)
    assert done.returncode == 0 and done.stdout == "out\n", done.stderr
