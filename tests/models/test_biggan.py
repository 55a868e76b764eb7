"""What only BigGAN has."""

import copy

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader

from genzoo import cli, hub
from genzoo.batches import Images
from genzoo.callbacks.ema import EMA
from genzoo.commands import train as command
from genzoo.fit import built
from genzoo.losses import R1, GradientPenalty, Hinge
from genzoo.models import biggan_deep
from genzoo.models.biggan import BigGAN, Discriminator, Generator
from genzoo.nets.augment import DiffAugment
from genzoo.nets.spectral import Spectral
from genzoo.priors import Normal

TINY = [
    "data=digits",
    "model.width=2",
    "model.latent_dim=8",
    "model.generator.shared=4",
    "batch_size=4",
    "callbacks.ema.start=2",
]


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


ROWS = {  # the paper's table 1 and what else the specification counts: networks and their parameters
    "64 wide": (lambda: (Generator(128, 3, 128, 64, 1000, 0, False), Discriminator(3, 128, 64, 1000)),
                (42_017_412, 39_448_258)),
    "96 wide": (lambda: (Generator(128, 3, 128, 96, 1000, 0, False), Discriminator(3, 128, 96, 1000)),
                (85_556_164, 87_982_370)),
    "shared": (lambda: (Generator(120, 3, 128, 96, 1000, 128, False),), (72_595_908,)),
    "BigGAN": (lambda: (Generator(120, 3, 128, 96, 1000), Discriminator(3, 128, 96, 1000)), (70_433_988, 87_982_370)),
    "64 wide, hierarchical": (lambda: (Generator(120, 3, 128, 64, 1000),), (31_978_628,)),
}  # fmt: skip
MILLIONS = {
    "256": (lambda: (Generator(140, 3, 256, 96, 1000), Discriminator(3, 256, 96, 1000)), (82.24, 99.23)),
    "512": (lambda: (Generator(128, 3, 512, 96, 1000),), (82.30,)),
    "128, width 306": (lambda: (nn.ModuleList([Generator(120, 3, 128, 306, 1000), Discriminator(3, 128, 306, 1000)]),),
                       (1578.60,)),
    "128, width 312": (lambda: (nn.ModuleList([Generator(120, 3, 128, 312, 1000), Discriminator(3, 128, 312, 1000)]),),
                       (1640.84,)),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS | MILLIONS)
def test_the_parameters_of_the_paper(row):
    networks, counts = (ROWS | MILLIONS)[row]
    with torch.device("meta"):
        found = tuple(map(count, networks()))
    assert found == counts if row in ROWS else tuple(round(n / 1e6, 2) for n in found) == counts


@pytest.mark.parametrize(
    ("experiment", "generator", "discriminator"),
    [("biggan_imagenet128", 70_433_988, 87_982_370), ("biggan_1b6", 718_817_604, 883_393_634)],
)
def test_the_experiments_have_the_size_they_say(experiment, generator, discriminator):
    node = command.plain(cli.compose("train", [f"experiment={experiment}", "data.path=x", "run=x"]))
    with torch.device("meta"):
        made = hub.build(built(node["model"]))
    assert (count(made.generator), count(made.discriminator)) == (generator, discriminator)
    assert node["batch_size"] == 2048 and made.turns == ["d", "dg"]


@pytest.mark.parametrize("resolution", [32, 64, 128, 256, 512])
@pytest.mark.parametrize("kind", ["biggan", "deep"])
def test_every_size(resolution, kind):
    make = (Generator, Discriminator) if kind == "biggan" else (biggan_deep.Generator, biggan_deep.Discriminator)
    latent_dim, y = 840, torch.tensor([2])
    with torch.no_grad():
        image = make[0](latent_dim, 1, resolution, 4, 5, init="normal")(torch.randn(1, latent_dim), y)
        assert image.shape == (1, 1, resolution, resolution)
        assert make[1](1, resolution, 4, 5, init="normal")(image, y).shape == (1,)


def small(classes=4, **options):
    made = BigGAN(
        Generator(8, 1, 32, 2, classes, 4, attention=[16]), Discriminator(1, 32, 2, classes, attention=[16]), Normal(8),
        classes, objective=Hinge(), optimizers=dict.fromkeys("dg", torch.optim.SGD), turns=["d", "dg"], **options,
    )  # fmt: skip
    for network in (made.generator, made.discriminator):
        for name, parameter in network.named_parameters():
            if name.endswith("gamma"):
                nn.init.constant_(parameter, 0.3)
    return made


