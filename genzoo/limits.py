"""What a setting may be. Annotations say it, of constructors and of the keys of commands; one comparison holds it.

width: Count                    a whole number, 1 or more
clip: Positive | None           a number of more than 0, or null
threads: Annotated[Any, Literal["auto"] | Count]    where Hydra's own types know no such union
"""

import functools
import inspect
import math
import sys
from collections import abc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

LISTS = (list, tuple, abc.Sequence, abc.Iterable, abc.Collection)
DICTIONARIES = (dict, abc.Mapping)
WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a word",
    Path: "a path",
    NoneType: "null",
}
PLAIN = (bool, int, float, str, list, tuple, dict, NoneType)


@dataclass(frozen=True)
class Range:
    """The numbers from `least` to `most`; `above` leaves the lower end out."""

    least: float = -math.inf
    most: float = math.inf
    above: bool = False

    def __contains__(self, number: float) -> bool:
        return (self.least < number if self.above else self.least <= number) and number <= self.most

    def __str__(self) -> str:
        if self.most == math.inf:
            return f"above {self.least:g}" if self.above else f"of at least {self.least:g}"
        return f"{'above' if self.above else 'from'} {self.least:g} {'up ' if self.above else ''}to {self.most:g}"


Count = Annotated[int, Range(1)]
Natural = Annotated[int, Range(0)]
Positive = Annotated[float, Range(0, above=True)]
Weight = Annotated[float, Range(0)]
Share = Annotated[float, Range(0, 1)]
Place = Annotated[str, Path]  # of a file or folder, ~ for the home folder


class Unfit(ValueError):
    """A setting `key` that holds what it may not hold."""

    def __init__(self, key: str, value: Any, wanted: str) -> None:
        super().__init__(key, value, wanted)
        self.key, self.value, self.wanted = key, value, wanted

    def __str__(self) -> str:
        return f"{self.key}={shown(self.value)}: expected {self.wanted}"


class Parameters(NamedTuple):
    """What a callable takes: a hint by name, the names that have no default, and whether others are taken as well."""

    hints: dict[str, Any]
    required: set[str]
    open: bool


def fits(value: Any, hint: Any) -> bool:
    """Whether a plain value is what a hint asks for. Numbers are finite; what is to be built is a node with `_target_`."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in (Any, object, inspect.Parameter.empty):
        return True
    if origin is Annotated:
        base, *more = arguments
        return fits(value, base) and all(value in m if isinstance(m, Range) else fits(value, m) for m in more)
    if origin in (Union, UnionType):
        return any(fits(value, one) for one in arguments)
    if origin is Literal:
        return any(value == one and type(value) is type(one) for one in arguments)
    kind = origin or hint
    if kind in (None, NoneType):
        return value is None
    if kind in (int, float):
        most = 2**63 - 1 if kind is int else sys.float_info.max  # nan is not below it either
        return isinstance(value, (int, kind)) and not isinstance(value, bool) and -most <= value <= most
    if kind is bool:
        return isinstance(value, bool)
    if kind in (str, Path):
        return isinstance(value, str) and (kind is str or value != "")
    if kind in LISTS:
        return isinstance(value, (list, tuple)) and each_fits(value, kind, arguments)
    if kind in DICTIONARIES:
        key, item = arguments or (Any, Any)
        return isinstance(value, dict) and all(fits(k, key) and fits(v, item) for k, v in value.items())
    return not isinstance(value, PLAIN) or (isinstance(value, dict) and "_target_" in value)


def each_fits(values: Any, kind: Any, arguments: tuple[Any, ...]) -> bool:
    """Whether the items of a list fit: all alike, or one hint for each of a tuple."""
    if kind is tuple and arguments and arguments[-1] is not ...:
        return len(values) == len(arguments) and all(map(fits, values, arguments))
    return not arguments or all(fits(one, arguments[0]) for one in values)


def wanted(hint: Any) -> str:
    """What a hint asks for, in words."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        base, *more = arguments
        ranges = [str(m) for m in more if isinstance(m, Range)]
        return " ".join([wanted(base), *ranges]) if ranges else wanted(more[0])
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(wanted(one) for one in arguments))
    if origin is Literal:
        return " or ".join(map(shown, arguments))
    kind = origin or hint
    if kind in LISTS:
        inner = [one for one in arguments if one is not ...]
        return f"a list, each item {wanted(inner[0])}" if inner and inner[0] is not Any else "a list"
    if kind in DICTIONARIES:
        key, item = arguments or (str, Any)
        return f"{{{'<key>' if key is str else wanted(key)}: {'<value>' if item is Any else wanted(item)}}}"
    name = kind.__name__ if isinstance(kind, type) and kind is not abc.Callable else "object"
    return WORDS.get(kind) or f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name} {{_target_: ...}}"


