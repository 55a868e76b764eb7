"""How far a long work is: one line of a terminal, redrawn in place, or calm plain lines by time in a log.

The same for training and for every command that takes its time:

    with Line(len(names), "pictures") as line:
        for done, name in enumerate(names, start=1):
            ...
            line.show(done, name)

It says the share, what is done and what there is, the time left, the rate of this session and the notes, as many of
these as the terminal is wide, and comes after a quarter of a second. In a log, and where TERM is dumb, it comes after ten
seconds, and again at growing distances. What is done within that time says nothing; with `early` it speaks at once.
"""

import contextlib
import os
import sys
import threading
from typing import Any, TextIO

from tqdm import tqdm
from tqdm.utils import disp_len

from genzoo import console
from genzoo.pace import Pace


class Bar(tqdm):
    """tqdm without its thread, which wakes up bars that get no news, and without locks between processes."""

    monitor_interval = 0


Bar.set_lock(threading.RLock())


class Line:
    """`done` of `total` things that are called `unit`.

    first   how many an earlier session did, in none of this one's time
    early   the first line comes at once
    stream  stderr if not given
    """

    def __init__(
        self, total: float, unit: str, first: float = 0, early: bool = False, stream: TextIO | None = None
    ) -> None:
        self.total, self.unit, self.first, self.early = total, unit, first, early
        self.stream: Any = stream or sys.stderr
        self.terminal = self.stream.isatty()
        self.live = self.terminal and os.environ.get("TERM") != "dumb"  # a dumb one cannot go back in its line
        self.pace = Pace(0.25, 0.25) if self.live else Pace(10, 60)
        self.done = first
        self.notes: tuple[str, ...] = ()
        self.drawn: Any = None  # the last two that were shown
        self.bar: Bar | None = None

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def show(self, done: float, *notes: str) -> None:
        """So much is done; cheap enough for a loop that turns a thousand times a second."""
        self.done, self.notes = done, notes
        if self.pace.due() or (self.drawn is None and self.early):
            self.draw()

    def close(self) -> None:
        """What was shown last stays, brought up to date."""
        if self.drawn is None:
            return
        if self.drawn != (self.done, self.notes):
            self.draw()
        if self.bar is not None:
            with contextlib.suppress(OSError):
                self.bar.close()
            self.bar, console.aside = None, contextlib.nullcontext

    def draw(self) -> None:
        columns = columns_of(self.stream) if self.terminal else None
        text = fitting(self.fields(), columns)
        with contextlib.suppress(OSError):  # a terminal that is gone ends no work
            if columns and self.live:
                self.redraw(text, columns)
            else:
                print(text[:columns], file=self.stream, flush=True)
        self.drawn = self.done, self.notes
        self.pace.done()

    def redraw(self, text: str, columns: int) -> None:
        if self.bar is None:
            self.bar = Bar(desc=text, bar_format="{desc}", file=self.stream, ncols=columns, nrows=24, position=0)
            console.aside = lambda: Bar.external_write_mode(self.stream)
            return
        if columns < self.bar.ncols:  # blanks for all of the longer line before would now go over the edge
            self.bar.sp = self.bar.status_printer(self.bar.fp)
        self.bar.ncols = columns
        self.bar.set_description_str(text)

    def fields(self) -> list[str]:
        share, amount = min(self.done / max(self.total, 1), 1), f"{self.done:,}/{self.total:,} {self.unit}"
        found = [f"{int(100 * share):3}%", amount]
        rate = (self.done - self.first) / max(self.pace.age, 1e-9)
        if rate > 0:
            left = clock(max(self.total - self.done, 0) / rate)
            found += [f"{left} left", f"{rate:,.0f} {self.unit}/s" if rate >= 10 else f"{rate:.2g} {self.unit}/s"]
        return [*found, *map(console.escape, self.notes)]


def columns_of(stream: Any) -> int:
    """How wide a terminal is but for its last column, behind which some of them begin a new line; 79 if it does not
    say."""
    try:
        return (os.get_terminal_size(stream.fileno()).columns or 80) - 1
    except (OSError, ValueError):
        return 79


def fitting(fields: list[str], columns: int | None) -> str:
    """The first of the fields, as many as there is room for: half of a number would be another number."""
    while len(fields) > 1 and columns is not None and disp_len("  ".join(fields)) > columns:
        fields = fields[:-1]
    return "  ".join(fields)


def clock(seconds: float) -> str:
    """1:02:03 or 2:03."""
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"
