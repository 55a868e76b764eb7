"""What only pix2pix has: a condition, live dropout, and the statistics of the picture at hand."""

import pytest
import torch
from torch import nn

from genzoo import cli, hub
from genzoo.batches import Pair
from genzoo.commands import train as command
from genzoo.fit import built

TINY = ["data=shapes_ab", "data.count=24", "data.paired=true", "model.width=2", "model.discriminator.layers=2"]
TINY += ["batch_size=8"]


def made(*words):
    torch.default_generator.manual_seed(0)
    config = command.plain(cli.compose("train", ["model=pix2pix", *TINY, *words, "run=nowhere"]))["model"]
    return hub.build(built(config)).eval()


def dropping(*words):
    return made("data.resolution=64", *words)


def test_with_a_seed_dropout_is_the_same_for_any_picture_in_any_company():
    model, x = dropping(), torch.rand(3, 3, 64, 64) * 2 - 1
    one = model.translate(x, to="b", seed=3)
    assert torch.equal(one, model.translate(x, to="b", seed=3))
    assert torch.allclose(one[2:], model.translate(x[2:], to="b", seed=3), atol=1e-6)
    assert (one - model.translate(x, to="b", seed=4)).abs().max() > 1e-4
    assert (model.translate(x, to="b") - model.translate(x, to="b")).abs().max() > 1e-4


def test_dropout_keeps_its_share_and_its_scale():
    model, kept = dropping(), []
    (drop,) = [part for part in model.generator.modules() if isinstance(part, nn.Dropout)]
    with model.as_tested(seed=1):
        for _ in range(400):
            kept.append(drop(torch.ones(1, 8, 4, 4)))
    kept = torch.cat(kept)
    assert set(kept.unique().tolist()) == {0.0, 2.0} and kept.mean().item() == pytest.approx(1, abs=0.02)


def test_each_picture_is_normalised_by_itself_as_in_training_with_batches_of_one():
    model, x = made(), torch.rand(2, 3, 32, 32) * 2 - 1
    before = {name: value.clone() for name, value in model.generator.named_buffers()}
    ours = model.translate(x, to="b", seed=0)
    assert not model.generator.training and all(not part._forward_hooks for part in model.generator.modules())
    for name, value in model.generator.named_buffers():
        assert torch.equal(value, before[name]), name  # nothing is tracked
    with torch.no_grad():
        alone = torch.cat([model.generator.train()(part) for part in x.split(1)])
    assert torch.allclose(ours, alone, atol=1e-5)


def test_running_statistics_are_an_option():
    model, x = made("model.inference_norm=running"), torch.rand(2, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        assert torch.equal(model.translate(x, to="b", seed=0), model.generator.eval()(x))
    with pytest.raises(ValueError, match="model.inference_norm=eval: batch or running"):
        made("model.inference_norm=eval")


def test_one_way_only():
    model, x = made("model.to=a"), torch.rand(1, 3, 50, 33)
    model.facts = {"data": {"domains": ["photo", "label"]}}
    assert model.translate(x, to="photo", seed=0).shape == x.shape
    with pytest.raises(ValueError, match="to=label: this model makes a only; model.to=b trains the other way"):
        model.translate(x, to="label")
    with pytest.raises(ValueError, match="model.to=c"):
        made("model.to=c")


@pytest.mark.parametrize("to", ["a", "b"])
def test_what_the_losses_see(to):
    """D judges truth and fake beside the source; L1 is a mean times its weight."""
    model = made(f"model.to={to}", "model.generator.norm=instance")
    batch = Pair(*(torch.rand(2, 3, 32, 32) * 2 - 1 for _ in "ab"))
    source, truth = batch if to == "b" else reversed(batch)
    seen = []
    model.judge = lambda critic, x: seen.append(x) or critic(x)
    terms = model.generator_loss(batch)
    fake = model.generator(source)
    assert torch.allclose(seen[0], torch.cat([source, fake], 1), atol=1e-6)
    assert terms["generator/l1"].item() == pytest.approx(100 * (fake - truth).abs().mean().item(), rel=1e-5)
    halves = model.discriminator_loss(batch)
    assert torch.allclose(seen[1], seen[0], atol=1e-6) and torch.equal(seen[2], torch.cat([source, truth], 1))
    real, _ = model.objective.discriminator(model.discriminator(seen[2]), model.discriminator(seen[1]))
    assert halves["discriminator/real"].item() == pytest.approx(real.item() / 2)


def test_the_sheet_of_the_preview():
    batch = Pair(*(torch.rand(9, 3, 32, 32) * 2 - 1 for _ in "ab"))
    (sheet,) = made("model.to=a").preview(batch).values()
    assert list(sheet) == ["real b", "fake a", "real a"]
    source, fake, real = sheet.values()
    assert torch.equal(source, batch.b[:8]) and torch.equal(real, batch.a[:8]) and fake.shape == real.shape


def test_a_crop_that_cannot_be_halved_is_told():
    with pytest.raises(ValueError, match="data.resolution=100.*halves 7 times.*the nearest is 128"):
        made("data.resolution=100", "model.generator.depth=7")
