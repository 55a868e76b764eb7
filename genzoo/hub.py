"""From configs to objects and from files to models. Nothing that stands in a file can run code."""

import contextlib
import functools
import importlib
import json
import subprocess
import warnings
from pathlib import Path
from typing import Any

import torch

import genzoo
from genzoo import convert
from genzoo.console import Notice
from genzoo.core import archive
from genzoo.core.facts import FORMAT
from genzoo.core.io import checked, newest
from genzoo.core.machine import collect_again
from genzoo.files import require_regular

ALLOWED = (
    "genzoo.models.",
    "genzoo.nets.",
    "genzoo.priors.",
    "genzoo.losses.",
    "genzoo.schedules.",
    "genzoo.robustness.threat.",
    "genzoo.robustness.training.",
    "genzoo.robustness.generative.",
    "torch.nn.modules.",
    "torch.optim.",
)


def resolve(address: str, allowed: tuple[str, ...] | None = ALLOWED) -> Any:
    """The class behind an address, judged by where it is defined and not by how it is spelled.

    `allowed=None` is for what the user typed: anything goes, functions too.
    """
    module, _, name = str(address).rpartition(".")
    if allowed is None:
        try:
            return getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise ValueError(f"_target_={address}: {error}") from error
    if module.split(".")[0] in {a.split(".")[0] for a in allowed}:  # nothing foreign is even imported
        with contextlib.suppress(ImportError):
            found = getattr(importlib.import_module(module), name, None)
            if isinstance(found, type) and f"{found.__module__}.".startswith(allowed):
                return found
    raise ValueError(
        f"{address!r} may not be built from a file; its package can be allowed: load(..., allow=('mine.',))"
    )


def build(node: Any, allowed: tuple[str, ...] | None = ALLOWED) -> Any:
    """Plain data to objects: `_target_` and `_partial_` as Hydra means them. A model keeps what it was built from.

    A key that is null in a partial is left out: configs merge, so this is how RMSprop gets rid of Adam's `betas`.
    """
    if isinstance(node, list):
        return [build(item, allowed) for item in node]
    if not isinstance(node, dict):
        return node
    built = {k: build(v, allowed) for k, v in node.items() if k not in ("_target_", "_partial_")}
    if "_target_" not in node:
        return built
    cls = resolve(node["_target_"], allowed)
    if node.get("_partial_"):
        return functools.partial(cls, **{k: v for k, v in built.items() if v is not None})
    try:
        made = cls(**built)
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        raise ValueError(
            f"{node['_target_']} takes no {str(error).rpartition(' ')[2]}: leave it out, or choose another model"
        ) from error
    if isinstance(made, torch.nn.Module) and hasattr(made, "make_optimizers"):
        made.config = node  # type: ignore[assignment]
    return made


def load(path: Any, device: str = "cpu", which: str = "newest", allow: tuple[str, ...] = ()) -> Any:
    """A model in eval mode with averaged weights, from a run folder, a checkpoint, an exported folder, or a foreign
    file that `genzoo.convert` knows.

    `which="best"` takes a run's best checkpoint. `allow` adds packages whose classes the file may name. Raises
    FileNotFoundError or ValueError with a finished message.
    """
    path = Path(path)
    return assembled(*read(path, which), path, device, allow)


def load_foreign(paths: list[Path], source: str = "auto") -> Any:
    """A model of the files that another project's training left: one, or a generator's and its discriminator's.

    `source` is one of `genzoo.convert`, found by the files' keys if not said. Errors as in `load`.
    """
    config, state, name = convert.read(*(data_of(path) for path in paths), source=source)
    facts = {"config": config, "source": f"{', '.join(path.name for path in paths)} of {name}"}
    return assembled(state, facts, paths[0])


