"""facebookresearch/pytorch_GAN_zoo: its progressive GAN, as its trainer and torch.hub have it.

A file holds the averaged generator (`avgG`, taken here), the training one, the discriminator and its options. Every
layer has the gain sqrt(2), and biases are multiplied like weights; the deviation of a minibatch is unbiased and over
consecutive images. Its alpha is the share of the old picture, ours of the new; files are read as wholly grown. At 8x8
pixels, and only there, its discriminator has no fade.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from genzoo.convert.parts import Config, State, renamed
from genzoo.convert.progressive import growing

SOURCE = "facebookresearch/pytorch_GAN_zoo"
FIXED = {"lossCriterion": "WGANGP", "perChannelNormalization": True, "equalizedlR": True, "leakyReluLeak": 0.2}


def opened(data: Any) -> State | None:
    """A generator's and the discriminator's tensors of a whole file; None if it is of another form."""
    if not isinstance(data, Mapping) or not {"config", "netG", "netD"} <= data.keys():
        return None
    options = data["config"] if isinstance(data["config"], Mapping) else getattr(data["config"], "__dict__", {})
    for name, known in (FIXED | {"categoryVectorDim": 0}).items():
        if options.get(name, known) != known:
            raise ValueError(f"a file of {SOURCE} with {name}={options[name]}: only {known} can be read")
    parts = {"generator": data.get("avgG") or data["netG"], "discriminator": data["netD"]}
    state = {f"{part}.{key}": value for part, tensors in parts.items() for key, value in tensors.items()}
    return {key.replace(".module.", "."): value for key, value in state.items()}  # older files do without


def recognises(state: dict[str, Tensor]) -> bool:
    """Whether a state dict is one of this source's."""
    return "generator.formatLayer.weight" in state and "generator.toRGBLayers.0.weight" in state


def convert(state: dict[str, Tensor]) -> tuple[Config, State]:
    """Both networks' tensors -> the configuration of our model and its state dict."""
    names = {"generator.formatLayer": "first", "generator.groupScale0.0": "conv"}
    names |= {"discriminator.groupScaleZero.0": "conv", "discriminator.groupScaleZero.1": "dense"}
    names |= {"discriminator.decisionLayer": "score"}
    maps: list[int] = []
    while (rgb := f"generator.toRGBLayers.{len(maps)}") + ".weight" in state:
        i = len(maps)
        maps.append(state[f"{rgb}.weight"].shape[1])
        names |= {rgb: f"to_rgb.{i}", f"discriminator.fromRGBLayers.{i}": f"from_rgb.{i}"}
        names |= {f"generator.scaleLayers.{i}.0": f"blocks.{i}.up", f"generator.scaleLayers.{i}.1": f"blocks.{i}.conv"}
        names |= {f"discriminator.scaleLayers.{i}.0": f"blocks.{i}.conv"}
        names |= {f"discriminator.scaleLayers.{i}.1": f"blocks.{i}.down"}
    names = {theirs: f"{theirs.partition('.')[0]}.{ours}" for theirs, ours in names.items()}
    size: Config = {"channels": len(state["generator.toRGBLayers.0.weight"]), "resolution": 4 << (len(maps) - 1)}
    size |= {"widths": maps, "even_gain": True, "scaled_bias": True}
    group = 4 * (state["discriminator.groupScaleZero.0.weight"].shape[1] > maps[0])
    dim = state["generator.formatLayer.weight"].shape[1]
    way = {"fused": False, "group": group, "consecutive": True, "unbiased": True}
    return growing(dim, 0, size | {"pixel_bias": True}, size | way), renamed(state, names)
