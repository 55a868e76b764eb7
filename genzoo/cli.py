"""The command line: one Hydra application behind every verb. Nothing heavy is imported before a verb runs."""

import atexit
import difflib
import gc
import importlib
import os
import re
import shlex
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, get_type_hints

from genzoo import console, limits, words
from genzoo.console import grammatical, quote, tell, telling

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
    try:
        code = answer(sys.argv[1:] or ["--help"])
        sys.stdout.flush()
    except KeyboardInterrupt:  # while modules load
        code = 130
    except BrokenPipeError:  # nobody reads on; what was asked is done, or else `attempt` has met this before
        forget_stdout()
    sys.exit(code)


def answer(arguments: list[str]) -> int:
    """What a command line asks for; the exit code."""
    verb, *rest = arguments
    known = [name for group in VERBS.values() for name in group]
    if verb in ("--help", "-h", "help"):
        print(overview())
    elif "--version" in arguments:
        print(importlib.import_module("genzoo").__version__)
    elif verb not in known:
        tell(f"genzoo {verb}: there is no such command{nearest(verb, known)}; genzoo --help lists them")
        return 1
    elif {"--help", "-h"} & set(rest):
        print(manual(verb))
    else:
        return run(verb, rest)
    return 0


def run(verb: str, arguments: list[str]) -> int:
    """Compose the configuration of a verb from the arguments and run it; the exit code."""
    return attempt(lambda: perform(verb, *settings(verb, arguments)))


def perform(verb: str, flags: Namespace, overrides: list[str]) -> int:
    """A command, or all those of a sweep; the largest exit code."""
    try:
        os.getcwd()
    except FileNotFoundError as error:
        raise FileNotFoundError("the current folder is gone: go to another one first, as with cd ~") from error
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises, we explain
    own, sweep = searched(flags.config_dir), flags.multirun
    done: list[tuple[str, int]] = []

    def job(config: Any) -> None:
        task = HydraConfig.get().overrides.task
        done.append((" ".join(task), 1))
        OmegaConf.set_struct(config, False)
        command = importlib.import_module(f"genzoo.commands.{verb}")

        def work() -> int | None:
            with named_as_typed(config):
                check_keys(verb, config)
                return command.run(config)

        code = attempt(work)
        made = command.outcome(config) if sweep and verb == "train" else ""
        done[-1] = ("  ".join([*([made] if made else []), " ".join(task)]), code)
        if sweep and code > 128:
            raise KeyboardInterrupt

    try:
        with explained(verb, overrides, own):
            if sweep or flags.cfg:
                shown = ["--cfg", flags.cfg, *["--resolve"] * flags.resolve] if flags.cfg else []
                typed = for_hydra(verb, overrides)
                sys.argv = ["genzoo", *shown, *["-m"] * sweep, *NO_LITTER, *names(typed), *own, *typed]
                hydra.main(version_base="1.3", config_path=str(register(verb)), config_name=verb)(job)()
            else:  # hydra.main would compose twice, which takes a while
                job(known_to_hydra(compose(verb, [*own, *overrides], return_hydra_config=True)))
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

    parsed = OverridesParser.create().parse_overrides(overrides)
    same = {o.key_or_group for o in parsed if not o.is_sweep_override()} | {"model", "data"}
    keys = ",".join(sorted(same))
    dirname = "hydra.job.config.override_dirname"
    return [f"{dirname}.exclude_keys=[{keys}]", f"{dirname}.item_sep=_"]


class Flags(ArgumentParser):
    """The flags there are. They may stand anywhere in the line, which Hydra's own parser does not allow."""

    def __init__(self) -> None:
        super().__init__(add_help=False, allow_abbrev=False)
        self.add_argument("-m", "--multirun", action="store_true")
        self.add_argument("-c", "--cfg", choices=("job", "hydra", "all"))
        self.add_argument("--resolve", action="store_true")
        self.add_argument("--config-dir")

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def settings(verb: str, arguments: list[str]) -> tuple[Namespace, list[str]]:
    """The flags of a command line and its overrides; ValueError for a word that is neither."""
    hints = hints_of(verb)
    flags, rest = flagged(arguments)
    for word, following in zip(rest, [*rest[1:], ""]):
        if word.startswith("-") or not ("=" in word or word.startswith("~")):
            name, _, value = word.lstrip("-").partition("=") if word.startswith("-") else (likely(hints), "", word)
            example = f", as in {quote(f'{name}={value or following}')}" if name in hints else ""
            raise ValueError(f"{word}: settings are key=value{example}; genzoo {verb} --help lists them")
    return flags, words.overrides(rest, hints, flags.multirun)


def flagged(arguments: list[str]) -> tuple[Namespace, list[str]]:
    """The flags among arguments, and the other words; ValueError for a folder that is not there."""
    flags, rest = Flags().parse_known_args(arguments)
    console.flags[:] = []
    if flags.config_dir is not None:
        flags.config_dir = Path(flags.config_dir).expanduser()
        if not flags.config_dir.is_dir():
            raise ValueError(f"--config-dir {flags.config_dir}: there is no such folder")
        console.flags[:] = ["--config-dir", flags.config_dir]
    return flags, rest


def likely(hints: dict[str, Any]) -> str:
    """The key that somebody means who says a value only."""
    return next((name for name in ("ckpt", "src", "model") if name in hints), "")


