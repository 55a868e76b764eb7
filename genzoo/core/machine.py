"""How this machine is used: threads, matrix products, and memory that the allocator keeps."""

import contextlib
import ctypes
import gc
import os
import sys

import torch

SMALL = 3_000_000  # parameters below which a second thread costs more than it gives (README, speed)


def tune(threads: int | str, parameters: int, processes: int = 1) -> int:
    """Set what is measured to pay on a CPU; returns the number of threads, which bit-equality depends on."""
    if threads == "auto":
        cores = max(1, (os.cpu_count() or 1) // processes)
        threads = 1 if parameters < SMALL else cores
    torch.set_num_threads(int(threads))
    fast_float32_products()
    keep_memory()
    return int(threads)


def fast_float32_products() -> None:
    """Take the faster matrix products where they keep float32's precision; on some CPUs they round to bfloat16."""
    if torch.cuda.is_available():
        return
    torch.set_float32_matmul_precision("medium")
    x = torch.linspace(-1, 1, 128 * 128, dtype=torch.float64).sin().view(128, 128)
    error = (x.float() @ x.float() - (x @ x)).abs().max() / (x @ x).abs().max()
    if error > 1e-5:
        torch.set_float32_matmul_precision("highest")


def keep_memory(largest: int = 2**30) -> None:
    """Stop glibc from giving buffers up to so many bytes back to the kernel, only to ask for them again."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(-1, 2 * largest - 1)  # M_TRIM_THRESHOLD
            mallopt(-3, largest)  # M_MMAP_THRESHOLD


def collect_again() -> None:
    """Look for unreachable objects again, which `cli` stops while modules load; what is loaded stays."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
