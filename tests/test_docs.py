"""What the README and docs/ say is true: tables are generated, commands can be pasted, and everything is mentioned."""

import ast
import importlib
import importlib.util
import itertools
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from genzoo import cli

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
OTHERS = {
    "pip",
    "python",
    "python3",
    "source",
    "bash",
    "pytest",
    "ruff",
    "tensorboard",
    "srun",
    "torchrun",
    "git",
    "cd",
}
SPECIAL = re.compile(r"[][<>*?(){}|&;!^#~`]|\$(?!\w)")  # what bash or zsh reads as something else than itself


def script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def blocks(page):
    """(language, text) of every fenced block of a page."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)


def commands(page):
    """Every command of a page: the lines of its shell blocks, continued ones joined, and what stands in the text."""
    text = (ROOT / page).read_text()
    shells = [body for language, body in blocks(page) if language == "bash" and not body.startswith("#!")]
    lines = [line for body in shells for line in body.replace("\\\n", " ").splitlines() if line.strip()]
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    return lines + [found.replace("\n", " ") for found in re.findall(r"`((?:genzoo |python scripts/)[^`]+)`", prose)]


def jobs(words):
    """The overrides of each job of a sweep."""
    names, values = zip(*(word.split("=", 1) for word in words))
    return [
        [f"{n}={v}" for n, v in zip(names, chosen)] for chosen in itertools.product(*(v.split(",") for v in values))
    ]


def compose(line):
    """Compose what a `genzoo` line says, as the command itself would; no model is built and no file opened."""
    _, verb, *words = shlex.split(line)
    if words == ["--help"] or verb in ("--help", "--version"):
        return
    if "--config-dir" in words:  # of the reader's own
        return
    flags, words = cli.settings(verb, words)
    for typed in jobs(words) if flags.multirun else [words]:
        typed = [word for word in typed if not word.startswith("hydra")]
        cli.compose(verb, typed)


def test_the_tables_are_generated():
    tables = script("tables")
    for page in tables.PAGES:
        text = (ROOT / page).read_text()
        assert tables.filled(text, ROOT / "results") == text, f"{page}: python scripts/tables.py"


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_of_a_known_language(page):
    assert {language for language, _ in blocks(page)} <= {"bash", "python", "yaml", "text"}


@pytest.mark.parametrize("page", PAGES)
def test_every_command_can_be_pasted_into_bash_and_zsh(page):
    """Comments neither: an interactive zsh takes them for arguments."""
    for line in commands(page):
        bare = re.sub(r"'[^']*'", "", line)
        assert not SPECIAL.search(bare), line
        assert shlex.split(line)[0] in OTHERS | {"genzoo"}, line
    for language, body in blocks(page):
        if language == "bash":
            for shell in filter(shutil.which, ("bash", "zsh")):
                subprocess.run([shell, "-n"], input=body, text=True, check=True)


@pytest.mark.parametrize("page", PAGES)
def test_every_genzoo_command_composes(page):
    for line in commands(page):
        if line.startswith("genzoo ") and " " in line.removeprefix("genzoo "):
            compose(line)


@pytest.mark.parametrize("page", PAGES)
def test_every_script_that_is_named_exists_with_its_options(page):
    for line in commands(page):
        words = shlex.split(line)
        paths = [word for word in words if word.startswith("scripts/")]
        for path in paths:
            source = (ROOT / path).read_text()
            for option in (word for word in words if word.startswith("--")):
                assert f'"{option}"' in source, line


@pytest.mark.parametrize("page", PAGES)
def test_python_blocks_use_what_there_is(page):
    for language, body in blocks(page):
        if language == "python":
            for node in ast.walk(ast.parse(body)):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "genzoo":
                    assert hasattr(importlib.import_module("genzoo"), node.attr)
                if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "train":
                    typed = [argument.value for argument in node.args]
                    cli.compose("train", typed + [f"{key.arg}={key.value.value}" for key in node.keywords])


def test_the_first_command_is_the_one_of_the_overview():
    """The one that a newcomer types is the one that ends within minutes, in both places."""
    first = next(line for line in commands("README.md") if line.startswith("genzoo train"))
    start = next(line for line in cli.overview().splitlines() if line.startswith("start"))
    assert shlex.split(start)[1:] == shlex.split(first)


def test_every_proof_composes():
    for words in script("prove_foundation").RUNS.values():
        cli.compose("train", words)


def test_every_verb_and_model_is_mentioned():
    readme = (ROOT / "README.md").read_text()
    for verb in (verb for group in cli.VERBS.values() for verb in group):
        assert f"genzoo {verb}" in readme
    for path in (ROOT / "conf" / "model").glob("*.yaml"):
        assert f"`{path.stem}`" in readme
    for path in (ROOT / "conf" / "data").glob("*.yaml"):
        assert f"`{path.stem}`" in readme
