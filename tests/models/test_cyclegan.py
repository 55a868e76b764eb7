"""What only CycleGAN has: the pool, two ways through it, and domains by name."""

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

import genzoo
from genzoo import cli, hub
from genzoo.batches import Pair
from genzoo.commands import train as command
from genzoo.core.io import newest
from genzoo.core.random import uniform
from genzoo.core.roles import Translator, require
from genzoo.data.shapes_ab import ShapesAB
from genzoo.fit import built
from genzoo.models.cyclegan import ImagePool

TINY = [
    *("data=shapes_ab", "data.count=24", "model.width=2", "model.generator.b.depth=1"),
    *("model.discriminator.b.layers=2", "model.pool=10", "batch_size=8"),
]


def made(*words, **change):
    torch.default_generator.manual_seed(0)
    config = command.plain(cli.compose("train", ["model=cyclegan", *TINY, *words, "run=nowhere"]))["model"]
    return hub.build(built(config) | change)


def pair(n, a=3, b=3):
    place = torch.Generator().manual_seed(1)
    return Pair(*(torch.rand(n, channels, 32, 32, generator=place) * 2 - 1 for channels in (a, b)))


def iterate(model, *batches):
    """Iterations through the engine; every term that was found, in order."""
    found = []
    model.tally = lambda terms, weight: found.append({k: v.item() * weight for k, v in terms.items()})
    options = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = pl.Trainer(max_steps=len(batches), accelerator="cpu", **options)
    trainer.fit(model.train(), DataLoader(batches, batch_size=None))
    return found


def number(value):
    return torch.full((1, 2, 2), float(value))


def values(images):
    return [int(image.flatten()[0]) for image in images]


def test_the_pool_fills_and_then_exchanges_with_probability_one_half():
    pool = ImagePool(2)
    judged = pool.replace(torch.stack([number(n) for n in (1, 2, 3, 4, 5)]), torch.tensor([0.1, 0.1, 0.1, 0.6, 0.3]))
    assert values(judged) == [1, 2, 1, 4, 2]  # two fill; 3 for the first; 4 itself; 5 for the second
    assert values(pool.images) == [3, 5]
    assert values(pool.replace(number(6)[None], torch.tensor([0.26]))) == [5] and values(pool.images) == [3, 6]


def test_a_pool_keeps_copies_and_none_keeps_nothing():
    fakes = torch.stack([number(1), number(2)])
    pool = ImagePool(2)
    pool.replace(fakes, torch.zeros(2))
    fakes += 7
    assert values(pool.images) == [1, 2]
    assert pool.images[0].untyped_storage().nbytes() == 4 * 4
    off = ImagePool(0)
    assert off.replace(fakes, torch.zeros(2)) is fakes and not off.images


def test_half_of_what_a_full_pool_gives_is_new():
    pool, n = ImagePool(50), 4000
    fakes = torch.arange(n).view(n, 1, 1, 1).float()
    judged = pool.replace(fakes, uniform(0, "pool a", range(n)))
    new = (judged == fakes).flatten()[50:].double().mean().item()
    assert new == pytest.approx(0.5, abs=0.03) and len(pool.images) == 50
    assert len(set(judged.flatten().tolist())) > n - 100  # an old one is given away only once


def test_the_critics_judge_what_the_pool_gives():
    model, batches = made("model.pool=3", "batch_size=2"), [pair(2)] * 4
    judged, fakes = [], []
    inner = model.judge

    def judge(critic, x):
        if model.place.player == "d" and critic is model.discriminator["b"]:
            judged.append(x.clone())
        if model.place.player == "g" and critic is model.discriminator["b"]:
            fakes.append(x.detach().clone())
        return inner(critic, x)

    model.judge = judge
    iterate(model, *batches)
    pool, seen = ImagePool(3), []
    for step, fake in enumerate(fakes):
        seen.append(pool.replace(fake, uniform(model.seed, "pool b", range(2 * step, 2 * step + 2))))
    assert all(torch.equal(a, b) for a, b in zip(judged[1::2], seen, strict=True))  # real, fake, real, fake, ...
    assert not torch.equal(judged[-1], fakes[-1])
    assert all(torch.equal(a, b) for a, b in zip(pool.images, model.pools["b"].images, strict=True))


def test_the_pool_is_the_same_however_the_turn_is_cut(tmp_path):
    pools = []
    for number, words in enumerate(([], ["micro_batch=2"])):
        run = f"run={tmp_path}/{number}"
        words = ["model=cyclegan", *TINY, *words, run, "kimg=0.04", "precision=64-true", "logger=none", "threads=1"]
        assert command.start(cli.compose("train", [*words, "trainer.val_check_interval=100"]), [])[0] == 0
        pools.append(torch.load(newest(tmp_path / str(number)), weights_only=True)["pools"])
    for domain in "ab":
        one, other = (pool[domain] for pool in pools)
        assert one.shape == (10, 3, 32, 32) and torch.allclose(one, other, rtol=0, atol=1e-10)


def test_train_and_eval_give_the_same_picture():
    model, x = made(), pair(2).a
    for to in "ab":
        assert (model.train().translate(x, to=to) - model.eval().translate(x, to=to)).abs().max() == 0


