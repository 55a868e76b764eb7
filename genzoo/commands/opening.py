"""The checkpoint that a command uses, opened as its keys say."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from genzoo.commands.train import key
from genzoo.console import command
from genzoo.limits import Place

CKPT = "a run folder, a .ckpt file or an exported folder"


@dataclass
class Opening:
    """The keys of every command that opens a checkpoint."""

    ckpt: Place = key("???", CKPT)
    allow: Annotated[Any, str | Sequence[str]] = key(
        (), "packages of your own whose classes the checkpoint may name: allow=[mine.]"
    )


def opened(config: Any, finite: bool = True) -> Any:
    """The model behind `ckpt=` on `device=`; ValueError or OSError if there is none.

    With `finite=False` its weights may be anything.
    """
    from omegaconf import OmegaConf

    if OmegaConf.is_missing(config, "ckpt"):
        raise ValueError(f"ckpt is missing: genzoo {config.command} ckpt=<{CKPT}>")
    from genzoo import hub

    return hub.load(config.ckpt, device_of(config), allow=config.allow, finite=finite)


def device_of(config: Any) -> str:
    """What `device=` names, or the CPU for a command without that key; ValueError if nothing can be computed there."""
    import torch

    device: str = config.get("device", "cpu")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            (torch.ones(1, device=device) + 1).item()
    except Exception as error:  # what torch raises depends on the device
        why = str(error).partition("\n")[0][:160]
        raise ValueError(f"device={device} cannot be used here, cpu can: {why}") from error
    return device


def entries(value: Any) -> list[Any]:
    """What a key holds, as a list: one thing or several."""
    from omegaconf import OmegaConf

    return list(value) if OmegaConf.is_list(value) or isinstance(value, (list, tuple)) else [value]


def at_least(config: Any, name: str, least: int) -> None:
    if config[name] < least:
        raise ValueError(f"{name}={config[name]}: at least {least}")


def hint(config: Any, verb: str, *words: str, ckpt: Any = None) -> str:
    """The command line of a verb for the same checkpoint, or for another, as it is typed into a shell."""
    from genzoo import hub

    return command(verb, f"ckpt={ckpt or config.ckpt}", *words, allow=hub.packages(config.allow))
