"""A model of genzoo from the files that another project's training left; every size is read off the file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from genzoo.commands.opening import entries
from genzoo.commands.outputs import export_folder
from genzoo.commands.train import key
from genzoo.console import escape, quote
from genzoo.limits import Place


@dataclass
class Keys:
    command: str = "convert"
    src: Annotated[Any, Place | Sequence[Place]] = key(
        "???", "a file, or [<generator>,<discriminator>] where these come apart"
    )
    source: str = key("auto", "where it comes from; found by the names of its tensors if not said")
    out: Place = key("???", "the folder to write; an older export in it is replaced")


def run(config: Any) -> int:
    """Convert, say what was found in the file, and write the exchange format; the exit code."""
    from omegaconf import OmegaConf

    if OmegaConf.is_missing(config, "src"):
        raise ValueError("src is missing: genzoo convert src=<file> out=<folder>")
    out = export_folder(config)

    from genzoo import hub
    from genzoo.commands.info import commands

    words = entries(config.src)
    if not words or any(isinstance(word, (bool, float, dict)) or not isinstance(word, (str, int)) for word in words):
        raise ValueError(f"src={config.src}: a file is expected, or [<generator>,<discriminator>]")
    model = hub.load_foreign([Path(str(word)).expanduser() for word in words], config.source)
    print(f"read   {escape(model.facts['source'])}")
    print(f"found  {type(model).__name__}")
    for name, part in model.named_children():
        size = sum(parameter.numel() for parameter in part.parameters())
        print(f"       {name}: {escape(described(model.config[name]))}" + (f" ({size:,} parameters)" if size else ""))
    try:
        hub.save(model, out)
    except OSError as error:
        raise OSError(f"out={config.out} cannot be written: {error.strerror or error}") from error
    print(f"made   {out} ({', '.join(sorted(file.name for file in out.iterdir()))})")
    for number, (verb, *settings) in enumerate(commands(model)):
        print(f"{'    ' if number else 'next'}   genzoo {verb} {' '.join(map(quote, [f'ckpt={out}', *settings]))}")
    return 0


def described(node: dict[str, Any]) -> str:
    """A network's configuration in a line, or those of several."""
    if "_target_" not in node:
        return "; ".join(f"{name}: {described(part)}" for name, part in node.items())
    if node["_target_"].endswith(".Absent"):
        return "not in the file"
    values = [f"{name} {value}" for name, value in node.items() if not name.startswith("_") and name != "layers"]
    return ", ".join(values) or f"{len(node.get('layers', []))} layers"
