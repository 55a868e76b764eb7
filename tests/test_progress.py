"""The progress line on terminals of all widths, and in logs: one line that never wraps, calm lines by time."""

import contextlib
import fcntl
import os
import re
import struct
import termios
import threading
import tty
import unicodedata
from types import SimpleNamespace

import pytest
import torch

from genzoo import console
from genzoo.commands import drawing, evaluate
from genzoo.data.toys import Ring
from genzoo.pace import Pace
from genzoo.progress import Line, clock

TERMS = ("D 1.386", "G 0.693")


class Terminal:
    """A terminal of so many columns, whose stream is written to in this process, and all that it has received."""

    def __init__(self, columns):
        self.ours, theirs = os.openpty()
        tty.setraw(theirs)
        self.stream, self.received = os.fdopen(theirs, "w", encoding="utf-8"), b""
        self.resize(columns)
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        while not self.received.endswith(b"\0"):
            self.received += os.read(self.ours, 65536)

    def resize(self, columns):
        self.columns = columns
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", 24 if columns else 0, columns, 0, 0))

    def text(self):
        """All that came, when nothing more comes."""
        self.stream.write("\0")
        self.stream.close()
        self.reader.join()
        os.close(self.ours)
        return self.received[:-1].decode()


def screen(text, columns):
    """What a terminal shows in the end, row by row; what does not fit into a row goes on in the next one."""
    assert "\x1b" not in text
    rows, row, column = [""], 0, 0
    for character in text:
        if character == "\r":
            column = 0
        elif character == "\n":
            row, column = row + 1, 0
        else:
            wide = 1 + (unicodedata.east_asian_width(character) in "FW")
            if column + wide > columns:
                row, column = row + 1, 0
            rows += [""] * (row + 1 - len(rows))
            rows[row] = f"{rows[row][:column]}{character}{' ' * (wide - 1)}{rows[row][column + wide :]}"
            column += wide
        rows += [""] * (row + 1 - len(rows))
    return [line.rstrip() for line in rows]


@pytest.fixture
def hasty(monkeypatch):
    """Every call is shown: a line that waits for its time would make a test wait too."""
    monkeypatch.setattr(Pace, "due", lambda self: True)
    monkeypatch.setattr(Pace, "age", 2.0)
    monkeypatch.setenv("TERM", "xterm-256color")


def shown(columns, *notes, total=300_000):
    terminal = Terminal(columns)
    with pytest.MonkeyPatch.context() as patch, Line(total, "images", stream=terminal.stream) as line:
        patch.setattr("sys.stderr", terminal.stream)
        for done in (64, 128_000, 2_000, 300_032):
            line.show(done, *notes)
    return terminal.text()


@pytest.mark.parametrize("columns, fields", [(2, 0), (20, 1), (40, 3), (80, 6), (200, 6)])
def test_one_line_is_redrawn_in_place_and_holds_whole_fields(hasty, columns, fields):
    text = shown(columns, *TERMS)
    whole = ["100%", "300,032/300,000 images", "0:00 left", "150,016 images/s", *TERMS]
    assert text.count("\r") >= 4 and text.count("\n") == 1
    assert screen(text, columns) == ["  ".join(whole[:fields]) if fields else "1", ""]


def test_a_terminal_that_does_not_know_its_width_is_taken_to_have_80_columns(hasty):
    text = shown(0, *TERMS, "x" * 60)
    assert max(map(len, re.split("[\r\n]", text))) <= 79 and screen(text, 80)[0].endswith("G 0.693")


def test_wide_characters_count_twice_and_control_characters_do_not_act(hasty):
    name = "写真の名前がとても長い.png"  # 26 columns behind 59 others
    assert screen(shown(86, name), 86)[0].endswith(f"/s  {screen(name, 99)[0]}")
    assert screen(shown(85, name), 85) == [screen(shown(85), 85)[0], ""]
    assert "\\x1b[2J\\n" in shown(200, "\x1b[2J\n")


def test_a_terminal_that_becomes_narrower_or_wider_has_one_line_all_the_same(hasty):
    terminal = Terminal(120)
    with Line(300_000, "images", stream=terminal.stream) as line:
        for columns in (120, 60, 40, 90):
            terminal.resize(columns)
            line.show(columns, *TERMS)
            line.show(columns + 1, *TERMS)
    parts = re.split("[\r\n]+", terminal.text())[1:-1]
    widths = [120, 120, 60, 60, 40, 40, *[90] * 3]  # the last again at the end
    assert all(len(part) < columns for part, columns in zip(parts, widths, strict=True))
    assert parts[-1].rstrip().endswith("G 0.693")


