"""One run in one process: from a frozen configuration to checkpoints."""

import contextlib
import logging
import platform
import signal
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from genzoo import console, limits
from genzoo.console import first_line

SHARED = ("name", "latent_dim", "width")  # keys of model configs that others read by interpolation
DEFAULT_KIMG = 300


@runtime_checkable
class Checked(Protocol):
    """A callback that can say before training that it will not be able to do its work, by a ValueError."""

    def check(self, module: Any, data: Any, processes: int) -> None: ...


@runtime_checkable
class Fingerprinted(Protocol):
    """A store that can tell its data from others, without reading all of them."""

    def fingerprint(self) -> str: ...


@runtime_checkable
class Remarked(Protocol):
    """A store that has something to tell about its files, a line each."""

    def remarks(self) -> list[str]: ...


@dataclass
class Run:
    """What a process trains with, built and checked as far as that goes before the first iteration."""

    frozen: dict[str, Any]
    module: Any
    data: Any
    trainer: Any
    guard: Any  # the Safeguard among its callbacks
    threads: int
    checkpoint: Path | None  # from which it continues
    seen: int  # images of that checkpoint
    notes: list[str]  # what a person should know, a line each


def prepare(
    frozen: dict[str, Any],
    allowed: tuple[str, ...] | None,
    data: Any,
    new: bool = False,
    light: bool = False,
    data_changed: bool = False,
) -> Run:
    """Build all that a settled configuration names; ValueError or OSError for what cannot be trained.

    `allowed` are the packages whose classes may be built. A run that is not `new` continues from the newest checkpoint
    of its folder, if there is one. `light` is for the launcher of several processes, which only looks: weights take no
    memory. With `data_changed` the data need not be those of the checkpoint. Writes nothing.
    """
    quiet()
    from genzoo.core.io import newest
    from genzoo.core.launch import topology
    from genzoo.core.machine import tune

    devices, nodes = topology(frozen["devices"])
    module = model_of(frozen, allowed, light)
    threads = tune(frozen["threads"], sum(p.numel() for p in module.parameters()), devices)
    notes: list[str] = []
    checkpoint = None if new else newest(Path(frozen["run"]), resume=True, tell=notes.append)
    then: dict[str, Any] = outline(checkpoint)["genzoo"] if checkpoint else {}
    data.follow(then.get("data", {}).get("names") or ())
    if frozen["init"] and not checkpoint:
        notes.append(warm_start(module, data, frozen["init"], bool(frozen.get("init_partial"))))
    module.facts = facts(frozen, data, threads, devices * nodes)
    images, processes = round(1000 * frozen["kimg"]), devices * nodes
    if not checkpoint and module.images_seen >= images:
        raise ValueError(
            f"model.start_images={module.images_seen}: kimg={images / 1000:g} ends before it, say kimg=<more>"
        )
    module.check(data)
    data.check(module.takes, largest(data.batch_size, module.images_seen, images, processes))
    if not checkpoint and isinstance(data.store, Remarked) and (remarks := data.store.remarks()):
        notes.append(f"data={data.name}: {console.escape('; '.join(remarks))}")
    trainer, guard = trainer_of(frozen, allowed)
    for callback in trainer.callbacks:
        if isinstance(callback, Checked):
            callback.check(module, data, processes)
    if checkpoint:
        same_model(checkpoint, module)
        if not data_changed:
            same_data(checkpoint, then, module.facts)
        if then["images_seen"] < images:
            notes.append(f"continues from {checkpoint.name}{differences(then, module)}")
    return Run(frozen, module, data, trainer, guard, threads, checkpoint, then.get("images_seen", 0), notes)


def model_of(frozen: dict[str, Any], allowed: tuple[str, ...] | None, light: bool = False) -> Any:
    """The model of a settled configuration, with the same first weights on every rank; `light` on the meta device."""
    import torch

    from genzoo import hub

    config = built(frozen["model"])
    if light:
        with torch.device("meta"), contextlib.suppress(ValueError):  # a class of the user's own may not know it
            return hub.described(config, allowed, "model")
    torch.default_generator.manual_seed(frozen["seed"])
    return hub.described(config, allowed, "model")


