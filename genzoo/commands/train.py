"""Train a model, or continue a run that was stopped."""

import logging
import os
import signal
import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ALLOWED = ("genzoo.data.", "genzoo.callbacks.", "pytorch_lightning.")  # beside hub.ALLOWED, in a frozen config
SHARED = ("name", "latent_dim", "width")  # keys of model configs that others read by interpolation
MAY_CHANGE = ("kimg", "epochs", "minutes", "devices", "accelerator", "threads", "allow", "features", "logger", "resume",
              "callbacks.samples", "trainer.log_every_n_steps", "trainer.val_check_interval")  # fmt: skip
DEFAULT_KIMG = 300


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
    kimg: float | None = key(None, f"thousands of real images to train on; {DEFAULT_KIMG} where nothing else is said")
    epochs: float | None = key(None, "the same in passes over the data; goes before kimg")
    minutes: float | None = key(None, "stop after so many minutes, saved and ready to resume")
    batch_size: Any = key(64, "images of one turn over all devices; a model sets its own")
    micro_batch: int | None = key(None, "images of one device held in memory at once")
    precision: str = key("32-true", "32-true, bf16-mixed, 16-mixed (CUDA), 64-true")
    devices: int = key(1, "processes, each with a device of its own")
    accelerator: str = key("auto", "auto, cpu, gpu, ...")
    threads: Any = key("auto", "CPU threads of each process; auto gives a small model one")
    deterministic: bool = key(False, "bits equal on CUDA too, where the operations allow it")
    seed: int = key(0, "of weights, data order and noise")
    run: str = key("???", "the run folder; runs/<model>-<data>/<time> if not said")
    init: str | None = key(None, "start from another checkpoint's weights, by name and shape")
    resume: str | None = key(None, "a run folder to continue; nothing else is needed")
    features: str | None = key(None, "with callbacks=fidelity: the network that judges images, as in genzoo evaluate")
    allow: Any = key((), "packages of your own that a run's frozen configuration may name: allow=[mine.]")


def run(config: Any) -> int:
    """Freeze the configuration in the run folder and train, in this process or in several; the exit code."""
    from hydra.core.hydra_config import HydraConfig

    return start(config, list(HydraConfig.get().overrides.task))[0]


def train(*overrides: str, **keys: Any) -> Any:
    """What `genzoo train` does, for notebooks; returns the trained model in eval mode.

    Raises ValueError for a configuration that cannot be, RuntimeError when training ended with an error.
    """
    from omegaconf import OmegaConf

    from genzoo import cli, hub

    typed = [*overrides, *(f"{name}={value}" for name, value in keys.items())]
    config = cli.compose("train", typed)
    OmegaConf.set_struct(config, False)
    code, folder = start(config, typed)
    if code:
        raise RuntimeError(f"training ended with code {code}; train('resume={folder}') continues it")
    return hub.load(folder)


def start(config: Any, typed: list[str]) -> tuple[int, Path]:
    """Write `<run>/config.yaml` and train on it; the exit code and the run folder."""
    from omegaconf import OmegaConf

    from genzoo import hub
    from genzoo.core.launch import launch, started

    frozen = resumed(config, typed) if config.resume else plain(config)
    folder = Path(frozen["run"])
    check_batch(frozen)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f"config.yaml.{os.getpid()}.part"
        part.write_text(OmegaConf.to_yaml(frozen))
        os.replace(part, folder / "config.yaml")
    except OSError as error:
        raise OSError(f"run={folder} cannot be written ({error.strerror}): choose another folder with run=") from error
    if frozen["devices"] > 1 and not started():
        return launch(folder, frozen["devices"]), folder
    allowed = hub.ALLOWED + ALLOWED + tuple(frozen["allow"]) if config.resume else None  # typed, or from a file
    return fit(frozen, allowed), folder


def plain(config: Any) -> dict[str, Any]:
    """A configuration as plain data, every interpolation resolved."""
    from omegaconf import OmegaConf

    return OmegaConf.to_container(config, resolve=True)


def built(model: dict[str, Any]) -> dict[str, Any]:
    """A model's configuration without the keys that are there for others to read."""
    return without(model, *SHARED)


