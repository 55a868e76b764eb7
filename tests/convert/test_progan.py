"""Progressive GAN's originals: networks, one training iteration, and files of their own forms."""

import json
import os
import pickle
import re
import sys
import types
from pathlib import Path

import numpy
import pytest
import torch
from originals import case_of, merged, model, near, one_iteration, weights

from genzoo import cli, convert, hub
from genzoo.batches import Images
from genzoo.callbacks.ema import EMA
from genzoo.convert import gan_zoo, progressive
from genzoo.models.progan import Discriminator, faded
from genzoo.nets.equalized import EqualizedLinear

GOLDEN = Path(__file__).parents[1] / "golden"
ZOO, AKANIMAX = GOLDEN / "facebookresearch+pytorch_GAN_zoo", GOLDEN / "akanimax+pro_gan_pytorch"


# facebookresearch/pytorch_GAN_zoo


@pytest.mark.parametrize("name", ["pgan_scale0_4x4", "pgan_scale1_8x8", "pgan_scale2_16x16"])
def test_networks_of_pytorch_gan_zoo(name):
    """Its alpha is the share of the old. Its discriminator has no fade at 8x8 pixels, ours has one there. In its float32
    a pixel norm enlarges rounding where a pixel is almost nothing, at 16x16 pixels to 1.04e-5 of the largest number.
    """
    case, told = case_of(ZOO / name), json.loads((ZOO / name / "case.json").read_text())
    file = weights(ZOO / name / "weights.pth")
    averaged, live = model(file), model({k: v for k, v in file.items() if k != "avgG"})
    assert averaged.level == averaged.generator.last
    near(averaged.generate(case["z"][:2]), case["avg_image_alpha0"].clamp(-1, 1), 2e-5)
    for alpha in told["alphas"]:
        stage, fade = live.generator.last, torch.tensor(1.0 - alpha, dtype=torch.float64)
        near(live.generator(case["z"], None, stage, fade), case[f"image_alpha{alpha}"], 1.1e-5)
        near(averaged.generator(case["z"][:2], None, stage, fade), case[f"avg_image_alpha{alpha}"])
        fade = None if name == "pgan_scale1_8x8" else fade
        near(live.discriminator(case["image_in"], stage, fade), case[f"logits_alpha{alpha}"][:, 0])
        for n in (6, 3, 1):
            near(live.discriminator(case["image_in"][:n], stage, fade), case[f"logits_first{n}_alpha{alpha}"][:, 0])


def test_the_real_form_of_a_file_and_its_older_names(tmp_path):
    folder = ZOO / "pgan_scale0_4x4"
    made = hub.load(folder / "native.pt")
    case = case_of(folder)
    exact = hub.load(folder / "native.pt").double()
    near(exact.generate(case["z"][:2]), case["avg_image_alpha0"].clamp(-1, 1))
    assert made.facts["source"] == "native.pt of facebookresearch/pytorch_GAN_zoo"
    file = weights(folder / "weights.pth")
    for part in ("netG", "netD", "avgG"):
        file[part] = {key.replace(".module.", "."): value for key, value in file[part].items()}
    torch.save(file, tmp_path / "older.pth")
    older = hub.load(tmp_path / "older.pth").state_dict()
    assert all(torch.equal(value, older[key]) for key, value in made.state_dict().items())
    assert cli.run("convert", [f"src={folder / 'native.pt'}", f"out={tmp_path / 'out'}"]) == 0
    assert torch.equal(hub.load(tmp_path / "out").sample(4, seed=1), made.sample(4, seed=1))


@pytest.mark.parametrize("change", [{"lossCriterion": "DCGAN"}, {"categoryVectorDim": 3}])
def test_options_that_would_be_another_network_are_refused(change):
    file = weights(ZOO / "pgan_scale0_4x4/weights.pth")
    (name,) = change
    with pytest.raises(ValueError, match=f"{name}=.*can be read"):
        convert.read(file | {"config": file["config"] | change})


def names_of(file):
    """Their names of tensors -> ours, each told by a number of its own."""
    state = gan_zoo.opened(file)
    marked = {key: torch.full_like(value, i) for i, (key, value) in enumerate(state.items())}
    ours = {int(value.flatten()[0]): key for key, value in gan_zoo.convert(marked)[1].items()}
    return {key: ours[i] for i, key in enumerate(state)}