def rename(run: Run, frozen: dict[str, Any], allowed: tuple[str, ...] | None) -> None:
    """Give a prepared run another folder, which its callbacks and loggers know from the configuration."""
    run.frozen = frozen
    run.trainer, run.guard = trainer_of(frozen, allowed)


def fit(run: Run) -> int:
    """Train, from the run's newest checkpoint if there is one; the exit code."""
    from pytorch_lightning.utilities.exceptions import MisconfigurationException

    from genzoo.core.folder import sweep
    from genzoo.core.io import newest
    from genzoo.core.launch import rank
    from genzoo.core.machine import collect_again

    folder, first, guard = Path(run.frozen["run"]), rank() == 0, run.guard
    if first:
        sweep(folder)
    guard.say = lambda line: say(first, line)
    if done := complete(run):
        for line in (*run.notes, done):
            say(first, line)
        return 0
    name, data_name = run.frozen["model"]["name"], run.frozen["data"]["name"]
    threads = f"{run.threads} thread{'s' * (run.threads > 1)}"
    for note in (*run.notes, f"{name} on {data_name}, {run.frozen['kimg']:g} kimg, {threads}: {folder}"):
        say(first, note)
    collect_again()
    try:
        run.trainer.fit(run.module, run.data, ckpt_path=run.checkpoint, weights_only=True)
    except SystemExit:  # Lightning's answer to Ctrl-C before the first iteration, and to the second one
        if not guard.code:
            raise
        say(first, f"stopped at once, nothing saved\nnext   {resuming(run)}")
        return guard.code
    except MisconfigurationException as error:  # of the Trainer and the module together
        raise ValueError(f"training cannot start with these settings of trainer.*: {first_line(error)}") from error
    except Exception as error:
        # a finished message may come as soon as training has begun, what a checkpoint lacks shows in the first iteration
        begun = guard.saved if isinstance(error, ValueError) else run.module.images_seen > run.seen
        if isinstance(error, OSError) or not run.checkpoint or begun:
            raise
        raise ValueError(
            f"{run.checkpoint} opens, but training cannot go on from it: {first_line(error)}; without it an older one is used"
        ) from error
    if first and not guard.code and not newest(guard.folder):
        raise ValueError(f"{folder} holds no checkpoint: by trainer.* training ended before its first iteration")
    say(first, closing(run))
    return guard.code


def complete(run: Run) -> str:
    """That a run which is resumed has nothing left to do, and how it goes on; nothing if it has."""
    kimg = run.frozen["kimg"]
    if not run.checkpoint or run.seen < round(1000 * kimg):
        return ""
    more = resuming(run, f"kimg={2 * max(kimg, run.seen / 1000):g}")
    return f"complete at {kimg:g} kimg: {run.checkpoint}; more with kimg=\nnext   {more}"


def resuming(run: Run, *words: str) -> str:
    """The command that continues a run, even after its folder was moved."""
    return console.command("train", f"resume={run.guard.folder}", *words, allow=run.frozen["allow"])


