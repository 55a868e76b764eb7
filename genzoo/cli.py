"""The command line: one Hydra application behind every verb. Nothing heavy is imported before a verb runs."""

import atexit
import difflib
import gc
import importlib
import os
import shlex
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

from genzoo.console import grammatical, tell, telling

VERBS = {
    "make": {"train": "train a model, or continue a run"},
    "use": {
        "sample": "new images from a checkpoint",
        "interpolate": "walk between latents",
        "edit": "add and subtract what images show, or move along a direction",
        "invert": "the latents of given pictures",
        "translate": "pictures of one domain as pictures of another",
    },
    "judge": {
        "evaluate": "measure samples against data",
        "neighbours": "the training images nearest to samples",
    },
    "data": {
        "check": "look at data before training, and whether a model fits",
        "pack": "pictures decoded once, for training at the speed of memory",
    },
    "files": {
        "list": "models, data sets and experiments, a line each",
        "info": "what a checkpoint is and what can be done with it",
        "export": "a checkpoint as a folder to pass on",
        "convert": "a model of genzoo from another project's files",
        "push": "an export to the Hugging Face Hub",
    },
}
USER_ERRORS = (ValueError, OSError)  # with a finished message; anything else is a fault of ours and shows its traceback
NO_LITTER = ["hydra.run.dir=.", "hydra.output_subdir=null", "hydra.sweep.dir=runs", "hydra.sweep.subdir=.",
             "hydra/job_logging=none", "hydra/hydra_logging=none"]  # fmt: skip
NOTHING = ("objective=null", "augment=null", "experiment=null")  # the default, which Hydra takes from no command line
KINDS = {bool: "true or false", int: "a whole number", float: "a number"}


def config_folder() -> Path:
    """The `conf/` of a checkout or of an installed package, whichever is in use."""
    beside = Path(__file__).parents[1] / "conf"
    return beside if beside.is_dir() else Path(__file__).parent / "conf"


def files_of(group: str) -> dict[str, Path]:
    """The files of a group by name: ours and, while a command runs, those of --config-dir."""
    from hydra.core.hydra_config import HydraConfig

    sources = HydraConfig.get().runtime.config_sources if HydraConfig.initialized() else []
    folders = [config_folder(), *(Path(source.path) for source in sources if source.schema == "file")]
    found = {path.stem: path for folder in reversed(folders) for path in (folder / group).glob("*.yaml")}
    return dict(sorted(found.items()))  # ours where both have a name, as in Hydra


def main() -> None:
    """Entry point of `genzoo` and `python -m genzoo`."""
    gc.disable()  # modules make a million objects that stay; `core.machine.collect_again` ends it before training
    atexit.register(lambda: (gc.unfreeze(), gc.enable()))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: spinning threads starve a shared machine
    verb, *rest = sys.argv[1:] or ["--help"]
    if verb in ("--help", "-h", "help"):
        print(overview())
        sys.exit(0)
    if verb == "--version":
        print(importlib.import_module("genzoo").__version__)
        sys.exit(0)
    known = [name for group in VERBS.values() for name in group]
    if verb not in known:
        fail(f"genzoo {verb}: there is no such command{nearest(verb, known)}; genzoo --help lists them")
    if {"--help", "-h"} & set(rest):
        print(manual(verb))
        sys.exit(0)
    try:
        sys.exit(run(verb, rest))
    except KeyboardInterrupt:  # while modules load
        sys.exit(130)


def run(verb: str, arguments: list[str]) -> int:
    """Compose the configuration of a verb from the arguments and run it; the exit code."""
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises, we explain
    flags, overrides = flags_of(arguments)
    sweep = flags.multirun
    if flags.config_dir and not flags.config_dir.is_dir():
        tell(f"--config-dir {flags.config_dir}: there is no such folder")
        return 1
    for word in overrides:
        if "=" not in word and not word.startswith(("-", "~")) and not sweep:
            tell(f"{word}: settings are key=value, as in model=dcgan; genzoo {verb} --help lists them")
            return 1
    overrides = [word for word in overrides if word not in NOTHING]
    own = [f"hydra.searchpath=[{flags.config_dir.resolve()}]"] if flags.config_dir else []
    done: list[tuple[str, int]] = []

    def perform(config: Any) -> None:
        task = HydraConfig.get().overrides.task
        done.append((" ".join(task), 1))
        if not sweep:
            check_types(verb, task, own)
        OmegaConf.set_struct(config, False)
        command = importlib.import_module(f"genzoo.commands.{verb}")
        code = attempt(lambda: command.run(config))
        made = command.outcome(config) if sweep and verb == "train" else ""
        done[-1] = ("  ".join([*([made] if made else []), " ".join(task)]), code)
        if sweep and code > 128:
            raise KeyboardInterrupt

    try:
        if sweep or any(word.startswith("-") for word in overrides):  # flags of Hydra's own, such as --cfg job
            sys.argv = ["genzoo", *["-m"] * sweep, *NO_LITTER, *names(overrides), *own, *overrides]
            hydra.main(version_base="1.3", config_path=str(register(verb)), config_name=verb)(perform)()
        else:  # hydra.main would compose twice, which takes a while
            perform(known_to_hydra(compose(verb, [*own, *overrides], return_hydra_config=True)))
    except (HydraException, OmegaConfBaseException) as error:
        tell(explain(error, verb, overrides, own))
        return 1
    except KeyboardInterrupt:
        return done[-1][1] if done and done[-1][1] > 128 else 130
    finally:
        HydraConfig.instance().cfg = None
        if sweep and done:
            print("\n".join(["", *(f"{'ok' if code == 0 else f'failed ({code})':12} {task}" for task, code in done)]))
    return max((code for _, code in done), default=0)