def assembled(
    state: dict[str, torch.Tensor], facts: dict[str, Any], path: Path, device: str = "cpu", allow: tuple[str, ...] = ()
) -> Any:
    """The model that `facts` describe, with these weights, in eval mode."""
    form, config = facts.get("format", FORMAT), facts.get("config")
    if not isinstance(form, int) or not isinstance(config, dict) or not isinstance(state, dict):
        raise ValueError(f"{path} is no checkpoint of genzoo: weights, format and config are expected in it")
    if form > FORMAT:
        raise ValueError(f"{path} has format {form}, this version reads up to {FORMAT}: upgrade genzoo")
    try:
        model = build(config, ALLOWED + tuple(allow))
        missing = {"load_state_dict", "make_optimizers"} - set(dir(model))
    except (TypeError, AttributeError, KeyError) as error:
        raise ValueError(f"{path} describes a model that cannot be built: {error}") from error
    if missing:
        raise ValueError(f"{path} describes no model of genzoo, but {config.get('_target_', 'plain data')}")
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit the model it describes: {str(error).splitlines()[1].strip()}") from error
    collect_again()
    model.images_seen = facts.get("images_seen", 0)
    model.facts = {k: v for k, v in facts.items() if k not in ("format", "images_seen", "config")}
    return model.to(device).eval().requires_grad_(False)


def feature_network(path: Any, device: str = "cpu") -> Any:
    """The network behind `features=`: Inception by the name of its file, or any classifier that can be loaded."""
    from genzoo.core.roles import Labeller, require
    from genzoo.metrics.features import ClassifierFeatures, Inception

    if "inception" in Path(path).name and not Path(path).is_dir():
        return Inception(path).to(device)
    try:
        classifier = require(load(path, device), Labeller)
    except (ValueError, FileNotFoundError) as error:
        raise ValueError(
            f"features={path}: {error}\nA classifier is expected: genzoo train model=classifier data=<data> makes one"
        ) from error
    name, seen = type(classifier.network).__name__.lower(), classifier.facts.get("data", {}).get("name")
    return ClassifierFeatures(classifier.network, f"{name}-{seen}" if seen else name)


def read(path: Path, which: str = "newest") -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The weights of a file or folder and the plain facts beside them."""
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: ckpt= takes a run folder, a .ckpt file or an exported folder")
    if path.is_dir() and (path / "model.safetensors").is_file():
        return read_export(path)
    if path.is_dir():
        found = path / "best.ckpt" if which == "best" else newest(path, tell=notice)
        if found is None or not found.exists():
            raise FileNotFoundError(f"{path} holds no {which} checkpoint that opens (step-*.ckpt, best.ckpt)")
        path = found
    if path.suffix == ".safetensors" and (path.parent / "config.json").is_file():
        return read_export(path.parent)
    data = data_of(path)
    if isinstance(data, dict) and "genzoo" in data:
        held = checked(data, path)
        return held["state_dict"], held["genzoo"]
    config, state, source = convert.read(data)
    return state, {"config": config, "source": f"{path.name} of {source}"}


def notice(line: str) -> None:
    warnings.warn(line, Notice, stacklevel=2)


def data_of(path: Path) -> Any:
    """The plain data in a file of torch.save or safetensors. ValueError if it is neither, or would run code."""
    if path.suffix != ".safetensors":
        return archive.read(path)
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(require_regular(path))
    except SafetensorError as error:
        raise ValueError(f"{path} is truncated or no checkpoint: it cannot be read") from error


def read_export(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    from safetensors.torch import load_file

    try:
        return load_file(folder / "model.safetensors"), json.loads((folder / "config.json").read_text())
    except Exception as error:  # safetensors raises a class of its own for a broken file
        raise ValueError(f"{folder} is no readable export (model.safetensors, config.json): {error}") from error


def save(model: Any, folder: Any, onnx: bool = False) -> Path:
    """Write `model.safetensors`, `config.json` and `README.md`: the exchange format. Returns the folder.

    With `onnx` also ONNX files, as `genzoo.to_onnx` makes them (extra `onnx`); those of an older export are removed.
    """
    from safetensors.torch import save_file

    from genzoo import to_onnx
    from genzoo.card import card

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files = to_onnx.save(model, folder) if onnx else {}
    for old in folder.glob("*.onnx"):
        if old.name not in files:
            old.unlink()
    state = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    facts = model.facts | {
        "format": FORMAT,
        "version": genzoo.__version__,
        "images_seen": model.images_seen,
        "config": model.config,
    }
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(facts, indent=2) + "\n")
    (folder / "README.md").write_text(card(model, folder.name, files))
    return folder


def revision() -> str | None:
    """The git revision of the running code, or None outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(command, capture_output=True, text=True, timeout=5)
        return done.stdout.strip() or None
    return None
