"""Models, data sets and experiments, a line each."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genzoo.cli import files_of

SHOWN = {
    "model": "models",
    "data": "data sets",
    "objective": "objectives",
    "augment": "augmentations of an adversarial model's images",
    "callbacks": "what runs beside training",
    "experiment": "experiments",
}


@dataclass
class Keys:
    command: str = "list"


def run(config: Any) -> int:
    """Print what conf/ and the folder of --config-dir offer; the exit code."""
    for group, title in SHOWN.items():
        lines = [f"  {name:16} {about(file)}" for name, file in files_of(group).items()]
        if lines:
            print("\n".join([f"{title} ({group}=)", *lines, ""]))
    print("next   genzoo train model=<model> data=<data set>")
    return 0


def about(file: Path) -> str:
    """The first comment of a configuration file that is not Hydra's."""
    lines = file.read_text(encoding="utf-8").splitlines()
    comments = (line.removeprefix("#").strip() for line in lines if line.startswith("#"))
    return next((line for line in comments if not line.startswith("@package")), "")
