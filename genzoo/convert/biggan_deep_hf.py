"""huggingface/pytorch-pretrained-BigGAN: generators of BigGAN-deep (biggan-deep-128-pytorch_model.bin and its kin).

The condition is the latent, then the class, the other way round than ours; the first layer's channels go last; the last
convolution has as many outputs as the network is wide, of which three are shown. BatchNorm has a table of statistics by
truncation, spectral norm uses the kept u and v as they are, both with an eps of 1e-4. Samples are made of latents
t * truncnorm(-2, 2), which `sample(truncation=t)` does.
"""

import re

import torch
from torch import Tensor

from genzoo.convert.biggan_pytorch import biggan, places
from genzoo.convert.parts import Config, State

SOURCE = "huggingface/pytorch-pretrained-BigGAN"
ATTENTION = r"generator\.layers\.(\d+)\.gamma"
CONDITION = re.compile(r"(^linear|\.gain|norm\d\.bias)\.(weight|v)$")  # what reads latent and class
FIRST = re.compile(r"^linear\.(weight|bias|u)$")
NAMES = {  # theirs -> ours
    "gen_z": "linear",
    "conv_to_rgb": "rgb",
    "snconv1x1_theta": "theta",
    "snconv1x1_phi": "phi",
    "snconv1x1_g": "g",
    "snconv1x1_o_conv": "o",
    "scale": "gain",
    "offset": "bias",
    "weight_orig": "weight",
    "weight_u": "u",
    "weight_v": "v",
    "running_means": "means",
    "running_vars": "variances",
}


def recognises(state: dict[str, Tensor]) -> bool:
    """Whether a state dict is one of this source's."""
    return "generator.gen_z.weight_orig" in state


def convert(state: dict[str, Tensor]) -> tuple[Config, State]:
    """A file's state dict -> the configuration of our model and its state dict."""
    config = generator(state)
    return biggan(config["latent_dim"], config["classes"], generator=config), tensors(state)


def generator(state: dict[str, Tensor]) -> Config:
    """Whether a block doubles the side is not in a file: every second one does, as in the published ones."""
    shared, classes = state["embeddings.weight"].shape
    last = state["generator.conv_to_rgb.weight_orig"]
    attention = places(state, ATTENTION)  # beside the blocks, with a number of its own
    stages = (places(state, r"generator\.layers\.(\d+)\.")[-1] + 1 - len(attention)) // 2
    return {
        "_target_": "genzoo.models.biggan_deep.Generator",
        "latent_dim": state["generator.gen_z.weight_orig"].shape[1] - shared,
        "channels": 3,
        "resolution": 4 << stages,
        "width": last.shape[1],
        "classes": classes,
        "shared": shared,
        "attention": [4 << (i // 2) for i in attention],
        "eps": 1e-4,
        "spectral_eps": 1e-4,
        "eval_iterations": 0,
        "surplus": len(last) - 3,
        "rows": len(state["generator.bn.running_means"]),
    }


def tensors(state: dict[str, Tensor]) -> State:
    """Their tensors under our names and in our order; what only ours has is computed from them."""
    shared, attention = len(state["embeddings.weight"]), places(state, ATTENTION)
    ours: State = {"generator.shared.weight": state["embeddings.weight"].T.contiguous()}
    for key, value in state.items():
        if key == "embeddings.weight":
            continue
        name = renamed(key.removeprefix("generator."), attention)
        if CONDITION.search(name):
            value = value.roll(shared, -1)  # (latent, class) -> (class, latent)
        if FIRST.search(name):
            value = value.unflatten(0, (16, -1)).transpose(0, 1).flatten(0, 1)  # (4 x 4, c) -> (c, 4 x 4)
        if name.endswith((".u", ".v")):
            value = value[None]
        ours[f"generator.{name}"] = value.squeeze() if name.endswith("gamma") else value.contiguous()
    for key in [key for key in ours if key.endswith(".means")]:
        norm = key.removesuffix("means")
        ours[f"{norm}bn.running_mean"], ours[f"{norm}bn.running_var"] = ours[key][-1], ours[f"{norm}variances"][-1]
        ours[f"{norm}bn.num_batches_tracked"] = torch.tensor(0)
    for key in [key for key in ours if key.endswith(".u")]:
        layer = key.removesuffix("u")
        ours[f"{layer}sigma"] = (ours[key] @ ours[f"{layer}weight"].flatten(1) @ ours[f"{layer}v"].T).view(1)
    return ours


def renamed(key: str, attention: list[int]) -> str:
    """Our name of a tensor; attention belongs to the block before it."""
    parts = [NAMES.get(part, part) for part in key.split(".")]
    if parts[0] == "layers":
        number = int(parts[1])
        own = number - sum(at <= number for at in attention)
        parts[:2] = ["blocks", str(own), "attention"] if number in attention else ["blocks", str(own)]
    elif parts[0] == "bn":
        parts[0] = "norm" if parts[-1] in ("means", "variances") else "norm.bn"
    name = re.sub(r"\.(conv|bn)_(\d)\.", lambda found: f".{found[1]}{int(found[2]) + 1}.", ".".join(parts))
    return re.sub(r"\.bn(\d)\.", r".norm\1.", name)
