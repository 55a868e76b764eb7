"""A few command lines of `scripts/fuzz.py`, which draws as many as one likes."""

import importlib.util
from pathlib import Path


def test_nonsense_is_refused_in_four_lines(capsys):
    place = Path(__file__).parents[1] / "scripts/fuzz.py"
    spec = importlib.util.spec_from_file_location("fuzz", place)
    fuzz = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fuzz)
    wrong = fuzz.main(draws=30, seed=0)
    assert wrong == 0, capsys.readouterr().out