def test_what_is_said_meanwhile_stands_above_the_line(hasty, monkeypatch):
    terminal = Terminal(80)
    monkeypatch.setattr("sys.stderr", terminal.stream)
    with Line(10, "pictures") as line:
        line.show(1, "first.png")
        console.say("could not save r/step-00000010.ckpt")
        line.show(2, "second.png")
    console.say("made   r")
    above, below, after, _ = screen(terminal.text(), 80)
    assert above == "could not save r/step-00000010.ckpt" and below.startswith(" 20%") and after == "made   r"


def test_a_terminal_that_cannot_go_back_gets_calm_whole_lines(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    terminal = Terminal(40)
    with Line(300_000, "images", early=True, stream=terminal.stream) as line:
        for done in (64, 128, 192):
            line.show(done, *TERMS)
    first, last, after = screen(terminal.text(), 40)
    assert first.startswith("  0%  64/300,000") and last.startswith("  0%  192/300,000") and after == ""


def test_a_log_has_lines_by_time_and_nothing_of_what_is_soon_over(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("genzoo.pace.time.monotonic", lambda: now[0])
    with Line(1000, "steps") as line:
        for step in range(1, 9):
            now[0] = step
            line.show(step)
    assert capsys.readouterr().err == ""
    with Line(1000, "steps") as line:
        for step in range(1, 996):
            now[0] += 1
            line.show(step)
    told = capsys.readouterr().err
    assert told.startswith("  1%  10/1,000 steps  16:30 left  1 steps/s\n  2%  20/1,000")
    assert told.endswith("\n 99%  995/1,000 steps  0:05 left  1 steps/s\n")
    gaps = [int(a) for a in re.findall(r"%  (\d+)/", told)]
    gaps = [b - a for a, b in zip(gaps, gaps[1:])][:-1]
    assert gaps == sorted(gaps) and gaps[0] == 10 and gaps[-1] == 60
    assert "\r" not in told and "\x1b" not in told


def test_an_early_line_comes_at_once_and_the_rate_is_that_of_this_session(capsys, monkeypatch):
    now = [5.0]
    monkeypatch.setattr("genzoo.pace.time.monotonic", lambda: now[0])
    with Line(3000, "images", first=1000, early=True) as line:
        now[0] += 2
        line.show(1100)
        assert capsys.readouterr().err == " 36%  1,100/3,000 images  0:38 left  50 images/s\n"
        line.show(1150)
    assert capsys.readouterr().err == " 38%  1,150/3,000 images  0:24 left  75 images/s\n"


@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_a_terminal_that_is_gone_ends_no_work(hasty, term, monkeypatch):
    monkeypatch.setenv("TERM", term)
    ours, theirs = os.openpty()
    stream = os.fdopen(theirs, "w")
    line = Line(10, "pictures", stream=stream)
    line.show(1)
    os.close(ours)
    with pytest.raises(OSError):
        os.write(theirs, b"x")
    monkeypatch.setattr("sys.stderr", stream)
    console.say("nobody reads this")
    for done in (2, 3):
        line.show(done)
    line.close()
    with contextlib.suppress(OSError):
        stream.close()


def test_what_takes_long_itself_is_done_less_often(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("genzoo.pace.time.monotonic", lambda: now[0])
    pace = Pace(10, 60)
    now[0] = 9.0
    assert not pace.due()
    now[0] = 10.0
    assert pace.due()
    pace.done(took=4.0)
    now[0] = 89.0
    assert not pace.due()
    now[0] = 90.0
    assert pace.due()


def test_clock():
    assert [clock(seconds) for seconds in (0, 59.9, 62, 3723, 90_000)] == [
        "0:00",
        "0:59",
        "1:02",
        "1:02:03",
        "25:00:00",
    ]


class Black:
    """A model of black images."""

    device, dtype = torch.device("cpu"), torch.float32

    def generate(self, z, y):
        return torch.zeros(len(z), 1, 2, 2)


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize("made, unit", [(drawing.generated, "samples"), (evaluate.batches, "images")])
def test_commands_that_make_or_read_many_images_have_the_line(hasty, monkeypatch, columns, made, unit):
    terminal = Terminal(columns)
    monkeypatch.setattr("sys.stderr", terminal.stream)
    if unit == "samples":
        parts = list(made(Black(), torch.zeros(10, 3), 4))
    else:
        parts = list(made(Ring("test", points=10), SimpleNamespace(batch_size=4, device="cpu")))
    text = terminal.text()
    assert len(parts) == 3 and text.count("\r") >= 3 and " 40%  4/10" in text
    rate = f"  5 {unit}/s" * (columns > 40)
    assert screen(text, columns) == [f"100%  10/10 {unit}  0:00 left{rate}", ""]


def test_what_is_soon_over_leaves_no_line_on_a_terminal_either(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("genzoo.pace.time.monotonic", lambda: 0.0)
    terminal = Terminal(80)
    monkeypatch.setattr("sys.stderr", terminal.stream)
    list(drawing.generated(Black(), torch.zeros(10, 3), 4))
    assert terminal.text() == ""
