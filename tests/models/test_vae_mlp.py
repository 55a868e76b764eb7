"""The fully connected VAE differs in its configuration only."""

from genzoo import cli

TINY = ["data=digits", "model.width=8", "model.latent_dim=3", "batch_size=8"]


def test_it_is_the_vae_of_appendix_c():
    config = cli.compose("train", ["model=vae_mlp"])
    assert config.model._target_ == "genzoo.models.vae.VAE" and config.model.encoder.width == 400
