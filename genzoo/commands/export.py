"""A checkpoint as a folder to pass on: weights without pickle, the configuration, a README; ONNX files if asked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genzoo.commands.opening import Opening, hint, opened
from genzoo.commands.outputs import export_folder
from genzoo.commands.train import key
from genzoo.extras import needed
from genzoo.limits import Place


@dataclass
class Keys(Opening):
    command: str = "export"
    format: str = key("safetensors", "safetensors, or onnx for ONNX files beside it (by the extra onnx)")
    license: str | None = key(None, "of the weights, noted in the README, such as mit")
    out: Place = key("???", "the folder to write; an older export in it is replaced")


def run(config: Any) -> int:
    """Write the exchange format, with the scores of a run's evaluation; the exit code."""
    if config.format not in ("safetensors", "onnx"):
        raise ValueError(f"format={config.format}: safetensors or onnx")
    out = export_folder(config)
    if config.format == "onnx":
        needed("onnx", "format=onnx")  # before anything is read
    model = opened(config)

    from genzoo import card, hub

    model.facts |= {"license": config.license} if config.license else {}
    model.facts |= judged(model, config)
    try:
        hub.save(model, out, onnx=config.format == "onnx")
    except OSError as error:
        raise ValueError(f"out={out} cannot be written: {error.strerror or error}") from error
    print(f"made   {out} ({', '.join(sorted(file.name for file in out.iterdir()))})")
    print(f"next   {hint(config, *card.use(model), ckpt=out)}")
    print(f"       {hint(config, 'push', f'repo=you/{out.name}', ckpt=out)}")
    return 0


def judged(model: Any, config: Any) -> dict[str, Any]:
    """What `genzoo evaluate` left beside a checkpoint about just these weights, as a fact to pass on, or nothing."""
    from genzoo import scores

    ckpt = Path(config.ckpt).expanduser()
    found = scores.of(model, ckpt if ckpt.is_dir() else ckpt.parent)
    return {"evaluation": found} if found else {}