BAD = {
    "a size between": (lambda: Generator(8, 1, 28), "data.resolution=28: .*128, 256, 512 pixels; say data.resolution=32"),
    "a deep size": (lambda: biggan_deep.Discriminator(1, 100), "say data.resolution=128"),
    "parts": (lambda: Generator(100, 1, 128), "latent_dim=100: at 128 pixels .* 6 equal parts, the nearest are 96 and 102"),
    "no part": (lambda: Generator(8, 1, 32, 2, 4, shared=0), "say model.generator.hierarchical=false"),
    "init": (lambda: Generator(8, 1, 32, init="zeros"), "init=zeros: there are orthogonal, normal"),
    "no y": (lambda: Generator(8, 1, 32, 2, 4)(torch.zeros(1, 8)), "images of 4 classes: say their y"),
    "no y in D": (lambda: Discriminator(1, 32, 2, 4)(torch.zeros(1, 1, 32, 32)), "judges images of 4 classes"),
    "fewer classes": (lambda: small(4).warm_start(small(3).state_dict()), "knows 3 classes, the data have 4"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be(case):
    make, words = BAD[case]
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["model.classes=7"], "model.classes=7, but data=digits has 10 classes: say model.classes=10"),
        (["model.classes=7", "data.classes=null"], "model.classes=7, but data=digits has no classes: say model.classes=null"),
    ],
)  # fmt: skip
def test_labels_that_the_data_lack(words, complaint, tmp_path, capsys):
    code = cli.run("train", ["model=biggan", *TINY, *words, "logger=none", "kimg=0.008", f"run={tmp_path}"])
    told = capsys.readouterr().err
    assert code == 1 and complaint in told


def test_without_classes_labels_are_not_looked_at():
    made = small(None)
    assert made.generator.shared is None and made.discriminator.head.embed is None
    assert made.sample(3, seed=0).shape == (3, 1, 32, 32) and made.labels(3) is None
    plain = Generator(8, 1, 32, 2, None, hierarchical=False)
    assert plain(torch.randn(3, 8)).shape == (3, 1, 32, 32) and plain.blocks[0].norm1.gain is None


@pytest.mark.parametrize("shared", [4, 0])
def test_one_hot_is_the_class(shared):
    torch.manual_seed(0)
    generator = Generator(8, 1, 32, 2, 5, shared, hierarchical=bool(shared)).eval()
    critic, y = Discriminator(1, 32, 2, 5).eval(), torch.tensor([4, 0, 2])
    z, x, one_hot = torch.randn(3, 8), torch.randn(3, 1, 32, 32), nn.functional.one_hot(y, 5).float()
    assert torch.equal(generator(z, y), generator(z, one_hot)) and torch.equal(critic(x, y), critic(x, one_hot))
    assert not torch.equal(generator(z, y), generator(z, (y + 1) % 5))


def test_each_part_of_the_latent_speaks_to_its_own_block():
    generator = Generator(8, 1, 32, 2, 5, 4).eval()
    y, z, seen = torch.tensor([1]), torch.randn(1, 8), []
    for block in generator.blocks:
        block.register_forward_pre_hook(lambda block, inputs: seen.append(inputs[1]))
    generator(z, y)
    assert [len(condition[0]) for condition in seen] == [6, 6, 6]
    for i, condition in enumerate(seen):
        assert torch.equal(condition, torch.cat([generator.shared(y), z[:, 2 * i + 2 : 2 * i + 4]], 1))


def test_the_orthogonal_term_is_a_gradient():
    """Of beta |W W^T o (1 - I)|^2 by autograd, for all matrices but the shared embedding."""
    made = small(orthogonal=0.03).double()
    weights = {k: p for k, p in made.generator.named_parameters() if p.dim() > 1 and k != "shared.weight"}
    term = sum(
        0.03 * ((w := p.flatten(1)) @ w.T * (1 - torch.eye(len(w), dtype=w.dtype))).square().sum()
        for p in weights.values()
    )
    wanted = dict(zip(weights, torch.autograd.grad(term, weights.values()), strict=True))
    for parameter in made.generator.parameters():
        parameter.grad = torch.ones_like(parameter)
    made.orthogonalise()
    for name, parameter in made.generator.named_parameters():
        torch.testing.assert_close(parameter.grad, 1 + wanted.get(name, torch.zeros_like(parameter)))
    assert "blocks.1.attention.o.weight" in wanted and "linear.weight" in wanted


class Whole(pl.Callback):
    """The gradients of every step."""

    def __init__(self):
        self.steps = []

    def on_before_zero_grad(self, trainer, module, optimizer):
        moving = [p for group in optimizer.param_groups for p in group["params"]]
        self.steps.append([p.grad.clone() for p in moving if p.grad is not None])


def iterate(made, batch, *callbacks, precision="32-true"):
    trainer = pl.Trainer(
        max_steps=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=list(callbacks), precision=precision,
    )  # fmt: skip
    trainer.fit(made.train(), DataLoader([batch], batch_size=None))
    return made


