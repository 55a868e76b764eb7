"""The exchange format on disk: `model.safetensors` and `config.json`, which notes the SHA-256 of the weights."""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from genzoo.console import Notice
from genzoo.core import archive, facts
from genzoo.files import open_regular, read_text

WEIGHTS, FACTS = "model.safetensors", "config.json"
LIMIT = 2**24  # bytes of config.json


def read(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The weights and the facts of an export; ValueError or OSError if they are damaged or not of their kinds."""
    try:
        noted = archive.simple(json.loads(read_text(folder / FACTS, LIMIT)))
        facts.check(noted)
        known = noted.pop("sha256", None)
        if known is not None and known != sha256(folder / WEIGHTS):
            raise ValueError(f"{WEIGHTS} is damaged, its SHA-256 is not the one that {FACTS} notes: copy it anew")
        state = load_file(folder / WEIGHTS)
    except (OSError, ValueError, KeyError, RecursionError, SafetensorError) as error:
        raise ValueError(f"{folder} is no readable export ({WEIGHTS}, {FACTS}): {error}") from error
    if known is None:
        line = (
            f"{folder / FACTS} notes no SHA-256 of {WEIGHTS}, so that damage may go unnoticed; an export made anew does"
        )
        warnings.warn(line, Notice, stacklevel=2)
    return state, noted


def write(folder: Path, state: dict[str, Tensor], noted: dict[str, Any]) -> None:
    """Both files into a folder that is there; OSError if it is full."""
    try:
        save_file(state, folder / WEIGHTS)
    except SafetensorError as error:
        raise OSError(f"{folder / WEIGHTS} cannot be written: {error}") from error
    text = json.dumps(noted | {"sha256": sha256(folder / WEIGHTS)}, indent=2)
    (folder / FACTS).write_text(text + "\n")
    shutil.copymode(folder / FACTS, folder / WEIGHTS)  # safetensors lets nobody else read what it writes


def sha256(path: Path) -> str:
    found = hashlib.sha256()
    with open_regular(path) as file:
        while part := file.read(2**20):
            found.update(part)
    return found.hexdigest()


@contextlib.contextmanager
def renewed(folder: Path) -> Iterator[Path]:
    """A place to write files to, which move to `folder` once all of them are whole; after an error none of them does."""
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".part-") as place:
            yield Path(place)
            for file in Path(place).iterdir():
                os.replace(file, folder / file.name)
    except BaseException:
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise
