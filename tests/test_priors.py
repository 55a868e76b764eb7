"""Priors: moments, paths and truncation against closed forms and published numbers."""

import json
import math
import pickle
from pathlib import Path

import pytest
import torch

from genzoo.priors import RULES, Normal, Sphere, Uniform, lerp, slerp

CASE = json.loads((Path(__file__).parent / "golden/formulas/latent_tools/case.json").read_text())
PRIORS = [Normal(64), Uniform(64), Uniform(64, bound=math.sqrt(3)), Sphere(64)]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("prior", PRIORS, ids=repr)
def test_samples(prior):
    z = prior.sample(5000, seeded())
    assert z.shape == (5000, 64) and z.dtype == torch.float32
    assert torch.equal(z, prior.sample(5000, seeded())) and not torch.equal(z, prior.sample(5000, seeded(1)))
    variance = prior.bound**2 / 3 if isinstance(prior, Uniform) else 1
    assert z.mean().item() == pytest.approx(0, abs=0.01) and z.var().item() == pytest.approx(variance, rel=0.02)
    if isinstance(prior, Uniform):
        assert 0.999 * prior.bound < z.max() <= prior.bound and -prior.bound <= z.min() < -0.999 * prior.bound
    if isinstance(prior, Sphere):
        torch.testing.assert_close(z.norm(dim=1), torch.full((5000,), 8.0))
    assert pickle.loads(pickle.dumps(prior)) == prior


@pytest.mark.parametrize("case", CASE["paths"])
@pytest.mark.parametrize("path", [slerp, lerp], ids=["slerp", "lerp"])
def test_paths_of_the_original(path, case):
    case = {key: torch.tensor(value, dtype=torch.float64) for key, value in CASE["paths"][case].items()}
    t = torch.tensor(CASE["t_values"], dtype=torch.float64)
    expected = case["slerp" if path is slerp else "lerp"]
    torch.testing.assert_close(path(case["a"], case["b"], t), expected, rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize("prior", [Normal(64), Sphere(64)], ids=repr)
def test_the_arc_keeps_the_length(prior):
    a, b = Sphere(64).sample(40, seeded()).double().split(20)
    for degrees in (None, 1e-5, 1e-3, 179.9):  # any two ends, and ends at an angle
        if degrees:
            across = b - (a * b).sum(1, keepdim=True) / a.square().sum(1, keepdim=True) * a
            across = across / across.norm(dim=1, keepdim=True) * a.norm(dim=1, keepdim=True)
            b = math.cos(math.radians(degrees)) * a + math.sin(math.radians(degrees)) * across
        a = a / a.norm(dim=1, keepdim=True)
        b = b / b.norm(dim=1, keepdim=True)
        for t in torch.linspace(0, 1, 11, dtype=torch.float64):
            length = prior.path(a, b, t.expand(20)).norm(dim=1)
            torch.testing.assert_close(length, torch.ones_like(length), rtol=0, atol=1e-6)


@pytest.mark.parametrize("prior", PRIORS, ids=repr)
def test_paths_meet_their_ends_and_are_finite(prior):
    a, b = prior.sample(8, seeded()).split(4)
    for end in (b, a, 2 * a, -a, torch.zeros_like(a)):
        path = torch.stack([prior.path(a, end, torch.tensor(t)) for t in (0.0, 0.5, 1.0)])
        assert path.isfinite().all()
        torch.testing.assert_close(path[0], a)
        torch.testing.assert_close(path[2], end)
    torch.testing.assert_close(Uniform(64).path(a, b, torch.tensor(0.5)), (a + b) / 2)


@pytest.mark.parametrize("truncation", [0.04, 0.5, 1.0, 1.5])
def test_truncated_normal(truncation):
    expected = CASE["truncation"]["table"][str(truncation)]
    prior, z = Normal(100), Normal(100).sample(4000, seeded())
    resampled = prior.truncate(z, truncation, generator=seeded(1))
    kept = z.abs() <= truncation
    assert torch.equal(resampled[kept], z[kept])  # not scaled, and what fits stays
    assert kept.float().mean().item() == pytest.approx(expected["acceptance_probability"], rel=0.02)
    assert resampled.abs().max() <= truncation
    assert resampled.std().item() == pytest.approx(expected["resample_std"], rel=0.01)
    assert resampled.abs().mean().item() == pytest.approx(expected["resample_mean_abs"], rel=0.01)
    hub = prior.truncate(z, truncation, "hub", seeded(1))
    assert hub.abs().max() <= expected["hub_bound"] and hub.std().item() == pytest.approx(expected["hub_std"], rel=0.01)
    assert torch.equal(prior.truncate(z, truncation, "scale"), truncation * z)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("prior", PRIORS[:3], ids=repr)
def test_truncation_repeats_and_keeps_rows_apart(prior, rule):
    z = prior.sample(10, seeded())
    first = prior.truncate(z, 0.3, rule, seeded(1))
    assert first.dtype == z.dtype and torch.equal(first, prior.truncate(z, 0.3, rule, seeded(1)))
    changed = torch.cat([torch.zeros_like(z[:5]), z[5:]])
    assert torch.equal(first[5:], prior.truncate(changed, 0.3, rule, seeded(1))[5:])


def test_truncated_uniform():
    z = Uniform(100).sample(1000, seeded())
    z = Uniform(100).truncate(z, 0.5, generator=seeded(1))
    assert z.abs().max() <= 0.5 and z.var().item() == pytest.approx(0.25 / 3, rel=0.02)


def test_refusals():
    z = torch.zeros(1, 4)
    with pytest.raises(ValueError, match="resample, hub, scale"):
        Normal(4).truncate(z, 0.5, "cut")
    for truncation in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="above 0"):
            Normal(4).truncate(z, truncation)
    with pytest.raises(ValueError, match="sphere"):
        Sphere(4).truncate(z, 0.5)
