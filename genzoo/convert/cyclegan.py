"""junyanz/pytorch-CycleGAN-and-pix2pix: `<epoch>_net_<NET>.pth`, NET being G_A, G_B, D_A, D_B of CycleGAN, G, D of pix2pix.

The kind of network, its depth, width, channels, normalisation and dropout are read off names and shapes; the training
resolution is not in a file, 256 is taken. A discriminator beside its generator tells pix2pix from CycleGAN by its
channels, as it sees both pictures of a pair; a network that comes alone is pix2pix's if it has batch normalisation, by
these projects' defaults. Buffers that instance norm had before PyTorch 0.4 were never used and fall away.
"""

import re
from typing import Any

from genzoo.convert.parts import Config, State, absent, adam, renamed

SOURCE = "junyanz/pytorch-CycleGAN-and-pix2pix"
NETS = "genzoo.nets.translators", "genzoo.nets.patch"
BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
Part = tuple[str, Config, State]  # generator or discriminator, its configuration, its tensors


def recognises(state: State) -> bool:
    """Whether a state dict is one of this source's."""
    names = set(state)
    if {"model.0.weight", "model.2.weight"} <= names:  # layers of 4x4 pixels in one row
        numbered = all(re.fullmatch(r"model\.\d+\.\w+", name) for name in names)
        return numbered and state["model.0.weight"].shape[2:] == (4, 4)
    known = "model.model.0.weight", "model.10.conv_block.1.weight"
    return any(name in names for name in known) or {"net.0.weight", "net.5.weight"} <= names


def convert(state: State) -> tuple[Config, State]:
    """A file's state dict -> the configuration of our model and its state dict; what was not in it is absent."""
    return joined([state])


def joined(states: list[State]) -> tuple[Config, State]:
    """The files of one training: of CycleGAN's, G_A comes before G_B and D_A before D_B, as their content is alike."""
    try:
        parts = [part_of(without_old_buffers(state)) for state in states]
    except KeyError as error:
        raise ValueError(f"the file lacks {error}, which this kind of network has") from error
    generators, discriminators = ([p for p in parts if p[0] == kind] for kind in ("generator", "discriminator"))
    paired = of_pairs([network for _, network, _ in generators], [network for _, network, _ in discriminators])
    most = 1 if paired else 2
    if len(generators) > most or len(discriminators) > most:
        raise ValueError(
            f"these files are no parts of one model: it has {most} of a kind, generators or discriminators"
        )
    config: Config = {"optimizers": {player: adam(2e-4, (0.5, 0.999)) for player in "dg"}}
    tensors: State = {}
    for kind, found in (("generator", generators), ("discriminator", discriminators)):
        networks: dict[str, Any] = {"a": absent(f"{kind} of a"), "b": absent(f"{kind} of b")}
        for domain, (_, network, state) in zip("ba", found):  # G_A makes B, and D_A judges it
            networks[domain] = network
            place = kind if paired else f"{kind}.{domain}"
            tensors |= {f"{place}.{name}": value for name, value in state.items()}
        config[kind] = (found[0][1] if found else absent(kind)) if paired else networks
    if paired:
        game = {"_target_": "genzoo.models.pix2pix.Pix2Pix", "objective": {"_target_": "genzoo.losses.NonSaturating"}}
    else:
        game = {"_target_": "genzoo.models.cyclegan.CycleGAN", "objective": {"_target_": "genzoo.losses.LeastSquares"}}
        game |= {"turns": ["gd"], "cycle": {"a": 10.0, "b": 10.0}}
    return game | config, tensors


def of_pairs(generators: list[Config], discriminators: list[Config]) -> bool:
    """Whether these are pix2pix's, and not CycleGAN's, by their configurations."""
    if generators and discriminators:
        return bool(discriminators[0]["channels"] == generators[0]["inputs"] + generators[0]["outputs"])
    return len(generators + discriminators) == 1 and (generators + discriminators)[0]["norm"] == "batch"


