"""A checkpoint is whole, plain and what it says it is, or it is not used."""

import struct
import zipfile
from collections import OrderedDict

import pytest
import torch

from genzoo.core import archive, facts
from genzoo.core.io import AtomicCheckpointIO, fault, newest, read_checkpoint

NOTES = {"format": 1, "images_seen": 5, "config": {"_target_": "x"}, "data": {"name": "digits", "names": ["a"]}}


def content(**change):
    made = {
        "epoch": 0,
        "global_step": 3,
        "pytorch-lightning_version": "2.6.0",
        "state_dict": {"w": torch.arange(5000.0), "n": torch.tensor(3)},
        "loops": {"fit_loop": {}},
        "callbacks": {},
        "optimizer_states": [{"state": {}, "param_groups": []}],
        "lr_schedulers": [],
        "genzoo": NOTES,
    } | change
    return {name: value for name, value in made.items() if value is not ...}


def saved(path, **change):
    torch.save(content(**change), path)
    return path


def span(path, ending):
    """Where a record of a checkpoint stands: (begin, length)."""
    raw = path.read_bytes()
    with zipfile.ZipFile(path) as file:
        entry = next(info for info in file.infolist() if info.filename.endswith(ending))
    name, extra = struct.unpack("<HH", raw[entry.header_offset + 26 : entry.header_offset + 30])
    return entry.header_offset + 30 + name + extra, entry.file_size


def flip(path, at):
    raw = bytearray(path.read_bytes())
    raw[at] ^= 64
    path.write_bytes(raw)


def test_a_good_checkpoint_is_read(tmp_path):
    held = read_checkpoint(saved(tmp_path / "a.ckpt"), resume=True)
    assert held["genzoo"] == NOTES and torch.equal(held["state_dict"]["w"], torch.arange(5000.0))


@pytest.mark.parametrize(("ending", "share"), [("data/0", 0.0), ("data/0", 0.999), ("data/1", 0.5), ("data.pkl", 0.5)])
def test_one_bit_is_noticed(tmp_path, ending, share):
    begin, length = span(saved(tmp_path / "a.ckpt"), ending)
    flip(tmp_path / "a.ckpt", begin + int(length * share))
    for resume in (False, True):
        with pytest.raises(ValueError, match=f"a.ckpt is damaged.*{ending}"):
            read_checkpoint(tmp_path / "a.ckpt", resume)


@pytest.mark.parametrize("kept", [0, 1, 4, 100, 0.3, 0.9, -1])
def test_a_cut_checkpoint_is_refused(tmp_path, kept):
    raw = saved(tmp_path / "a.ckpt").read_bytes()
    (tmp_path / "a.ckpt").write_bytes(raw[: int(kept * len(raw)) if isinstance(kept, float) else kept])
    with pytest.raises(ValueError, match="a.ckpt"):
        read_checkpoint(tmp_path / "a.ckpt")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"genzoo": ...}, "no facts of genzoo"),
        ({"genzoo": 3}, "no facts of genzoo"),
        ({"genzoo": {}}, "no config"),
        ({"genzoo": NOTES | {"format": True}}, "format=True"),
        ({"genzoo": NOTES | {"format": 0}}, "format=0"),
        ({"genzoo": NOTES | {"format": 99}}, "upgrade"),
        ({"genzoo": NOTES | {"images_seen": "x"}}, "images_seen='x'"),
        ({"genzoo": NOTES | {"images_seen": torch.zeros(3)}}, "images_seen=a tensor"),
        ({"genzoo": NOTES | {"images_seen": 10**40}}, "images_seen=1000"),
        ({"genzoo": NOTES | {"config": []}}, "config="),
        ({"genzoo": NOTES | {"config": {"width": torch.zeros(2)}}}, "config="),
        ({"genzoo": NOTES | {"machine": "x"}}, "machine='x'"),
        ({"genzoo": NOTES | {"machine": {"torch": ["x"]}}}, "machine="),
        ({"genzoo": NOTES | {"data": torch.zeros(2)}}, "data=a tensor"),
        ({"genzoo": NOTES | {"data": {"names": 5}}}, "data.names=5"),
        ({"genzoo": NOTES | {"data": {"names": [5]}}}, "data.names="),
        ({"genzoo": NOTES | {"data": {"domains": 5}}}, "data.domains=5"),
        ({"genzoo": NOTES | {"data": {"domains": [1, 2]}}}, "data.domains="),
        ({"genzoo": NOTES | {"data": {"name": ["\x1b[2J"]}}}, r"data.name=\['\\x1b\[2J'\]"),
        ({"genzoo": NOTES | {"data": {"resolution": "x"}}}, "data.resolution='x'"),
        ({"genzoo": NOTES | {"seed": 1.5}}, "seed=1.5"),
        ({"genzoo": NOTES | {"evaluation": "x"}}, "evaluation='x'"),
        ({"genzoo": NOTES | {"evaluation": {}}}, "evaluation"),
        ({"state_dict": ...}, "state_dict"),
        ({"state_dict": []}, "state_dict"),
        ({"state_dict": {5: torch.zeros(1)}}, "state_dict has 5"),
        ({"state_dict": {"w": 5}}, "'w': 5"),
        ({"state_dict": {"w": None}}, "'w': None"),
        ({"state_dict": {"w": torch.zeros(2).to("meta")}}, "without values"),
        ({"state_dict": {"w": torch.zeros(2).to_sparse()}}, "without values"),
        ({"state_dict": {"w": torch.zeros(1).expand(10**6, 10**6)}}, "repeats"),
        ({"live": {"w": 5}}, "'w': 5"),
    ],
)
def test_what_is_of_another_kind_is_named(tmp_path, change, named):
    with pytest.raises(ValueError, match=named) as caught:
        read_checkpoint(saved(tmp_path / "a.ckpt", **change))
    assert "a.ckpt" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", sorted(content().keys() - {"genzoo", "state_dict"}))