def resumed(config: Any, typed: list[str]) -> dict[str, Any]:
    """The frozen configuration of a run, with what may change in it changed."""
    from omegaconf import OmegaConf

    folder = Path(config.resume)
    if not (folder / "config.yaml").is_file():
        raise FileNotFoundError(f"resume={folder} holds no config.yaml: give the run folder of a genzoo train")
    names = [word.lstrip("+~").split("=")[0] for word in typed]
    wrong = [name for name in names if not name.startswith(MAY_CHANGE)]
    if wrong:
        raise ValueError(
            f"resume={folder}: {', '.join(wrong)} would make it another run; budget, devices and logging may change.\n"
            f"A new run that starts from these weights: init={folder}"
        )
    frozen = OmegaConf.load(folder / "config.yaml")
    for name in names:
        OmegaConf.update(frozen, name, OmegaConf.select(config, name), force_add=True)
    if "kimg" in names and "epochs" not in names:
        frozen.epochs = None
    frozen.resume = None
    return placed(plain(frozen), folder)


def placed(frozen: Any, folder: Path) -> Any:
    """The frozen configuration of a run whose folder may have been moved: every path below it follows."""
    before, after = frozen["run"], str(folder)

    def follow(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: follow(value) for key, value in node.items()}
        if isinstance(node, str) and (node == before or node.startswith(f"{before}/")):
            return after + node.removeprefix(before)
        return node

    return follow(frozen)


def check_batch(frozen: dict[str, Any]) -> None:
    """A batch is devices x micro-batch x k images; ValueError with the nearest that is."""
    size, devices, micro = frozen["batch_size"], frozen["devices"], frozen["micro_batch"]
    unit = devices * (micro or 1)
    if isinstance(size, int) and (size < 1 or size % unit):
        below = size // unit * unit
        nearest = f"{below} or {below + unit}" if below > 0 else f"{unit}"
        what = f"devices={devices}" + (f" x micro_batch={micro}" if micro else "")
        raise ValueError(f"batch_size={size} is no multiple of {what}: take batch_size={nearest}")


def fit(frozen: dict[str, Any], allowed: tuple[str, ...] | None) -> int:
    """Train on a frozen configuration in this process, from its newest checkpoint if there is one; the exit code.

    `allowed` is what may be built: None for what the user has just typed, a list for what stood in a file.
    """
    quiet()
    import pytorch_lightning as pl
    import torch

    from genzoo import hub
    from genzoo.callbacks.budget import Budget
    from genzoo.callbacks.fidelity import Fidelity
    from genzoo.callbacks.progress import Progress
    from genzoo.callbacks.safeguard import Safeguard
    from genzoo.commands.evaluate import feature_network
    from genzoo.core.io import AtomicCheckpointIO, newest
    from genzoo.core.launch import Lock, rank, topology
    from genzoo.core.machine import collect_again, tune

    folder, first = Path(frozen["run"]), rank() == 0
    devices, nodes = topology(frozen["devices"])
    several = devices * nodes > 1
    lock = Lock(folder) if first else None
    try:
        for litter in folder.glob("*.part") if first else ():
            litter.unlink(missing_ok=True)
        torch.default_generator.manual_seed(frozen["seed"])  # the same first weights on every rank
        module = hub.build(built(frozen["model"]), allowed)
        data = hub.build(frozen["data"], allowed)
        threads = tune(frozen["threads"], sum(p.numel() for p in module.parameters()), devices)
        images = round(
            frozen["epochs"] * len(data.store) if frozen["epochs"] else 1000 * (frozen["kimg"] or DEFAULT_KIMG)
        )
        module.facts = facts(frozen, data, threads, devices * nodes)
        checkpoint = newest(folder)
        if frozen["init"] and not checkpoint:
            taken = module.warm_start(hub.read(Path(frozen["init"]))[0])
            say(first, f"took {len(taken)} of {len(module.state_dict())} tensors from {frozen['init']}")
        callbacks = hub.build(list(frozen["callbacks"].values()), allowed)
        judge = next((callback for callback in callbacks if isinstance(callback, Fidelity)), None)
        if frozen["features"] and not judge:
            raise ValueError(f"features={frozen['features']} judges nothing without callbacks=fidelity")
        if judge and frozen["features"]:
            judge.features = feature_network(frozen["features"], "cpu")
        guard = next(callback for callback in callbacks if isinstance(callback, Safeguard))
        guard.say = lambda line: say(first, line)
        plugins: list[Any] = [AtomicCheckpointIO()]
        if several and "RANK" not in os.environ:  # Lightning's own requeueing saves in the middle of an update
            plugins.append(pl.plugins.environments.SLURMEnvironment(auto_requeue=False))
        trainer = pl.Trainer(
            **without(frozen["trainer"], "_target_"),
            devices=devices,
            num_nodes=nodes,
            strategy=pl.strategies.DDPStrategy(find_unused_parameters=True) if several else "auto",
            plugins=plugins,
            callbacks=[*callbacks, Budget(images, frozen["minutes"]), Progress(images)],
            logger=hub.build(list((frozen["logger"] or {}).values()), allowed) or False,
            default_root_dir=folder,
            sync_batchnorm=several and frozen["accelerator"] != "cpu" and torch.cuda.is_available(),
        )
        say(
            first,
            f"{frozen['model']['name']} on {frozen['data']['name']}, {images / 1000:g} kimg, {threads} threads: {folder}",
        )
        if checkpoint:
            say(first, f"continues from {checkpoint.name}{differences(checkpoint, module.facts)}")
        collect_again()
        trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
        say(first, closing(folder, module, guard))
        return guard.code
    finally:
        if lock:
            lock.release()


