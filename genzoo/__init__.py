"""genzoo: a zoo of classic generative image models."""

import importlib
from typing import Any

__version__ = "0.1.0"
__all__ = ["load", "save", "train"]

HOME = {"load": "genzoo.hub", "save": "genzoo.hub", "train": "genzoo.commands.train"}


def __getattr__(name: str) -> Any:  # torch is imported when something is used, not before
    if name in HOME:
        return getattr(importlib.import_module(HOME[name]), name)
    raise AttributeError(f"module 'genzoo' has no attribute {name!r}")
