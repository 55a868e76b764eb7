"""What commands that make images of latents have in common: their keys, latents, classes, and the making."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genzoo.commands.opening import Opening, entries, opened
from genzoo.commands.train import key
from genzoo.limits import Count, Natural, Positive, Weight

PASSES = 10_000  # at most, for standing statistics
COPIES = 2  # of the images, while they are put together and written


@dataclass
class Drawing(Opening):
    """The keys of every command that makes images of latents."""

    seed: int = key(0, "of latents and noise: the same seed, the same images")
    y: Any = key(None, "a class, or a list of classes to use in turn; drawn at random by default")
    truncation: Positive | None = key(None, "redraw latents above this value: less variety, better images")
    level: Weight | None = key(None, "the level of a growing model to show: 0 is 4x4 pixels, 1.5 half-way from 8 to 16")
    standing: Natural = key(
        0, "forward passes from which to recompute BatchNorm statistics (BigGAN); 0 uses those of training"
    )
    device: str = key("cpu", "cpu, cuda, mps, ...")
    batch_size: Count = key(64, "images made at once; changes memory and speed, not the images")


def opened_to_draw(config: Any, sampler: bool = True) -> Any:
    """The model behind `ckpt=` as `level=` and `standing=` want it; ValueError if it cannot sample but should."""
    from genzoo.core.roles import Grows, Sampler, Standing, require

    if config.standing > PASSES:
        raise ValueError(f"standing={config.standing}: {PASSES} passes at most, 16 are usual")
    model = opened(config)
    if sampler:
        require(model, Sampler)
    if (level := config.level) is not None:
        if not isinstance(model, Grows):
            raise ValueError(f"level={level}: {type(model).__name__} does not grow; leave level out")
        model.level = level
    if passes := config.standing:
        if not isinstance(model, Standing):
            raise ValueError(f"standing={passes}: {type(model).__name__} has no such statistics; leave standing out")
        model.standing(passes, seed=config.seed, truncation=config.truncation)
    return model


def drawn(model: Any, config: Any, n: int) -> Any:
    """The latents (n, dim) of the first n samples, by `seed=` and `truncation=`; ValueError if memory is too small."""
    one = model.latents(1, seed=config.seed, truncation=config.truncation)
    afford(n, one[0], "latents")
    return model.latents(n, seed=config.seed, truncation=config.truncation)


def afford(count: int, one: Any, what: str) -> None:
    """ValueError if so many of what is like `one`, a tensor, need more memory than there is."""
    from genzoo.core.machine import free_memory

    need, free = COPIES * count * one.numel() * 4, free_memory()
    if need > free:
        shape = " x ".join(map(str, one.shape))
        raise ValueError(
            f"{count:,} {what} of {shape} numbers take {need / 1e9:,.1f} GB of memory, {free / 1e9:,.1f} GB are free:\n"
            f"ask for {max(1, int(count * free / need)):,} at most, and for more with another seed="
        )


def numbers(value: Any, name: str, also: str = "") -> list[int]:
    """The numbers of samples that a key holds; ValueError, with what it may hold also."""
    words = entries(value)
    if not words or any(type(word) is not int or word < 0 for word in words):
        raise ValueError(f"{name}={value}: numbers of samples from 0 on, such as [3,7,12]{also}")
    return words


def numbered(model: Any, config: Any, name: str, also: str = "") -> Any:
    """The latents (k, dim) of the samples whose numbers the key `name` holds; ValueError as in `numbers`."""
    wanted = numbers(config[name], name, also)
    return drawn(model, config, max(wanted) + 1).cpu()[wanted]


def read_latents(path: Path, dim: int, name: str = "latents") -> Any:
    """Latents (n, dim) from a file of plain numbers, a single one as (1, dim); ValueError if it is none or does not fit."""
    import numpy as np
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from genzoo.files import require_regular

    path = path.expanduser()
    if path.suffix not in (".npy", ".safetensors"):
        raise ValueError(f"{name}={path}: it ends in .npy or .safetensors")
    try:
        require_regular(path)
    except (OSError, ValueError) as error:
        raise type(error)(f"{name}={error}") from error
    try:
        if path.suffix == ".npy":
            z = torch.from_numpy(np.array(np.load(path, mmap_mode="r")))  # a header that promises too much is noticed
        else:
            z = load_file(path)["latents"]
    except KeyError as error:
        raise ValueError(f"{name}={path} has no key `latents`") from error
    except (ValueError, TypeError, EOFError, OverflowError, MemoryError, RecursionError, SafetensorError) as error:
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
    names = names_of(model)
    wanted = [class_of(word, names, model.classes) for word in entries(y)]
    if not wanted or None in wanted:
        if any(map(str.isdecimal, names)):
            raise ValueError(f"y={y}: classes of this model are called {few(names)}")
        raise ValueError(
            f"y={y}: classes are whole numbers from 0 to {model.classes - 1}" + f", or {few(names)}" * bool(names)
        )
    return wanted


def names_of(model: Any) -> list[str]:
    """What the classes of a model are called, or nothing."""
    names = [str(name) for name in model.facts.get("data", {}).get("names") or ()]
    return names if len(names) == model.classes else []


def named(model: Any, ids: list[int]) -> list[str]:
    """Classes as people call them."""
    return [str((names_of(model) or range(model.classes))[i]) for i in ids]


def class_of(word: Any, names: list[str], count: int) -> int | None:
    """The number of a class that is named or numbered, or None. Where names are numbers, a number is a name."""
    if isinstance(word, str) and word in names:
        return names.index(word)
    if type(word) is int or (isinstance(word, str) and word.isdecimal()):
        number, called = int(word), [int(name) if name.isdecimal() else None for name in names]
        if called.count(None) < len(called):
            return called.index(number) if called.count(number) == 1 else None
        return number if 0 <= number < count else None
    return None


def few(names: list[str]) -> str:
    """The first names of many."""
    return ", ".join(names[:20]) + ", ..." * (len(names) > 20)


def generate(model: Any, z: Any, batch_size: int, y: Any = None) -> Any:
    """All of `generated` in one tensor; ValueError if memory is too small for it."""
    import torch

    made, place = None, 0
    for part in generated(model, z, batch_size, y):
        if made is None:
            afford(len(z), part[0], "images" if part.dim() > 2 else "points")
            made = torch.empty(len(z), *part.shape[1:], dtype=part.dtype)
        made[place : place + len(part)] = part
        place += len(part)
    return made


def generated(model: Any, z: Any, batch_size: int, y: Any = None) -> Iterator[Any]:
    """Images or points of latents (n, dim), and of classes (n,) or mixtures of them (n, classes) for a model that has
    any: float32 on the CPU, `batch_size` at a time."""
    y = None if y is None else y.to(model.device)
    for made in in_batches(model, z.to(model.device, model.dtype), batch_size, y):
        yield made.float().cpu()


def in_batches(model: Any, z: Any, batch_size: int, y: Any = None) -> Iterator[Any]:
    """The same of latents and classes on the model's device, as it makes them there, with a progress line."""
    import torch

    from genzoo.batches import pieces
    from genzoo.progress import Line

    with Line(len(z), "samples") as line:
        for z_part, y_part in pieces(z, y, batch_size):
            with torch.no_grad():
                made = finite(model.generate(z_part, y_part))
            yield made
            line.show(line.done + len(made))


def finite(made: Any) -> Any:
    """What a model made; ValueError unless all of it is numbers."""
    if not made.isfinite().all():
        raise ValueError("ckpt: what the model makes is not finite; take an older checkpoint, or one of another run")
    return made


def modes_of(model: Any) -> Any:
    """The centres (k, 2) of the toy data that a model was trained on, as its checkpoint notes them; or None."""
    from genzoo.data.toys import Grid, Ring

    noted: dict[str, Any] = model.facts.get("data", {})
    kind, keys = {"ring": (Ring, ("modes", "radius")), "grid": (Grid, ("side", "spacing"))}.get(
        str(noted.get("name")), (None, ())
    )
    options: Any = {name: value for name, value in noted.get("store", {}).items() if name in keys}
    if kind is None or not all(type(value) in (int, float) and 0 < value <= 1000 for value in options.values()):
        return None  # a file may note anything
    return kind(split="test", points=1, **options).centres