def facts(frozen: dict[str, Any], data: Any, threads: int, processes: int) -> dict[str, Any]:
    """What a checkpoint notes about its origin: plain values only."""
    import platform

    import pytorch_lightning
    import torch

    import genzoo
    from genzoo import hub

    def plain(node: dict[str, Any]) -> dict[str, Any]:
        return {k: v for k, v in node.items() if isinstance(v, (str, int, float, type(None)))}

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
            "precision": frozen["precision"],
        },
        "data": without(plain(frozen["data"]), "_target_", "seed", "workers", "batch_size") | notes,
        "model": frozen["model"]["name"],
        "seed": frozen["seed"],
    }


def differences(checkpoint: Path, now: dict[str, Any]) -> str:
    """A warning where bits cannot be expected to be equal."""
    import torch

    then = torch.load(checkpoint, map_location="meta", mmap=True, weights_only=True)["genzoo"].get("machine", {})
    other = [f"{k} {then.get(k)}, now {v}" for k, v in now["machine"].items() if then.get(k) != v]
    return f"; rounding may differ from an unbroken run ({'; '.join(other)})" if other else ""


def closing(folder: Path, module: Any, guard: Any) -> str:
    """What was made, and what to type next."""
    from genzoo.core.io import newest
    from genzoo.core.roles import Labeller, Sampler

    made = newest(folder)
    lines = [f"made   {made} ({module.images_seen:,} images seen)" if made else f"made   nothing in {folder} yet"]
    if guard.code > 128:
        lines += [f"stopped by {signal.Signals(guard.code - 128).name}; nothing is lost"]
    if guard.code:
        return "\n".join([*lines, f"next   genzoo train resume={folder}"])
    lines += [f"look   {folder}/samples, tensorboard --logdir {folder}"]
    if isinstance(module, Sampler):
        lines += [f"next   genzoo sample ckpt={folder} n=64 out=grid.png", f"       genzoo interpolate ckpt={folder}"]
    if isinstance(module, Labeller):
        lines += [f"next   genzoo evaluate ckpt={folder}"]
    return "\n".join(lines)


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
        print(line, file=sys.stderr, flush=True)


def main() -> int:
    """`python -m genzoo.commands.train <run folder>`: what torchrun and srun start on every device."""
    from omegaconf import OmegaConf

    from genzoo import cli, hub

    folder = Path(sys.argv[1])
    frozen = placed(OmegaConf.to_container(OmegaConf.load(folder / "config.yaml")), folder)
    return cli.attempt(lambda: fit(frozen, hub.ALLOWED + ALLOWED + tuple(frozen["allow"])))


if __name__ == "__main__":
    sys.exit(main())