def names(overrides: list[str]) -> list[str]:
    """What of a sweep's settings goes into the names of its folders: those that differ, but model and data stand there
    already."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    settings = [word for word in overrides if not word.startswith("-")]
    parsed = OverridesParser.create().parse_overrides(settings)
    same = {o.key_or_group for o in parsed if not o.is_sweep_override()} | {"model", "data"}
    keys = ",".join(sorted(same))
    dirname = "hydra.job.config.override_dirname"
    return [f"{dirname}.exclude_keys=[{keys}]", f"{dirname}.item_sep=_"]


def flags_of(arguments: list[str]) -> tuple[Namespace, list[str]]:
    """The flags, wherever they stand in the line (Hydra wants them first), and the overrides."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-m", "--multirun", action="store_true")
    parser.add_argument("--config-dir", type=Path)
    return parser.parse_known_args(arguments)


def attempt(work: Callable[[], int | None]) -> int:
    """Run a command; what the user can mend is told in plain words."""
    try:
        with telling():
            return work() or 0
    except USER_ERRORS as error:
        if os.environ.get("GENZOO_TRACEBACK"):
            raise
        tell(message_of(error))
        return 1


def message_of(error: Exception) -> str:
    """What an error says, without the traceback that PyTorch writes into it when it comes from a loader's worker."""
    kind, told = type(error).__name__, str(error)
    return told.rpartition(f"\n{kind}: ")[2].strip() if told.startswith(f"Caught {kind} in ") else told


def register(verb: str) -> Path:
    """Make the verb's own keys known to Hydra, with their types; the folder of configurations."""
    from hydra.core.config_store import ConfigStore

    keys = importlib.import_module(f"genzoo.commands.{verb}").Keys
    ConfigStore.instance().store(name=f"{verb}_keys", node=keys)
    return config_folder()


def compose(verb: str, overrides: list[str], **options: Any) -> Any:
    """The configuration of a verb, without running anything. Used by notebooks, tests and messages."""
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    folder = register(verb)
    before = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(folder), version_base="1.3"):
            return hydra.compose(verb, let_through([word for word in overrides if word not in NOTHING]), **options)
    finally:
        GlobalHydra.instance().hydra = before


def let_through(overrides: list[str]) -> list[str]:
    """A resumed run has keys of data and model that need not stand in what conf/ composes without them."""
    if not any(word.startswith("resume=") for word in overrides):
        return overrides
    return [f"++{word}" if word.startswith(("data.", "model.")) else word for word in overrides]


def known_to_hydra(config: Any) -> Any:
    """The configuration without Hydra's own part, which `HydraConfig.get()` answers from now on."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import open_dict

    HydraConfig.instance().set_config(config)
    with open_dict(config):
        del config["hydra"]
    return config


def groups(overrides: list[str]) -> list[str]:
    """Those overrides that choose a file of a group."""
    folder = config_folder()
    return [o for o in overrides if "=" in o and (folder / o.lstrip("+~").split("=")[0].split("@")[0]).is_dir()]


def check_types(verb: str, overrides: list[str], own: list[str]) -> None:
    """Values that the configuration holds without a type keep the kind they have there; SystemExit if not."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import OverrideType
    from omegaconf import OmegaConf

    parsed = OverridesParser.create().parse_overrides(overrides)
    nested = [o for o in parsed if o.type == OverrideType.CHANGE and "." in o.key_or_group]
    base = compose(verb, groups(overrides) + own) if nested else {}  # a verb's own keys have types that Hydra checks
    for override in nested:
        key, new = override.key_or_group, override.value()
        old = OmegaConf.select(base, key, throw_on_missing=False)
        if type(old) not in KINDS or new is None or (isinstance(new, str) and new.startswith("${")):
            continue
        wanted = (int, float) if isinstance(old, float) else type(old)
        if not isinstance(new, wanted) or isinstance(new, bool) != isinstance(old, bool):
            fail(f"{override.input_line}: {KINDS[type(old)]} is expected, as in {key}={str(old).lower()}")
        if key.startswith("model.") and type(old) is int and old > 0 >= new:
            fail(f"{override.input_line}: more than 0 is expected, as in {key}={old}")