def largest(batch_size: Any, first: int, last: int, processes: int) -> int:
    """The largest batch between two positions in the stream; ValueError if the processes cannot share one of them."""
    from genzoo.data.module import divisible

    step = max((last - first) // 1000, 1)  # where a schedule changes its mind is not known
    return max(divisible(int(batch_size(position)), processes) for position in range(first, max(last, first + 1), step))


def warm_start(module: Any, data: Any, source: str, partial: bool) -> str:
    """Take the weights of `init=` that fit, and the order of the classes that they have learned; a line about it, or
    ValueError if they are less than half of the model's tensors and that was not asked for."""
    from genzoo import hub

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that nothing is copied where weights take no memory
        state, noted = hub.read(Path(source))
        if bad := hub.broken(state):
            raise ValueError(f"init={source}: {bad} is not finite: choose another checkpoint")
        taken, own = module.warm_start(state), module.state_dict()
    data.follow(noted.get("data", {}).get("names") or ())
    left = [name for name in own if name not in taken]
    rest = f"; not in it, or of another shape: {', '.join(left[:5])}{', ...' * (len(left) > 5)}" if left else ""
    if not taken:
        raise ValueError(f"init={source}: no tensor of it fits by name and shape: choose the same model")
    if 2 * len(taken) < len(own) and not partial:
        raise ValueError(
            f"init={source}: only {len(taken)} of the model's {len(own)} tensors fit by name and shape{rest}\n"
            "choose the same model and sizes, or say init_partial=true to begin with these"
        )
    return f"took {len(taken)} of {len(own)} tensors from {source}{rest}"


def trainer_of(frozen: dict[str, Any], allowed: tuple[str, ...] | None) -> tuple[Any, Any]:
    """Lightning's Trainer with the run's callbacks, and the one of them that guards the run."""
    import pytorch_lightning as pl
    import torch

    from genzoo import hub
    from genzoo.callbacks.budget import Budget
    from genzoo.callbacks.curves import Curves, Lines
    from genzoo.callbacks.fidelity import Fidelity
    from genzoo.callbacks.progress import Progress
    from genzoo.callbacks.safeguard import Safeguard
    from genzoo.core.io import AtomicCheckpointIO
    from genzoo.core.launch import Cluster, topology
    from genzoo.environment import place

    devices, nodes = topology(frozen["devices"])
    several, images = devices * nodes > 1, round(1000 * frozen["kimg"])
    if frozen["precision"] == "16-mixed" and not torch.cuda.is_available():
        raise ValueError(
            "precision=16-mixed needs a CUDA device, and there is none: precision=auto takes bf16-mixed or 32-true,\n"
            "whichever is faster here"
        )
    if frozen["accelerator"] in ("gpu", "cuda") and not torch.accelerator.is_available():
        raise ValueError(f"accelerator={frozen['accelerator']}: there is none here; accelerator=cpu or auto")
    check_trainer(frozen["trainer"])
    kinds = {"callbacks": pl.Callback, "logger": pl.loggers.Logger}
    made = {group: hub.build(frozen[group] or {}, allowed, group) for group in kinds}
    for group, kind in kinds.items():
        for name, one in made[group].items():
            if not isinstance(one, kind | None):
                raise ValueError(f"{group}.{name}={one}: expected a {kind.__name__} {{_target_: ...}} or null")
    callbacks = [one for one in made["callbacks"].values() if one is not None]
    guard = next((callback for callback in callbacks if isinstance(callback, Safeguard)), None)
    if guard is None:
        raise ValueError(
            "callbacks.safeguard is left out, but it is what saves: callbacks.safeguard.every=100000 saves rarely"
        )
    if frozen["features"]:
        judge = next((callback for callback in callbacks if isinstance(callback, Fidelity)), None)
        if judge is None:
            raise ValueError(f"features={frozen['features']} judges nothing without callbacks=fidelity")
        judge.features = hub.feature_network(frozen["features"], allow=frozen["allow"])
    loggers = [one for one in made["logger"].values() if one is not None]
    if not any(isinstance(logger, Lines) for logger in loggers):
        loggers.append(Lines(frozen["run"]))
    options = without(frozen["trainer"], "_target_") | {
        "devices": devices,
        "num_nodes": nodes,
        "strategy": pl.strategies.DDPStrategy(find_unused_parameters=True) if several else "auto",
        "sync_batchnorm": several and frozen["accelerator"] != "cpu" and torch.cuda.is_available(),
        "plugins": [AtomicCheckpointIO(), Cluster(place())],
        "callbacks": [*callbacks, Curves(frozen), Budget(images, frozen["minutes"]), Progress(images)],
        "logger": loggers,
        "default_root_dir": frozen["run"],
    }
    try:
        return pl.Trainer(**options), guard
    except Exception as error:  # no such device, key or library; of many kinds
        settings = f"devices={devices}, accelerator={frozen['accelerator']}, precision={frozen['precision']}, trainer.*"
        raise ValueError(f"training cannot start with {settings}: {first_line(error)}") from error


def check_trainer(settings: dict[str, Any]) -> None:
    """ValueError for a setting that Lightning's Trainer does not know, or that leaves nothing to train."""
    from genzoo import hub

    if not settings:
        raise ValueError("trainer is left out, but it is what trains: trainer.<key>= changes a part of it")
    own = without(settings, "_target_")
    if taken := sorted(
        {"devices", "num_nodes", "strategy", "plugins", "callbacks", "logger", "default_root_dir"} & set(own)
    ):
        raise ValueError(
            f"trainer.{taken[0]}: leave it out; devices=, callbacks=, logger= and run= say what it is to be"
        )
    hub.check({"_target_": "pytorch_lightning.Trainer"} | own, None, "trainer")
    endless = Literal[-1] | limits.Count
    hints: dict[str, Any] = dict.fromkeys(("max_steps", "max_epochs"), endless)
    hints |= dict.fromkeys(("log_every_n_steps", "val_check_interval"), limits.Count)
    hints |= {"check_val_every_n_epoch": limits.Count | None, "num_sanity_val_steps": Literal[-1] | limits.Natural}
    limits.check(own, hints, "trainer")


def built(model: dict[str, Any]) -> dict[str, Any]:
    """A model's configuration without the keys that are there for others to read."""
    return without(model, *SHARED)


def facts(frozen: dict[str, Any], data: Any, threads: int, processes: int) -> dict[str, Any]:
    """What a checkpoint notes about its origin: plain values only."""
    import pytorch_lightning
    import torch

    import genzoo
    from genzoo import hub

    def simple(value: Any) -> bool:
        return all(map(simple, value)) if isinstance(value, list) else isinstance(value, (str, int, float, type(None)))

    def plain(node: dict[str, Any]) -> dict[str, Any]:
        return {k: v for k, v in node.items() if simple(v)}

    store = plain(frozen["data"].get("store") or {})
    notes = {"store": without(store, *frozen["data"], "_partial_", "root", "download"), "names": list(data.names)}
    return {
        "version": genzoo.__version__,
        "revision": hub.revision(),
        "machine": {
            "python": platform.python_version(),
            "torch": str(torch.__version__),  # a plain string: the class behind it is no plain data
            "pytorch_lightning": pytorch_lightning.__version__,
            "threads": threads,
            "processes": processes,
            "cpu": torch.backends.cpu.get_cpu_capability(),
            "precision": frozen["precision"],
        },
        "data": without(plain(frozen["data"]), "_target_", "seed", "workers", "batch_size")
        | notes
        | of_store(data.store),
        "model": frozen["model"]["name"],
        "seed": frozen["seed"],
    }


def of_store(store: Any) -> dict[str, Any]:
    """What a checkpoint notes of the training images, so that a resumed run notices others."""
    return {"images": len(store)} | ({"fingerprint": store.fingerprint()} if isinstance(store, Fingerprinted) else {})


def outline(checkpoint: Path) -> dict[str, Any]:
    """What a checkpoint that is known to be sound holds, without the values of its tensors."""
    import torch

    found: dict[str, Any] = torch.load(checkpoint, map_location="meta", mmap=True, weights_only=True)
    return found


def same_model(checkpoint: Path, module: Any) -> None:
    """ValueError if the checkpoint does not hold the weights and moments of this model."""
    from genzoo.core.module import alike

    found, own = outline(checkpoint), module.state_dict()
    states = {"state_dict": found["state_dict"].keys() ^ own.keys(), "live": found.get("live", {}).keys() - own.keys()}
    wrong = [name for names in states.values() for name in names]
    for part in states:
        wrong += [n for n, value in found.get(part, {}).items() if n in own and not alike(value, own[n])]
    for player, state in zip(module.players, found["optimizer_states"]):
        groups = state.get("param_groups")
        held = sum(len(group.get("params", ())) for group in groups) if isinstance(groups, list) else -1
        wrong += [f"the optimizer of {player}"] * (held != len(module.parameters_of(player)))
    if wrong or len(found["optimizer_states"]) != len(module.players):
        what = f"{min(wrong)} is missing, or of another shape or kind" if wrong else "another number of optimizers"
        raise ValueError(
            f"{checkpoint} does not fit the model that config.yaml beside it describes: {what}.\n"
            "One of them was changed or comes from another run: put the right one there"
        )


def same_data(checkpoint: Path, then: dict[str, Any], now: dict[str, Any]) -> None:
    """ValueError if the training images are not those that the checkpoint has seen; older ones do not say."""
    before, after = then.get("data", {}), now["data"]
    changed = [name for name in ("images", "fingerprint") if name in before and before[name] != after.get(name)]
    if changed:
        counts = f"{before.get('images'):,} images then, {after['images']:,} now"
        told = counts if "images" in changed else f"{after['images']:,} images, but not the same"
        where = f" at {after['path']}" if after.get("path") else ""
        raise ValueError(
            f"data={after.get('name')}{where} has changed since {checkpoint.name} ({told}):\n"
            "put it back, or say data_changed=true to go on with what is there"
        )


def differences(then: dict[str, Any], module: Any) -> str:
    """A warning where bits cannot be expected to be equal."""
    before, now = then.get("machine", {}), module.facts["machine"]
    other = [f"{k} {before.get(k)}, now {v}" for k, v in now.items() if before.get(k, v) != v]
    micro = then["config"].get("micro_batch")
    lines = f"; rounding may differ from an unbroken run ({'; '.join(other)})" if other else ""
    if micro != module.micro_batch:
        was, now = ("none" if size is None else size for size in (micro, module.micro_batch))
        lines += f"; micro_batch {was}, now {now}: rounding may differ, and what BatchNorm sees of a batch"
    return lines


def closing(run: Run) -> str:
    """What was made, and what to type next."""
    from genzoo.console import quote
    from genzoo.core.io import newest
    from genzoo.core.roles import Labeller, Sampler, Translator

    folder, module, code = run.guard.folder, run.module, run.guard.code
    made = newest(folder)
    lines = [f"made   {made} ({module.images_seen:,} images seen)" if made else f"made   nothing in {folder} yet"]
    if code > 128:
        lines += [f"stopped by {signal.Signals(code - 128).name}; nothing is lost"]
    if code:
        return "\n".join([*lines, *[f"next   {resuming(run)}"] * bool(made)])
    looks = [quote(folder / "samples")] if (folder / "samples").is_dir() else []
    looks += [f"tensorboard --logdir {quote(folder)}"] if any(folder.glob("events.*")) else []
    lines += [f"look   {', '.join(looks)}"] if looks else []
    following = list[tuple[str, ...]]()
    if isinstance(module, Sampler):
        following += [("sample", "n=64", "out=grid.png"), ("interpolate",)]
    if isinstance(module, Translator):
        following += [("translate", f"src={pictures_for(run)}", f"to={module.makes[-1]}")]
    if isinstance(module, Labeller):
        following += [("evaluate",)]
    for number, (verb, *words) in enumerate(following):
        line = console.command(verb, f"ckpt={folder}", *words, allow=run.frozen["allow"])
        lines += [f"{'       ' if number else 'next   '}{line}"]
    return "\n".join(lines)


def pictures_for(run: Run) -> Path:
    """A folder of pictures to try a translator on: of its data where they are files, else the sheets of the run."""
    source = Path(str(run.frozen["data"].get("path") or ""))
    side = "B" if run.module.makes[-1] == "a" else "A"
    folders = [source / f"test{side}", source / f"train{side}"] if run.frozen["data"].get("path") else []
    return next((folder for folder in folders if folder.is_dir()), run.guard.folder / "samples")


def quiet() -> None:
    """Lightning's banners and its advice for other people's loops."""
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning.fabric", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for text in (".*does not have many workers.*", ".*smaller than the logging interval.*", ".*Checkpoint directory.*",
                 ".*will be in eval mode.*", ".*isinstance.treespec.*"):  # fmt: skip
        warnings.filterwarnings("ignore", text)


def without(node: dict[str, Any], *names: str) -> dict[str, Any]:
    return {k: v for k, v in node.items() if k not in names}


def say(first: bool, line: str) -> None:
    if first:
        console.say(line)
