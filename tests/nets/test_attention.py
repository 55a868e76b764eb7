"""Self-attention against its formula, and its second derivative."""

import torch

from genzoo.nets.attention import SelfAttention


def test_it_changes_nothing_at_first():
    x = torch.randn(2, 16, 8, 8)
    assert torch.equal(SelfAttention(16)(x), x)


def test_every_place_looks_at_every_pooled_place():
    torch.manual_seed(0)
    net, x = SelfAttention(16).eval(), torch.randn(2, 16, 4, 6)
    with torch.no_grad():
        net.gamma.fill_(0.7)

    def seen(layer, n):  # a 1x1 convolution at one place
        return layer.normalized().flatten(1) @ n

    wanted = torch.empty_like(x)
    for n in range(2):
        keys, values = [], []
        for i in range(0, 4, 2):
            for j in range(0, 6, 2):
                four = x[n, :, i : i + 2, j : j + 2].flatten(1)
                keys.append(seen(net.phi, four).amax(1))
                values.append(seen(net.g, four).amax(1))
        keys, values = torch.stack(keys), torch.stack(values)
        for i in range(4):
            for j in range(6):
                place = x[n, :, i, j]
                shares = (keys @ seen(net.theta, place)).softmax(0)
                wanted[n, :, i, j] = place + 0.7 * seen(net.o, shares @ values)
    torch.testing.assert_close(net(x), wanted, atol=1e-5, rtol=1e-5)


def test_it_has_a_second_derivative():
    net, x = SelfAttention(8).double().eval(), torch.randn(1, 8, 4, 4, dtype=torch.float64, requires_grad=True)
    with torch.no_grad():
        net.gamma.fill_(0.5)
    assert torch.autograd.gradgradcheck(lambda x: net(x).square().sum(), x)