def test_domains_by_letter_and_by_name():
    model, x = require(made(), Translator), torch.rand(1, 3, 21, 34)
    model.facts = {"data": {"domains": ["horse", "zebra"]}}
    assert torch.equal(model.translate(x, to="zebra"), model.translate(x, to="b"))
    assert torch.equal(model.translate(x, to="horse"), model.translate(x, to="a"))
    assert not torch.equal(model.translate(x, to="a"), model.translate(x, to="b"))
    assert model.translate(x, to="a").shape == x.shape
    with pytest.raises(ValueError, match="to=apple: the domains of this model are a and b, a is horse, b is zebra"):
        model.translate(x, to="apple")
    with pytest.raises(ValueError, match="images of 1 channel: this translator takes 3"):
        model.translate(x[:, :1], to="a")


@pytest.mark.parametrize(
    ("domains", "known"),
    [
        (["horse", "Zebra"], {"HORSE": "a", "zebra": "b", "B": "b"}),
        (["1", "2"], {"1": "a", 2: "b"}),
        (["b", "a"], {"a": "a", "b": "b"}),  # letters go first
        (["photo"], {"photo": "a", "b": "b"}),
        (None, {"a": "a", "B": "b"}),
    ],
)
def test_names_of_domains_whatever_a_file_calls_them(domains, known):
    model = made()
    model.facts = {"data": {"domains": domains}}
    assert {name: model.letter(name) for name in known} == known
    model.facts = {"data": {"domains": ["photo", "Photo"]}}
    with pytest.raises(ValueError, match="to=photo: .* a and b, a is photo, b is Photo"):
        model.letter("photo")


def test_sheets_of_the_preview():
    model, batch = made(), pair(9)
    model.facts = {"data": {"domains": ["apple", "orange"]}}
    shown = model.preview(batch)
    assert {name: list(sheet) for name, sheet in shown.items()} == {
        "a_to_b": ["real apple", "fake orange", "reconstructed apple", "identity apple"],
        "b_to_a": ["real orange", "fake apple", "reconstructed orange", "identity orange"],
    }
    real, fake, back, same = shown["b_to_a"].values()
    assert torch.equal(real, batch.b[:8])
    made_of_b = model.generator["a"](batch.b[:8])
    assert torch.allclose(fake, made_of_b, atol=1e-6)
    assert torch.allclose(back, model.generator["b"](made_of_b), atol=1e-5)
    assert torch.allclose(same, model.generator["b"](batch.b[:8]), atol=1e-6)


def test_one_sided():
    """A cycle without weight is not run; its identity goes with it, as in the authors' code."""
    terms, _ = iterate(made("model.cycle.b=0"), pair(2))
    assert terms["generator/cycle_a"] > 0 and "generator/cycle_b" not in terms
    assert "generator/identity_b" not in terms and terms["generator/identity_a"] > 0
    assert {"generator/adversarial_a", "generator/adversarial_b"} <= set(terms)


def test_domains_of_different_channels_have_no_identity():
    colour = {"_target_": "genzoo.nets.translators.ResNet", "resolution": 32, "width": 2, "depth": 1}
    critic = {"_target_": "genzoo.nets.patch.PatchDiscriminator", "width": 2, "layers": 2}
    model = made(
        generator={"a": colour | {"inputs": 3, "outputs": 1}, "b": colour | {"inputs": 1, "outputs": 3}},
        discriminator={"a": critic | {"channels": 1}, "b": critic | {"channels": 3}},
    )
    terms, _ = iterate(model, pair(2, a=1))
    assert set(terms) == {f"generator/{name}_{domain}" for name in ("adversarial", "cycle") for domain in "ab"}
    assert list(model.preview(pair(2, a=1))["a_to_b"]) == ["real a", "fake b", "reconstructed a"]
    assert [model.pools[domain].images[0].shape[0] for domain in "ab"] == [1, 3]


def test_every_objective_and_a_penalty_by_name():
    terms, judged = iterate(made("model.penalties=[{_target_: genzoo.losses.GradientPenalty}]"), pair(2))
    assert {"discriminator/gradientpenalty_a", "discriminator/gradientpenalty_b"} < set(judged)
    assert terms["generator/identity_a"] > 0


@pytest.mark.parametrize("turns", ["[dg]", "[gd,d]"])
def test_other_turns_are_refused(turns):
    with pytest.raises(ValueError, match="CycleGAN plays .gd."):
        made(f"model.turns={turns}")


def test_a_unet_takes_the_place_of_the_translators():
    model = made("model.generator.b._target_=genzoo.nets.translators.UNet", "model.generator.b.depth=5")
    assert model.generator["a"].multiple_of == model.generator["b"].multiple_of == 32


@pytest.mark.slow
def test_the_truth_is_found_without_pairs(tmp_path):
    """Inside the objects, where the mean picture is .30 and .46 away and training with pairs comes to .14 and .11."""
    model = genzoo.train("experiment=cyclegan_shapes", "logger=none", run=str(tmp_path / "run"))
    scenes = ShapesAB("test", count=200)
    truth, mask = scenes.__getitems__([(i, i) for i in range(200)]), scenes.mask[:, None].expand(-1, 3, -1, -1)
    for to, source, real, limit in (("b", truth.a, truth.b, 0.18), ("a", truth.b, truth.a, 0.20)):
        assert (model.translate(source, to) - real).abs()[mask].mean() < limit