def part_of(state: State) -> Part:
    if "model.model.0.weight" in state:
        return unet(state)
    if "net.0.weight" in state:
        return pixel(state)
    return patch(state) if "model.0.weight" in state else resnet(state)


def without_old_buffers(state: State) -> State:
    """Statistics of layers that have no scale are instance norm's."""
    layers = {key.rpartition(".")[0] for key in state if key.endswith(".weight")}
    return {k: v for k, v in state.items() if k.rpartition(".")[2] not in BUFFERS or k.rpartition(".")[0] in layers}


def norm_of(normed: bool, biased: bool) -> str:
    """Batch norm has weights; before instance norm, which has none, convolutions have a bias."""
    return "batch" if normed else "instance" if biased else "none"


def resnet(state: State) -> Part:
    places = {int(key.split(".")[1]) for key in state}
    blocks = sorted({int(key.split(".")[1]) for key in state if ".conv_block." in key})
    second = state.get("model.10.conv_block.6.weight")
    dropped = second is not None and second.dim() == 4  # the second convolution stands one place later then
    width, inputs = state["model.1.weight"].shape[:2]
    network = {"_target_": f"{NETS[0]}.ResNet", "inputs": inputs, "outputs": len(state[f"model.{max(places)}.bias"])}
    network |= {"resolution": 256, "width": width, "depth": len(blocks), "dropout": 0.5 if dropped else 0.0}
    network["norm"] = norm_of("model.2.weight" in state, "model.1.bias" in state)
    layers = {f"model.{i}": f"{i}" for i in places - set(blocks)}
    layers |= {f"model.{i}.conv_block.{j}": f"{i}.layers.{j}" for i in blocks for j in range(8)}
    return "generator", network, renamed(state, layers)


def unet(state: State) -> Part:
    """Every level stands inside the one above, between its halving and its doubling."""
    width, inputs = state["model.model.0.weight"].shape[:2]
    deepest = max(state, key=lambda key: key.count(".model"))
    depth = deepest.count(".model")
    layers = {"model.model.0": "downs.0.0", "model.model.3": "ups.0.1"}
    level = "model.model.1.model"
    for k in range(1, depth):
        up, norm = (5, 6) if k < depth - 1 else (3, 4)
        layers |= {f"{level}.1": f"downs.{k}.1", f"{level}.{up}": f"ups.{k}.1", f"{level}.{norm}": f"ups.{k}.2"}
        if k < depth - 1:
            layers[f"{level}.2"] = f"downs.{k}.2"
        level += ".3.model"
    norm_name = norm_of("ups.1.2.weight" in (ours := renamed(state, layers)), "model.model.0.bias" in state)
    network = {"_target_": f"{NETS[0]}.UNet", "inputs": inputs, "outputs": len(state["model.model.3.bias"])}
    network |= {"resolution": 256, "width": width, "depth": depth, "norm": norm_name}
    network["dropout"] = 0.5 if norm_name == "batch" else 0.0  # it leaves no trace; pix2pix has it, CycleGAN does not
    return "generator", network, ours


def patch(state: State) -> Part:
    width, channels = state["model.0.weight"].shape[:2]
    places = sorted({int(key.split(".")[1]) for key in state})
    convolutions = [i for i in places if state[f"model.{i}.weight"].dim() == 4]
    network = {"_target_": f"{NETS[1]}.PatchDiscriminator", "channels": channels, "width": width}
    network |= {"layers": len(convolutions) - 2, "norm": norm_of("model.3.weight" in state, "model.2.bias" in state)}
    return "discriminator", network, renamed(state, {f"model.{i}": f"{i}" for i in places})


def pixel(state: State) -> Part:
    width, channels = state["net.0.weight"].shape[:2]
    network = {"_target_": f"{NETS[1]}.PixelDiscriminator", "channels": channels, "width": width}
    network["norm"] = norm_of("net.3.weight" in state, "net.2.bias" in state)
    return "discriminator", network, renamed(state, {f"net.{i}": f"{i}" for i in range(6)})
