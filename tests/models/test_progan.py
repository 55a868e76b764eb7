"""What only Progressive GAN has: growth, its schedules, and the forgetting of Adam."""

import math

import pytest
import torch
from torch.nn.functional import avg_pool2d, cross_entropy, interpolate, one_hot

from genzoo import cli, hub
from genzoo.batches import Images
from genzoo.commands import train as command
from genzoo.core.io import newest
from genzoo.losses import GradientPenalty, Wasserstein
from genzoo.models.progan import Discriminator, Generator, ProGAN, faded, feature_maps
from genzoo.priors import Sphere
from genzoo.schedules import Growth, PerStage

# 80 images pass through a stage, a fade in which the contract's first leg ends at 40, and the next fade; the channel of
# minibatch deviation sees a batch as a whole, which parts of it do not
TINY = [
    "data=digits",
    "data.resolution=16",
    "model.width=8",
    "model.generator.fmap_base=32",
    "model.latent_dim=8",
    "model.discriminator.group=0",
    "model.growth.hold=16",
    "model.growth.fade=40",
    "batch_size=8",
]
QUIET = ["logger=none", "accelerator=cpu", "threads=1", "trainer.val_check_interval=1000"]


def tiny(classes=None, **change):
    torch.default_generator.manual_seed(0)
    size = {"channels": 3, "resolution": 32, "width": 16, "fmap_base": 64, "classes": classes}
    adam = {player: lambda parameters: torch.optim.Adam(parameters, lr=1e-3, betas=(0.0, 0.99)) for player in "dg"}
    options = {
        "growth": Growth(32, 10, 20),
        "objective": Wasserstein(clip=None),
        "penalties": [GradientPenalty()],
        "optimizers": adam,
    }
    return ProGAN(Generator(8, **size), Discriminator(**size), Sphere(8), classes=classes, **options | change)


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_networks_of_the_paper():
    """23.1 million each at 1024 pixels, with the feature maps of table 2."""
    assert feature_maps(1024, 512, 8192) == [512, 512, 512, 512, 256, 128, 64, 32, 16]
    with torch.device("meta"):
        generator, discriminator = Generator(512, 3, 1024), Discriminator(3, 1024)
        assert count(generator) == 23_079_115 and count(discriminator) == 23_087_249
        for stage in range(9):
            image = generator(torch.empty(2, 512), None, stage, torch.tensor(0.5))
            assert image.shape == (2, 3, 4 << stage, 4 << stage)
            assert discriminator(image, stage, torch.tensor(0.5)).shape == (2,)


def test_hidden_layers_keep_the_size_of_their_signals():
    """The equalised layers' purpose: pixel norms of 1 in G at every stage, logits of order 1 in D."""
    model = tiny()
    z = model.prior.sample(64, torch.Generator().manual_seed(0))
    for stage in range(4):
        image = model.generator(z, None, stage)
        assert 0.5 < image.std() < 2
        assert model.discriminator(image, stage).abs().mean() < 3


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_fade_begins_with_the_networks_before_it(stage):
    """G's images are the old ones doubled; D judges as the old one does what is averaged down."""
    model, start = tiny().eval(), torch.tensor(0.0)
    z = torch.randn(8, 8)
    old = model.generator(z, None, stage - 1)
    new = model.generator(z, None, stage, start)
    assert (new - interpolate(old, scale_factor=2)).abs().max() < 1e-6
    x = torch.randn(8, 3, 4 << stage, 4 << stage)
    judged = model.discriminator(x, stage, start)
    assert (judged - model.discriminator(avg_pool2d(x, 2), stage - 1)).abs().max() < 1e-6
    assert (faded(x, stage, start) - interpolate(avg_pool2d(x, 2), scale_factor=2)).abs().max() < 1e-6


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_fade_ends_with_the_new_networks_alone(stage):
    model, end = tiny().eval(), torch.tensor(1.0)
    z, x = torch.randn(8, 8), torch.randn(8, 3, 4 << stage, 4 << stage)
    assert torch.allclose(model.generator(z, None, stage, end), model.generator(z, None, stage), atol=1e-5)
    assert torch.allclose(model.discriminator(x, stage, end), model.discriminator(x, stage), atol=1e-5)
    assert torch.allclose(faded(x, stage, end), x, atol=1e-6)


