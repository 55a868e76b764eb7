"""Train a model, or continue a run that was stopped."""

import contextlib
import json
import os
import sys

if __name__ == "__main__" and os.path.abspath(sys.path[0]) == os.getcwd():
    del sys.path[0]  # where `python -m` puts the current folder, whose yaml.py would be taken for the library

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

from genzoo import console, limits
from genzoo.environment import settled
from genzoo.fit import DEFAULT_KIMG
from genzoo.limits import Count, Place, Positive, Range

ALLOWED = ("genzoo.data.", "genzoo.callbacks.")  # beside hub.ALLOWED, in a frozen config
MAY_CHANGE = ("kimg", "epochs", "minutes", "devices", "accelerator", "threads", "deterministic", "micro_batch", "allow",
              "features", "logger", "resume", "data_changed", "callbacks.samples", "callbacks.safeguard", "data.workers",
              "data.path", "data.root", "data.labels", "data.download", "trainer.log_every_n_steps",
              "trainer.val_check_interval")  # fmt: skip
COPIES = {"micro_batch": "model.micro_batch", "deterministic": "trainer.deterministic", "data.path": "data.store.path",
          "data.root": "data.store.root", "data.labels": "data.store.labels", "data.download": "data.store.download",
          "accelerator": "trainer.accelerator"}  # where a frozen configuration holds the same value again  # fmt: skip


Kimg = Annotated[float, Range(0.001, 1e12)]  # an image at least


