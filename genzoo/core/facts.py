"""What a file notes beside its weights: plain values, each of the kind that its readers count on."""

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor

from genzoo.console import escape

FORMAT = 1
LARGEST = 2**256  # of a number: seeds may be long


def check(facts: Any) -> None:
    """ValueError that names the first fact that is missing or of another kind."""
    if not isinstance(facts, dict):
        raise ValueError(f"its facts are {shown(facts)}: format, images_seen and config are expected")
    if "config" not in facts:
        raise ValueError("it notes no config, from which its model is built")
    expect(facts, KINDS)
    if facts.get("format", FORMAT) > FORMAT:
        raise ValueError(f"it has format {facts['format']}, this version reads up to {FORMAT}: upgrade genzoo")
    expect(facts.get("data", {}), DATA, "data.")
    for result in results(facts["evaluation"]) if "evaluation" in facts else ():
        check_result(result)


def results(evaluation: dict[str, Any]) -> list[Any]:
    """What `genzoo evaluate` found, the newest first, and what it found earlier."""
    earlier = evaluation.get("earlier", [])
    return [evaluation, *(earlier if isinstance(earlier, list) else [earlier])]


def check_result(found: Any) -> None:
    """ValueError unless these are the numbers of `genzoo evaluate`."""
    if not NODE[0](found):
        raise ValueError(f"evaluation={shown(found)}: {NODE[1]} is expected")
    for name in ("data", "split", "images", "values"):
        if name not in found:
            raise ValueError(f"evaluation notes no {name}")
    expect(found, EVALUATION, "evaluation.")
    expect(found["values"], dict.fromkeys(found["values"], SCORE), "evaluation.values.")


def expect(node: dict[str, Any], kinds: dict[str, "Kind"], where: str = "") -> None:
    for name, (right, words) in kinds.items():
        if name in node and not right(node[name]):
            raise ValueError(f"{where}{escape(name)}={shown(node[name])}: {words} is expected")


def whole(value: Any, least: int = 0) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= 2**53


def text(value: Any) -> bool:
    return isinstance(value, str)


def scalar(value: Any) -> bool:
    return value is None or isinstance(value, (str, bool, float)) or (isinstance(value, int) and abs(value) <= LARGEST)


def plain(value: Any) -> bool:
    """Scalars, and lists and dictionaries of them with names as keys."""
    if isinstance(value, dict):
        return all(isinstance(name, str) and plain(item) for name, item in value.items())
    return all(map(plain, value)) if isinstance(value, (list, tuple)) else scalar(value)


def words(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(map(text, value))


def score(value: Any) -> bool:
    """A number, the word for one that is not finite, or a list of them."""
    if isinstance(value, list):
        return all(map(score, value))
    return (
        value in ("nan", "inf", "-inf") or whole(value, -LARGEST) or (isinstance(value, float) and math.isfinite(value))
    )


Kind = tuple[Callable[[Any], bool], str]
COUNT: Kind = (whole, "a whole number from 0 on")
SIZE: Kind = (lambda value: value is None or whole(value, 1), "a whole number from 1 on")
TEXT: Kind = (text, "text")
NOTE: Kind = (lambda value: value is None or text(value), "text")
SEED: Kind = (lambda value: value is None or type(value) is int, "a whole number")
NODE: Kind = (lambda value: isinstance(value, dict) and plain(value), "a dictionary of plain values")
LIST: Kind = (words, "a list of names")
NAMES: Kind = (lambda value: value is None or words(value), "a list of names")
SCORE: Kind = (score, "a number")
KINDS: dict[str, Kind] = {
    "format": (lambda value: whole(value, 1), "a whole number from 1 on"),
    "images_seen": COUNT,
    "config": NODE,
    "data": NODE,
    "machine": (
        lambda value: isinstance(value, dict) and all(text(k) and scalar(v) for k, v in value.items()),
        "a dictionary of versions and settings",
    ),
    **dict.fromkeys(("version", "model", "source", "license"), TEXT),
    "revision": NOTE,
    "seed": SEED,
    "evaluation": NODE,
}
DATA = {"name": TEXT, "names": LIST, "domains": NAMES, "store": NODE} | dict.fromkeys(
    ("channels", "resolution", "classes"), SIZE
)
EVALUATION = {"data": TEXT, "split": TEXT, "images": COUNT, "features": NOTE, "seed": SEED, "values": NODE} | {
    "n": (lambda value: value is None or whole(value), "a whole number from 0 on")
}


def shown(value: Any) -> str:
    """A value of a file in a message: short, and on one line."""
    line = f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else escape(repr(value))
    return line if len(line) <= 60 else f"{line[:57]}..."
