"""Networks and whole training iterations of junyanz/pytorch-CycleGAN-and-pix2pix, from its files through our importer."""

from collections import Counter
from pathlib import Path

import pytest
import torch
from originals import case_of, merged, model, near, one_iteration, read, weights
from safetensors.torch import load_file

from genzoo import convert, hub
from genzoo.batches import Pair
from genzoo.convert import cyclegan
from genzoo.models.cyclegan import CycleGAN
from genzoo.models.pix2pix import Pix2Pix
from genzoo.nets.patch import PatchDiscriminator
from genzoo.nets.translators import ResNet, UNet

GOLDEN = Path(__file__).parents[1] / "golden/junyanz+pytorch-CycleGAN-and-pix2pix"
NETWORKS = {
    "patchgan70_instance": (CycleGAN, lambda model: model.discriminator["b"]),
    "pixel_batch": (Pix2Pix, lambda model: model.discriminator),
    "resnet6_instance_old_checkpoint": (CycleGAN, lambda model: model.generator["b"]),
    "resnet9_batch": (Pix2Pix, lambda model: model.generator),
    "unet5_batch": (Pix2Pix, lambda model: model.generator),
}


def joined(*states):
    config, state = cyclegan.joined(list(states))
    made = hub.build(config)
    made.load_state_dict(state)
    return made


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_from_its_file(name):
    case, (kind, of) = case_of(GOLDEN / name), NETWORKS[name]
    made = model(weights(GOLDEN / name / "weights.pth"))
    network = of(made)
    assert type(made) is kind
    if "y" in case:
        near(network(case["x"]), case["y"])
        near(network.train()(case["x"]), case["y"])
        return
    for part in network.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0  # switched off in the case
    near(network(case["x"]), case["y_eval"])
    near(network.train()(case["x"]), case["y_train"])
    _, state, _ = convert.read(weights(GOLDEN / name / "weights.pth"))
    ours, theirs = dict(network.named_buffers()), iter(case["running_stats_after_train_forward"])
    for key in (key.partition(".")[2] for key in state if key.endswith(("running_mean", "running_var"))):
        near(ours[key], torch.stack([next(theirs) for _ in ours[key]]))
    assert next(theirs, None) is None


def iteration(name, made, order):
    """One iteration through the engine's update: its terms, our gradients, those of the case by our names."""
    terms, case = Counter(), case_of(GOLDEN / name)
    made.tally = lambda found, weight: terms.update({k: v.item() for k, v in found.items()})
    ours = merged(one_iteration(made, Pair(case["real_A"], case["real_B"])))
    files = load_file(GOLDEN / name / "grads.safetensors")
    split = [
        {k.split("/")[1]: v.double() for k, v in files.items() if k.startswith(f"{network}/")} for network in order
    ]
    theirs = cyclegan.joined(split)[1]
    assert theirs.keys() == ours.keys()
    for key, gradient in theirs.items():
        assert (ours[key] - gradient).abs().max() <= 1e-3 * max(gradient.abs().max().item(), 0.3), key
    return terms, ours, case


def same_weights(made, name, order, gradients):
    """Adam's first step is the gradient's sign, which rounding decides where there is none."""
    after = weights(GOLDEN / name / "after.pth")
    ours, checked = made.state_dict(), 0
    for key, value in cyclegan.joined([after[network] for network in order])[1].items():
        if key in gradients:
            clear = gradients[key].abs() > 1e-5
            assert ((ours[key] - value).abs()[clear] <= 2e-6).all(), key
            assert (ours[key] - value).abs().max() <= 4.1e-4, key
            checked += int(clear.sum())
    assert checked > sum(gradient.numel() for gradient in gradients.values()) / 2


def test_cyclegan_iteration():
    order = ["G_A", "G_B", "D_A", "D_B"]
    before = weights(GOLDEN / "train_step_cyclegan/before.pth")
    config, state = cyclegan.joined([before[network] for network in order])
    made = hub.build(config | {"pool": 0}).double()
    made.load_state_dict(state)
    found, gradients, case = iteration("train_step_cyclegan", made, order)
    for theirs, b, a in (("A", "b", "a"), ("B", "a", "b")):  # their network A makes and judges B
        ours = {
            f"loss_G_{theirs}": found[f"generator/adversarial_{b}"],
            f"loss_cycle_{theirs}": found[f"generator/cycle_{a}"],
            f"loss_idt_{theirs}": found[f"generator/identity_{b}"],
            f"loss_D_{theirs}": found[f"discriminator/real_{b}"] + found[f"discriminator/fake_{b}"],
        }
        for name, value in ours.items():
            assert value == pytest.approx(case[name].item(), rel=1e-5), name
    total = sum(value for name, value in found.items() if name.startswith("generator"))
    assert total == pytest.approx(case["loss_G_total"].item(), rel=1e-5)
    same_weights(made, "train_step_cyclegan", order, gradients)


def test_pix2pix_iteration():
    """The source makes the fake once and shows it to D before the step of G; ours is made anew, which only moves the
    running statistics of G once more."""
    before = weights(GOLDEN / "train_step_pix2pix/before.pth")
    config, state = cyclegan.joined([before["D"], before["G"]])
    config["generator"]["dropout"] = 0.0
    made = hub.build(config).double()
    made.load_state_dict(state)
    made_once, plain = {}, made.generator.forward

    def once(source):
        if not made_once:
            with torch.enable_grad():
                made.generator.requires_grad_(True)
                made_once["fake"] = plain(source)
        return made_once["fake"]

    made.generator.forward = once
    found, gradients, case = iteration("train_step_pix2pix", made, ["G", "D"])
    near(made_once["fake"], case["fake_B"])
    assert found["discriminator/real"] == pytest.approx(case["loss_D_real"].item() / 2, rel=1e-5)
    assert found["discriminator/fake"] == pytest.approx(case["loss_D_fake"].item() / 2, rel=1e-5)
    assert found["generator/adversarial"] == pytest.approx(case["loss_G_GAN"].item(), rel=1e-5)
    assert found["generator/l1"] == pytest.approx(case["loss_G_L1"].item(), rel=1e-5)
    same_weights(made, "train_step_pix2pix", ["G", "D"], gradients)
    after = weights(GOLDEN / "train_step_pix2pix/after.pth")
    for key, value in cyclegan.joined([after["G"], after["D"]])[1].items():
        if "running" in key or "num_batches" in key:
            near(made.state_dict()[key], value)