def every_image_alone(made):
    """BatchNorm becomes Identity, and spectral norm's vectors stay where they are."""
    for part in list(made.modules()):
        for name, child in part.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(part, name, nn.Identity())
            if isinstance(child, Spectral):
                child.eval().train = lambda mode=True, child=child: child
    return made


@pytest.mark.parametrize(("micro_batch", "whole"), [(4, 16), pytest.param(16, 128, marks=pytest.mark.slow)])
def test_micro_batches_equal_the_whole_batch(micro_batch, whole):
    torch.manual_seed(0)
    options = {"orthogonal": 1e-3, "clip": 1.0, "augment": DiffAugment(), "penalties": [R1(0.1), GradientPenalty(1.0)]}
    one = every_image_alone(small(**options))
    one.make_optimizers = {p: lambda params: torch.optim.Adam(params, lr=1e-3) for p in "dg"}
    parts = copy.deepcopy(one)
    for module in parts.modules():  # the copies' own
        if isinstance(module, Spectral):
            module.train = lambda mode=True, module=module: module
    parts.micro_batch = micro_batch
    x = torch.rand(2 * whole, 1, 32, 32, dtype=torch.float64) * 2 - 1  # for both turns
    batch = Images(x, torch.randint(4, (len(x),)))
    before = {k: v.clone() for k, v in one.state_dict().items()}
    iterate(one, batch, precision="64-true")
    iterate(parts, batch, precision="64-true")
    for (name, a), b in zip(one.state_dict().items(), parts.state_dict().values(), strict=True):
        assert a.dtype == torch.float64
        torch.testing.assert_close(a, b, atol=1e-10, rtol=0, msg=name)
    assert not torch.equal(one.generator.rgb.weight, before["generator.rgb.weight"].double())


def test_fake_and_real_are_judged_in_one_batch_fake_first():
    made, seen = small(), []
    made.discriminator.register_forward_pre_hook(lambda d, inputs: seen.append(inputs))
    x, y = torch.rand(6, 1, 32, 32), torch.randint(4, (6,))
    terms = made.discriminator_loss(Images(x, y))
    assert len(seen) == 1 and set(terms) == {"discriminator/real", "discriminator/fake"}
    assert torch.equal(seen[0][0][6:], x) and torch.equal(seen[0][1][6:], y) and len(seen[0][0]) == 12


def test_penalties_and_augmentation_see_the_classes():
    made, seen = small(augment=DiffAugment(), penalties=[R1(1.0)]), []
    made.discriminator.register_forward_pre_hook(lambda d, inputs: seen.append(inputs))
    x, y = torch.rand(6, 1, 32, 32), torch.randint(4, (6,))
    terms = made.discriminator_loss(Images(x, y))
    assert torch.equal(seen[1][1], y) and torch.equal(seen[1][0].detach(), x)  # the penalty: real, not augmented
    assert not torch.equal(seen[0][0][6:], x)
    sum(terms.values()).backward()
    assert made.discriminator.blocks[0].attention.theta.weight.grad.abs().sum() > 0
    assert made.generator_loss(Images(x, y))["generator/adversarial"].isfinite()


def test_buffers_are_averaged_too():
    made, ema = small(), EMA(decay=0.5, ramp=False, buffers="average")
    start = {f"generator.{k}": v.clone() for k, v in made.generator.state_dict().items()}
    iterate(made, Images(torch.rand(8, 1, 32, 32), torch.randint(4, (8,))), ema)
    for name in ("generator.rgb.u", "generator.rgb.sigma", "generator.norm.bn.running_var"):
        moved = made.state_dict()[name]
        assert not torch.equal(moved, start[name])
        torch.testing.assert_close(ema.average[name], (start[name] + moved) / 2)


def test_standing_statistics_are_those_of_the_samples():
    made = small().eval()
    z, y = made.latents(8, seed=5), made.labels(8, seed=5)
    made.standing(passes=1, batch=8, seed=5)
    images = made.generate(z, y)
    for part in made.generator.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.train()
    torch.testing.assert_close(images, made.generate(z, y), atol=1e-4, rtol=1e-4)  # one pass: its own statistics
    wide = made.generator.norm.bn.running_var.clone()
    made.eval().standing(passes=4, batch=8, seed=5, truncation=0.1)
    assert not torch.equal(wide, made.generator.norm.bn.running_var)


def test_images_without_a_class_are_of_all_of_them():
    made = small().eval()
    z = made.latents(3, seed=0)
    assert torch.equal(made.generate(z), made.generate(z, torch.full((3, 4), 0.25)))
    assert torch.equal(made.sample(3, seed=0), made.generate(z, made.labels(3, seed=0)))
