"""A checkpoint as a folder to pass on: weights without pickle, the configuration, a README."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genzoo.commands.sample import CKPT, opened
from genzoo.commands.train import key


@dataclass
class Keys:
    command: str = "export"
    ckpt: str = key("???", CKPT)
    out: str = key("???", "the folder to write; an older export in it is replaced")


def run(config: Any) -> int:
    """Write the exchange format; the exit code."""
    out = folder_for(config)
    model = opened(config, sampler=False)

    from genzoo import hub
    from genzoo.core.roles import Sampler, roles

    try:
        hub.save(model, out)
    except OSError as error:
        raise ValueError(f"out={out} cannot be written: {error.strerror or error}") from error
    print(f"made   {out} ({', '.join(sorted(file.name for file in out.iterdir()))})")
    print(f"next   genzoo {'sample' if Sampler in roles(model) else 'info'} ckpt={out}")
    return 0


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