def test_one_iteration_of_pytorch_gan_zoo():
    """Its terms are sums over the four images, ours means; Adam's step is the same. D, then G, then the average."""
    folder = ZOO / "pgan_train_16x16"
    case, told = case_of(folder), json.loads((folder / "case.json").read_text())
    before, after = weights(folder / "before.pth"), weights(folder / "after.pth")
    made = model({k: v for k, v in before.items() if k != "avgG"}).train().requires_grad_(True)
    made.growth = lambda images: made.generator.last - told["alpha"]
    terms = {}
    given = {("d", "noise"): case["z_D"], ("g", "noise"): case["z_G"], ("d", "penalty"): case["gp_alpha"][:, 0]}
    made.draw = lambda sample, n, purpose="noise": given[made.place.player, purpose]
    made.tally = lambda update, weight: terms.update(update)
    ema = EMA(decay=0.999, ramp=False)
    ema.average = {k: v for k, v in convert.read(before)[1].items() if k.startswith("generator.")}
    near(faded(case["real_images"], 2, torch.tensor(0.6, dtype=torch.float64)), case["real_images_blended"], 1e-6)
    found = merged(one_iteration(made, Images(case["real_images"], torch.zeros(4)), ema))
    names = {
        "lossD_real": "discriminator/real", "lossD_fake": "discriminator/fake", "lossD_Epsilon": "discriminator/drift",
        "lossD_Grad": "discriminator/gradientpenalty", "lossG_fake": "generator/adversarial",
    }  # fmt: skip
    for theirs, ours in names.items():
        assert 4 * terms[ours].item() == pytest.approx(told["scalars"][theirs], rel=1e-4), ours
    _, moved, _ = convert.read({k: v for k, v in after.items() if k != "avgG"})
    checked = 0
    for key, name in names_of(before).items():
        part, _, rest = key.partition(".")
        head, _, kind = rest.rpartition(".")
        theirs = case.get(f"grad_{'G' if part == 'generator' else 'D'}/{head}.module.{kind}")
        own = found.get(name)
        if theirs is None:
            assert own is None or not own.any(), name
            assert torch.equal(made.state_dict()[name], moved[name].double()), name
            continue
        assert (4 * own - theirs).abs().max() <= 1e-4 * theirs.abs().max(), name
        clear = theirs.abs() > 1e-5  # below, Adam's eps of 1e-8 tells a sum from a mean
        assert (made.state_dict()[name] - moved[name])[clear].abs().max() < 1e-5, name
        assert (made.state_dict()[name] - moved[name]).abs().max() <= 2.1e-3, name
        checked += 1
    assert checked == sum(key.startswith("grad_") for key in case)
    for name, value in convert.read(after)[1].items():
        if name.startswith("generator."):
            assert (ema.average[name] - value).abs().max() < 3e-6, name


# tkarras/progressive_growing_of_gans


def variables(fused, labels=0, resolution=16, base=64, most=16, latents=16):
    """Names and shapes of the official networks, in their order, as `networks.py` makes them."""
    maps = [min(base >> i, most) for i in range(resolution.bit_length())]
    last = resolution.bit_length() - 1
    generator = {"4x4/Dense": (latents + labels, 16 * maps[1]), "4x4/Conv": (3, 3, maps[1], maps[1])}
    generator[f"ToRGB_lod{last - 2}"] = (1, 1, maps[1], 3)
    critic = {"FromRGB_lod0": (1, 1, 3, maps[last - 1])}
    for i in range(3, last + 1):
        side, inputs, outputs = f"{2**i}x{2**i}", maps[i - 2], maps[i - 1]
        up = {"Conv0_up": (3, 3, outputs, inputs)} if fused else {"Conv0": (3, 3, inputs, outputs)}
        up["Conv1"] = (3, 3, outputs, outputs)
        generator |= {f"{side}/{name}": shape for name, shape in up.items()}
        generator[f"ToRGB_lod{last - i}"] = (1, 1, outputs, 3)
    for i in range(last, 2, -1):
        side, outputs, inputs = f"{2**i}x{2**i}", maps[i - 2], maps[i - 1]
        critic[f"{side}/Conv0"] = (3, 3, inputs, inputs)
        critic[f"{side}/Conv1{'_down' * fused}"] = (3, 3, inputs, outputs)
        critic[f"FromRGB_lod{last - i + 1}"] = (1, 1, 3, outputs)
    critic |= {"4x4/Conv": (3, 3, maps[1] + 1, maps[1]), "4x4/Dense0": (16 * maps[1], maps[0])}
    return generator, critic | {"4x4/Dense1": (maps[0], 1 + labels)}


