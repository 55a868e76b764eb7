"""Look at data before training: what they are, what is wrong with them, and whether a model fits."""

import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genzoo.commands.train import key

Line = tuple[str, str]  # a topic, and what is said of it


@dataclass
class Keys:
    model: Any = None
    data: Any = None
    callbacks: Any = None
    command: str = "check"
    run: str = ""
    kimg: float | None = None
    batch_size: Any = key(64, "images of one turn over all devices; a model sets its own")
    micro_batch: int | None = key(None, "images of one device held in memory at once")
    devices: int = key(1, "processes, each with a device of its own")
    seed: int = key(0, "of data order, flips and cuts")
    out: str = key("check.png", "the contact sheet: 64 images as training sees them")


def run(config: Any) -> int:
    """Print a line for each topic and write a contact sheet; ValueError if these data cannot be trained on."""
    from hydra.core.hydra_config import HydraConfig

    from genzoo import hub
    from genzoo.commands.sample import writable
    from genzoo.commands.train import plain

    writable(config.out, (".png",))
    frozen, faults = plain(config), list[str]()
    data = hub.build(frozen["data"], None)
    for topic, line in findings(data, frozen, faults):
        print(f"{topic:8} {line}", flush=True)
    if faults:
        raise ValueError(f"training would stop: {faults[0]}")
    print(f"next     {following(list(HydraConfig.get().overrides.task), frozen)}")
    return 0


def findings(data: Any, frozen: dict[str, Any], faults: list[str]) -> Iterator[Line]:
    """Every topic in turn; what would stop training is added to `faults`."""
    from genzoo.data.survey import of_files, of_labels, of_pixels, parts

    train, test = data.store_of("train"), data.store_of("test")
    domains = [f"{len(part):,} {name}" for part, name in zip(getattr(train, "domains", ()), data.domains or ())]
    apart = f" ({' and '.join(domains)})" if domains else ""
    yield "images", f"{len(train):,} to train on{apart}, {len(test):,} to test"
    files = {part.address(i): (part, i) for half in (train, test) for part in parts(half) for i in range(len(part))}
    yield from of_files(files, data, faults) if files else of_pixels(train)
    yield from of_labels(train, data)
    for remark in getattr(train, "remarks", list)():
        yield "note", remark
    if not faults:
        yield from of_training(data, frozen, faults)


def following(words: list[str], frozen: dict[str, Any]) -> str:
    """The command that comes next, with what was typed for this one."""
    kept = shlex.join(word for word in words if not word.startswith("out="))
    if frozen["model"]:
        return f"genzoo train {kept}"
    data = frozen["data"]
    first = "cyclegan" if data.get("domains") else "gan" if data["resolution"] == 1 else "dcgan"
    return f"genzoo check model={first} {kept}".rstrip()


def of_training(data: Any, frozen: dict[str, Any], faults: list[str]) -> Iterator[Line]:
    """Whether data and model fit each other, how fast the data come, and a contact sheet."""
    from genzoo.commands.train import check

    try:
        check(frozen | dict.fromkeys(("epochs", "minutes", "threads"), 1))
        if frozen["model"]:
            module = model_of(frozen)
            data.check(module.takes, int(data.batch_size(0)))
            yield from of_model(module, data, frozen)
        else:
            data.check()
    except ValueError as error:
        faults.append(str(error))
        return
    yield "speed", speed(data)
    yield "made", contact_sheet(data.store, Path(frozen["out"]))


def model_of(frozen: dict[str, Any]) -> Any:
    from genzoo import hub
    from genzoo.fit import built

    return hub.build(built(frozen["model"]), None)


def of_model(module: Any, data: Any, frozen: dict[str, Any]) -> Iterator[Line]:
    """Its size, and the memory that one device needs for it."""
    parameters = sum(parameter.numel() for parameter in module.parameters())
    held = frozen["micro_batch"] or int(data.batch_size(0)) // frozen["devices"]
    averaged = "ema" in (frozen["callbacks"] or {})
    passing, fixed = activations(module, first(data, 2)) / 2 * held, parameters * (20 if averaged else 16)
    yield "model", f"{frozen['model']['name']} fits: {parameters:,} parameters"
    what = f"weights, gradients{', average' if averaged else ''} and Adam's moments"
    activity = f"{amount(passing)} for what {held} images leave behind until the gradient"
    yield "memory", f"about {amount(fixed + passing)} in float32: {amount(fixed)} for {what}, {activity}"


def activations(module: Any, batch: Any) -> int:
    """Bytes that the costliest player's loss keeps for its gradient, measured on a batch of the data."""
    import torch

    own = {parameter.data_ptr() for parameter in module.parameters()}
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
    save_png(path, picture(shown[0] if len(shown) == 1 else torch.cat(shown, dim=3)))
    return str(path)


def amount(count: float) -> str:
    """Bytes in words."""
    return f"{count / 2**20:,.0f} MiB" if count < 2**30 else f"{count / 2**30:,.1f} GiB"