def explain(error: BaseException, verb: str, overrides: list[str], own: list[str]) -> str:
    """At most three lines about what Hydra could not compose."""
    cause = error.__cause__
    key = getattr(cause, "full_key", None)
    kind = type(cause).__name__
    if kind in ("ConfigAttributeError", "ConfigKeyError") and key:
        base = compose(verb, [o for o in groups(overrides) if not o.startswith(f"{key}=")] + own)
        return f"{key} is no key of genzoo {verb}{nearest(key, keys_of(base))}\ngenzoo {verb} --help lists them"
    if kind == "ValidationError" and key:
        typed = [word.partition("=")[2] for word in overrides if word.partition("=")[0] == key]
        value = typed[-1] if typed else "?"
        types = get_type_hints(importlib.import_module(f"genzoo.commands.{verb}").Keys)
        return f"{key}={value}: {expected(types.get(key, 'another type'))} is expected"
    if kind == "MissingConfigException" or type(error).__name__ == "MissingConfigException":
        wrong = getattr(error, "missing_cfg_file", None) or ""
        group, _, name = str(wrong).rpartition("/")
        options = getattr(error, "options", None) or []
        return f"{group}={name}: there is no such file in conf/{group}{nearest(name, options)}\nThere are {', '.join(options)}"
    if type(error).__name__ == "OverrideParseException":
        word = str(getattr(error, "override", ""))
        name, _, value = word.partition("=")
        quoted = shlex.quote(f"{name}={grammatical(value)}")
        return (
            f"{word}: it cannot be read\nWhat holds ~, brackets, braces, colons or umlauts stands in quotes: {quoted}"
        )
    return "\n".join(str(error).splitlines()[:3])


def keys_of(config: Any, prefix: str = "") -> list[str]:
    """Every key of a configuration by its full name."""
    from omegaconf import DictConfig, OmegaConf

    found = []
    for key in config:
        found.append(f"{prefix}{key}")
        if not OmegaConf.is_missing(config, key) and isinstance(config._get_node(key), DictConfig):
            node = config._get_node(key)
            if not node._is_none() and not node._is_interpolation():
                found += keys_of(node, f"{prefix}{key}.")
    return [key for key in found if not key.rpartition(".")[2].startswith("_")]


def nearest(word: str, known: list[str]) -> str:
    """`; did you mean a, b or c?`, or nothing."""
    close = difflib.get_close_matches(word, known, n=3, cutoff=0.5)
    close += [k for k in known if k.rpartition(".")[2] == word.rpartition(".")[2] and k not in close]
    names = close[:3]
    return (
        f"; did you mean {' or '.join([', '.join(names[:-1]), names[-1]] if names[:-1] else names)}?" if names else ""
    )


def expected(annotation: Any) -> str:
    words = str(annotation)
    names = [name for kind, name in KINDS.items() if kind.__name__ in words]
    return [*names, "a word"][0]


def overview() -> str:
    lines = ["genzoo: a zoo of classic generative image models", "", "usage: genzoo <command> [key=value ...]"]
    for group, verbs in VERBS.items():
        lines += ["", group] + [f"  {verb:12} {line}" for verb, line in verbs.items()]
    lines += [
        "",
        "start    genzoo train model=dcgan data=digits model.width=16 kimg=100 run=runs/first",
        "         about two minutes on one CPU core",
        "then     genzoo sample ckpt=runs/first n=64 out=grid.png",
        "more     genzoo train --help, and so for every command",
    ]
    return "\n".join(lines)


def manual(verb: str) -> str:
    """A verb's keys with their defaults, and the groups it can choose from."""
    import dataclasses
    import json

    module = importlib.import_module(f"genzoo.commands.{verb}")
    lines = [f"genzoo {verb}: {(module.__doc__ or '').strip()}", "", "keys"]
    for field in dataclasses.fields(module.Keys):
        if "help" in field.metadata:
            default: Any = () if field.name == "run" else field.default  # its text says it
            shown = "required" if default == "???" else default if isinstance(default, str) else json.dumps(default)
            lines.append(f"  {field.name:14} {field.metadata['help']}" + (f" ({shown})" if default != () else ""))
    folder = config_folder()
    entries = [line for line in (folder / f"{verb}.yaml").read_text().splitlines() if line.startswith("  - ")]
    chosen = [entry.split(":")[0].removeprefix("  - ") for entry in entries]
    offered = {group: sorted(path.stem for path in (folder / group).glob("*.yaml")) for group in chosen}
    offered = {group: names for group, names in offered.items() if names}
    if offered:
        lines += ["", "groups"] + [f"  {group:14} {' '.join(names)}" for group, names in offered.items()]
    lines += ["", "Any key of a configuration file can be set: model.width=32. Several values and -m make a sweep."]
    return "\n".join(lines)


def fail(message: str) -> None:
    tell(message)
    sys.exit(1)