def test_a_fade_is_a_straight_line_between_both():
    model, z = tiny().eval(), torch.randn(4, 8)
    old = interpolate(model.generator(z, None, 1), scale_factor=2)
    mixed = model.generator(z, None, 2, torch.tensor(0.3))
    assert torch.allclose(mixed, 0.7 * old + 0.3 * model.generator(z, None, 2), atol=1e-5)


def losses(model, x, level):
    """All terms at a level, with the same noise each time."""
    model.growth = lambda images: level
    batch = Images(x, torch.zeros(len(x), dtype=torch.int64))
    terms = {**model.discriminator_loss(batch), **model.generator_loss(batch)}
    return {name: term.item() for name, term in terms.items()}


@pytest.mark.parametrize("level", [1, 2])
def test_the_loss_does_not_jump_where_a_fade_begins(level):
    """The penalty's slope is measured in pixels, of which there are four times as many, each with a quarter of it: it
    halves. All other terms go on."""
    model, x = tiny(), torch.rand(8, 3, 32, 32) * 2 - 1
    before, after = losses(model, x, float(level)), losses(model, x, level + 1e-6)
    for name in before:
        if name != "discriminator/gradientpenalty":
            assert after[name] == pytest.approx(before[name], abs=1e-4), name
    model.penalties = [GradientPenalty(1.0, 0.0)]
    one, two = (losses(model, x, at)["discriminator/gradientpenalty"] for at in (float(level), level + 1e-6))
    assert two == pytest.approx(one / 4, rel=1e-2)


def test_the_loss_does_not_jump_where_a_fade_ends():
    model, x = tiny(), torch.rand(8, 3, 32, 32) * 2 - 1
    before, after = losses(model, x, 2 - 1e-6), losses(model, x, 2.0)
    for name in before:
        assert after[name] == pytest.approx(before[name], abs=1e-3), name


def test_real_images_are_averaged_by_boxes():
    """From full size, or from any that a pyramid holds; a smaller one than the stage's is refused."""
    x = torch.rand(2, 1, 32, 32)
    boxes = x.unflatten(3, (8, 4)).unflatten(2, (8, 4)).mean((3, 5))
    assert torch.allclose(faded(x, 1, None), boxes, atol=1e-6)
    assert torch.allclose(faded(avg_pool2d(x, 2), 1, None), boxes, atol=1e-6)
    assert faded(boxes, 1, None) is boxes
    half = faded(x, 1, torch.tensor(0.5))
    assert torch.allclose(half, (boxes + interpolate(avg_pool2d(boxes, 2), scale_factor=2)) / 2, atol=1e-6)
    with pytest.raises(ValueError, match="images of 8 pixels cannot be averaged down to the 16 of stage 2"):
        faded(boxes, 2, None)


def test_blocks_that_sleep_have_no_gradient():
    model = tiny()
    model.generator(torch.randn(4, 8), None, 1).sum().backward()
    woken = {
        name.split(".")[1] for name, p in model.generator.named_parameters() if "blocks" in name and p.grad is not None
    }
    assert woken == {"0"} and model.generator.to_rgb[0].weight.grad is None


def test_the_level_follows_the_images_and_may_be_chosen():
    model = tiny().eval()
    for images, size in ((0, 4), (10, 4), (20, 8), (40, 8), (50, 16), (100, 32)):
        model.images_seen = images
        assert model.sample(2, seed=0).shape == (2, 3, size, size), images
    assert (model.images_seen, model.level) == (100, 3.0)
    model.level = 1.5
    assert model.level == 1.5 and model.at(1.5) == (2, torch.tensor(0.5)) and model.sample(1).shape[-1] == 16
    assert model.at(2.0) == (2, None) and model.at(0.0) == (0, None)
    for wrong in (3.1, -1, math.nan):
        with pytest.raises(ValueError, match=rf"level={wrong:g}: this model has 0 \(4x4 pixels\) to 3 \(32x32\)"):
            model.level = wrong


def test_samples_stay_in_range_and_losses_see_all(monkeypatch):
    model = tiny()
    with torch.no_grad():
        model.generator.to_rgb[0].bias.fill_(7)
    assert model.sample(4).max() == 1
    assert model.fakes(4, 0, None)[0].max() > 5


def test_drift_pulls_the_real_logits_to_zero():
    model, x = tiny(drift=0.5, penalties=[]), torch.rand(4, 3, 32, 32)
    with torch.no_grad():
        logits = model.discriminator(faded(x, 0, None), 0)
    assert losses(model, x, 0.0)["discriminator/drift"] == pytest.approx(0.5 * logits.square().mean().item(), rel=1e-5)


