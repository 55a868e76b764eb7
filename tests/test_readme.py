"""The README's tables are what `scripts/tables.py` makes of `results/`, and its commands are ours."""

import importlib.util
import re
from pathlib import Path

from genzoo import cli

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_are_generated():
    tables = script("tables")
    for page in tables.PAGES:
        text = (ROOT / page).read_text()
        assert tables.filled(text, ROOT / "results") == text, f"{page}: python scripts/tables.py"


def test_every_train_command_composes():
    typed = re.findall(r"^genzoo train ([^#\n]+)", README, flags=re.MULTILINE)
    typed = [line.split() for line in typed if "-m" not in line and "resume" not in line]
    assert len(typed) >= 2
    for words in typed:
        cli.compose("train", [re.sub(r"<[^>]+>", "x", word) for word in words])


def test_every_proof_composes():
    for words in script("prove_foundation").RUNS.values():
        cli.compose("train", words)


def test_every_verb_and_model_is_mentioned():
    for verb in (verb for group in cli.VERBS.values() for verb in group):
        assert f"genzoo {verb}" in README
    for path in (ROOT / "conf" / "model").glob("*.yaml"):
        assert f"`{path.stem}`" in README
    for path in (ROOT / "conf" / "data").glob("*.yaml"):
        assert f"`{path.stem}`" in README
