"""What only the VAE has."""

import pytest
import torch

from genzoo.losses import gaussian_kl
from genzoo.models.vae import VAE, Decoder, Encoder, MLPDecoder, MLPEncoder
from genzoo.nets.sizes import SIZES
from genzoo.priors import Normal

TINY = ["data=digits", "model.width=4", "model.latent_dim=3", "batch_size=8"]


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def tiny(**settings):
    torch.manual_seed(0)
    return VAE(
        MLPEncoder(3, 1, 8, 16),
        MLPDecoder(3, 1, 8, 16),
        Normal(3),
        optimizers={"v": torch.optim.Adam},
        turns=["v"],
        **settings,
    )


def test_the_fully_connected_pair_has_the_size_of_pytorch_examples():
    assert count(MLPEncoder(20, 1, 28)) + count(MLPDecoder(20, 1, 28)) == 652_824


@pytest.mark.parametrize("resolution", SIZES)
def test_every_size(resolution):
    with torch.device("meta"):
        x = torch.empty(2, 3, resolution, resolution)
        mean, log_var = Encoder(5, 3, resolution, width=2)(x)
        assert mean.shape == log_var.shape == (2, 5)
        assert Decoder(5, 3, resolution, width=2)(mean).shape == x.shape


def test_an_impossible_size_names_the_nearest():
    with pytest.raises(ValueError, match=r"resolution=30.*the nearest are 28 and 32"):
        Encoder(5, 1, 30)


def test_bernoulli_bound_by_hand():
    model, x, noise = tiny(), torch.rand(4, 1, 8, 8) * 2 - 1, torch.randn(4, 3)
    error, kl = model.bound(x, noise)
    unit = (x + 1) / 2
    mean, log_var = model.encoder(unit)
    p = model.decoder(mean + torch.exp(log_var / 2) * noise).sigmoid()
    by_hand = -(unit * p.log() + (1 - unit) * (1 - p).log()).sum((1, 2, 3))
    assert torch.allclose(error, by_hand, rtol=1e-4)
    assert torch.allclose(kl, -0.5 * (1 + log_var - mean**2 - log_var.exp()).sum(1), rtol=1e-4)


def test_gaussian_bound_by_hand():
    model, x, noise = tiny(likelihood="gaussian", sigma=0.5), torch.rand(4, 1, 8, 8) * 2 - 1, torch.randn(4, 3)
    error, _ = model.bound(x, noise)
    unit = (x + 1) / 2
    mean, log_var = model.encoder(unit)
    image = model.decoder(mean + torch.exp(log_var / 2) * noise).sigmoid()
    assert torch.allclose(error, -torch.distributions.Normal(image, 0.5).log_prob(unit).sum((1, 2, 3)), rtol=1e-4)


def test_kl_is_nothing_at_the_prior_and_exact_beside_it():
    assert gaussian_kl(torch.zeros(1, 3), torch.zeros(1, 3)).item() == 0
    q = torch.distributions.Normal(torch.tensor([1.0, -2.0]), torch.tensor([0.5, 3.0]))
    exact = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum()
    assert gaussian_kl(q.mean[None], 2 * q.stddev.log()[None]).item() == pytest.approx(exact.item(), rel=1e-5)


def test_beta_weighs_the_kl_and_not_the_report():
    plain, heavy = tiny(), tiny(beta=4.0)
    batch = type("Batch", (), {"x": torch.rand(4, 1, 8, 8)})
    one, four = plain.loss("v", batch), heavy.loss("v", batch)
    assert four["vae/kl"].item() == pytest.approx(4 * one["vae/kl"].item(), rel=1e-5)
    assert torch.equal(*(model.bound(batch.x, torch.ones(4, 3))[1] for model in (plain, heavy)))


def test_reconstruct_is_the_decoded_mean_in_range():
    model, x = tiny(), torch.rand(4, 1, 8, 8) * 2 - 1
    assert torch.equal(model.reconstruct(x), model.generate(model.encoder((x + 1) / 2)[0]))
    assert model.sample(8, seed=1).abs().max() <= 1
