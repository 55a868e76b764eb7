"""How this machine is used: threads, matrix products, and memory that the allocator keeps."""

import contextlib
import ctypes
import gc
import os
import resource
import sys
import time
from pathlib import Path

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


def fast_precision(accelerator: str) -> str:
    """bf16-mixed where this machine has units for bfloat16 and the model will run on them, else 32-true."""
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    return "bf16-mixed" if runs_on_cpu(accelerator) and bf16_cost() < 1 else "32-true"


def runs_on_cpu(accelerator: str) -> bool:
    return accelerator == "cpu" or (accelerator == "auto" and not torch.accelerator.is_available())


def bf16_cost(seconds: float = 0.1) -> float:
    """How many times as long as in float32 a convolution takes this CPU in bfloat16; below 1 it has units for that.

    Measured in the process's own time, so that other processes do not count. What a CPU calls itself says little: an
    environment variable can hold oneDNN back from its units.
    """
    x = torch.linspace(-1, 1, 8 * 16 * 16 * 16).view(8, 16, 16, 16).to(memory_format=torch.channels_last)
    weight = torch.linspace(-1, 1, 16 * 16 * 9).view(16, 16, 3, 3)

    def fastest(kind: torch.dtype) -> float:
        times, end = list[float](), time.process_time() + seconds / 2
        while not times or time.process_time() < end:
            began = time.process_time()
            torch.nn.functional.conv2d(x.to(kind), weight.to(kind), padding=1)
            times.append(time.process_time() - began)
        return min(times)

    return fastest(torch.bfloat16) / max(fastest(torch.float32), 1e-9)


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


def free_memory() -> int:
    """Bytes that the system, and the limits of this process and its container, leave free."""
    free = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        free.append(1024 * int(next(line.split()[1] for line in lines if line.startswith("MemAvailable:"))))
    with contextlib.suppress(OSError, ValueError):  # of a container; the word max where there is no limit
        group = Path("/sys/fs/cgroup")
        free.append(int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()))
    with contextlib.suppress(OSError, ValueError):
        limit, used = resource.getrlimit(resource.RLIMIT_AS)[0], int(Path("/proc/self/statm").read_text().split()[0])
        if limit != resource.RLIM_INFINITY:
            free.append(limit - used * os.sysconf("SC_PAGE_SIZE"))
    return max(0, min(free))


def collect_again() -> None:
    """Look for unreachable objects again, which `cli` stops while modules load; what is loaded stays."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
