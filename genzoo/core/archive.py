"""What torch.save wrote, read as data: undamaged, from a regular file, and without running anything in it."""

import pickle
import re
import sys
import warnings
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from genzoo.console import escape
from genzoo.convert import pickles
from genzoo.files import open_regular

OLD = {*IMPORT_MAPPING, *(module for module, _ in NAME_MAPPING)}  # Python 2's names, which old pickles hold
KNOWN = {*sys.stdlib_module_names, *OLD, "builtins", "torch", "numpy", "genzoo"}  # nothing of these is stood in for
CHUNK = 2**20  # bytes held in memory while checksums are taken
DEEPEST, MOST = 60, 1_000_000  # levels and values that a file may hold


class StandIn:
    """An object of a training script's own class, of which nothing is kept but its plain attributes."""

    def __init__(self, *_: Any) -> None: ...


def read(path: Path, mmap: bool = False) -> Any:
    """The plain data in a file; with `mmap`, tensors that stay in it until they are looked at.

    OSError or ValueError if there is no such file, if it is damaged, or if it would run code.
    """
    with open_regular(path) as file:
        try:
            whole(file)
            file.seek(0)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch's advice about pickle protocols: it is refused or read anyway
                found = unpickled(path, file, mmap)
        except pickle.UnpicklingError as error:
            raise ValueError(
                f"{path} is no checkpoint, or holds more than plain data, which could run code; nothing in it was run"
            ) from error
        except Damaged as error:
            raise ValueError(f"{path} is damaged: {error}") from error
        except Exception as error:  # a damaged pickle raises almost any
            raise ValueError(f"{path} is truncated or no checkpoint: it cannot be read") from error
    try:
        return simple(found)
    except ValueError as error:
        raise ValueError(f"{path} is no checkpoint that can be used: {error}") from error


class Damaged(Exception):
    """What is wrong with an archive."""


def whole(file: IO[bytes]) -> None:
    """Read every record of a zip archive, as torch.save writes it, and compare its CRC-32, which torch.load does not."""
    if file.read(4) != b"PK\3\4":
        return  # older than torch 1.6, without checksums
    size = file.seek(0, 2)
    with zipfile.ZipFile(file) as archive:
        records = archive.infolist()
        if sum(record.file_size for record in records) > size:
            raise Damaged("its records claim more bytes than it has")
        for record in records:
            try:
                with archive.open(record) as content:
                    while content.read(CHUNK):
                        pass
            except Exception as error:
                raise Damaged(f"the record {escape(record.filename)[:80]} does not match its checksum") from error
            if record.filename.endswith("/data.pkl") and b"\nbytearray\n" in archive.read(record):
                raise Damaged("it asks for memory that it does not fill")  # a length is enough for this type


def unpickled(path: Path, file: IO[bytes], mmap: bool) -> Any:
    """What torch.save wrote: plain data, with stand-ins for objects of classes that no library here knows.

    Some training scripts save their options beside the weights. pickle.UnpicklingError for anything else. Pickles that
    torch.save did not write are read by `genzoo.convert.pickles`.
    """
    plain = pickles.recognises(file.read(64))
    file.seek(0)
    if plain:
        return pickles.load(file)
    stand_ins: list[Any] = []
    while True:
        try:
            with torch.serialization.safe_globals(stand_ins):
                return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
        except pickle.UnpicklingError as error:
            found = re.search(r"GLOBAL (\S+) was not an allowed global", str(error))
            if not found or len(stand_ins) > 20 or found[1].split(".")[0] in KNOWN:
                raise
            stand_ins.append((type("StandIn", (StandIn,), {}), found[1]))


def simple(value: Any) -> Any:
    """What a pickle holds, its dictionaries, lists and tuples as plain ones; objects of other kinds stay as they are.

    ValueError for a tensor that does not store all its values, for a nest that is too deep, or for one of a few lines
    that stands for too much.
    """
    left = MOST

    def follow(node: Any, depth: int) -> Any:
        nonlocal left
        left -= 1
        if depth > DEEPEST or left < 0:
            raise ValueError(
                f"it nests more than {DEEPEST} deep" if left >= 0 else f"it holds more than {MOST:,} values"
            )
        if isinstance(node, Tensor):
            return own(node)
        if isinstance(node, dict):  # what an OrderedDict of a file answers for items() may be the file's own
            return {name: follow(item, depth + 1) for name, item in dict.items(node)}
        if isinstance(node, (list, tuple)):
            return (list if isinstance(node, list) else tuple)(follow(item, depth + 1) for item in node)
        return node

    return follow(value, 0)


def own(tensor: Tensor) -> Tensor:
    """The tensor, if it is a plain one that stores what it shows."""
    if type(tensor) not in (Tensor, torch.nn.Parameter) or vars(tensor):
        raise ValueError("it holds a tensor with more than its values")
    if tensor.layout is not torch.strided or tensor.is_meta or tensor.is_quantized or tensor.is_nested:
        raise ValueError("it holds a tensor without values of its own (meta, sparse or quantised)")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ValueError("it holds a tensor that repeats what it stores")
    return tensor.detach()