def key(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass
class Keys:
    model: Any = None
    data: Any = None
    callbacks: Any = None
    logger: Any = None
    trainer: Any = None
    command: str = "train"
    kimg: Kimg | None = key(None, f"thousands of real images to train on; {DEFAULT_KIMG} where nothing else is said")
    epochs: Annotated[float, Range(0, 1e9, above=True)] | None = key(
        None, "the same in passes over the data; goes before kimg"
    )
    minutes: Positive | None = key(None, "stop after so many minutes, saved and ready to resume")
    batch_size: Annotated[Any, Count | Callable] = key(64, "images of one turn over all devices; a model sets its own")
    micro_batch: Count | None = key(None, "images of one device held in memory at once")
    precision: Annotated[str, Literal["auto", "32-true", "bf16-mixed", "16-mixed", "64-true"]] = key(
        "32-true", "32-true, bf16-mixed, 16-mixed (CUDA), 64-true; auto: what is fast here"
    )
    devices: Count = key(1, "processes, each with a device of its own")
    accelerator: Annotated[str, Literal["auto", "cpu", "gpu", "cuda", "mps"]] = key(
        "auto", "auto, cpu, gpu, cuda or mps"
    )
    threads: Annotated[Any, Literal["auto"] | Count] = key(
        "auto", "CPU threads of each process; auto gives a small model one"
    )
    deterministic: bool = key(False, "bits equal on CUDA too, where the operations allow it")
    seed: int = key(0, "of weights, data order and noise")
    run: Place = key("auto", "the run folder; auto makes up runs/<model>-<data>/<time>")
    init: Place | None = key(None, "start from another checkpoint's weights, by name and shape")
    init_partial: bool = key(False, "take them even if they are less than half of the model's tensors")
    resume: Place | None = key(None, "a run folder to continue; nothing else is needed")
    data_changed: bool = key(False, "with resume=: go on although the data are not those of the checkpoint")
    features: Place | None = key(None, "with callbacks=fidelity: the network that judges images, as in genzoo evaluate")
    allow: Annotated[Any, str | Sequence[str]] = key(
        (), "packages of your own that a run's frozen configuration may name: allow=[mine.]"
    )


def run(config: Any) -> int:
    """Freeze the configuration in the run folder and train, in this process or in several; the exit code."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    hydra = HydraConfig.get()
    differs = hydra.job.override_dirname if hydra.mode == RunMode.MULTIRUN else ""
    return start(config, list(hydra.overrides.task), differs)[0]


def train(*overrides: str, **keys: Any) -> Any:
    """What `genzoo train` does, for notebooks; returns the trained model in eval mode.

    `overrides` are words as in a shell. Keywords take values as they are: paths, lists, dictionaries, None for null;
    `**{"model.width": 8}` sets a key with a dot. Raises ValueError or OSError for a configuration that cannot be,
    RuntimeError when training ended with an error.
    """
    import torch
    from omegaconf import OmegaConf

    from genzoo import cli, hub, words
    from genzoo.core.random import usual

    typed = words.overrides([*overrides, *(words.said(*item) for item in keys.items())], cli.hints_of("train"))
    with cli.explained("train", typed, []):
        config = cli.compose("train", typed)
    OmegaConf.set_struct(config, False)
    with cli.named_as_typed(config), torch.inference_mode(False), torch.enable_grad(), usual():
        cli.check_keys("train", config)
        code, folder = start(config, typed)
    if code:
        allow = f", allow={list(config.allow)}" if config.allow else ""
        raise RuntimeError(f"training ended with code {code}; train('resume={folder}'{allow}) continues it")
    return hub.load(folder, allow=config.allow)


@settled()
def start(config: Any, typed: list[str], differs: str = "") -> tuple[int, Path]:
    """Settle, build and check everything, then make the run folder and train; the exit code and the folder.

    `differs` is what sets this run apart from the others of a sweep.
    """
    from omegaconf import OmegaConf

    from genzoo.core.claim import Claim, default_folder
    from genzoo.core.launch import launch, rank, started
    from genzoo.fit import complete, fit, prepare, rename

    anchor(config)
    resume = bool(config.resume)
    allowed = permitted(config)
    words, data_changed = handed_on(config), config.data_changed
    config.data_changed = False  # it is said of one start, and not frozen
    if resume:
        config = resumed(config, typed)
    anchor_labels(config.data)
    check(plain(config))
    if unnamed := config.run == "auto":
        config.run = str(default_folder(config.model.name, data_name(config.data), differs))
    alone, first = config.devices == 1 or started(), rank() == 0
    claim = Claim(Path(config.run), resume, first, unnamed, config.allow)
    try:
        if resume:
            claim.take()  # before anything is read: a run that is going on keeps its configuration
        data = settle(config, allowed)
        run = prepare(plain(config), allowed, data, not resume, light=not alone, data_changed=data_changed)
        config.threads = run.threads
        if first:
            warn_of_slow_precision(config, resume)
        claim.take()
        if str(claim.folder) != config.run:
            config.run = str(claim.folder)
            rename(run, plain(config), allowed)
        claim.freeze(OmegaConf.to_yaml(plain(config)))
        alone = alone or bool(complete(run))
        code = fit(run) if alone else launch(claim.folder, config.devices, claim.lock, words)
        if code == 1 and not resume:
            claim.give_up()  # unless it has made something
        return code, claim.folder
    except (ValueError, OSError):
        claim.give_up()
        raise
    finally:
        claim.release()


def outcome(config: Any) -> str:
    """The folder of a run that has ended, and the last it scored, for the table of a sweep; nothing if it made none."""
    folder = Path(config.resume or config.run)
    return f"{console.quote(folder)}  {score(folder)}".rstrip() if (folder / "config.yaml").is_file() else ""


def score(folder: Path) -> str:
    """The last measurement in a run's curves, or else its last terms."""
    with contextlib.suppress(OSError, ValueError):
        rows = [json.loads(line) for line in (folder / "curves.jsonl").read_text().splitlines()]
        judged = [row for row in rows if any(name.startswith("metric/") or "elbo" in name for name in row)]
        last = (judged or rows or [{}])[-1]
        return ", ".join(f"{name} {value:.4g}" for name, value in last.items() if "/" in name)
    return ""


def permitted(config: Any) -> tuple[str, ...]:
    """The packages whose classes a run may be built of. For a new run `allow` takes up those that its settings name:
    typing a class allows it for this run, and whoever opens the run later allows it anew. ValueError for what could not be
    opened again.
    """
    from genzoo import hub

    usual = hub.ALLOWED + ALLOWED
    names = list(hub.packages(config.allow))
    if not config.resume:
        parts = plain(config)
        names += hub.foreign([parts[name] for name in ("model", "data", "callbacks", "logger")], usual + tuple(names))
    config.allow = names
    return usual + tuple(names)


def handed_on(config: Any) -> list[str]:
    """What was typed and must not stand in a file, as arguments for the processes of a launch."""
    return [*map(str, console.flags), *console.allowing(config.allow), *["data_changed=true"] * config.data_changed]


def settle(config: Any, allowed: tuple[str, ...] | None) -> Any:
    """Open the data, and put values in place of what the configuration leaves to them; the data."""
    from genzoo.core.machine import fast_precision

    data = open_data(config, allowed)
    if epochs := config.epochs:
        config.kimg, config.epochs = epochs * len(data.store) / 1000, None
    config.kimg = config.kimg or DEFAULT_KIMG
    if config.kimg < 0.0005:  # it rounds to none
        raise ValueError(f"epochs={epochs} of {len(data.store)} images: less than one image; epochs=1 is a pass")
    if config.precision == "auto":
        config.precision = fast_precision(config.accelerator)
    return data


def open_data(config: Any, allowed: tuple[str, ...] | None) -> Any:
    """The data of a configuration, in which sizes and classes take the place of `auto`."""
    from genzoo import hub
    from genzoo.data.describe import describe

    for name, value in describe(plain(config.data)).items():
        config.data[name] = value
    data = hub.build(plain(config.data), allowed, "data")
    if config.data.get("classes") == "auto":
        config.data.classes = data.classes
    return data


def warn_of_slow_precision(config: Any, resume: bool) -> None:
    """A line where bfloat16 was asked for and the processor has no units for it: it is many times slower there."""
    from genzoo.core.machine import bf16_cost, runs_on_cpu

    if str(config.precision).startswith("bf16") and runs_on_cpu(config.accelerator) and (cost := bf16_cost()) > 1.5:
        way_out = "the run keeps it, and its bits with it" if resume else "precision=32-true is faster here"
        console.say(f"precision={config.precision}: this processor takes {cost:.0f} times as long for it; {way_out}")


def data_name(data: Any) -> str:
    """What a set is called where nothing else names it: one's own data by their folder or file."""
    path = Path(str(data.get("path") or ""))
    return (path.name if path.is_dir() else path.stem) or data.name


def plain(config: Any) -> dict[str, Any]:
    """A configuration, or a part of it, as plain data, every interpolation resolved."""
    from omegaconf import OmegaConf

    return OmegaConf.to_container(config, resolve=True)


def anchor(config: Any) -> None:
    """Whole paths to what a run reads, so that it can be resumed, and its data be found, from any folder."""
    for node, name in ((config.data, "path"), (config.data, "root"), (config, "features"), (config, "init")):
        typed = Path(str(node.get(name) or "")).expanduser()
        if node.get(name) and (node is config.data or typed.exists()):  # a pattern of shards is no file
            node[name] = os.path.abspath(typed)


def anchor_labels(data: Any) -> None:
    """A whole path to a file of labels, unless it is one of the set itself, which moves with it."""
    from genzoo.data.archives import open_files
    from genzoo.data.folder import within

    labels, path = data.get("labels"), data.get("path")
    if not (isinstance(labels, str) and path and os.path.isfile(labels)) or os.path.isabs(labels):
        return
    with contextlib.suppress(ValueError, OSError):  # told where the set is opened
        if len(within(open_files(path), labels)) != 1:
            for node in (data, data.get("store") or {}):  # where one follows the other, it does so
                if node.get("labels") == labels:
                    node["labels"] = os.path.abspath(labels)


def resumed(config: Any, typed: list[str]) -> Any:
    """The frozen configuration of a run, with what may change in it changed."""
    from omegaconf import OmegaConf

    from genzoo.commands.frozen import read

    folder = Path(config.resume)
    words = [word.lstrip("+~").split("=")[0] for word in typed]
    frozen = OmegaConf.create(read(folder, words))
    names = [name for name in words if not unchanged(OmegaConf.select(config, name), OmegaConf.select(frozen, name))]
    if wrong := [name for name in names if not may_change(name)]:
        raise ValueError(
            f"resume={folder}: {', '.join(wrong)} would make it another run; budget, devices, logging and the place of "
            f"the data may change.\nA new run that starts from these weights: init={folder}"
        )
    for name in names:
        value = OmegaConf.select(config, name)
        OmegaConf.update(frozen, name, value, force_add=True)
        parent, _, last = COPIES.get(name, name).rpartition(".")
        if name in COPIES and last in (node := OmegaConf.select(frozen, parent) or {}):
            node[last] = value
    if "kimg" in names and "epochs" not in names:
        frozen.epochs = None
    frozen.resume = None
    return frozen


def may_change(name: str) -> bool:
    return any(name == known or name.startswith(f"{known}.") for known in MAY_CHANGE)


def unchanged(typed: Any, frozen: Any) -> bool:
    """Whether what was typed says again what is so: the same value, or a file of a group by the same name."""
    from omegaconf import OmegaConf

    if OmegaConf.is_dict(typed):
        return OmegaConf.is_dict(frozen) and typed.get("name") is not None and typed.get("name") == frozen.get("name")
    return typed is not None and typed == frozen


def check(frozen: dict[str, Any]) -> None:
    """Numbers that can be, and a batch of devices x micro-batch x k images; ValueError with the nearest that is."""
    limits.check(frozen, get_type_hints(Keys, include_extras=True))
    bearable(frozen["devices"], frozen["threads"])
    size, devices, micro = frozen["batch_size"], frozen["devices"], frozen["micro_batch"]
    unit = devices * (micro or 1)
    if isinstance(size, int) and size % unit:
        below = size // unit * unit
        nearest = f"{below} or {below + unit}" if below > 0 else f"{unit}"
        what = f"devices={devices}" + (f" x micro_batch={micro}" if micro else "")
        raise ValueError(f"batch_size={size} is no multiple of {what}: take batch_size={nearest}")


def bearable(devices: int, threads: int | str) -> None:
    """ValueError for more processes, or threads of all of them, than this machine can be expected to run."""
    cores = os.cpu_count() or 1
    processes, most = max(16, cores), max(64, 4 * cores)  # a run that is resumed on a smaller machine keeps its number
    if devices > processes:
        raise ValueError(f"devices={devices}: at most {processes} processes run on this machine of {cores} cores")
    if isinstance(threads, (int, float)) and (threads != int(threads) or devices * threads > most):
        of_all = f" for each of {devices} devices" * (devices > 1)
        raise ValueError(
            f"threads={threads}{of_all}: a whole number is expected, and at most {most} in all on this machine of "
            f"{cores} cores; threads=auto takes what pays"
        )


def main(launcher: int | None = None, lock: int | None = None) -> int:
    """`python -m genzoo.commands.train <run folder> ['allow=[mine.]'] [--config-dir <folder>]`: what runs on every
    device, whoever started it.

    `genzoo train` hands on the descriptors of a pipe that closes with it, and to rank 0 that of its lock.
    """
    from genzoo import cli
    from genzoo.core.launch import leave_with

    if launcher is not None:
        leave_with(launcher)

    def job() -> int:
        flags, words = cli.flagged(sys.argv[1:])
        cli.searched(flags.config_dir)
        return work(Path(*words[:1]), lock, allowed_by(words[1:]), launched=launcher is not None)

    return cli.attempt(job)


def allowed_by(words: list[str]) -> list[str]:
    """The packages in the arguments `allow=[mine.,other.]`; ValueError for any other argument."""
    names: list[str] = []
    for word in words:
        key, equals, value = word.partition("=")
        if key not in ("allow", "data_changed") or not equals:
            raise ValueError(f"{word}: behind the run folder 'allow=[mine.]' and data_changed=true may stand")
        names += [name.strip() for name in value.strip("[]").split(",") if key == "allow" and name.strip()]
    return names


@settled()
def work(folder: Path, held: int | None = None, allow: Sequence[str] = (), launched: bool = False) -> int:
    """One of a run's processes: train on the folder's configuration, from its newest checkpoint; the exit code.

    `launched` by `genzoo train`, which has judged the file, and has written to it where the user wants what.
    """
    from omegaconf import OmegaConf

    from genzoo import hub
    from genzoo.commands import frozen
    from genzoo.core.folder import Lock
    from genzoo.core.launch import rank
    from genzoo.environment import place
    from genzoo.fit import fit, prepare

    config = OmegaConf.create(frozen.read(folder, typed=("callbacks", "logger") if launched else ()))
    config.allow = names = hub.packages(allow)
    allowed = hub.ALLOWED + ALLOWED + names
    lock = Lock(folder, held) if rank() == 0 else None
    try:
        try:
            data, changed = settle(config, allowed), "data_changed=true" in sys.argv[2:]
            run = prepare(plain(config), allowed, data, data_changed=changed)
        except (ValueError, OSError):
            if place().local:  # the first process of this machine meets the same, and tells it
                return 1
            raise
        return fit(run)
    finally:
        if lock:
            lock.release()


if __name__ == "__main__":
    sys.exit(main())
