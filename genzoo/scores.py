"""What `genzoo evaluate` found, as evaluation.json keeps it: the newest result, and under `earlier` all others.

A result holds the conditions under which its `values` were taken. Values of the same conditions stand together.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from torch import nn

from genzoo.core import facts
from genzoo.files import read_text, replacing

FILE = "evaluation.json"
LARGEST = 2**26  # bytes
BESIDE = ("values", "checkpoint", "earlier")  # of a result; all else are conditions
PASSED_ON = ("data", "split", "images", "n", "seed", "truncation", "level", "standing", "y", "features", "values")

Result = dict[str, Any]


def read(path: Path) -> list[Result]:
    """All results of a file, the newest first; none if there is no file. ValueError if it holds something else."""
    if not path.exists():
        return []
    try:
        return results(json.loads(read_text(path, LARGEST)))
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} is no result of genzoo evaluate: move it away, or name another file with out="
        ) from error


def results(noted: Any) -> list[Result]:
    """A result and those under `earlier`; ValueError if it is none."""
    found = facts.results(noted) if isinstance(noted, dict) else [noted]
    for result in found:
        facts.check_result(result)
    return [{name: value for name, value in result.items() if name != "earlier"} for result in found]


def together(found: list[Result]) -> Result:
    """Results, of which there is one at least, as they are written: the first, with the others under `earlier`."""
    first, *earlier = found
    return first | ({"earlier": earlier} if earlier else {})


def add(path: Path, result: Result) -> list[str]:
    """Add a result to a file, beside those that it holds; a line for each number that was another one before."""
    found, changed = read(path), []
    for before in [other for other in found if conditions(other) == conditions(result)]:
        found.remove(before)
        for name, value in before["values"].items():
            if (now := result["values"].setdefault(name, value)) != value:
                changed.append(f"{name} was {value}, is {now}")
    with replacing(path) as part:
        part.write_text(json.dumps(together([result, *found]), indent=2) + "\n")
    return changed


def conditions(result: Result) -> Result:
    """Under which a result holds."""
    return {name: value for name, value in result.items() if name not in BESIDE and value is not None}


def of(model: Any, folder: Path) -> Result | None:
    """What the file of a run folder says about just these weights, to be passed on; None if it says nothing."""
    found = [result for result in read(folder / FILE) if result.get("images_seen") == model.images_seen]
    if any("weights" in result for result in found):
        own = fingerprint(model)
        found = [result for result in found if result.get("weights", own) == own]
    return (
        together([{name: one[name] for name in PASSED_ON if one.get(name) is not None} for one in found])
        if found
        else None
    )


def fingerprint(network: nn.Module) -> str:
    """Which weights these are: a hash of the parameters, which standing statistics leave alone."""
    digest = hashlib.sha256()
    for name, parameter in network.named_parameters():
        digest.update(f"{name} {tuple(parameter.shape)}".encode())
        digest.update(parameter.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
