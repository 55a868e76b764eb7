"""The authors' own setting for MNIST."""

from genzoo import cli

TINY = ["data=digits", "model.width=8", "model.discriminator.width=4", "model.latent_dim=4", "batch_size=8"]


def test_it_is_the_setting_of_the_authors():
    config = cli.compose("train", ["model=gan_2014"])
    assert (config.model.generator.width, config.model.discriminator.width, config.batch_size) == (1200, 240, 100)
    assert config.model.optimizers.d.lr == 0.1 and config.model.prior.bound**2 - 3 < 1e-6
