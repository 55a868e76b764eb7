"""Look at data before training: what they are, what is wrong with them, and whether a model fits."""

import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genzoo import console
from genzoo.commands import train
from genzoo.commands.outputs import prepared, writable
from genzoo.commands.train import key
from genzoo.console import escape
from genzoo.fit import Remarked
from genzoo.limits import Place

Line = tuple[str, str]  # a topic, and what is said of it
SECONDS = 0.5  # that are measured at a time; an iteration that would take longer is made smaller


@dataclass
class Keys(train.Keys):
    """All that training takes, so that a command line of one is one of the other."""

    command: str = "check"
    out: Place = key("check.png", "the contact sheet: 64 images as training sees them")


def run(config: Any) -> int:
    """Print a line for each topic and write a contact sheet; ValueError if these data cannot be trained on."""
    from hydra.core.hydra_config import HydraConfig

    out, faults = writable(config, (".png",)), list[str]()
    words = [word for word in HydraConfig.get().overrides.task if not word.startswith(("out=", "allow="))]
    allowed = train.permitted(config)
    words += console.allowing(config.allow)
    if config.resume:
        config = train.resumed(config, words)
    left = [name for name in ("channels", "resolution", "classes") if config.data.get(name) == "auto"]
    data = train.settle(config, allowed)
    for topic, line in findings(data, train.plain(config), allowed, out, faults):
        print(f"{topic:8} {escape(line)}", flush=True)
    if faults:
        raise ValueError(f"training would stop: {faults[0]}")
    found = [f"data.{name}={config.data[name]}" for name in left if config.data[name] is not None]
    print(f"next     {following([*words, *found], config)}")
    return 0


def findings(
    data: Any, frozen: dict[str, Any], allowed: tuple[str, ...], out: Path, faults: list[str]
) -> Iterator[Line]:
    """Every topic in turn; what would stop training is added to `faults`."""
    from genzoo.data.survey import of_files, of_labels, of_pixels, parts

    train, test = data.store_of("train"), data.store_of("test")
    domains = [f"{len(part):,} {name}" for part, name in zip(getattr(train, "domains", ()), data.domains or ())]
    apart = f" ({' and '.join(domains)})" if domains else ""
    yield "images", f"{len(train):,} to train on{apart}, {len(test):,} to test"
    files = {part.address(i): (part, i) for half in (train, test) for part in parts(half) for i in range(len(part))}
    yield from of_files(files, data, faults) if files else of_pixels(train)
    yield from of_labels(train, data)
    for remark in train.remarks() if isinstance(train, Remarked) else ():
        yield "note", remark
    if not faults:
        yield from of_training(data, frozen, allowed, out, faults)


def following(words: list[str], config: Any) -> str:
    """The command that comes next, with what was typed for this one."""
    kept = shlex.join([*words, *map(str, console.flags)])  # they are in Hydra's grammar already
    if config.model:
        return f"genzoo train {kept}".rstrip()
    data = config.data
    first = "cyclegan" if data.get("domains") else "gan" if data.resolution == 1 else "dcgan"
    return f"genzoo check model={first} {kept}".rstrip()


def of_training(
    data: Any, frozen: dict[str, Any], allowed: tuple[str, ...], out: Path, faults: list[str]
) -> Iterator[Line]:
    """Whether data and model fit each other, how long training takes, and a contact sheet."""
    try:
        train.check(frozen)
        if frozen["model"]:
            yield from of_model(data, frozen, allowed)
        else:
            data.check()
    except ValueError as error:
        faults.append(str(error))
        return
    yield "speed", speed(data)
    yield "made", contact_sheet(data.store, out)


def of_model(data: Any, frozen: dict[str, Any], allowed: tuple[str, ...]) -> Iterator[Line]:
    """Its size, the memory that one device needs for it, and the time that training takes."""
    from genzoo.core.machine import free_memory
    from genzoo.fit import model_of, prepare

    light = prepare(frozen, allowed, data, new=True, light=True).module
    parameters = sum(parameter.numel() for parameter in light.parameters())
    held = frozen["micro_batch"] or int(data.batch_size(0)) // frozen["devices"]
    averaged = "ema" in (frozen["callbacks"] or {})
    fixed = parameters * (20 if averaged else 16)
    what = f"weights, gradients{', average' if averaged else ''} and Adam's moments"
    yield "model", f"{frozen['model']['name']} fits: {parameters:,} parameters"
    if fixed > (free := free_memory()):
        yield "memory", f"{amount(fixed)} in float32 for {what} alone, and {amount(free)} are free here"
        return
    module = model_of(frozen, allowed)
    began = time.perf_counter()
    passing = activations(module, first(data, 2)) / 2 * held
    guess = (time.perf_counter() - began) / 2 * 3  # of the seconds that an image takes, forward and back
    activity = f"{amount(passing)} for what {held} images leave behind until the gradient"
    yield "memory", f"about {amount(fixed + passing)} in float32: {amount(fixed)} for {what}, {activity}"
    yield from of_time(module, data, frozen, guess)


