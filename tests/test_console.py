"""What reaches the terminal cannot act on it, and what is to be typed next can be pasted."""

import os
import subprocess
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from genzoo import console

VALUES = ["plain", "runs/first", "my run [1] a=b, c", "Tom's photos", 'a"b', "a\\", "a\\\\b", 'a\\"b', "x\ny", "ümlaut",
          "~/x", "", "(x)", "{x", "x}", "a'b\"c", '"', "'", " a ", "!x", "*?", "a;b&c|d", "#x", "\x1b[2J", "$x"]  # fmt: skip


def words(line: str) -> list[str]:
    """What bash makes of a line."""
    done = subprocess.run(["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True)
    return [os.fsdecode(word) for word in done.stdout.split(b"\0")[:-1]]


def test_what_is_quoted_comes_out_of_the_shell_and_the_grammar_as_it_went_in():
    typed = words(" ".join(console.quote(f"run={value}") for value in VALUES))
    assert [OverridesParser.create().parse_override(word).value() for word in typed] == VALUES


def test_lists_and_plain_settings_need_no_more_than_the_shell_does():
    assert (
        console.quote("allow=[mine.]") == "'allow=[mine.]'"
        and console.quote("ckpt=runs/a-b_1.0") == "ckpt=runs/a-b_1.0"
    )


def test_a_path_is_one_word():
    paths = ["a=[1]", "my run", "=x", "~", "-x", "a\nb", "\udcff"]
    assert words(" ".join(console.quote(Path(path)) for path in paths)) == paths
    assert console.quote(Path("=x")) == "'=x'"  # zsh


@pytest.mark.parametrize(
    "text", ["\x1b]0;OWNED\x07", "a\nb", "\r", "\x9b31m", "\u202egnp.exe", "\u2028", "\udcff", "\0"]
)
def test_escaped_text_is_printable(text):
    assert console.escape(text).isprintable() and "\\" in console.escape(text)
    assert console.escape("Straße 東京 'q' \\x") == "Straße 東京 'q' \\x"


def test_only_line_breaks_pass_a_message(capsys):
    console.tell("first\nsecond \x1b[31mred\r")
    told = capsys.readouterr().err
    assert told == "genzoo: first\nsecond \\x1b[31mred\\r\n"
