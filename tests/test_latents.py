"""Walks through latent space against their ends, and the published arithmetic."""

import json
from pathlib import Path

import pytest
import torch

from genzoo.latents import arithmetic, corners, strip
from genzoo.priors import Normal, Sphere, Uniform

PRIORS = [Normal(6), Uniform(6), Sphere(6)]


@pytest.mark.parametrize("prior", PRIORS, ids=repr)
def test_strip_passes_all_ends(prior):
    ends = prior.sample(4, torch.Generator().manual_seed(0))
    path = strip(prior, ends, 10)
    assert path.shape == (10, 6)
    torch.testing.assert_close(path[::3], ends)
    torch.testing.assert_close(path[4], prior.path(ends[1], ends[2], torch.tensor(1 / 3)))
    loop = strip(prior, ends, 8, loop=True)
    torch.testing.assert_close(loop[::2], ends)
    torch.testing.assert_close(loop[7], prior.path(ends[3], ends[0], torch.tensor(0.5)))


@pytest.mark.parametrize("prior", PRIORS, ids=repr)
def test_corners(prior):
    ends = prior.sample(4, torch.Generator().manual_seed(0))
    sheet = corners(prior, ends, 3, 5).view(3, 5, 6)
    torch.testing.assert_close(torch.stack([sheet[0, 0], sheet[0, -1], sheet[-1, 0], sheet[-1, -1]]), ends)
    torch.testing.assert_close(sheet[0, 2], prior.path(ends[0], ends[1], torch.tensor(0.5)))
    torch.testing.assert_close(sheet[1, -1], prior.path(ends[1], ends[3], torch.tensor(0.5)))


def test_arithmetic_of_the_original():
    case = json.loads((Path(__file__).parent / "golden/formulas/latent_tools/case.json").read_text())
    case = case["vector_arithmetic"]
    z = torch.tensor(case["z"], dtype=torch.float64)
    result = arithmetic(plus=z[6:9], minus=z[3:6], base=z[0:3].mean(0))
    torch.testing.assert_close(result, torch.tensor(case["result"], dtype=torch.float64), rtol=1e-12, atol=1e-12)


def test_too_few():
    for ends, steps in ((1, 5), (2, 1)):
        with pytest.raises(ValueError, match="at least 2"):
            strip(Normal(3), torch.zeros(ends, 3), steps)
    with pytest.raises(ValueError, match="4 ends"):
        corners(Normal(3), torch.zeros(3, 3), 2, 2)
