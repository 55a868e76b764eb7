"""From configs to objects and from files to models. Nothing that stands in a file can run code."""

import contextlib
import functools
import importlib
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

import genzoo
from genzoo import convert, limits
from genzoo.console import Notice, brief, escape, first_line
from genzoo.core import archive, export, outline
from genzoo.core.facts import FORMAT, shown
from genzoo.core.io import checked, newest
from genzoo.core.machine import collect_again
from genzoo.core.random import usual
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
LIBRARIES = ("genzoo", "torch", "torchvision", "pytorch_lightning")  # whose modules are allowed one by one


def resolve(address: str, allowed: tuple[str, ...] | None = ALLOWED) -> Any:
    """The class behind an address, judged by where it is defined and not by how it is spelled.

    `allowed=None` is for what the user typed: anything goes, functions too. Of what a file names nothing is imported
    unless its whole path is on the list.
    """
    module, _, name = str(address).rpartition(".")
    if allowed is None:
        return imported(module, name)
    dunder = any(part.startswith("__") for part in module.split("."))  # __main__ would be run
    if (module == "torch.nn" or f"{module}.".startswith(allowed)) and not dunder:
        try:
            found = imported(module, name)
        except ValueError:
            if module.partition(".")[0] not in LIBRARIES:  # users are told what is wrong with their own packages
                raise
            found = None
        if isinstance(found, type) and f"{found.__module__}.".startswith(allowed):
            return found
    raise ValueError(
        f"{shown(address)} may not be built from a file; a package of your own can be allowed by hand: "
        "'allow=[mine.]', or in Python load(..., allow=('mine.',))"
    )


def imported(module: str, name: str) -> Any:
    """What a module holds by that name; ValueError if it cannot be imported, or holds nothing of it."""
    try:
        return getattr(importlib.import_module(module), name)
    except Exception as error:  # the user's own code may raise anything
        where = "; it is looked for on PYTHONPATH and in --config-dir" * isinstance(error, ModuleNotFoundError)
        raise ValueError(f"_target_={brief(f'{module}.{name}')}: {first_line(error)}{where}") from error


def foreign(node: Any, allowed: tuple[str, ...] = ALLOWED) -> list[str]:
    """The packages that have to be allowed before a file may name what a typed configuration names.

    ValueError for what no file may name: a run that uses it could not be opened again.
    """
    if isinstance(node, list):
        return sorted({name for item in node for name in foreign(item, allowed)})
    if not isinstance(node, dict):
        return []
    found = set(foreign([value for name, value in node.items() if name != "_target_"], allowed))
    if "_target_" in node:
        found |= package_of(str(node["_target_"]), allowed)
    return sorted(found)


def package_of(address: str, allowed: tuple[str, ...]) -> set[str]:
    """What has to be allowed for one class: where it is named, and where it is defined if that is elsewhere."""
    with contextlib.suppress(ValueError):
        resolve(address, allowed)
        return set()
    cls = resolve(address, None)
    if not isinstance(cls, type):
        raise ValueError(
            f"_target_={address} is no class, so no file may name it, and the run could not be opened again"
        )
    needed = set[str]()
    for module in (address.rpartition(".")[0], cls.__module__):
        top = module.partition(".")[0]
        name = f"{module if top in LIBRARIES else top}."
        needed |= set() if name.startswith((*allowed, *needed)) else {name}
    try:
        resolve(address, (*allowed, *needed))
    except ValueError as error:
        raise ValueError(
            f"_target_={address}: a class of {cls.__module__} cannot be found again when the run is opened;\n"
            "put it into a file of its own, as mine.py, and name it mine.<class>"
        ) from error
    return needed


def packages(allow: Any) -> tuple[str, ...]:
    """The packages that were allowed, each ending in a dot; ValueError for what is no name of one."""
    names = [allow] if isinstance(allow, str) else list(allow or ())
    for name in names:
        if not isinstance(name, str) or not all(part.isidentifier() for part in name.removesuffix(".").split(".")):
            raise ValueError(f"allow={shown(name)}: names of packages are expected, as in allow=[mine.]")
    return tuple(f"{name.removesuffix('.')}." for name in names)


def build(node: Any, allowed: tuple[str, ...] | None = ALLOWED, where: str = "") -> Any:
    """Plain data to objects: `_target_` and `_partial_` as Hydra means them. A model keeps what it was built from.

    A key that is null in a partial is left out: configs merge, so this is how RMSprop gets rid of Adam's `betas`.
    ValueError that names the key below `where` for values that no class takes, before anything is built.
    """
    check(node, allowed, where)
    return made(node, allowed, where)


