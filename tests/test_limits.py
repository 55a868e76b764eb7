"""What a setting may be is said once, beside it, and every number of every configuration is held to it."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import pytest

from genzoo import cli, hub, limits
from genzoo.commands import train as command
from genzoo.data.module import ZooData
from genzoo.fit import built
from genzoo.limits import Count, Natural, Place, Positive, Range, Share, Weight

CONF = Path(__file__).parents[1] / "conf"
NODE = {"_target_": "genzoo.priors.Normal", "dim": 3}
HINTS = [
    (Count, [1, 2**40], [0, -1, 1.0, True, "1", None, 2**63, [1]], "a whole number of at least 1"),
    (Natural, [0, 1], [-1, 0.5], "a whole number of at least 0"),
    (Positive, [1, 1e-9], [0, -1, math.nan, math.inf, "1", True, 10**400], "a number above 0"),
    (Weight | None, [0, None, 2.5], [-1e-9, math.nan, -math.inf, "no"], "a number of at least 0 or null"),
    (Share, [0, 1, 0.5], [1.1, -0.1, math.nan], "a number from 0 to 1"),
    (Annotated[float, Range(0.001, 1e12)], [0.001, 300], [1e-9, 1e13], "a number from 0.001 to 1e+12"),
    (Annotated[Any, Literal["auto"] | Count], ["auto", 1], ["all", 0], "auto or a whole number of at least 1"),
    (bool, [True, False], [0, 1, "true", None], "true or false"),
    (str | None, ["x", "", None], [1, ["x"]], "a word or null"),
    (Place, ["x", "~"], ["", 1, None], "a path"),
    (Sequence[Count], [[], [1, 2], (3,)], [1, "1", [0], [1, None]], "a list, each item a whole number of at least 1"),
    (tuple[float, float], [[0.5, 0.9]], [[0.5], [0.5, 0.9, 1], 0.5, ["a", "b"]], "a list, each item a number"),
    (dict[Literal["a", "b"], Weight], [{}, {"a": 1}], [1, {"c": 1}, {"a": -1}], "{a or b: a number of at least 0}"),
    (Callable[[int], float], [NODE], [None, 3, "x", {}, []], "an object {_target_: ...}"),
]


@pytest.mark.parametrize(("hint", "good", "bad", "words"), HINTS, ids=[words for *_, words in HINTS])
def test_a_hint_takes_what_it_says(hint, good, bad, words):
    assert all(limits.fits(value, hint) for value in good)
    assert not any(limits.fits(value, hint) for value in bad)
    assert limits.wanted(hint) == words


def test_a_refusal_names_key_value_and_limit():
    with pytest.raises(ValueError, match=r"^model.width=0: expected a whole number of at least 1$"):
        limits.check({"name": 3, "width": 0}, {"width": Count}, "model")
    with pytest.raises(ValueError, match=r"^model.cycle.b=null: expected a number of at least 0$"):
        limits.check({"cycle": {"a": 1, "b": None}}, {"cycle": dict[str, Weight]}, "model")
    limits.check({"width": 1, "unknown": math.nan}, {"width": Count})


class Walker(Protocol):
    speed: float

    def walk(self) -> None: ...


class Dog:
    speed = 3.0

    def __init__(self, legs: Count = 4, **more: Any) -> None: ...
    def walk(self) -> None: ...


class Stone: ...


def test_classes_are_compared_with_what_is_asked_for():
    assert limits.suits(Dog, Walker) and limits.suits(Dog, Dog | None) and not limits.suits(Stone, Walker)
    assert limits.suits(Stone, Any) and not limits.suits(Stone, Callable[[], int]) and not limits.suits(Stone, Dog)


def test_a_class_that_passes_more_on_takes_what_our_own_parents_take():
    from genzoo.models.biggan import BigGAN

    takes = limits.parameters(BigGAN)
    assert {"orthogonal", "penalties", "micro_batch"} <= set(takes.hints) and not takes.open
    assert takes.required == {"generator", "discriminator", "prior", "objective", "optimizers"}
    assert limits.parameters(ZooData).open  # its `**source` goes nowhere


def stems(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def plain(*words: str) -> dict[str, Any]:
    composed = cli.compose("train", [*words, "run=x"])
    for name, value in {"channels": 3, "resolution": 1024, "classes": None}.items():  # what a pack says of itself
        if composed.data.get(name) == "auto":
            composed.data[name] = value
    config = command.plain(composed)
    return {name: config[name] for name in ("data", "callbacks", "logger")} | {"model": built(config["model"])}


def numbers(node: Any, where: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The places of all numbers in plain data."""
    if isinstance(node, (dict, list)):
        items = node.items() if isinstance(node, dict) else enumerate(node)
        return [place for name, value in items for place in numbers(value, (*where, name))]
    return [where] if isinstance(node, (int, float)) and not isinstance(node, bool) else []


CASES = [(f"model={model}", "callbacks=[fidelity,standing,ema]") for model in stems("model")]
CASES += [("model=gan", f"data={data}") for data in stems("data")]
CASES += [(f"model={'gan' if 'gp' in o else 'dcgan'}", f"objective={o}") for o in stems("objective")]
CASES += [(f"experiment={experiment}",) for experiment in stems("experiment")]


@pytest.mark.parametrize("words", CASES, ids=" ".join)
def test_no_number_of_any_configuration_may_be_none_at_all(words):
    """Each is set to nan, to infinity and to a word in turn, and the refusal names it; as it stands it is taken."""
    config = plain(*words)
    for part, node in config.items():
        hub.check(node, None, part)
        for *path, last in numbers(node):
            if part == "data" and not path and last not in limits.parameters(ZooData).hints:
                continue  # kept for the store, which refers to it
            holder = node
            for name in path:
                holder = holder[name]
            kept = holder[last]
            for value in (math.nan, -math.inf, "abc"):
                holder[last] = value
                with pytest.raises(ValueError, match=rf"^{part}\.") as refused:
                    hub.check(node, None, part)
                assert limits.shown(value) in str(refused.value), (path, last)
            holder[last] = kept
