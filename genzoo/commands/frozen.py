"""A run's config.yaml read back: plain data of the kinds that `genzoo train` writes, which reach nothing but the run.

Nothing in it is resolved or built here. ValueError or OSError with a finished message.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from genzoo.console import escape
from genzoo.files import read_text

LIMIT = 100_000  # bytes; that of a run has some five thousand
DEEPEST = 40
PLACES = ("folder", "save_dir", "root_dir", "log_dir", "sub_dir", "dirpath")  # where a callback or logger writes
NAMES = ("name", "version", "filename_suffix", "prefix")  # parts of such a place


def read(folder: Path, typed: Sequence[str] = ()) -> dict[str, Any]:
    """The configuration in a run folder, which may have been moved. `typed` names keys that the command line replaces.

    What it allows or wants to download is not listened to: that counts only where it is typed.
    """
    path = folder / "config.yaml"
    if not os.path.lexists(path):
        raise FileNotFoundError(f"{folder} holds no config.yaml: give the run folder of a genzoo train")
    try:
        frozen = parsed(read_text(path, LIMIT))
        check(frozen)
        frozen = placed(frozen, folder)
        confine(frozen, folder, typed)
    except OSError:
        raise
    except ValueError as error:
        raise ValueError(f"{path} is not what genzoo train wrote: {error}") from error
    return frozen | {"allow": [], "resume": None, "data": offline(frozen["data"])}


def offline(node: Any) -> Any:
    """The same with every `download` false."""
    if not isinstance(node, dict):
        return node
    return {key: False if key == "download" else offline(value) for key, value in node.items()}


def parsed(text: str) -> Any:
    """YAML as plain data; ValueError for what is none, for aliases, of which a few lines can stand for a whole memory,
    and for a deep nest."""
    import yaml
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    if "${" in text:
        raise ValueError("it holds ${...}, for which genzoo train puts the values")
    depth = 0
    try:
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if getattr(event, "anchor", None) is not None:
                raise ValueError(f"line {event.start_mark.line + 1} has an anchor or an alias, which it never needs")
            if depth > DEEPEST:
                raise ValueError(f"it nests more than {DEEPEST} deep")
        return OmegaConf.to_container(OmegaConf.create(text))
    except (yaml.YAMLError, OmegaConfBaseException, AssertionError, RecursionError, TypeError, AttributeError) as error:
        line = escape(" ".join(str(error).split()))[:120]
        raise ValueError(f"it is no YAML ({line})") from error


def number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def named(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(name), str) for name in ("_target_", "name"))


def group(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(part, dict) and isinstance(part.get("_target_"), str) for part in value.values()
    )


Kind = tuple[Callable[[Any], bool], str]
AMOUNT: Kind = (lambda value: value is None or number(value), "a number")
TEXT: Kind = (lambda value: isinstance(value, str) and value != "", "text")
NOTE: Kind = (lambda value: value is None or isinstance(value, str), "text")
WHOLE: Kind = (lambda value: isinstance(value, int) and not isinstance(value, bool), "a whole number")
KINDS: dict[str, Kind] = {
    "model": (named, "a model with _target_ and name"),
    "data": (named, "data with _target_ and name"),
    "callbacks": (group, "callbacks, each with a _target_"),
    "logger": (lambda value: value is None or group(value), "loggers, each with a _target_"),
    "trainer": (lambda value: isinstance(value, dict), "settings of Lightning's Trainer"),
    **dict.fromkeys(("kimg", "epochs", "minutes"), AMOUNT),
    **dict.fromkeys(("devices", "seed"), WHOLE),
    "micro_batch": (lambda value: value is None or WHOLE[0](value), "a whole number"),
    **dict.fromkeys(("run", "precision", "accelerator"), TEXT),
    **dict.fromkeys(("init", "features"), NOTE),
    "threads": (lambda value: value == "auto" or WHOLE[0](value), "auto or a whole number"),
    "batch_size": (lambda value: WHOLE[0](value) or isinstance(value, dict), "a whole number, or a schedule"),
    "deterministic": (lambda value: isinstance(value, bool), "true or false"),
}


def check(frozen: Any) -> None:
    """ValueError that names the first key that is missing or of another kind."""
    if not isinstance(frozen, dict):
        raise ValueError("it holds no keys")
    for name, (right, words) in KINDS.items():
        if name not in frozen:
            raise ValueError(f"{name} is missing")
        if not right(frozen[name]):
            raise ValueError(f"{name}={escape(repr(frozen[name]))[:60]}: {words} is expected")


def placed(frozen: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The frozen configuration of a run whose folder may have been moved: every path below it follows."""
    before, after = frozen["run"], str(folder)

    def follow(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: follow(value) for key, value in node.items()}
        if isinstance(node, str) and (node == before or node.startswith(f"{before}/")):
            return after + node.removeprefix(before)
        return node

    return follow(frozen) | {"run": after}


def confine(frozen: dict[str, Any], folder: Path, typed: Sequence[str] = ()) -> None:
    """ValueError if a callback or logger of ours would write outside the run folder without being told to by hand."""
    home = os.path.realpath(folder)
    for kind in ("callbacks", "logger"):
        for part, node in (frozen[kind] or {}).items():
            key = f"{kind}.{part}"
            if kind in typed or key in typed or not node["_target_"].startswith("genzoo."):
                continue
            place = home
            for name in (*PLACES, *NAMES):
                if node.get(name) and f"{key}.{name}" not in typed:
                    place = os.path.realpath(os.path.join(place, str(node[name])) if name in NAMES else str(node[name]))
                    if place != home and not place.startswith(f"{home}{os.sep}"):
                        raise ValueError(
                            f"{key}.{name}={escape(node[name])[:80]} lies outside {folder}, and a run writes in its own "
                            f"folder only; by hand it may: {key}.{name}=<folder>"
                        )