def theirs(network, name):
    """The state dict of one of our networks under the source's keys."""
    unet = isinstance(network, UNet)
    found = {}
    for key, value in network.state_dict().items():
        if unet:
            side, level, place, tensor = key.split(".")
            level, deepest = int(level), len(network.downs) - 1
            prefix = "model.model" + "".join([".1.model", *[".3.model"] * (level - 1)][: max(level, 0)])
            shift = 0 if side == "downs" else 2 if level == 0 or level == deepest else 4
            key = f"{prefix}.{int(place) + shift}.{tensor}"
        else:
            key = f"{name}.{key.replace('.layers.', '.conv_block.')}"
        found[key] = value
    return found


@pytest.mark.parametrize(
    "network",
    [
        ResNet(3, 3, 32, width=2, depth=6),
        ResNet(1, 3, 32, width=2, depth=2, dropout=0.5),
        ResNet(3, 1, 32, width=3, depth=9, norm="batch", dropout=0.5),
        ResNet(3, 3, 32, width=3, depth=1, norm="none"),
        UNet(3, 1, 256, width=2, depth=8),
        UNet(1, 3, 128, width=2, depth=7, norm="instance", dropout=0),
    ],
    ids=["plain", "dropout", "batch", "none", "unet", "unet-instance"],
)
@pytest.mark.parametrize("dialect", ["plain", "module", "old", "shuffled"])
def test_every_architecture_is_read_off_the_names(network, dialect):
    state = theirs(network, "model")
    if dialect == "module":
        state = {f"module.{key}": value for key, value in state.items()}
    if dialect == "shuffled":
        state = dict(reversed(state.items()))
    if dialect == "old" and any(isinstance(m, torch.nn.InstanceNorm2d) for m in network.modules()):
        place = "model.model.1.model.2" if isinstance(network, UNet) else "model.2"
        state |= {f"{place}.{name}": torch.ones(2) for name in ("running_mean", "running_var")}
        state |= {f"{place}.num_batches_tracked": torch.tensor(3)}
    if dialect == "old":
        state = {key: value for key, value in state.items() if "num_batches" not in key or key.endswith(".2.x")}
    made = read(state)
    found = made.generator if isinstance(made, Pix2Pix) else made.generator["b"]
    assert repr(found) == repr(network)
    for key, value in network.state_dict().items():
        assert torch.equal(found.state_dict()[key], value), key


def test_what_is_not_in_the_file_is_absent(tmp_path):
    made = read(theirs(ResNet(3, 3, 32, width=2, depth=2), "model"))
    x = torch.rand(1, 3, 17, 9) * 2 - 1
    assert made.translate(x, to="b").shape == x.shape
    with pytest.raises(ValueError, match="held no generator of a"):
        made.translate(x, to="a")
    made.facts = {}
    again = hub.load(hub.save(made, tmp_path))
    assert torch.equal(again.translate(x, to="b"), made.translate(x, to="b"))


def test_files_of_one_training_are_joined_in_the_order_of_their_names():
    networks = [ResNet(3, 3, 32, width=2, depth=1) for _ in range(2)]
    critics = [PatchDiscriminator(3, width=2) for _ in range(2)]
    files = [theirs(network, "model") for network in (*networks, *critics)]
    made = joined(*files)
    for domain, network, critic in zip("ba", networks, critics):
        assert torch.equal(made.generator[domain][1].weight, network[1].weight)
        assert torch.equal(made.discriminator[domain][0].weight, critic[0].weight)
    with pytest.raises(ValueError, match="it has 2 of a kind"):
        joined(*files[:2], files[0])


def test_the_game_is_told_by_what_the_critic_sees():
    """The source trains both with any norm; only a file that is alone leaves nothing but its norm to go by."""
    for norm in ("instance", "batch", "none"):
        network, critics = ResNet(3, 1, 32, width=2, depth=1, norm=norm), (4, 1)  # beside its source, or alone
        pairs, sets = (
            [theirs(x, "model") for x in (network, PatchDiscriminator(n, width=2, norm=norm))] for n in critics
        )
        assert type(joined(*pairs)) is type(joined(*reversed(pairs))) is Pix2Pix
        assert type(joined(*sets)) is type(joined(*sets, *sets)) is CycleGAN
        assert type(joined(*sets[:1])) is (Pix2Pix if norm == "batch" else CycleGAN)


def test_a_damaged_file_is_told():
    state = theirs(ResNet(3, 3, 32, width=2, depth=2), "model")
    del state["model.1.weight"]
    with pytest.raises(ValueError, match=r"lacks 'model.1.weight'"):
        read(state)
    with pytest.raises(ValueError, match=r"more than this kind of network has: model.77.x"):
        read(theirs(UNet(3, 3, 32, width=2), "model") | {"model.77.x": torch.zeros(1)})
    with pytest.raises(ValueError, match="no known source"):
        convert.read({"model.1.filt": torch.zeros(3)})
