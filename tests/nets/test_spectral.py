"""Spectral normalisation against several implementations' numbers, and against the singular values themselves."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from genzoo.nets.spectral import ClassEmbedding, SNConv2d, SNEmbedding, SNLinear

GOLDEN = Path(__file__).parents[1] / "golden/formulas"


def made(name, case, **options):
    if name == "spectral_norm_conv":
        net = SNConv2d(3, 5, 3, padding=1, bias=False, eps=1e-12, **options)
    else:
        net = SNLinear(9, 6, bias=False, eps=1e-12, **options)
    state = net.state_dict() | {"weight": case["weight"], "u": case["u0"][None]}
    net.load_state_dict(state)
    return net


@pytest.mark.parametrize("name", ["spectral_norm_conv", "spectral_norm_linear"])
def test_the_sigmas_of_other_implementations(name):
    case, told = load_file(GOLDEN / name / "io.safetensors"), json.loads((GOLDEN / name / "case.json").read_text())
    sigmas = told["scalars"]
    net, hook = made(name, case), made(name, case, eval_iterations=0)
    net.eval()(case["x"])
    assert torch.equal(net.u[0], case["u0"]) and torch.equal(net.sigma, torch.ones(1))  # eval keeps nothing
    matrix = case["weight"].flatten(1)
    sigma = (matrix[0, 0] / net.normalized().flatten(1)[0, 0]).item()
    assert sigma == pytest.approx(sigmas["aj_itrs1_sigma_eval"], rel=1e-5)
    hook.v.copy_(torch.nn.functional.normalize(hook.u @ matrix))
    sigma = (matrix[0, 0] / hook.eval().normalized().flatten(1)[0, 0]).item()
    assert sigma == pytest.approx(sigmas["torch_hook_sigma_eval_from_u0_v0"], rel=1e-5)
    for which, net in {"aj_itrs1": made(name, case), "torch_hook": hook.train()}.items():
        found, out = [], None
        for _ in range(told["train_forwards"]):
            out = net(case["x"])
            found.append(net.sigma.item())
        assert found == pytest.approx(sigmas[f"{which}_sigma_after_each_train_forward"], rel=1e-5)
        torch.testing.assert_close(net.u[0], case[f"{which}_u"], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(out, case[f"{which}_out_last"], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(hook.v[0], case["torch_hook_v"], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["spectral_norm_conv", "spectral_norm_linear"])
def test_gradients_flow_through_sigma(name):
    case = load_file(GOLDEN / name / "io.safetensors")
    net = made(name, case)
    net(case["x"]).square().sum().backward()
    wanted = case["aj_grad_weight_of_sum_squares"]
    assert (net.weight.grad - wanted).abs().max() <= 1e-5 * wanted.abs().max()


def test_it_converges_to_the_largest_singular_value():
    torch.manual_seed(0)
    for net, x in ((SNConv2d(4, 7, 3), torch.randn(1, 4, 5, 5)), (SNEmbedding(9, 5), torch.arange(9))):
        for _ in range(300):
            net(x)
        exact = torch.linalg.svdvals(net.weight.flatten(1))[0]
        torch.testing.assert_close(net.sigma[0], exact, rtol=1e-5, atol=0)
        assert torch.linalg.matrix_norm(net.eval().normalized().flatten(1), 2).item() == pytest.approx(1, abs=1e-5)


def test_a_second_pass_before_backward_is_fine():
    """A penalty looks once more before the gradients of the first look are taken."""
    net = SNLinear(3, 2)
    x = torch.randn(4, 3)
    (net(x).sum() + net(x).square().sum()).backward()
    assert net.weight.grad.isfinite().all()


def test_it_stays_in_full_precision_under_autocast():
    net = SNLinear(64, 64)
    twin = SNLinear(64, 64)
    twin.load_state_dict(net.state_dict())
    with torch.autocast("cpu", torch.bfloat16):
        assert net(torch.randn(2, 64)).dtype == torch.bfloat16
    twin(torch.randn(2, 64))
    assert torch.equal(net.u, twin.u) and torch.equal(net.sigma, twin.sigma)


@pytest.mark.parametrize("kind", [ClassEmbedding, SNEmbedding])
def test_one_hot_is_the_class_and_shares_are_a_mean(kind):
    net, y = kind(5, 7).eval(), torch.tensor([3, 0, 4])
    one_hot = torch.nn.functional.one_hot(y, 5).float()
    assert torch.equal(net(one_hot), net(y))
    torch.testing.assert_close(net(torch.full((1, 5), 0.2))[0], net(torch.arange(5)).mean(0))


def test_iterations_are_none_or_one():
    with pytest.raises(ValueError, match="eval_iterations=2: 0 or 1"):
        SNLinear(2, 2, eval_iterations=2)
