"""Where a command writes: judged before anything is made, and never over what the same command reads."""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from genzoo.files import read_text

READ = ("ckpt", "features", "latents", "src", "along", "data.path", "data.root")  # keys that name what is read
MODELS = ("ckpt", "features")
SHOWN = (".png", ".gif", ".webp", ".mp4", ".npy")  # what commands leave beside a model, and what no model is read from
EXPORT = ("model.safetensors", "config.json", "README.md", "*.onnx")
LARGEST = 2**26  # bytes of a config.json


def writable(config: Any, suffixes: tuple[str, ...], name: str = "out", noted: Any = None) -> Path:
    """The path that a key names. ValueError if it cannot be written, or is read by the same command.

    Nothing is made yet. The suffix "" stands for a new or empty folder. `noted` are settings of the data that the
    command reads besides, such as those that a checkpoint notes.
    """
    value = config[name]
    path = Path(value).expanduser()
    if path.suffix not in suffixes or not path.name:
        kinds = ", ".join(suffix or "nothing (a folder of PNGs)" for suffix in suffixes)
        raise ValueError(f"{name}={value}: it ends in {kinds}")
    try:
        spare(config, [path], name, noted)
        obstacle = in_the_way(path, folder=not path.suffix)
    except OSError as error:  # a name that is too long, for instance
        obstacle = error.strerror or str(error)
    if obstacle:
        raise ValueError(f"{name}={value} cannot be written: {obstacle}; choose another place")
    return path


def prepared(path: Path) -> Path:
    """The path to a file, whose folder is there now."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error.strerror or error}") from error
    return path


def in_the_way(path: Path, folder: bool) -> str:
    """Why a file, or a folder that is new or empty, cannot be written here; nothing if it can."""
    place = next(place for place in (path, *path.absolute().parents) if place.exists())
    if place != path or folder:
        if not place.is_dir():
            return f"{place} is no folder"
        if place == path and any(place.iterdir()):
            return "it holds files already"
    elif not place.is_file():
        return "there is something else of this name"
    if place.is_file() and not os.access(place, os.W_OK):
        return "it is read-only"
    around = place if place.is_dir() else place.absolute().parent
    try:
        trial = around / f"{os.getpid()}.part"
        trial.open("xb").close()
        trial.unlink()
    except OSError as error:
        return f"{error.strerror} ({around})"
    return ""


def export_folder(config: Any) -> Path:
    """The folder that `out=` names. ValueError if it was not said, holds what is no export, or is read by this command."""
    from omegaconf import OmegaConf

    if OmegaConf.is_missing(config, "out"):
        raise ValueError(f"out is missing: genzoo {config.command} ... out=<folder>")
    out = Path(config.out).expanduser()
    spare(config, [file for pattern in EXPORT for file in out.glob(pattern)], "out")
    if obstacle := in_the_way(out, folder=True) if not is_export(out) else "":
        raise ValueError(f"out={config.out} cannot be written: {obstacle}; choose a new folder")
    return out


def is_export(folder: Path) -> bool:
    """Whether a folder holds an export of genzoo, which another one may replace."""
    try:
        facts = json.loads(read_text(folder / "config.json", LARGEST))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(facts, dict) and {"format", "config"} <= facts.keys()


def spare(config: Any, files: Iterable[Path], name: str, noted: Any = None) -> None:
    """ValueError if one of these files, which are about to be written, is read by the same command."""
    for file in files:
        for key, source in read_by(config, noted) if file.exists() else ():
            if source.exists() and is_read(file, source, key in MODELS):
                raise ValueError(
                    f"{name}={config[name]}: {key}={source} is read from {file}, which would be lost; choose another place"
                )


def read_by(config: Any, noted: Any) -> Iterator[tuple[str, Path]]:
    """What a command reads, by the keys that say so."""
    from omegaconf import OmegaConf

    settings = [(key, OmegaConf.select(config, key, throw_on_missing=False)) for key in READ]
    settings += [(f"data.{key}", value) for key, value in (noted or {}).items() if f"data.{key}" in READ]
    for key, value in settings:
        for word in value if OmegaConf.is_list(value) else [value]:
            if isinstance(word, (str, int, float)) and not isinstance(word, bool):
                yield key, Path(str(word)).expanduser()


def is_read(file: Path, source: Path, model: bool) -> bool:
    """Whether a file is the file `source`, by whatever name, or one of those of the folder `source`."""
    if not source.is_dir():
        return file.samefile(source)
    if model and file.suffix in SHOWN:
        return False
    around = {*Path(os.path.abspath(file)).parents, *file.resolve().parents}
    linked = file.stat().st_nlink > 1  # only then may it have a second name, which takes a while to find
    return any(parent.samefile(source) for parent in around) or (
        linked and any(file.samefile(other) for other in source.rglob("*") if other.is_file())
    )
