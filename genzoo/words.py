"""Settings as they are typed, in a shell or in Python, and as Hydra is to read them.

Hydra's grammar would read `run=1e3` as a number and stop at `~`, `=` and most letters. What names a file, a folder or
anything else is a word, though, and is taken as the shell handed it over.
"""

import os
from functools import cache
from pathlib import Path
from typing import Any, get_args

from genzoo.console import grammatical

PLACES = ("path", "root", "labels", "folder", "save_dir")  # last parts of keys in conf/ that hold paths
NAMES = ("name", "dataset")  # and of those that hold names
SEVERAL, NOTHING = object(), object()


def overrides(words: list[str], hints: dict[str, Any], sweep: bool = False) -> list[str]:
    """The words for Hydra; `hints` are what the command's own keys may hold.

    A name keeps quotes, null, interpolations and escapes of the grammar, and in a sweep its commas. A path may start
    with ~ for the home folder.
    """
    return [as_meant(word, hints, sweep) for word in words]


def as_meant(word: str, hints: dict[str, Any], sweep: bool) -> str:
    key, equals, text = word.partition("=")
    _, dot, leaf = key.lstrip("+").rpartition(".")
    hint = hints.get(leaf, Any) if not dot else Any
    place = Path in kinds(hint) or (dot and leaf in PLACES)
    if not equals or not (place or str in kinds(hint) or (dot and leaf in NAMES)):
        return word
    if list in kinds(hint) and text[:1] == "[" and text[-1:] == "]":
        items = [named(f"{key}={item.strip()}", True, sweep) for item in text[1:-1].split(",")]
        return f"{key}=[{','.join(item.partition('=')[2] for item in items)}]"
    return named(word, bool(place), sweep)


def named(word: str, place: bool, sweep: bool) -> str:
    """A setting whose value is a name, unless it is null or, in a sweep, several."""
    key, _, text = word.partition("=")
    value = read(word)
    if value is None or (sweep and value is SEVERAL):
        return word
    quoted = text[:1] in ('"', "'") or "\\" in text
    name = value if isinstance(value, str) and quoted else text
    name = os.path.expanduser(name) if place else name
    return word if name == value else f"{key}={grammatical(name)}"


def read(word: str) -> Any:
    """What Hydra's grammar makes of a setting's value; NOTHING if it makes nothing of it."""
    from hydra.errors import HydraException

    try:
        found = parser().parse_override(word)
        return SEVERAL if found.is_sweep_override() else found.value()
    except HydraException:
        return NOTHING


@cache
def parser() -> Any:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return OverridesParser.create()


def kinds(hint: Any) -> set[Any]:
    """Every type that a hint mentions; list for any kind of sequence."""
    from collections.abc import Sequence

    found = {list} if getattr(hint, "__origin__", None) in (list, tuple, Sequence) else {hint} - {Any}
    return found.union(*(kinds(one) for one in get_args(hint)))


def said(name: str, value: Any) -> str:
    """A keyword argument of Python as a setting: strings stand for themselves, None for null."""
    return f"{name}={literal(name, value)}"


def literal(name: str, value: Any) -> str:
    value = value.item() if hasattr(value, "item") else value  # a number of numpy or torch
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, os.PathLike):
        return grammatical(os.fspath(value).replace("${", "\\${"))
    if isinstance(value, str):
        return grammatical(value)
    if isinstance(value, (list, tuple)):
        return f"[{','.join(literal(name, item) for item in value)}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{literal(name, item)}" for key, item in value.items()) + "}"
    raise ValueError(f"{name}={value!r}: a number, a word, a path, a list or a dictionary is expected")