def shown(value: Any) -> str:
    """A value as it is typed."""
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    if isinstance(value, dict):
        text = "{" + ", ".join(f"{name}: {shown(one)}" for name, one in value.items()) + "}"
    elif isinstance(value, (list, tuple)):
        text = "[" + ", ".join(map(shown, value)) + "]"
    else:
        text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."


@functools.cache
def parameters(made: Callable[..., Any]) -> Parameters:
    """What a class or function takes; a class that passes `**more` on takes what its parents take."""
    hints: dict[str, Any] = {}
    required: set[str] = set()
    more = True
    for function in constructors(made):
        try:
            taken = list(inspect.signature(function).parameters.values())[isinstance(made, type) :]
            types = get_type_hints(function, include_extras=True)
        except Exception:  # foreign code: what cannot be looked at is not checked
            return Parameters(hints, required, True)
        more = any(one.kind is one.VAR_KEYWORD for one in taken)
        for one in taken:
            if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY) and one.name not in hints:
                hints[one.name] = types.get(one.name, Any)
                required |= {one.name} if one.default is one.empty else set()
        if not more:
            break
    return Parameters(hints, required, more)


def constructors(made: Callable[..., Any]) -> list[Callable[..., Any]]:
    """A class's own constructor, and those of ours that it may pass `**more` on to; a function itself."""
    if not isinstance(made, type):
        return [made]
    first, *others = [one for one in made.__mro__ if "__init__" in vars(one)]
    ours = [one for one in others if one.__module__.startswith("genzoo.")]
    return [vars(one)["__init__"] for one in (first, *ours) if one is not object]


def suits(kind: Any, hint: Any) -> bool:
    """Whether objects of a class are what a hint names: of that class, with what a protocol asks for, to be called."""
    if get_origin(hint) in (Union, UnionType):
        return any(suits(kind, one) for one in get_args(hint))
    asked = get_origin(hint) or hint
    if asked is Any or not isinstance(kind, type) or not isinstance(asked, type):
        return True  # what a function returns is not known
    if asked is abc.Callable:
        return "__call__" in dir(kind)
    if not getattr(asked, "_is_protocol", False):
        return issubclass(kind, asked)
    names = {name for name in (*vars(asked), *vars(asked).get("__annotations__", ())) if not name.startswith("_")}
    return names <= {*dir(kind), *getattr(kind, "__dataclass_fields__", ())}


def inside(hint: Any) -> Any:
    """The hint of the items of a list or dictionary; Any where it says nothing of them."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return next((found for found in map(inside, arguments) if found is not Any), Any)
    return arguments[-1 if origin in DICTIONARIES else 0] if arguments and origin in (*LISTS, *DICTIONARIES) else Any


def check(values: dict[str, Any], hints: dict[str, Any], where: str = "") -> None:
    """Unfit for the first value that is not what its hint asks for; names without a hint are not looked at."""
    for name, value in values.items():
        if name not in hints or fits(value, hints[name]):
            continue
        key, item = f"{where}.{name}" if where else name, inside(hints[name])
        if isinstance(value, dict) and "_target_" not in value and item is not Any:
            check(value, dict.fromkeys(value, item), key)
        raise Unfit(key, value, wanted(hints[name]))
