import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

CASE = Path(__file__).parents[1] / "golden" / "toshas+torch-fidelity" / "metrics"


@pytest.fixture(scope="session")
def golden():
    """(tensors, expected numbers) of torch-fidelity 0.4.0 and prdc 0.2 on 80 and 70 features of 12 numbers; see its
    case.json.
    """
    return load_file(CASE / "io.safetensors"), json.loads((CASE / "case.json").read_text())["results"]
