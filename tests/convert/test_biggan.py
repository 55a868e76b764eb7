"""BigGAN and BigGAN-deep of ajbrock/BigGAN-PyTorch and huggingface/pytorch-pretrained-BigGAN, through our converters."""

import itertools
import json
import math
import re
from functools import partial
from pathlib import Path

import numpy
import originals
import pytest
import pytorch_lightning as pl
import torch
from originals import case_of, model, one_iteration, read, signed, weights
from torch import nn

from genzoo import convert, hub
from genzoo.batches import Images
from genzoo.callbacks.ema import EMA
from genzoo.convert import biggan_deep_hf, biggan_pytorch
from genzoo.models import biggan, biggan_deep
from genzoo.nets.norm import ConditionalNorm, select, standing
from genzoo.nets.spectral import SNLinear

GOLDEN = Path(__file__).parents[1] / "golden"
AJ, HF = GOLDEN / "ajbrock+BigGAN-PyTorch", GOLDEN / "huggingface+pytorch-pretrained-BigGAN"


def near(ours, theirs, tolerance=1e-5):
    originals.near(ours, theirs, tolerance, least=1e-8)


def opened(folder, name):
    return model(weights(folder / name / "weights.pth")), case_of(folder / name)


def thin(image, case, name):
    return (image[:, :, ::2, ::2], case[f"{name}_stride2"]) if f"{name}_stride2" in case else (image, case[name])


def same_buffers(network, case, part, deep, prefix="after_train/"):
    theirs = {key.removeprefix(prefix): value for key, value in case.items() if key.startswith(prefix)}
    ours, found = network.state_dict(), biggan_pytorch.renamed(theirs, part, deep)
    checked = [key for key in found if key.removeprefix(f"{part}.") in ours and "num_batches" not in key]
    assert len(checked) == len([key for key in theirs if "counter" not in key])
    for key in checked:
        near(ours[key.removeprefix(f"{part}.")], found[key])


@pytest.mark.parametrize("name", ["biggan32_G", "biggan64_G", "biggandeep64_G"])
def test_generators(name):
    made, case = opened(AJ, name)
    z, y = case["z"], case["y"]
    near(made.generator.shared(y), case["shared_y"])
    near(*thin(made.generate(z, y), case, "image_eval"))
    near(*thin(made.train().generate(z, y), case, "image_train"))
    same_buffers(made.generator, case, "generator", "deep" in name)


@pytest.mark.parametrize("name", ["biggan32_D", "biggan64_D", "biggandeep32_D"])
def test_discriminators(name):
    made, case = opened(AJ, name)
    x, y = signed(case["image_u8"]).requires_grad_(), case["y"]
    logits = made.discriminator(x, y)
    near(logits[:, None], case["logits_eval"])
    (slope,) = torch.autograd.grad(logits.sum(), x)
    near(*thin(slope, case, "grad_image_of_sum_eval"))
    near(made.train().discriminator(x, y)[:, None], case["logits_train"])
    same_buffers(made.discriminator, case, "discriminator", "deep" in name)


def test_its_own_batch_norm_and_standing_statistics():
    """`mybn` keeps the biased variance and a counter; its running variances differ from ours by n / (n - 1)."""
    made, case = opened(AJ, "biggan32_G_mybn")
    before = {k: v.clone() for k, v in made.generator.state_dict().items()}
    near(made.generate(case["z"], case["y"]), case["image_eval"])
    near(made.train().generate(case["z"], case["y"]), case["image_train"])
    after, n = made.generator.state_dict(), 2 * 8 * 8  # of the first block's second BatchNorm
    name = "blocks.0.norm2.bn.running_var"
    biased = 0.9 * before[name] + (after[name] - 0.9 * before[name]) * (n - 1) / n
    near(biased, case["after_train/blocks.0.0.bn2.bn.stored_var"])
    made.generator.load_state_dict(before)
    with standing(made.generator):
        for z, y in zip(case["standing_z"], case["standing_y"]):
            made.generate(z, y)
    sums = {k.removeprefix("after_standing/"): v for k, v in case.items() if k.startswith("after_standing/")}
    passes = sums["output_layer.0.bn.accumulation_counter"]
    near(made.generator.norm.bn.running_mean, sums["output_layer.0.bn.stored_mean"] / passes)
    near(made.generator.norm.bn.running_var, sums["output_layer.0.bn.stored_var"] / passes)
    near(made.eval().generate(case["z"], case["y"]), case["image_standing"], 3e-5)


