"""Plain pickles that hold arrays and the objects of one foreign class. Nothing in them is imported or called.

Every name in a file is answered by a class or function of this module that only keeps what it is given; a name that is
not listed is refused.
"""

import math
import pickle
from typing import IO, Any

import torch
from torch import Tensor

TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # how torch.save began before its files were zip archives
KINDS = {"f2": torch.float16, "f4": torch.float32, "f8": torch.float64, "i4": torch.int32, "i8": torch.int64}


def recognises(head: bytes) -> bool:
    """Whether a file that begins so is a plain pickle, which torch.save did not write."""
    return head.startswith(b"\x80") and not head.startswith(TORCH)


def load(file: IO[bytes]) -> Any:
    """What a pickle holds, arrays as `Array`. pickle.UnpicklingError if it names anything but arrays and `Network`."""
    return Restricted(file, encoding="latin1").load()


class Network:
    """Stands for `tfutil.Network` of tkarras' code: its attributes, and no methods."""


class Kind:
    """Stands for a number type of NumPy."""

    def __init__(self, name: str, *_: Any) -> None:
        self.name, self.order = str(name), "<"

    def __setstate__(self, state: Any) -> None:
        self.order = state[1]

    def tensor(self, data: Any, shape: Any) -> Tensor:
        if self.name not in KINDS or self.order not in ("<", "|"):
            raise pickle.UnpicklingError(f"an array of {self.order}{self.name} is not read")
        data = data.encode("latin1") if isinstance(data, str) else data
        kind = KINDS[self.name]
        if len(data) != math.prod(shape) * kind.itemsize:
            raise pickle.UnpicklingError("an array is cut short")
        return torch.frombuffer(bytearray(data), dtype=kind).view(tuple(shape)) if data else torch.empty(shape)


class Array:
    """Stands for an array of NumPy: `tensor`."""

    tensor: Tensor

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, columns_first, data = state
        self.tensor = kind.tensor(data, shape[::-1]).permute(*range(len(shape))[::-1]) if columns_first else (
            kind.tensor(data, shape)
        )  # fmt: skip


def array(*_: Any) -> Array:
    return Array()


def number(kind: Kind, data: Any) -> Any:
    return kind.tensor(data, ()).item()


def encoded(text: str, encoding: str = "latin1") -> bytes:
    return text.encode("latin1")


NAMES: dict[tuple[str, str], Any] = {
    ("tfutil", "Network"): Network,
    ("numpy", "ndarray"): Array,
    ("numpy", "dtype"): Kind,
    ("_codecs", "encode"): encoded,
}
for multiarray in ("numpy.core.multiarray", "numpy._core.multiarray"):
    NAMES |= {(multiarray, "_reconstruct"): array, (multiarray, "scalar"): number}


class Restricted(pickle._Unpickler):  # type: ignore[name-defined, misc]
    """The unpickler in Python, whose memo is a dictionary: in that of C a few bytes of a file ask for gigabytes."""

    dispatch = {code: how for code, how in pickle._Unpickler.dispatch.items() if code != pickle.BYTEARRAY8[0]}  # type: ignore[attr-defined]

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in NAMES:
            raise pickle.UnpicklingError(f"{module}.{name} is no plain data")
        return NAMES[module, name]