# Classes


def test_classes_stand_beside_the_latents_and_are_named():
    """AC-GAN as in the authors' code: cross-entropies of real and fake in D, of fakes in G."""
    model, y = tiny(classes=5, label_weight=2.0), torch.tensor([0, 4, 2, 2])
    z = model.prior.sample(4)
    whole = one_hot(y, 5).float()
    assert torch.equal(model.generator(z, y, 1), model.generator(z, whole, 1))
    assert not torch.equal(model.generator(z, y, 1), model.generator(z, y.flip(0), 1))
    x = torch.rand(4, 3, 4, 4)
    terms = model.discriminator_loss(Images(x, y))
    logits, kinds = model.discriminator(x, 0)
    assert logits.shape == (4,) and kinds.shape == (4, 5)
    assert terms["discriminator/label_real"].item() == pytest.approx(2 * cross_entropy(kinds, y).item(), rel=1e-5)
    fake, own = model.fakes(4, 0, None)
    expected = 2 * cross_entropy(model.discriminator(fake, 0)[1], own).item()
    assert terms["discriminator/label_fake"].item() == pytest.approx(expected, rel=1e-5)
    assert model.generator_loss(Images(x, y))["generator/label"] > 0
    assert model.sample(3, torch.tensor([1, 1, 2])).shape == (3, 3, 4, 4)
    with pytest.raises(ValueError, match="this model draws 5 classes: say which"):
        model.generate(z)


def test_a_conditional_run_and_its_samples(tmp_path):
    words = ["model=progan", *TINY, *QUIET, "model.classes=10", "kimg=0.04", f"run={tmp_path / 'run'}"]
    assert command.start(cli.compose("train", words), [])[0] == 0
    assert cli.run("sample", [f"ckpt={tmp_path / 'run'}", "n=4", "y=[3,7]", f"out={tmp_path / 'x.png'}"]) == 0


def test_classes_that_the_data_do_not_have(tmp_path):
    words = ["model=progan", *TINY, *QUIET, "kimg=0.008", f"run={tmp_path}"]
    for classes, data, found in (
        (10, "data.classes=null", "has no classes: say model.classes=null"),
        (12, "data.classes=10", "has 10 classes: say model.classes=10"),
    ):
        with pytest.raises(ValueError, match=f"model.classes={classes}, but data=digits {found}"):
            command.start(cli.compose("train", [*words, f"model.classes={classes}", data]), [])


# Runs


def composed(*words):
    return command.plain(cli.compose("train", ["model=progan", *words, "run=nowhere"]))


@pytest.mark.parametrize("words", [["data=mnist", "data.resolution=28"], ["data=digits", "data.resolution=24"]])
def test_a_size_that_is_no_power_of_two(words, tmp_path):
    size = words[1].rpartition("=")[2]
    with pytest.raises(
        ValueError, match=rf"data.resolution={size}: a growing model doubles 4 pixels, the nearest are 16 and 32"
    ):
        command.start(cli.compose("train", ["model=progan", *words, f"run={tmp_path / 'x'}"]), [])


def test_a_batch_for_each_stage_and_one_for_all():
    table = [
        "+batch_size._target_=genzoo.schedules.PerStage",
        "+batch_size.growth=${model.growth}",
        "+batch_size.values=[16,8]",
    ]
    each = composed("~batch_size", *table, "data.resolution=16", "model.growth.hold=10", "model.growth.fade=20")
    made = hub.build(each["data"]["batch_size"])
    assert made == PerStage(Growth(16, 10, 20), [16, 8]) and [made(i) for i in (0, 10, 11, 99)] == [16, 16, 8, 8]
    paper = composed("experiment=progan_celebahq1024", "data.path=x")
    per_stage = hub.build(paper["data"]["batch_size"])
    assert [int(per_stage(1_600_000 * stage)) for stage in range(9)] == [16] * 6 + [14, 6, 3]
    typed = composed("experiment=progan_celebahq1024", "data.path=x", "batch_size=24")
    assert typed["data"]["batch_size"] == typed["batch_size"] == 24


def run(folder, *words, kimg):
    config = cli.compose("train", ["model=progan", *TINY, *QUIET, *words, f"run={folder}", f"kimg={kimg}"])
    assert command.start(config, [])[0] == 0
    return torch.load(newest(folder), weights_only=True)