def check(node: Any, allowed: tuple[str, ...] | None, where: str, hint: Any = Any) -> None:
    """Compare what is to be built with what the classes say of their arguments; ValueError that names the key."""
    if isinstance(node, list):
        for number, item in enumerate(node):
            check(item, allowed, f"{where}[{number}]", limits.inside(hint))
    if not isinstance(node, dict):
        return
    keys = {name: f"{where}.{name}" if where else name for name in node if name not in ("_target_", "_partial_")}
    if "_target_" not in node:
        for name, key in keys.items():
            check(node[name], allowed, key, limits.inside(hint))
        return
    cls, partial = resolve(node["_target_"], allowed), bool(node.get("_partial_"))
    if not limits.suits(functools.partial if partial else cls, hint):
        raise limits.Unfit(where, node["_target_"], limits.wanted(hint))
    takes = limits.parameters(cls)
    for name, key in keys.items():
        if node[name] is None and partial:
            continue
        if name not in takes.hints and not takes.open:
            raise ValueError(f"{key}: {node['_target_']} takes no {name!r}: leave it out, or choose another")
        limits.check({name: node[name]}, takes.hints, where)
        check(node[name], allowed, key, takes.hints.get(name, Any))
    if missing := sorted(takes.required - set(keys)) if not partial else []:
        raise ValueError(f"{where}.{missing[0]} is missing: {node['_target_']} needs it".lstrip("."))
    if partial and isinstance(cls, type) and issubclass(cls, torch.optim.Optimizer):
        values = {name: made(node[name], allowed, key) for name, key in keys.items() if node[name] is not None}
        constructed(cls, {"params": [torch.nn.Parameter(torch.zeros(1, device="cpu"))]} | values, where)


def made(node: Any, allowed: tuple[str, ...] | None, where: str) -> Any:
    """Build what has been checked; errors of foreign constructors are reported with the key."""
    if isinstance(node, list):
        return [made(item, allowed, f"{where}[{number}]") for number, item in enumerate(node)]
    if not isinstance(node, dict):
        return node
    names = [name for name in node if name not in ("_target_", "_partial_")]
    built = {name: made(node[name], allowed, f"{where}.{name}" if where else name) for name in names}
    if "_target_" not in node:
        return built
    cls = resolve(node["_target_"], allowed)
    if node.get("_partial_"):
        return functools.partial(cls, **{k: v for k, v in built.items() if v is not None})
    result = constructed(cls, built, where)
    if isinstance(result, torch.nn.Module) and hasattr(result, "make_optimizers"):
        result.config = node  # type: ignore[assignment]
    return result


def constructed(cls: Any, values: dict[str, Any], where: str) -> Any:
    """An object; errors of constructors other than ours, which do not know the key, are reported with it."""
    try:
        return cls(**values)
    except Exception as error:
        if isinstance(error, (ValueError, OSError)) and cls.__module__.startswith("genzoo."):
            raise
        raise ValueError(f"{where}={cls.__name__} cannot be built: {first_line(error)}") from error


def load(path: Any, device: str = "cpu", which: str = "newest", allow: Any = (), finite: bool = True) -> Any:
    """A model in eval mode with averaged weights, from a run folder, a checkpoint, an exported folder, or a foreign
    file that `genzoo.convert` knows.

    `which="best"` takes a run's best checkpoint. `allow` names packages of your own whose classes the file may name.
    With `finite=False` a file is opened whose weights are not. Raises OSError or ValueError with a finished message;
    what you should know of a file that opens is a warning, `genzoo.console.Notice`.
    """
    path = Path(path).expanduser()
    return assembled(*read(path, which), path, device, allow, finite)


def load_foreign(paths: list[Path], source: str = "auto") -> Any:
    """A model of the files that another project's training left: one, or a generator's and its discriminator's.

    `source` is one of `genzoo.convert`, found by the files' keys if not said. Errors as in `load`.
    """
    return assembled(*converted(paths, [data_of(path) for path in paths], source), paths[0])