def test_a_training_iteration_of_the_source():
    """Two steps of D in two micro-batches each, one of G with the orthogonal term: losses, gradients, weights, EMA."""
    folder = AJ / "biggan32_train"
    case, told = case_of(folder), json.loads((folder / "case.json").read_text())
    step, scalars = told["constructor_and_step_config"], told["scalars"]
    before, after = weights(folder / "before.pth"), weights(folder / "after.pth")
    rates = {"d": step["D_lr"], "g": step["G_lr"]}
    adam = {"_target_": "torch.optim.Adam", "_partial_": True, "betas": [0.0, 0.999], "eps": step["adam_eps"]}
    optimizers = {player: adam | {"lr": rate} for player, rate in rates.items()}
    made = model(before["G"], before["D"], optimizers=optimizers, orthogonal=step["G_ortho"] / 2)
    for part in (made.generator, made.discriminator):
        for module in part.modules():
            if hasattr(module, "eval_iterations"):
                module.eps = step["SN_eps"]
    theirs_ema = convert.read(before["G_ema"])[1]
    draws, terms = itertools.count(), []

    def fakes(n):
        i = next(draws)
        return made.generate(case["z_draws"][i], case["y_draws"][i]), case["y_draws"][i]

    steps = made.update

    def update(player, *rest, **options):  # there only D's updates are in parts, of 4 images; G's is one part of 4
        made.micro_batch = 4 if player == "d" else None
        steps(player, *rest, **options)

    class Start(pl.Callback):
        def on_train_start(self, trainer, module):
            for key, value in ema.average.items():
                value.copy_(theirs_ema[key])

    made.fakes, made.update = fakes, update
    made.tally = lambda found, weight: terms.append({k: v.item() for k, v in found.items()})
    ema = EMA(decay=step["ema_decay"], ramp=False, buffers="average")
    gradients = one_iteration(made, Images(signed(case["real_u8"]), case["real_labels"]), ema, Start())

    assert [t["discriminator/real"] for t in terms[:4]] == pytest.approx(scalars["D_loss_real"], rel=1e-4)
    assert [t["discriminator/fake"] for t in terms[:4]] == pytest.approx(scalars["D_loss_fake"], rel=1e-4)
    assert terms[4]["generator/adversarial"] == pytest.approx(scalars["G_loss"][0], rel=1e-4)

    zero = {
        n.removeprefix("grad_G_update1/") for n in told["tolerance"]["parameters whose gradient is zero up to rounding"]
    }
    clear = {}
    for (name, part), ours in zip(
        [("D_update1", "discriminator"), ("D_update2", "discriminator"), ("G_update1", "generator")],
        gradients, strict=True,
    ):  # fmt: skip
        prefix = f"grad_{name}/"
        theirs = {k.removeprefix(prefix): v for k, v in case.items() if k.startswith(prefix)}
        skipped = {n for n in theirs if part == "generator" and n in zero}
        renamed = biggan_pytorch.renamed(theirs, part, False)
        renamed = {key: renamed[key] for key in ours if key in renamed}
        assert len(renamed) == len(theirs) == len(ours)
        unclear = set(biggan_pytorch.renamed({n: theirs[n] for n in skipped}, part, False))
        for key, value in renamed.items():
            if key not in unclear:
                near(ours[key], value, 1e-4)
            sure = (value.abs() > 1e-6) & (key not in unclear)  # Adam's step is the sign of what is rounding alone
            clear[key] = clear.get(key, True) & sure

    for part, letter in (("generator", "G"), ("discriminator", "D")):
        state, wanted = getattr(made, part).state_dict(), convert.read(after[letter])[1]
        for key, value in wanted.items():
            if not value.is_floating_point():
                continue
            ours, sure = state[key.removeprefix(f"{part}.")], clear.get(key)
            if sure is None:
                near(ours, value, 1e-4)
            else:
                assert ((ours - value).abs()[sure] <= 1e-5).all(), key
                assert (ours - value).abs().max() <= 2.1 * 2 * rates[letter.lower()], key
    for key, value in convert.read(after["G_ema"])[1].items():
        if value.is_floating_point():
            assert (ema.average[key] - value).abs().max() <= 1e-5 * max(1, value.abs().max()), key


# the other source