def bias_of(name, shape):
    return (shape[2] if name.endswith("_up") else shape[1] // 16 if name == "4x4/Dense" else shape[-1],)


def filled(layers, lod=0.0):
    """Values by the rule under which the original networks were measured: the number of a variable is its seed."""
    found, number = [("lod", numpy.float32(lod))], 0
    for name, shape in layers.items():
        for kind, size, scale in (("weight", shape, 1.0), ("bias", bias_of(name, shape), 0.1)):
            value = scale * numpy.random.RandomState(number).standard_normal(size)
            found.append((f"{name}/{kind}", value.astype(numpy.float32)))
            number += 1
    return found


@pytest.fixture
def official(tmp_path, monkeypatch):
    """Writes a file as the authors' training did: three objects of their class, which carries its own source text."""
    module = types.ModuleType("tfutil")
    module.Network = type("Network", (), {"__module__": "tfutil", "__qualname__": "Network"})

    def write(fused=True, lod=0.0, protocol=4, change=None, **sizes):
        monkeypatch.setitem(sys.modules, "tfutil", module)
        networks = []
        for name, layers in zip("GD", variables(fused, **sizes)):
            networks.append(module.Network())
            networks[-1].__dict__ |= {
                "version": 2, "name": name, "build_module_src": "raise SystemExit('the source was run')",
                "build_func_name": f"{name}_paper", "variables": filled(layers, lod),
                "static_kwargs": {"num_channels": 3, "resolution": 16, "fused_scale": fused} | (change or {}),
            }  # fmt: skip
        first = module.Network()
        first.__dict__ |= networks[0].__dict__ | {"variables": []}  # the averages are the ones that count
        (tmp_path / "network-final.pkl").write_bytes(pickle.dumps((first, networks[1], networks[0]), protocol))
        monkeypatch.delitem(sys.modules, "tfutil")
        return tmp_path / "network-final.pkl"

    return write


def normal(seed, *shape):
    """As float32 holds them, in float64."""
    return torch.from_numpy(numpy.random.RandomState(seed).standard_normal(shape)).float().double()


TABLE = """
yes 0   | 0.007944 1.108532 | 1.65329 -0.53751 -0.10285 -0.09030 | 0.22840 0.88680 | 0.13481 0.15689 0.14038 0.15953 0.09268 0.16840 0.15023 0.16595
yes 0.3 | 0.039001 0.747065 | 0.95918 -0.57438 -0.03710 -0.02831 | -0.12857 0.33231 | 0.10324 0.12111 0.14808 0.14592 0.04524 0.13661 0.11178 0.13413
yes 1   | 0.111465 0.726368 | -0.66042 -0.66042 0.11632 0.11632 | -0.96148 -0.96148 | 0.00365 -0.00241 0.12592 0.05425 -0.03910 0.01935 0.08454 0.09913
no 0    | -0.285213 0.672673 | 0.99824 0.67979 0.14431 0.46030 | 0.04191 0.55100 | 0.17489 0.17899 0.15954 0.18818 0.12713 0.21104 0.19740 0.21413
no 0.3  | -0.160807 0.476994 | 0.60747 0.38455 0.03402 0.25521 | -0.09808 0.25828 | 0.13326 0.13216 0.13419 0.15851 0.05361 0.14907 0.13039 0.16217
no 1    | 0.129472 0.633342 | -0.30432 -0.30432 -0.22334 -0.22334 | -0.42474 -0.42474 | 0.01771 0.04064 0.10420 0.04878 -0.04728 -0.01680 0.08789 0.06437
"""  # noqa: E501  # fused, lod | mean, deviation | first four | last two | scores


@pytest.mark.parametrize("row", TABLE.strip().splitlines())
def test_official_networks(official, row):
    """At lod 1 their picture is that of 8x8 pixels doubled; ours is the fade before its first image."""
    head, moments, first, last, scores = ([*map(str, part.split())] for part in row.split("|"))
    made = hub.load(official(fused=head[0] == "yes")).double()
    fade = torch.tensor(1 - float(head[1]), dtype=torch.float64)
    images = made.generator(normal(12345, 8, 16), None, 2, fade)
    assert images.shape == (8, 3, 16, 16) and made.discriminator.fused is (head[0] == "yes")
    assert [images.mean().item(), images.std().item()] == pytest.approx([*map(float, moments)], abs=2e-4)
    assert images.flatten()[:4].tolist() == pytest.approx([*map(float, first)], abs=2e-4)
    assert images.flatten()[-2:].tolist() == pytest.approx([*map(float, last)], abs=2e-4)
    found = made.discriminator(normal(54321, 8, 3, 16, 16).tanh(), 2, fade).tolist()
    assert found == pytest.approx([*map(float, scores)], abs=2e-4)


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_an_official_file(official, tmp_path, protocol):
    path = official(protocol=protocol, labels=3, lod=0.25)
    made = hub.load(path)
    assert made.facts["source"] == "network-final.pkl of tkarras/progressive_growing_of_gans"
    assert made.classes == 3 and made.prior.dim == 16 and made.level == 1.75
    logits, kinds = made.discriminator(made.sample(4, seed=0))
    assert logits.shape == (4,) and kinds.shape == (4, 3)
    assert cli.run("convert", [f"src={path}", f"out={tmp_path / 'out'}"]) == 0
    assert torch.equal(hub.load(tmp_path / "out").sample(4, seed=1), made.sample(4, seed=1))


def test_every_value_of_a_file_arrives_once(official):
    """By size and sum of squares: a kernel may be turned, but nothing is scaled, dropped or kept from our own start."""
    generator, critic = variables(True)
    theirs = sorted(
        (v.size, round(float(numpy.square(v).sum()), 2)) for _, v in filled(generator)[1:] + filled(critic)[1:]
    )
    ours = hub.load(official()).state_dict().values()
    assert sorted((v.numel(), round(v.square().sum().item(), 2)) for v in ours) == theirs


def test_official_options_that_would_be_another_network(official):
    with pytest.raises(ValueError, match="use_pixelnorm=False: only True can be read"):
        hub.load(official(change={"use_pixelnorm": False}))
    assert hub.load(official(change={"mbstd_group_size": 8})).discriminator.group == 8


@pytest.mark.parametrize("fused", [True, False])
def test_the_file_of_celebahq_in_its_names_and_shapes(fused):
    """23,079,115 and 23,087,249 values; the reading of names does not depend on the values."""
    sizes = {"resolution": 1024, "base": 8192, "most": 512, "latents": 512}
    state = {"discriminator.group": torch.tensor(4)}
    for part, layers in zip(("generator", "discriminator"), variables(fused, **sizes)):
        for name, shape in layers.items():
            state[f"{part}.{name}/weight"] = torch.empty(shape, device="meta")
            state[f"{part}.{name}/bias"] = torch.empty(bias_of(name, shape), device="meta")
    config, ours = progressive.convert(state)
    with torch.device("meta"):
        made = hub.build(config)
    made.load_state_dict(ours, assign=True)
    assert sum(p.numel() for p in made.generator.parameters()) == 23_079_115
    assert sum(p.numel() for p in made.discriminator.parameters()) == 23_087_249


class Evil:
    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call[0], self.call[1:]


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("call", [(os.system,), (eval,), (getattr, {}), (numpy.load,), (__import__,)])
def test_a_hostile_pickle_is_refused_and_runs_nothing(tmp_path, official, protocol, call):
    trace = tmp_path / "trace"
    hostile = Evil(*call, f"touch {trace}") if call == (os.system,) else Evil(*call, "system")
    path = official(change={"label_size": 0})
    for data in (hostile, (1, 2, hostile), {"netG": {"w": hostile}}):
        path.write_bytes(pickle.dumps(data, protocol))
        with pytest.raises(ValueError, match="could run code; nothing in it was run|truncated or no checkpoint"):
            hub.load(path)
    assert not trace.exists()


@pytest.mark.parametrize("keep", [0.3, 0.9, 0.999])
def test_a_file_that_is_cut_short(official, keep):
    path = official()
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(ValueError, match="network-final.pkl is"):
        hub.load(path)


def test_a_pickle_of_something_else_is_told_so(tmp_path):
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ValueError, match="no known source has these keys"):
        hub.load(tmp_path / "x.pkl")