def of_time(module: Any, data: Any, frozen: dict[str, Any], guess: float) -> Iterator[Line]:
    """What a step and the whole run take, and whether bfloat16 would be faster; measured on real steps."""
    from genzoo.core.machine import bf16_cost, runs_on_cpu

    precision, devices, images = frozen["precision"], frozen["devices"], 1000 * frozen["kimg"]
    other = "32-true" if precision.startswith("bf16") else "bf16-mixed"
    seconds = seconds_of_an_image(module, data, frozen, precision, guess) / devices
    size = int(data.batch_size(module.images_seen)) * len(module.turns)
    takes = f"{size * seconds:.2g} s a step of {size:,} image{'s' * (size > 1)}"
    told = f"{frozen['kimg']:g} kimg in {length(images * seconds)}"
    yield "time", f"{takes}, {told}, on a machine as busy as now"
    if runs_on_cpu(frozen["accelerator"]) and (cost := bf16_cost()) > 1.5:
        yield "bf16", f"does not pay: this processor takes {cost:.0f} times as long for it as for float32"
        return
    changed = seconds_of_an_image(module, data, frozen, other, guess) / devices
    verdict = "" if changed < 0.95 * seconds else ", which does not pay"
    yield "bf16" if other == "bf16-mixed" else "float32", f"precision={other}: {length(images * changed)}{verdict}"


def seconds_of_an_image(module: Any, data: Any, frozen: dict[str, Any], precision: str, guess: float) -> float:
    """Mean over the run of what an image takes one device. Nothing is written, and the weights are not kept.

    Where the batch or the model grows, it is measured at the start, in the middle and at the end.
    """
    import pytorch_lightning as pl

    from genzoo.callbacks.stopwatch import Stopwatch
    from genzoo.core.roles import Grows
    from genzoo.schedules import Constant

    schedule, last = data.batch_size, int(1000 * frozen["kimg"])
    grows = isinstance(module, Grows) or not isinstance(schedule, Constant)
    begin, found = module.images_seen, list[float]()
    options = frozen["trainer"] | {"precision": precision, "log_every_n_steps": 10**9, "limit_val_batches": 0}
    options |= {"enable_checkpointing": False, "enable_progress_bar": False, "logger": False, "devices": 1}
    for position in (begin, (begin + last) // 2, last) if grows else (begin,):
        share = int(schedule(position)) // frozen["devices"]
        while share > 2 and share * len(module.turns) * guess > 2 * SECONDS:
            share = share // 2
        module.images_seen, data.batch_size = position, Constant(share)
        watch = Stopwatch(SECONDS)
        trainer = pl.Trainer(**{k: v for k, v in options.items() if k != "_target_"}, callbacks=[watch])
        trainer.fit(module, data, weights_only=True)
        found.append(watch.mean / (share * len(module.turns)))
    module.images_seen, data.batch_size = begin, schedule
    return sum(found) / len(found)


def length(seconds: float) -> str:
    """A time in words, for people."""
    for unit, count in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * count:
            return f"{seconds / count:.0f} {unit}"
    return f"{max(seconds, 1):.0f} s"


def activations(module: Any, batch: Any) -> int:
    """Bytes that the costliest player's loss keeps for its gradient, measured on a batch of the data."""
    import torch

    own = {parameter.data_ptr() for parameter in module.parameters()}
    learned = [parameter for parameter in module.parameters() if parameter.requires_grad]
    most = 0
    for player in module.players:
        kept: dict[int, int] = {}

        def note(tensor: torch.Tensor, kept: dict[int, int] = kept) -> torch.Tensor:
            if tensor.data_ptr() not in own:
                kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        for other in module.players:
            for parameter in module.parameters_of(other):
                parameter.requires_grad_(other == player)
        try:
            with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
                terms = module.loss(player, batch)
        except RuntimeError as error:
            raise ValueError(
                f"{type(module).__name__} cannot take these images: {str(error).splitlines()[0]}"
            ) from error
        del terms
        most = max(most, sum(kept.values()))
    for parameter in learned:
        parameter.requires_grad_(True)
    return most


def first(data: Any, count: int) -> Any:
    """The first images of the training half."""
    return data.store.__getitems__([(i % len(data.store), i) for i in range(count)])


def speed(data: Any) -> str:
    """Images a second from the loader for a second at least, on their first way into memory."""
    from genzoo.core.stream import Stream

    size, taken = int(data.batch_size(0)), 0
    batches = iter(data.loader(data.store, Stream(len(data.store), data.seed, 0, lambda position: size)))
    next(batches)  # workers are there now
    start = time.perf_counter()
    while not taken or (time.perf_counter() - start < 1 and taken + 2 * size <= len(data.store)):
        taken += len(next(batches)[0])
    passed = time.perf_counter() - start
    return f"{taken / passed:,.0f} images/s from the loader, each for the first time (data.workers={data.workers})"


def contact_sheet(store: Any, path: Path) -> str:
    """Write 64 images from all over the set as training sees them, pairs side by side."""
    import torch

    from genzoo.batches import images_of
    from genzoo.core.stream import spread
    from genzoo.images import picture, save_png

    shown = images_of(store.__getitems__([(i, i) for i in spread(len(store), 64)]))
    save_png(prepared(path), picture(shown[0] if len(shown) == 1 else torch.cat(shown, dim=3)))
    return str(path)


def amount(count: float) -> str:
    """Bytes in words."""
    return f"{count / 2**20:,.0f} MiB" if count < 2**30 else f"{count / 2**30:,.1f} GiB"
