"""A checkpoint as a folder to pass on: weights without pickle, the configuration, a README; ONNX files if asked."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genzoo.commands.sample import CKPT, opened
from genzoo.commands.train import key
from genzoo.extras import needed
from genzoo.files import read_text
from genzoo.limits import Place


@dataclass
class Keys:
    command: str = "export"
    ckpt: Place = key("???", CKPT)
    format: str = key("safetensors", "safetensors, or onnx for ONNX files beside it (by the extra onnx)")
    license: str | None = key(None, "of the weights, noted in the README, such as mit")
    out: Place = key("???", "the folder to write; an older export in it is replaced")


def run(config: Any) -> int:
    """Write the exchange format, with the scores of a run's evaluation; the exit code."""
    if config.format not in ("safetensors", "onnx"):
        raise ValueError(f"format={config.format}: safetensors or onnx")
    out = folder_for(config)
    if config.format == "onnx":
        needed("onnx", "format=onnx")  # before anything is read
    model = opened(config, sampler=False)

    from genzoo import card, hub

    model.facts |= {"license": config.license} if config.license else {}
    model.facts |= {"evaluation": scores} if (scores := evaluation(Path(config.ckpt), model)) else {}
    try:
        hub.save(model, out, onnx=config.format == "onnx")
    except OSError as error:
        raise ValueError(f"out={out} cannot be written: {error.strerror or error}") from error
    print(f"made   {out} ({', '.join(sorted(file.name for file in out.iterdir()))})")
    print(f"next   {card.use(model, out)}")
    print(f"       genzoo push ckpt={out} repo=<user>/{out.name}")
    return 0


def evaluation(ckpt: Path, model: Any) -> dict[str, Any] | None:
    """What `genzoo evaluate` left in a run folder, if it judged just these weights."""
    path = (ckpt if ckpt.is_dir() else ckpt.parent) / "evaluation.json"
    if not path.exists():
        return None

    from genzoo.core import archive, facts
    from genzoo.core.export import LIMIT

    try:
        found = archive.simple(json.loads(read_text(path, LIMIT)))
        if found["images_seen"] != model.images_seen:
            return None
        noted = {name: found[name] for name in ("data", "split", "images", "n", "seed", "features", "values")}
        facts.check_evaluation(noted)
        return noted
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"{path} is no result of genzoo evaluate: run it again, or move it away") from error


def folder_for(config: Any) -> Path:
    """The folder that `out=` names; ValueError if it was not said or holds what is no export."""
    from omegaconf import OmegaConf

    if OmegaConf.is_missing(config, "out"):
        raise ValueError(f"out is missing: genzoo {config.command} ... out=<folder>")
    out = Path(config.out)
    if out.is_file():
        raise ValueError(f"out={out} cannot be written: it is a file, a folder is made")
    if out.is_dir() and any(out.iterdir()) and not (out / "model.safetensors").is_file():
        raise ValueError(f"out={out} holds other files already; choose a new folder")
    return out