def test_deep_generator_with_tables():
    made, case = opened(HF, "biggandeep128")
    z, y = case["z"], case["class_index"]
    near(made.generator.shared(case["class_vector"]), case["class_embedding"])
    for t, name in ((0.4, "image_t0.4"), (0.42, "image_t0.42"), (1.0, "image_t1")):
        assert select(made.generator, t)
        near(made.generate(z, case["class_vector"])[:, :, ::4, ::4], case[name])
    assert torch.equal(case["class_vector"].argmax(1), y)
    select(made.generator, 0.4)
    made.generator.train()
    for part in made.generator.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eval()  # there they read the table in training too
    near(made.generate(z, case["class_vector"])[:, :, ::4, ::4], case["image_trainmode_t0.4"])


def test_a_table_of_51_rows():
    """Layers that no published file has: the importer's tensors in blocks put together here."""
    told = json.loads((HF / "biggandeep32_51stats/case.json").read_text())["config"]
    case = case_of(HF / "biggandeep32_51stats")
    width, known = told["channel_width"], told["z_dim"] + told["class_embed_dim"]
    sn = {"eps": 1e-4, "eval_iterations": 0}
    made = biggan_deep.Generator(
        told["z_dim"], 3, 128, width, told["num_classes"], told["class_embed_dim"], (), eps=1e-4, spectral_eps=1e-4,
        eval_iterations=0, surplus=width - 3, rows=51,
    )  # fmt: skip

    def norm(size):
        return ConditionalNorm(size, partial(SNLinear, known, size, bias=False, **sn), 1e-4, 51)

    made.blocks = nn.ModuleList(
        biggan_deep.GeneratorBlock(width * i, width * o, up, n + 1 == told["attention_layer_position"], norm, **sn)
        for n, (up, i, o) in enumerate(told["layers"])
    )
    state = biggan_deep_hf.tensors(weights(HF / "biggandeep32_51stats/weights.pth"))
    made.load_state_dict({key.removeprefix("generator."): value for key, value in state.items()})
    made.double().eval()
    for t in (0.4, 0.42, 0.43, 0.14, 0.58, 1.0):
        select(made, t)
        near(made(case["z"], case["class_vector"])[:, :, ::2, ::2], case[f"image_t{t:g}"])


# tensors by a rule, in the original's order: no files needed


def ruled(number, name, shape):
    a = torch.from_numpy(numpy.asarray(numpy.random.RandomState(number).standard_normal(shape)))
    if name.endswith(("stored_var", "running_vars")):
        a = 1 + 0.25 * a.tanh()
    elif name.endswith("sv0"):
        a = torch.ones(shape)
    elif name.endswith("gamma"):
        a = torch.full(shape, 0.5)
    elif name.endswith(("weight", "weight_orig", "gain")):
        a = 1.4 * a / math.sqrt(math.prod(shape) / shape[0]) if len(shape) > 1 else 1 + 0.1 * a
    else:
        a = 0.1 * a
    return a.float()


def empty(number, name, shape):
    return torch.empty(shape, device="meta")


def theirs(network, deep, fill=ruled):
    """Names and shapes of the source for one of our networks, in its order, filled by the rule."""
    nested = deep and hasattr(network, "head")

    def place(found):
        i, attention = int(found[1]), bool(found[2])
        if nested:
            return f"blocks.{i // 2}.{2 if attention else i % 2}."
        return f"blocks.{i}.{int(attention)}."

    names = {}
    for key, value in network.state_dict().items():
        for pattern, name in (
            (r"^blocks\.(\d+)\.(attention\.)?", place), (r"\.norm(\d)\.", r".bn\1."), (r"\.skip\.", ".conv_sc."),
            (r"^norm\.bn\.weight", "output_layer.0.gain"), (r"^norm\.(bn\.)?", "output_layer.0."),
            (r"(\.bn)?\.running_", ".stored_"), (r"^rgb", "output_layer.2"), (r"^head\.", ""), (r"^stem", "input_conv"),
            (r"\.u$", ".u0"), (r"\.sigma$", ".sv0"),
        ):  # fmt: skip
            key = re.sub(pattern, name, key)
        if not key.endswith("num_batches_tracked"):
            names[key] = value.shape
    return {name: fill(i, name, tuple(shape)) for i, (name, shape) in enumerate(names.items())}


def rows(seed, *shape):
    """Normal numbers as float32 holds them, in float64."""
    return torch.from_numpy(numpy.random.RandomState(seed).standard_normal(shape)).float().double()


def summary(image, mean, std, first, last):
    flat = image.flatten()
    assert [flat.mean().item(), flat.std().item()] == pytest.approx([mean, std], abs=2e-4)
    assert flat[:4].tolist() == pytest.approx(first, abs=2e-4) and flat[-2:].tolist() == pytest.approx(last, abs=2e-4)