def searched(folder: Path | None) -> list[str]:
    """A folder of one's own behind ours: Hydra looks there for configurations, and Python for the modules they name."""
    if folder is None:
        return []
    place = str(folder.resolve())
    if place not in sys.path:
        sys.path.append(place)
    return [f"hydra.searchpath=[{grammatical(place)}]"]


def attempt(work: Callable[[], int | None]) -> int:
    """Run a command; report in plain words what the user can fix."""
    try:
        with telling():
            return work() or 0
    except BrokenPipeError:  # nobody reads on
        forget_stdout()
        return 1
    except USER_ERRORS as error:
        if os.environ.get("GENZOO_TRACEBACK"):
            raise
        tell(message_of(error))
        return 1


def forget_stdout() -> None:
    """What is still to be written to a pipe that was closed goes nowhere, so that Python's exit is silent too."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def named_as_typed(config: Any) -> Iterator[None]:
    """Report a value that does not fit under the key that was typed, not under keys that refer to it."""
    from omegaconf import OmegaConf

    typed: Any = OmegaConf.to_container(config)
    try:
        yield
    except limits.Unfit as error:
        error.key = source(typed, error.key)
        raise


def source(typed: dict[str, Any], key: str) -> str:
    """The key that a value comes from: interpolations of an unresolved configuration are followed."""
    node: Any = typed
    names = key.split(".")
    for number, name in enumerate(names):
        node = node.get(name) if isinstance(node, dict) else None
        if isinstance(node, str) and (found := re.fullmatch(r"\$\{([\w.]+)\}", node)):
            return source(typed, ".".join([found[1], *names[number + 1 :]]))
    return key


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
            return hydra.compose(verb, let_through(for_hydra(verb, overrides)), **options)
    finally:
        GlobalHydra.instance().hydra = before


def let_through(overrides: list[str]) -> list[str]:
    """A resumed run has keys of data and model that need not stand in what conf/ composes without them."""
    if not any(word.startswith("resume=") for word in overrides):
        return overrides
    return [f"++{word}" if word.startswith(("data.", "model.")) else word for word in overrides]


def for_hydra(verb: str, overrides: list[str]) -> list[str]:
    """The overrides without `group=null` where that is the default, which Hydra takes from no command line.

    ValueError for a group that is given what is no name of a file.
    """
    defaults = defaults_of(verb)
    for group in defaults:
        no_file = r"[-+.\d]+|true|false" + "|null" * (defaults[group] != "null")
        for word in overrides:
            if re.fullmatch(f"{group}=({no_file})", word):
                raise ValueError(f"{word}: expected a file of conf/{group}: {', '.join(files_of(group))}")
    said = [word for word in overrides if defaults.get(word.removesuffix("=null")) != "null"]
    return [word for one in said for word in deletion(one)]


def deletion(word: str) -> list[str]:
    """An override; before one that deletes a key another that gives it a value, since Hydra deletes no key with null."""
    nested = word.startswith("~") and "." in word and "=" not in word
    return [f"{word[1:]}=0", word] if nested else [word]


def defaults_of(verb: str) -> dict[str, str]:
    """The default file of each configuration group that a command uses."""
    lines = (config_folder() / f"{verb}.yaml").read_text().splitlines()
    entries = [line.removeprefix("  - ").partition(": ") for line in lines if line.startswith("  - ")]
    return {group: default for group, colon, default in entries if colon and (config_folder() / group).is_dir()}


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
    files = [o for o in overrides if "=" in o and "={" not in o]
    return [o for o in files if (folder / o.lstrip("+~").split("=")[0].split("@")[0]).is_dir()]


def check_keys(verb: str, config: Any) -> None:
    """ValueError that names the first of a verb's own keys whose value cannot be."""
    from omegaconf import OmegaConf

    held: Any = OmegaConf.to_container(config, resolve=True)
    limits.check({name: value for name, value in held.items() if value != "???"}, hints_of(verb))


def hints_of(verb: str) -> dict[str, Any]:
    """What a verb's own keys may hold, by name, as `genzoo.limits` reads it."""
    return get_type_hints(importlib.import_module(f"genzoo.commands.{verb}").Keys, include_extras=True)


@contextmanager
def explained(verb: str, overrides: list[str], own: list[str]) -> Iterator[None]:
    """What Hydra cannot compose becomes a ValueError with a finished message."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(explain(error, verb, overrides, own)) from error
    except YAMLError as error:
        raise ValueError(f"a configuration file is no YAML: {' '.join(str(error).split())}") from error


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
        return f"{key}={value}: expected {limits.wanted(hints_of(verb).get(key, str))}"
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
    told = str(error).splitlines()[:3]
    chosen = [word for word in overrides if word.startswith("~") or word in groups(overrides)]
    if told and chosen and not any(word in " ".join(told) for word in overrides):
        told[0] = f"{' '.join(chosen)}: {told[0]}"
    return "\n".join(told)


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
    offered = {group: sorted(path.stem for path in (folder / group).glob("*.yaml")) for group in defaults_of(verb)}
    if offered:
        lines += ["", "groups"] + [f"  {group:14} {' '.join(names)}" for group, names in offered.items()]
        example = "model.width=32" if "model" in offered else "data.path=photos"
        lines += ["", f"Any key of their files can be set: {example}. --config-dir <folder> adds files of your own."]
    if verb == "train":
        lines += ["Several values and -m make a sweep: -m seed=1,2,3. --cfg job shows the configuration."]
    return "\n".join(lines)
