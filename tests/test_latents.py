"""Walks through latent space against their ends, and the published arithmetic."""

import json
import math
from pathlib import Path

import pytest
import torch

from genzoo.latents import (
    arithmetic,
    corners,
    difference,
    early_features,
    first_weight,
    invert,
    nearest,
    principal,
    psnr,
    sefa,
    separating,
    strip,
)
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


def seeded(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def cosine(a, b):
    return torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0).item()


def test_slerp_between_ends_of_equal_length_keeps_it():
    ends = seeded(2, 512).double()
    ends = ends / ends.norm(dim=1, keepdim=True)
    assert (strip(Normal(512), ends, 50).norm(dim=1) - 1).abs().max() < 1e-6


def test_what_separates_is_not_what_goes_along():
    """Whether a latent has it is decided by its first coordinate; the second follows the first."""
    z = seeded(4000, 6)
    z[:, 1] = z[:, 0] + 0.5 * z[:, 1]
    has = z[:, 0] > 0
    along = difference(z, has)
    assert torch.allclose(along, z[has].mean(0) - z[~has].mean(0)) and along[1] > 0.9 * along[0]
    normal = separating(z, has)
    assert normal.norm().item() == pytest.approx(1, abs=1e-5) and normal[0] > 0.97 and abs(normal[1]) < 0.2
    for same in (torch.zeros(4000, dtype=torch.bool), torch.ones(4000, dtype=torch.bool)):
        with pytest.raises(ValueError, match="of 4000 latents have it"):
            separating(z, same)


def test_directions_without_labels():
    """Of a linear map with known singular vectors both methods find the strongest, in order."""
    left, _, right = torch.linalg.svd(seeded(20, 6, seed=1), full_matrices=False)
    weight = left @ torch.diag(torch.tensor([5.0, 3.0, 1.0, 0.5, 0.2, 0.1])) @ right
    z = seeded(5000, 6, seed=2)
    found, carried = sefa(weight, 3), principal(z, z @ weight.T, 3)
    for i in range(3):
        assert abs(cosine(found[i], right[i])) > 1 - 1e-5
        assert abs(cosine(carried[i], right[i])) > 0.99
        assert carried[i].norm().item() == pytest.approx(1, abs=0.05)  # a normal latent's deviation in any direction


def test_the_first_layer_is_found():
    linear = torch.nn.Sequential(torch.nn.Linear(7, 3), torch.nn.ReLU(), torch.nn.Linear(3, 5))
    assert first_weight(linear, 7) is not None and torch.equal(first_weight(linear, 7), linear[0].weight)
    transposed = torch.nn.ConvTranspose2d(7, 3, 4)
    z = seeded(1, 7)
    outputs = transposed(z.view(1, 7, 1, 1)) - transposed.bias.view(1, 3, 1, 1)
    torch.testing.assert_close((first_weight(transposed, 7) @ z[0]), outputs.flatten(), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="no layer that reads latents of 8"):
        first_weight(linear, 8)


def test_early_features_are_what_the_second_layer_reads():
    network = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, 2), torch.nn.Tanh())
    z = seeded(9, 4)
    torch.testing.assert_close(early_features(network, z), network[0](z).relu())
    with pytest.raises(ValueError, match="no second layer"):
        early_features(network[:2], z)


def test_inversion_finds_what_made_the_images():
    map_back = seeded(3 * 4 * 4, 5)

    def generate(z):
        return (z @ map_back.T / 3).tanh().view(-1, 3, 4, 4)

    z, steps = seeded(6, 5, seed=3), []
    found, quality = invert(generate, generate(z), seeded(6, 2, 5, seed=4), steps=400, report=steps.append)
    assert quality.min() > 60 and (found - z).abs().max() < 0.01 and steps == list(range(1, 401))
    torch.testing.assert_close(psnr(generate(found), generate(z)), quality, rtol=1e-3, atol=0.1)


def test_inversion_keeps_the_best_of_all_starts_and_steps():
    """Only the second start lies on the side of the answer; a rate this large runs away from it at once."""

    def generate(z):
        return torch.where(z > 0, (z - 2).abs(), 1 + z.abs()).view(-1, 1, 1, 1)

    found, quality = invert(generate, torch.zeros(1, 1, 1, 1), torch.tensor([[[-3.0], [2.01]]]), steps=50, rate=100.0)
    assert found.item() == pytest.approx(2.01) and quality.item() == pytest.approx(10 * math.log10(4 / 1e-4), abs=0.1)


def test_nearest_in_batches_is_nearest_at_once():
    items, queries = seeded(50, 4), seeded(6, 4, seed=5)
    expected, order = torch.cdist(queries.double(), items.double()).sort(dim=1)
    indices, distances = nearest(queries, items.split(7), 3)
    assert torch.equal(indices, order[:, :3])
    torch.testing.assert_close(distances, expected[:, :3])
    with pytest.raises(ValueError, match="ask for 50"):
        nearest(queries, items.split(7), 51)
