"""tkarras/progressive_growing_of_gans: the official pickles of Progressive GAN, as (G, D, Gs).

Gs is the averaged generator, taken here. The source text that such a file carries is never run. Kernels are stored
unscaled, as (height, width, inputs, outputs); those that upsample have inputs and outputs exchanged and are turned by
180 degrees. `lod` counts from the top: 0 is the full resolution.
"""

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from genzoo.convert.parts import Config, State, adam

SOURCE = "tkarras/progressive_growing_of_gans"
FIXED = {"use_wscale": True, "use_pixelnorm": True, "use_leakyrelu": True, "normalize_latents": True}


def opened(data: Any) -> State | None:
    """The variables of a file's Gs and D, and D's group of images; None if it is of another form."""
    if not (
        isinstance(data, Sequence)
        and len(data) == 3
        and all({"variables", "static_kwargs"} <= getattr(network, "__dict__", {}).keys() for network in data)
    ):
        return None
    _, critic, average = data
    state = {}
    for part, network in (("generator", average), ("discriminator", critic)):
        options = network.static_kwargs
        for name, known in (FIXED | {"pixelnorm_epsilon": 1e-8}).items():
            if options.get(name, known) != known:
                raise ValueError(f"a file of {SOURCE} with {name}={options[name]}: only {known} can be read")
        for name, value in network.variables:
            state[f"{part}.{name}"] = getattr(value, "tensor", value)
    state["discriminator.group"] = critic.static_kwargs.get("mbstd_group_size", 4)
    return {name: torch.as_tensor(value) for name, value in state.items()}


def recognises(state: dict[str, Tensor]) -> bool:
    """Whether a state dict is one of this source's."""
    return "generator.4x4/Dense/weight" in state


def convert(state: dict[str, Tensor]) -> tuple[Config, State]:
    """Both networks' variables -> the configuration of our model and its state dict."""
    state = dict(state)
    sides = [int(side) for name in state for side in re.findall(r"\.(\d+)x\1/", name)]
    last = max(sides).bit_length() - 3
    lod, group = state.pop("generator.lod", torch.tensor(0.0)), int(state.pop("discriminator.group"))
    group *= group > 1  # of one image there is no deviation
    state.pop("discriminator.lod", None)
    fused = "discriminator.8x8/Conv1_down/weight" in state
    names = {"generator.4x4/Dense": "first", "generator.4x4/Conv": "conv"}
    names |= {f"generator.ToRGB_lod{last - i}": f"to_rgb.{i}" for i in range(last + 1)}
    critic = {
        "discriminator.4x4/Conv": "conv",
        "discriminator.4x4/Dense0": "dense",
        "discriminator.4x4/Dense1": "score",
    }
    critic |= {f"discriminator.FromRGB_lod{last - i}": f"from_rgb.{i}" for i in range(last + 1)}
    for i in range(last):
        side = 8 << i
        names |= {f"generator.{side}x{side}/Conv0{'_up' * fused}": f"blocks.{i}.up"}
        names |= {f"generator.{side}x{side}/Conv1": f"blocks.{i}.conv"}
        critic |= {f"discriminator.{side}x{side}/Conv0": f"blocks.{i}.conv"}
        critic |= {f"discriminator.{side}x{side}/Conv1{'_down' * fused}": f"blocks.{i}.down"}
    ours = {}
    for theirs, place in [*names.items(), *critic.items()]:
        part = theirs.partition(".")[0]
        for kind in ("weight", "bias"):
            if f"{theirs}/{kind}" not in state:
                raise ValueError(f"the file lacks {theirs}/{kind}, or is of another resolution than its names say")
            value = state.pop(f"{theirs}/{kind}").float()
            if kind == "weight":
                value = turned(value) if theirs.endswith("Conv0_up") else reordered(value)
            ours[f"{part}.{place}.{kind}"] = value.contiguous()
    if state:
        raise ValueError(f"the file holds more than this kind of network has: {', '.join(list(state)[:4])}")
    classes = len(ours["discriminator.score.weight"]) - 1
    maps = [ours[f"generator.to_rgb.{i}.weight"].shape[1] for i in range(last + 1)]
    size = {"channels": len(ours["generator.to_rgb.0.bias"]), "resolution": 4 << last, "widths": maps}
    dim = ours["generator.first.weight"].shape[1] - classes
    made = growing(dim, classes, size, size | {"fused": fused, "group": group})
    made["growth"]["value"] = last - float(lod)
    return made, ours


def reordered(kernel: Tensor) -> Tensor:
    """(height, width, inputs, outputs) or (inputs, outputs) to torch's order."""
    return kernel.permute(3, 2, 0, 1) if kernel.dim() == 4 else kernel.T


def turned(kernel: Tensor) -> Tensor:
    return kernel.permute(2, 3, 0, 1).flip(2, 3)


def growing(dim: int, classes: int, generator: Config, discriminator: Config) -> Config:
    """A Progressive GAN's configuration that stands at its full resolution."""
    made: Config = {"_target_": "genzoo.models.progan.Generator", "latent_dim": dim, "classes": classes or None}
    critic: Config = {"_target_": "genzoo.models.progan.Discriminator", "classes": classes or None}
    return {
        "_target_": "genzoo.models.progan.ProGAN",
        "generator": made | generator,
        "discriminator": critic | discriminator,
        "prior": {"_target_": "genzoo.priors.Sphere", "dim": dim},
        "growth": {"_target_": "genzoo.schedules.Constant", "value": len(generator["widths"]) - 1},
        "classes": classes or None,
        "objective": {"_target_": "genzoo.losses.Wasserstein", "clip": None},
        "penalties": [{"_target_": "genzoo.losses.GradientPenalty", "weight": 10}],
        "optimizers": {player: adam(1e-3, (0.0, 0.99)) for player in "dg"},
    }