def converted(
    paths: list[Path], data: list[Any], source: str = "auto"
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The weights and facts of one model that foreign files hold."""
    names = ", ".join(path.name for path in paths)
    try:
        config, state, origin = convert.read(*data, source=source)
    except ValueError as error:
        raise ValueError(f"{names}: {error}") from error
    except Exception as error:  # shapes that no such file has can lead to almost any
        raise ValueError(f"{names}: its keys are known, but not what they hold: {first_line(error)}") from error
    return state, {"config": config, "source": f"{names} of {origin}"}


def assembled(
    state: dict[str, torch.Tensor],
    facts: dict[str, Any],
    path: Path,
    device: str = "cpu",
    allow: Any = (),
    finite: bool = True,
) -> Any:
    """The model that `facts` describe, with these weights, in eval mode."""
    allowed, config = ALLOWED + packages(allow), facts["config"]
    if finite and (bad := broken(state)):
        raise ValueError(f"{path}: {bad} is not finite; genzoo.load(..., finite=False) opens it all the same")
    with undisturbed():
        try:
            outline.check(lambda: described(config, allowed), state, config)
        except Exception as error:  # a class of the user's own may not know the meta device
            if not allow or isinstance(error.__cause__ or error, ValueError):
                raise misfit(path, error) from error
        model = described(config, allowed)
        try:
            outline.compare(model.state_dict(), state)
        except ValueError as error:
            raise misfit(path, error) from error
        model.load_state_dict(state)
        collect_again()
        model.images_seen = facts.get("images_seen", 0)
        model.facts = {k: v for k, v in facts.items() if k not in ("format", "images_seen", "config")}
        return model.to(device).eval().requires_grad_(False)


def broken(state: dict[str, torch.Tensor]) -> str | None:
    """The first tensor that holds a number which is not finite."""
    return next((name for name, value in state.items() if not value.isfinite().all()), None)


def misfit(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path} does not fit the model it describes: {first_line(error)}")


def described(config: dict[str, Any], allowed: tuple[str, ...] | None, where: str = "config") -> Any:
    """The model that a configuration describes; ValueError if that is none."""
    model = build(config, allowed, where)
    if {"load_state_dict", "make_optimizers"} - set(dir(model)):
        address = escape(config.get("_target_", "plain data"))
        raise ValueError(f"{address} is no model of genzoo, which derive from genzoo.core.module.ZooModule")
    return model


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Float32 on the CPU with gradients to come, whatever the caller has set; torch's random state stays as it was."""
    with torch.inference_mode(False), usual(), torch.random.fork_rng(devices=[]):
        yield


def feature_network(path: Any, device: str = "cpu", allow: Any = ()) -> Any:
    """The network behind `features=`: Inception by the name of its file, or any classifier that `load` takes."""
    from genzoo.core.roles import Labeller, require
    from genzoo.metrics.features import ClassifierFeatures, Inception

    path = Path(path)
    if "inception" in path.name and not path.is_dir():
        try:
            return Inception(data_of(path)).to(device)
        except (ValueError, OSError) as error:
            raise ValueError(
                f"features={path}: {error}\nWeights of Inception are pt_inception-2015-12-05-6726825d.pth, "
                "from the releases of toshas/torch-fidelity or mseitzer/pytorch-fid"
            ) from error
    try:
        classifier = require(load(path, device, allow=allow), Labeller)
    except (ValueError, FileNotFoundError) as error:
        raise ValueError(
            f"features={path}: {error}\nA classifier is expected: genzoo train model=classifier data=<data> makes one"
        ) from error
    name, seen = type(classifier.network).__name__.lower(), classifier.facts.get("data", {}).get("name")
    return ClassifierFeatures(classifier.network, f"{name}-{seen}" if seen else name)


def read(path: Path, which: str = "newest") -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The weights of a file or folder and the plain facts beside them."""
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: a run folder, a .ckpt file or an exported folder is expected")
    if which not in ("newest", "best"):
        raise ValueError(f"which={which}: newest or best")
    if (path / export.WEIGHTS).exists():
        return export.read(path)
    if path.is_dir():
        found = path / "best.ckpt" if which == "best" else newest(path, tell=notice)
        if found is None or not found.exists():
            raise FileNotFoundError(f"{path} holds no {which} checkpoint that opens (step-*.ckpt, best.ckpt)")
        path = found
    if path.name == export.WEIGHTS and (path.parent / export.FACTS).exists():
        return export.read(path.parent)
    data = data_of(path)
    if isinstance(data, dict) and "genzoo" in data:
        held = checked(data, path)
        return held["state_dict"], held["genzoo"]
    return converted([path], [data])


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


def save(model: Any, folder: Any, onnx: bool = False) -> Path:
    """Write `model.safetensors`, `config.json` and `README.md`: the exchange format. Returns the folder.

    With `onnx` also ONNX files, as `genzoo.to_onnx` makes them (extra `onnx`); those of an older export are removed.
    After an error, such as a full disk, the folder is as it was.
    """
    from genzoo import to_onnx
    from genzoo.card import card

    folder = Path(folder).expanduser()
    state = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    facts = model.facts | {
        "format": FORMAT,
        "version": genzoo.__version__,
        "images_seen": model.images_seen,
        "config": model.config,
    }
    with export.renewed(folder) as place:
        files = to_onnx.save(model, place) if onnx else {}
        export.write(place, state, facts)
        (place / "README.md").write_text(card(model, folder.name, files, foreign(model.config)))
    for old in folder.glob("*.onnx"):
        if old.name not in files:
            old.unlink()
    return folder


def revision() -> str | None:
    """The git revision of the running code, or None outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(command, capture_output=True, text=True, timeout=5)
        return done.stdout.strip() or None
    return None