G, D, DG, DD = biggan.Generator, biggan.Discriminator, biggan_deep.Generator, biggan_deep.Discriminator
RULED = {  # resolution, latents, networks, parameters, image, logits
    "hierarchical": (
        32, 80, lambda: G(80, 3, 32, 4, 10, 16, attention=[16]), lambda: D(3, 32, 4, 10, attention=[16, 8]),
        (27_972, 18_485), (-0.409173, 0.427285, [-0.41556, -0.28659, -0.36460, -0.40356], [-0.22256, -0.14972]),
        [-32.54742, 18.24397, -2.07704, 12.12255],
    ),
    "deep": (
        64, 16, lambda: DG(16, 3, 64, 8, 10, 16, attention=[32]), lambda: DD(3, 64, 8, 10, attention=[32]),
        (269_908, 76_354), (0.063677, 0.260520, [-0.05411, -0.35022, -0.30848, -0.30952], [0.04346, -0.21866]),
        [1.62524, -1.99549, 3.52540, 5.65970],
    ),
    "unshared": (
        32, 16, lambda: G(16, 3, 32, 4, 10, 0, False), lambda: D(3, 32, 4, 10, attention=[]),
        (21_475, 17_201), (0.182195, 0.388126, [0.39362, 0.41008, 0.41495, 0.43828], [-0.12110, 0.02427]),
        [-50.54402, -0.23561, -8.00688, -19.79542],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RULED)
def test_networks_filled_by_the_rule(name):
    side, dim, generator, discriminator, counts, image, logits = RULED[name]
    pair = generator(), discriminator()
    assert tuple(sum(p.numel() for p in network.parameters()) for network in pair) == counts
    made, y = model(*(theirs(network, name == "deep") for network in pair)), torch.tensor([0, 3, 7, 9])
    with torch.no_grad():
        summary(made.generate(rows(12345, 4, dim), y), *image)
        assert made.discriminator(rows(54321, 4, 3, side, side).tanh(), y).tolist() == pytest.approx(logits, abs=2e-3)


def test_the_order_of_the_source():
    """What the rule rests on: names, order and shapes of real files."""
    for name in ("biggan32_G", "biggan64_D", "biggandeep64_G", "biggandeep32_D"):
        state = weights(AJ / name / "weights.pth")
        made = read(state)
        ours = theirs(made.generator if "_G" in name else made.discriminator, "deep" in name)
        assert [(k, v.shape) for k, v in ours.items()] == [(k, v.shape) for k, v in state.items()]


def hf_state(width, dim, classes, attention):
    """Names and shapes of a file of 128 pixels, in its order, filled by the rule; u and v by one iteration."""
    known, shapes = 2 * dim, {"embeddings.weight": (dim, classes)}

    def spectral(name, outputs, *inputs, bias=True):
        shapes.update({f"{name}.bias": (outputs,)} if bias else {})
        shapes.update({f"{name}.weight_orig": (outputs, *inputs), f"{name}.weight_u": (outputs,)})
        shapes.update({f"{name}.weight_v": (math.prod(inputs),)})

    def tables(name, size):
        shapes.update({f"{name}.running_means": (51, size), f"{name}.running_vars": (51, size)})

    spectral("generator.gen_z", 16 * 16 * width, known)
    plan = [(16, 16), (16, 16), (16, 16), (16, 8), (8, 8), (8, 4), (4, 4), (4, 2), (2, 2), (2, 1)]
    for i, (inputs, outputs) in enumerate(plan):
        at = f"generator.layers.{i + (i >= attention)}"
        inputs, outputs = inputs * width, outputs * width
        if i == attention:
            shapes[f"generator.layers.{i}.gamma"] = (1,)
            for name, sizes in (("theta", (8, 1)), ("phi", (8, 1)), ("g", (2, 1)), ("o_conv", (1, 2))):
                spectral(
                    f"generator.layers.{i}.snconv1x1_{name}", inputs // sizes[0], inputs // sizes[1], 1, 1, bias=False
                )
        hidden = inputs // 4
        for j, (i1, o1, k) in enumerate(
            ((inputs, hidden, 1), (hidden, hidden, 3), (hidden, hidden, 3), (hidden, outputs, 1))
        ):
            tables(f"{at}.bn_{j}", i1)
            spectral(f"{at}.bn_{j}.scale", i1, known, bias=False)
            spectral(f"{at}.bn_{j}.offset", i1, known, bias=False)
            spectral(f"{at}.conv_{j}", o1, i1, k, k)
    shapes |= {"generator.bn.weight": (width,), "generator.bn.bias": (width,)}
    tables("generator.bn", width)
    spectral("generator.conv_to_rgb", width, width, 3, 3)
    state = {name: ruled(i, name, shape) for i, (name, shape) in enumerate(shapes.items())}
    for name in [name for name in state if name.endswith("weight_u")]:
        matrix = state[name[:-1] + "orig"].flatten(1).double()
        u = nn.functional.normalize(state[name].double(), dim=0)
        v = nn.functional.normalize(matrix.T @ u, dim=0)
        state[name] = nn.functional.normalize(matrix @ v, dim=0).float()
        state[name[:-1] + "v"] = v.float()
    return state


HF_RULED = {
    1.0: (-0.120025, 0.555842, [0.10898, 0.52961, 0.60173, 0.69404], [-0.44675, -0.64720]),
    0.4: (-0.130228, 0.470383, [0.31929, 0.59290, 0.59650, 0.63095], [-0.21443, -0.15223]),
    0.405: (-0.113445, 0.458801, [0.12505, 0.53576, 0.54633, 0.58072], [-0.19052, -0.14445]),
    0.58: (-0.043718, 0.460055, [0.09409, 0.58391, 0.60496, 0.63401], [-0.33044, -0.39163]),
}


def test_the_other_source_filled_by_the_rule():
    state = hf_state(8, 16, 10, 8)
    golden = weights(HF / "biggandeep128/weights.pth")
    assert [*hf_state(3, 6, 10, 6)] == [*golden]  # the order of a real file
    made, z = model(state), rows(12345, 2, 16)
    assert sum(p.numel() for p in made.generator.parameters()) == 273_513
    assert made.config["generator"]["attention"] == [64] and made.classes == 10
    with torch.no_grad():
        for truncation, wanted in HF_RULED.items():
            select(made.generator, truncation)
            summary(made.generate(truncation * z, torch.tensor([3, 7])), *wanted)


def test_sampling_takes_the_row_of_the_truncation():
    """And the source's truncation: t * a normal cut off at 2, for `sample` and for whoever asks for latents."""
    made = read(hf_state(4, 4, 3, 8))
    table = made.generator.norm.means
    z = made.latents(5000, seed=0, truncation=0.4)
    assert torch.equal(made.generator.norm.bn.running_mean, table[20])
    assert z.abs().max() <= 0.8 and z.abs().max() > 0.79
    made.latents(1)
    assert torch.equal(made.generator.norm.bn.running_mean, table[50])
    images = [made.sample(2, seed=1, truncation=t) for t in (0.4, 1.0, 0.4)]
    assert torch.equal(images[0], images[2]) and not torch.equal(images[0], images[1])
    with pytest.raises(ValueError, match="truncation=1.5: this file has statistics for 0 to 1"):
        made.sample(2, truncation=1.5)


FULL = {  # networks, tensors in a file, parameters
    "128": (lambda: G(120, 3, 128, 96, 1000), lambda: D(3, 128, 96, 1000), (166, 88), (70_433_988, 87_982_370)),
    "deep": (lambda: DG(128, 3, 128, 128, 1000), lambda: DD(3, 128, 128, 1000), (506, 200), (50_244_484, 34_590_210)),
    "cifar": (
        lambda: G(128, 3, 32, 64, 10, 0, False), lambda: D(3, 32, 64, 10, attention=[]), (72, 47), (4_304_387, 4_207_361),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FULL)
def test_full_sizes(name):
    """Without a byte of weights: every tensor of a published file finds its place in what its shapes ask for."""
    generator, discriminator, tensors, counts = FULL[name]
    with torch.device("meta"):
        states = [theirs(network, name == "deep", empty) for network in (generator(), discriminator())]
        assert tuple(map(len, states)) == tensors
        config, state, _ = convert.read(*states)
        made = hub.build(config)
        made.load_state_dict(state)
    assert tuple(sum(p.numel() for p in part.parameters()) for part in (made.generator, made.discriminator)) == counts


def test_a_generator_from_tfhub():
    """No sigmas are in it, and its eps is another."""
    state = theirs(G(24, 3, 128, 2, 5, 8), False)
    config, ours, _ = convert.read({k: v for k, v in state.items() if not k.endswith("sv0")})
    assert config["generator"]["eps"] == config["generator"]["spectral_eps"] == 1e-4
    assert config["generator"]["attention"] == [64] and config["generator"]["latent_dim"] == 24
    hub.build(config).load_state_dict(ours)
