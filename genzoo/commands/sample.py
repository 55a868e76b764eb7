"""New images from a checkpoint."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genzoo.commands.train import key
from genzoo.limits import Count, Natural, Place, Positive, Weight

CKPT = "a run folder, a .ckpt file or an exported folder"


@dataclass
class Drawing:
    """The keys of every command that makes images of latents."""

    ckpt: Place = key("???", CKPT)
    seed: int = key(0, "of latents and noise: the same seed, the same images")
    y: Any = key(None, "a class, or a list of classes to go through in turn; drawn like the latents if not said")
    truncation: Positive | None = key(None, "latents above it are drawn anew: less variety, better images")
    level: Weight | None = key(None, "the level of a growing model to show: 0 is 4x4 pixels, 1.5 half-way from 8 to 16")
    standing: Natural = key(0, "passes that statistics of BatchNorm are taken anew from (BigGAN); 0: those of training")
    device: str = key("cpu", "cpu, cuda, mps, ...")
    batch_size: Count = key(64, "images made at once; changes memory and speed, not the images")


@dataclass
class Keys(Drawing):
    command: str = "sample"
    n: Count = key(64, "how many")
    latents: Place | None = key(
        None, "latents of your own, (n, dim): a .npy file, or .safetensors with the key latents"
    )
    out: Place = key("samples.png", "a .png sheet, .npy, .safetensors, or a folder of single PNGs")


def run(config: Any) -> int:
    """Draw latents, make images of them and write them; the exit code."""
    for name in ("n", "batch_size"):
        at_least(config, name, 1)
    model = opened(config)
    if config.latents is None:
        z = model.latents(config.n, seed=config.seed, truncation=config.truncation)
    else:
        if config.truncation is not None:
            raise ValueError("truncation= is for latents drawn here; leave it out beside latents=")
        z = read_latents(Path(config.latents), model.prior.dim)
    y = classes(model, config, len(z))
    out = writable(config.out, (".png", ".npy", ".safetensors", ""))
    shown = generate(model, z, config.batch_size, y)
    write(out, shown)
    what = "points" if shown.dim() == 2 else f"images of {' x '.join(map(str, shown.shape[1:]))}"
    print(f"made   {out} ({len(shown)} {what})")
    print(f"next   genzoo interpolate ckpt={config.ckpt}")
    if "data" in model.facts:  # else nobody knows what to compare with
        alone = shown.dim() == 2 or hasattr(model, "bound")
        print(f"       genzoo evaluate ckpt={config.ckpt}{'' if alone else ' features=<run of a classifier>'}")
    return 0


def opened(config: Any, sampler: bool = True, finite: bool = True) -> Any:
    """The model behind `ckpt=` on `device=`; ValueError or OSError if there is none, or if it cannot sample but should.

    With `finite=False` its weights may be anything."""
    from omegaconf import OmegaConf

    if OmegaConf.is_missing(config, "ckpt"):
        raise ValueError(f"ckpt is missing: genzoo {config.command} ckpt=<{CKPT}>")
    import torch

    from genzoo import hub
    from genzoo.core.roles import Sampler, require

    device = config.get("device", "cpu")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"device={device} cannot be used here: {str(error).splitlines()[0]}") from error
    model = hub.load(config.ckpt, device, finite=finite)
    if sampler:
        require(model, Sampler)
    if (level := config.get("level")) is not None:
        if not hasattr(model, "level"):
            raise ValueError(f"level={level}: {type(model).__name__} does not grow; leave level out")
        model.level = level
    if passes := config.get("standing"):
        at_least(config, "standing", 1)
        if not hasattr(model, "standing"):
            raise ValueError(f"standing={passes}: {type(model).__name__} has no such statistics; leave standing out")
        model.standing(passes, seed=config.seed, truncation=config.truncation)
    return model


def at_least(config: Any, name: str, least: int) -> None:
    if config[name] < least:
        raise ValueError(f"{name}={config[name]}: at least {least}")


def writable(out: str, suffixes: tuple[str, ...]) -> Path:
    """The path to write to, with its parent made; judged before images are made. The suffix "" stands for a folder."""
    path = Path(out)
    if path.suffix not in suffixes:
        raise ValueError(f"out={out}: it ends in {', '.join(s or 'nothing (a folder of PNGs)' for s in suffixes)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == "":
            path.mkdir(exist_ok=True)
            if any(path.iterdir()):
                raise ValueError(f"out={out} holds files already; choose a new folder")
        else:
            existed = path.exists()
            path.open("ab").close()
            if not existed:
                path.unlink()
    except OSError as error:
        raise ValueError(f"out={out} cannot be written: {error.strerror}") from error
    return path


def numbered(model: Any, config: Any, name: str, also: str = "") -> Any:
    """The latents (k, dim) of the samples whose numbers the key `name` holds; ValueError, with what it may hold also."""
    wanted = config[name]
    numbers: list[Any] = [wanted] if isinstance(wanted, (int, str)) else list(wanted)
    if any(not isinstance(number, int) or number < 0 for number in numbers):
        raise ValueError(f"{name}={wanted}: numbers of samples from 0 on, such as [3,7,12]{also}")
    return model.latents(max(numbers, default=0) + 1, seed=config.seed, truncation=config.truncation).cpu()[numbers]


def read_latents(path: Path, dim: int, name: str = "latents") -> Any:
    """Latents (n, dim) from a file of plain numbers, a single one as (1, dim); ValueError if it is none or does not fit."""
    import numpy as np
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if path.suffix not in (".npy", ".safetensors"):
        raise ValueError(f"{name}={path}: it ends in .npy or .safetensors")
    if not path.is_file():
        raise FileNotFoundError(f"{name}={path} does not exist")
    try:
        z = torch.from_numpy(np.load(path)) if path.suffix == ".npy" else load_file(path)["latents"]
    except KeyError as error:
        raise ValueError(f"{name}={path} has no key `latents`") from error
    except (ValueError, TypeError, EOFError, SafetensorError) as error:
        raise ValueError(f"{name}={path} is damaged or holds no plain numbers") from error
    z = z[None] if z.dim() == 1 else z
    if z.dim() != 2 or z.shape[1] != dim or len(z) < 1:
        raise ValueError(f"{name}={path} has the shape {tuple(z.shape)}; this model takes (n, {dim})")
    if z.is_complex() or not z.isfinite().all():
        raise ValueError(f"{name}={path} holds numbers that are not finite and real")
    return z


def classes(model: Any, config: Any, n: int) -> Any:
    """A class for each of n images, (n,): those of `y=` in turn, or else drawn; None for a model without classes."""
    import torch

    wanted = chosen(model, config.y)
    if wanted is None:
        return model.labels(n, seed=config.seed)
    return torch.tensor([wanted[i % len(wanted)] for i in range(n)], device=model.device)


def chosen(model: Any, y: Any) -> list[int] | None:
    """The classes that `y=` names, or None; ValueError if the model knows no such class."""
    if y is None:
        return None
    if not model.classes:
        raise ValueError(f"y={y}: {type(model).__name__} was trained without classes; leave y out")
    wanted: list[Any] = [y] if isinstance(y, (int, str)) else list(y)
    names = list(model.facts.get("data", {}).get("names", ()))
    wanted = [names.index(label) if label in names else label for label in wanted]
    if not wanted or any(not isinstance(label, int) or not 0 <= label < model.classes for label in wanted):
        also = f", or {', '.join(names)}" if 0 < len(names) <= 20 else ""
        raise ValueError(f"y={y}: classes are whole numbers from 0 to {model.classes - 1}{also}")
    return wanted


def generate(model: Any, z: Any, batch_size: int, y: Any = None) -> Any:
    """Images or points of latents (n, dim), and of classes (n,) or mixtures of them (n, classes) for a model that has
    any: float32 on the CPU, made `batch_size` at a time."""
    import torch

    from genzoo.batches import pieces

    with torch.no_grad():
        z = z.to(model.device, model.dtype)
        y = None if y is None else y.to(model.device)
        return torch.cat([finite(model.generate(*part)).float().cpu() for part in pieces(z, y, batch_size)])


def finite(made: Any) -> Any:
    """What a model made; ValueError unless all of it is numbers."""
    if not made.isfinite().all():
        raise ValueError("ckpt: what the model makes is not finite; take an older checkpoint, or one of another run")
    return made


def write(out: Path, shown: Any) -> None:
    """Images (n, c, h, w) or points (n, 2) to a file or into a folder, by the suffix."""
    import numpy as np
    from safetensors.torch import save_file

    from genzoo import images

    if out.suffix == ".npy":
        np.save(out, shown.numpy())
    elif out.suffix == ".safetensors":
        save_file({"images": shown.contiguous()}, out)
    elif out.suffix == ".png":
        images.save_png(out, images.picture(shown))
    else:
        for i, one in enumerate(shown):
            images.save_png(out / f"{i:05}.png", images.scatter(one[None]) if one.dim() == 1 else one)
