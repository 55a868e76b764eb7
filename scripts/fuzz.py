"""Command lines drawn at random, each with something in it that cannot be: python scripts/fuzz.py [draws] [seed].

Each must be refused with a status from 1 to 125 in at most four lines, without a traceback. Prints those that are not.
"""

import contextlib
import io
import os
import random
import re
import sys
import tempfile
import traceback
from collections.abc import Iterator
from typing import Any

from genzoo import cli, limits, words

NONSENSE = ("nan", "inf", "-inf", "-1", "0", "null", "abc", "1.5", "true", "[]", "{}", "[1]", "{a: 1}", "''", "10e400",
            "99999999999999999999", "-0.5", "${nowhere}", "{_target_: os.system}", "{_target_: 3}")  # fmt: skip
GARBAGE = ("=", "==", "~", "~~", "+", "-", "--", "---x", "a", "=a", "x=", "[", "a=[", "a={", "a='", "++seed=1=", "seed@=1",
           "model@x=gan", "~seed", "~model", "~data.name", "model=[gan,dcgan]", "data=nowhere", "hydra.x=1", "-n", "é=ü",
           "--cfg", "--seed=1", "run.x=1", "model.width.x=1", "a.b.c=1", "model={a: 1}", "data/x=1", "seed=$(ls)")  # fmt: skip
BASE = ("model=gan", "data=digits", "data.resolution=8", "model.width=4", "batch_size=16", "accelerator=cpu", "logger=none",
        "kimg=0.016")  # fmt: skip
LINES = 4


def numbers(node: Any, where: str = "") -> Iterator[str]:
    """The names of all numbers of a configuration."""
    for name, value in node.items():
        key = f"{where}.{name}" if where else name
        if isinstance(value, dict):
            yield from numbers(value, key)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield key


def drawn(source: random.Random, keys: list[str]) -> tuple[str, list[str]]:
    """A verb and its arguments; one of them cannot be."""
    verb = source.choice([verb for group in cli.VERBS.values() for verb in group])
    base = list(BASE) if verb in ("train", "check") else []
    if source.random() < 0.3:
        return verb, [*base, source.choice(GARBAGE), *source.sample(GARBAGE, source.randrange(2)), "kimg=nan"]
    if verb == "train" and source.random() < 0.6:
        key, hint = source.choice(keys), float | None  # some may be negative or nothing
    else:
        key, hint = source.choice([*cli.hints_of(verb).items()])
    value = source.choice(NONSENSE)
    read = words.read(f"{key}={value}")
    bad = key not in ("model", "data", "callbacks", "logger", "trainer", "command") and not limits.fits(read, hint)
    return verb, [*base, f"{key}={value}", *([] if bad else ["nonsense=1"])]


def fault(verb: str, arguments: list[str]) -> str:
    """What is wrong with the answer to a command line that cannot be; nothing if it is refused as it should."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            code = cli.run(verb, arguments)
        except BaseException:
            return traceback.format_exc()
    told = re.split(r"^genzoo: ", said.getvalue(), flags=re.MULTILINE)[-1].strip()
    if not 0 < code < 126:
        return f"status {code}\n{said.getvalue()}"
    return "" if told.count("\n") < LINES else f"{told.count(chr(10)) + 1} lines\n{told}"


def main(draws: int = 2000, seed: int = 0) -> int:
    """Draw and tell; how many answers were wrong."""
    source, wrong = random.Random(seed), 0
    composed: Any = cli.compose("train", ["model=gan", "run=x"])
    from omegaconf import OmegaConf

    plain: Any = OmegaConf.to_container(composed)
    keys = [*numbers({part: plain[part] for part in ("data", "model", "callbacks", "trainer")})]
    with tempfile.TemporaryDirectory() as scratch, inside(scratch):
        for _ in range(draws):
            verb, arguments = drawn(source, keys)
            if told := fault(verb, arguments):
                wrong += 1
                print(f"genzoo {verb} {' '.join(arguments)}\n{told}\n")
    return wrong


@contextlib.contextmanager
def inside(folder: str) -> Iterator[None]:
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


if __name__ == "__main__":
    sys.exit(min(main(*map(int, sys.argv[1:])), 125))
