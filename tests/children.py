"""Other Python processes of a test."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FAR = 3600  # seconds after which a test hangs; none that passes comes near them, however busy the machine is


def python(*arguments):
    """One that has ended: its code and what it said."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)], env=environment(), capture_output=True, text=True, timeout=FAR
    )


def started(*arguments):
    """One that runs; `communicate(timeout=FAR)` waits for its end."""
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)], env=environment(), stderr=subprocess.PIPE, text=True
    )


def environment():
    return os.environ | {"PYTHONPATH": str(ROOT)}