def test_only_a_resume_needs_the_state_of_training(tmp_path, name):
    for change in ({name: ...}, {name: {"int": "x"}.get(type(content()[name]).__name__, 7.5)}):
        path = saved(tmp_path / "a.ckpt", **change)
        assert fault(path) is None and name in fault(path, resume=True)
        read_checkpoint(path)
        with pytest.raises(ValueError, match=name):
            read_checkpoint(path, resume=True)


def test_a_nest_without_end_is_refused(tmp_path):
    deep, wide, circle = [], ["x"] * 9, []
    for _ in range(100):
        deep = [deep]
    for _ in range(30):
        wide = [wide] * 9
    circle.append(circle)
    for nest in (deep, wide, circle):
        with pytest.raises(ValueError, match=r"a.ckpt.*(deep|values)"):
            read_checkpoint(saved(tmp_path / "a.ckpt", hparams=nest))


def test_what_a_file_hangs_on_its_objects_is_not_used(tmp_path):
    state = OrderedDict(w=torch.ones(2))
    state.keys = "not to be called"
    held = read_checkpoint(saved(tmp_path / "a.ckpt", state_dict=state))
    assert type(held["state_dict"]) is dict and torch.equal(held["state_dict"]["w"], torch.ones(2))
    weight = torch.ones(2)
    weight.isfinite = "nor this"
    with pytest.raises(ValueError, match="more than its values"):
        read_checkpoint(saved(tmp_path / "a.ckpt", state_dict={"w": weight}))


def test_memory_is_not_asked_for_by_a_length(tmp_path):
    """A bytearray is made by its length alone: a hundred bytes of a file could fill the memory."""
    torch.save({"x": bytearray(b"abc")}, tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match="asks for memory"):
        archive.read(tmp_path / "a.ckpt")
    (tmp_path / "b.ckpt").write_bytes(b"")
    with zipfile.ZipFile(tmp_path / "b.ckpt", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("b/data.pkl", bytes(10**7))
    with pytest.raises(ValueError, match="claim more bytes"):
        archive.read(tmp_path / "b.ckpt")


@pytest.mark.parametrize("kind", ["fifo", "folder", "loop", "nothing"])
def test_only_a_regular_file_is_opened(tmp_path, kind):
    import os

    path = tmp_path / "step-00000002.ckpt"
    {"fifo": os.mkfifo, "folder": os.mkdir, "loop": lambda p: p.symlink_to(p), "nothing": lambda p: None}[kind](path)
    with pytest.raises((ValueError, OSError), match=path.name):
        read_checkpoint(path)
    saved(tmp_path / "step-00000001.ckpt")
    assert newest(tmp_path).name == "step-00000001.ckpt"


def test_the_newest_that_opens_is_taken_and_what_is_passed_over_told(tmp_path):
    assert newest(tmp_path) is None
    for step in (1, 2, 3):
        saved(tmp_path / f"step-0000000{step}.ckpt")
    said = []
    assert newest(tmp_path, tell=said.append).name == "step-00000003.ckpt" and not said
    flip(tmp_path / "step-00000003.ckpt", span(tmp_path / "step-00000003.ckpt", "data/0")[0])
    saved(tmp_path / "step-00000002.ckpt", optimizer_states=...)
    assert newest(tmp_path, tell=said.append).name == "step-00000002.ckpt"
    assert newest(tmp_path, resume=True, tell=said.append).name == "step-00000001.ckpt"
    assert "step-00000003.ckpt is damaged" in said[0] and "step-00000002.ckpt is used instead" in said[0]
    assert "optimizer_states" in said[1] and "step-00000001.ckpt is used instead" in said[1]
    (tmp_path / "step-00000001.ckpt").write_bytes(b"junk")
    with pytest.raises(ValueError, match=r"step-00000003.ckpt is damaged.*step-\*.ckpt"):
        newest(tmp_path, resume=True)


def test_a_file_is_read_through_once(tmp_path, monkeypatch):
    """Pruning and every closing line ask; a large checkpoint is not read each time."""
    path, reads, read = tmp_path / "step-00000001.ckpt", [], archive.read
    monkeypatch.setattr(archive, "read", lambda *a: reads.append(a) or read(*a))
    AtomicCheckpointIO().save_checkpoint(content(), path)
    assert newest(tmp_path) == path and fault(path, resume=True) is None and not reads
    flip(path, span(path, "data/0")[0])
    assert "damaged" in fault(path) and len(reads) == 1
    saved(path)
    import os

    os.utime(path, (1, 1))
    assert fault(path) is None and fault(path) is None and len(reads) == 2


def test_facts_that_training_notes_are_of_their_kinds():
    noted = NOTES | {
        "version": "0.1", "revision": None, "model": "gan", "seed": 0, "machine": {"threads": 1, "torch": "2.6"},
        "data": {"name": "ring", "names": [], "resolution": 1, "channels": None, "store": {"modes": 8}},
        "evaluation": {"data": "digits", "split": "test", "images": 9, "n": None, "seed": 0, "features": None,
                       "values": {"fid": 1.5, "kid": [0.1, "nan"], "modes_found": 8}},
    }  # fmt: skip
    facts.check(noted)