# akanimax/pro_gan_pytorch: no importer, its generator normalises once where the paper does twice


def test_the_discriminator_of_another_implementation():
    """Its hidden layer has as many features as there are latents; its widths come from high to low resolution."""
    case = case_of(AKANIMAX / "progan_depth4")
    theirs = weights(AKANIMAX / "progan_depth4/weights.pth")["discriminator"]["state_dict"]
    made = Discriminator(3, 16, widths=[6, 5, 4], even_gain=True, fused=False)
    made.dense, made.score = EqualizedLinear(96, 7), EqualizedLinear(7, 1)
    places = {"layers.2.conv_1": "conv", "layers.2.conv_2": "dense", "layers.2.conv_3": "score"}
    for i in range(3):
        places[f"from_rgb.{2 - i}.0"] = f"from_rgb.{i}"
    for i in range(2):
        places |= {f"layers.{1 - i}.conv_1": f"blocks.{i}.conv", f"layers.{1 - i}.conv_2": f"blocks.{i}.down"}
    state = {re.sub(r"(.*)(\.\w+)$", lambda m: places[m[1]] + m[2], key): value for key, value in theirs.items()}
    made.load_state_dict({k: v.flatten(1) if k in ("dense.weight", "score.weight") else v for k, v in state.items()})
    made.double()
    for depth in (2, 3, 4):
        for alpha in ("0.3", "1"):
            x, fade = case[f"image_in_depth{depth}"], torch.tensor(float(alpha), dtype=torch.float64)
            near(made(x, depth - 2, fade), case[f"score_depth{depth}_alpha{alpha}"])
            near(made(x[:3], depth - 2, fade), case[f"score_first3_depth{depth}_alpha{alpha}"])