def test_batch_and_learning_rate_change_with_the_stage(tmp_path, monkeypatch):
    seen = []
    before = ProGAN.update

    def update(self, player, batch, position, counted):
        before(self, player, batch, position, counted)
        seen.append((position, len(batch.x), self.optimizer_of(player).param_groups[0]["lr"]))

    monkeypatch.setattr(ProGAN, "update", update)
    words = [
        "~batch_size",
        "model.schedule={_target_: genzoo.schedules.PerStage, growth: '${model.growth}', values: [1, 0.5]}",
    ]
    words += ["+batch_size._target_=genzoo.schedules.PerStage", "+batch_size.growth=${model.growth}"]
    tiny = [word for word in TINY if not word.startswith("batch_size")]
    config = ["model=progan", *tiny, *QUIET, *words, "+batch_size.values=[8,4]", f"run={tmp_path}", "kimg=0.032"]
    assert command.start(cli.compose("train", config), [])[0] == 0
    assert seen[::2] == [(0, 8, 1e-3), (8, 8, 1e-3), (16, 8, 1e-3), (24, 4, 5e-4), (28, 4, 5e-4)]


def test_adam_forgets_where_a_fade_begins_or_ends(tmp_path):
    """A fade begins after 16 images and ends at 56: the state is new at 24 and at 56."""
    steps = {}
    for kimg in (0.016, 0.024, 0.032, 0.056, 0.064):
        states = run(tmp_path / str(kimg), kimg=kimg)["optimizer_states"]
        steps[kimg] = [max((int(s["step"]) for s in state["state"].values()), default=0) for state in states]
    assert steps == {0.016: [2, 2], 0.024: [0, 0], 0.032: [1, 1], 0.056: [0, 0], 0.064: [1, 1]}


def test_a_run_starts_at_a_stage_of_another_ones_weights(tmp_path):
    """From 8 pixels to 16: the clock starts where 16 pixels fade in, with the blocks that there are."""
    small = run(tmp_path / "small", "data.resolution=8", kimg=0.064)
    words = [f"init={tmp_path / 'small'}", "model.start_images=80"]
    large = run(tmp_path / "large", *words, kimg=0.088)
    assert large["genzoo"]["images_seen"] == 88 and large["global_step"] == 1
    model = hub.load(tmp_path / "large")
    assert model.level == pytest.approx(1 + 16 / 40) and model.sample(1).shape[-1] == 16
    old, new = small["state_dict"], large["state_dict"]
    moved = (new["generator.blocks.0.up.weight"] - old["generator.blocks.0.up.weight"]).abs().max()
    assert 0 < moved < 3e-3  # one step of Adam from there, and not from a start of its own


def test_resuming_within_a_fade_changes_no_bit(tmp_path):
    """With minibatch deviation, unlike the contract's test; Adam has been reset before the stop and is again after."""
    words = ["model.discriminator.group=4", "callbacks.safeguard.every=100"]
    straight = run(tmp_path / "a", *words, kimg=0.128)
    run(tmp_path / "b", *words, kimg=0.08)
    typed = [f"resume={tmp_path / 'b'}", "kimg=0.128"]
    assert command.start(cli.compose("train", typed), typed)[0] == 0
    resumed = torch.load(newest(tmp_path / "b"), weights_only=True)
    for part in ("state_dict", "live"):
        assert all(torch.equal(value, resumed[part][name]) for name, value in straight[part].items()), part
    for one, other in zip(straight["optimizer_states"], resumed["optimizer_states"], strict=True):
        assert one["state"].keys() == other["state"].keys() != set()
        for number, moments in one["state"].items():
            assert all(torch.equal(value, other["state"][number][name]) for name, value in moments.items())


@pytest.mark.slow
def test_an_iteration_at_1024_pixels():
    """Forward, penalty and backward of both networks with two images; memory is that of 16 maps at full size."""
    torch.default_generator.manual_seed(0)
    size = {"channels": 3, "resolution": 1024}
    options = {
        "objective": Wasserstein(clip=None),
        "penalties": [GradientPenalty()],
        "optimizers": dict.fromkeys("dg", torch.optim.Adam),
    }
    model = ProGAN(Generator(512, **size), Discriminator(**size), Sphere(512), lambda images: 7.5, **options)
    batch = Images(torch.rand(2, 3, 1024, 1024) * 2 - 1, torch.zeros(2))
    sum(model.discriminator_loss(batch).values()).backward()
    model.generator_loss(batch)["generator/adversarial"].backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    assert model.generator.blocks[7]["conv"].weight.grad.abs().max() > 0
