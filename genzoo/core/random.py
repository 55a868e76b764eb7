"""Randomness as a pure function of names and positions: nothing to save, nothing to restore."""

import contextlib
import hashlib
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor


def key(*parts: object) -> int:
    """A 64-bit seed from any plain values; the same in every process and version of Python."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "little")


def generator(*parts: object) -> torch.Generator:
    """A CPU generator seeded with `key(*parts)`."""
    return torch.Generator().manual_seed(key(*parts))


@contextlib.contextmanager
def usual() -> Iterator[None]:
    """Float32 on the CPU, whatever the caller has made torch's defaults: other types and devices draw other numbers."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        changed = torch.get_default_device().type != "cpu"
        with torch.device("cpu") if changed else contextlib.nullcontext():  # it costs a little for each operation
            yield
    finally:
        torch.set_default_dtype(before)


def uniform(seed: int, purpose: str, positions: object) -> Tensor:
    """One number in [0, 1) for each position, the same in any batch, worker or process (splitmix64).

    `positions` is anything that becomes a 1-D array of integers; the result is float64 of the same length.
    """
    x = np.asarray(positions).astype(np.uint64)
    with np.errstate(over="ignore"):  # arithmetic modulo 2^64 is meant
        x = np.uint64(key(seed, purpose)) + (x + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    return torch.from_numpy((x >> np.uint64(11)).astype(np.float64) * 2.0**-53)
