"""ajbrock/BigGAN-PyTorch: G.pth, G_ema.pth and D.pth of BigGAN and BigGAN-deep, the generators converted from the
authors' own (TFHub), and what other projects trained with this code (mit-han-lab/data-efficient-gans for CIFAR).

Spectral norm keeps u and the last sigma; in eval mode it makes one step from u. Generators from TFHub have no sigma and
an eps of 1e-4 in BatchNorm and spectral norm; the source leaves 1e-5 in their last BatchNorm, ours has 1e-4 as the
authors' has. At 32 pixels the source lists every block of the discriminator at 16 pixels; the last three have 8.
"""

import re
from typing import Any

import torch
from torch import Tensor

from genzoo.convert.parts import Config, State, adam, adversarial

SOURCE = "ajbrock/BigGAN-PyTorch"
NAMES = (  # theirs -> ours, in this order; what several patterns fit is changed by each
    (r"^input_conv\.", "stem."),
    (r"^output_layer\.0\.gain", "norm.bn.weight"),
    (r"^output_layer\.0\.bias", "norm.bn.bias"),
    (r"^output_layer\.0\.", "norm."),
    (r"^output_layer\.2\.", "rgb."),
    (r"\.conv_sc\.", ".skip."),
    (r"\.bn(\d)\.", r".norm\1."),
    (r"(?:\.bn)?\.(?:stored|running)_(mean|var)$", r".bn.running_\1"),
    (r"\.u0$", ".u"),
    (r"\.sv0$", ".sigma"),
)


def recognises(state: dict[str, Tensor]) -> bool:
    """Whether a state dict is one of this source's."""
    return "blocks.0.0.conv1.weight" in state and ("output_layer.2.weight" in state or "embed.weight" in state)


def convert(state: dict[str, Tensor]) -> tuple[Config, State]:
    """A file's state dict -> the configuration of our model and its state dict."""
    part = generator if "output_layer.2.weight" in state else discriminator
    network, dim, classes = part(state)
    name = part.__name__
    deep = any(key.endswith(".conv4.weight") for key in state)
    network["_target_"] = f"genzoo.models.{'biggan_deep' if deep else 'biggan'}.{name.capitalize()}"
    return biggan(dim, classes, **{name: network}), renamed(state, name, deep)


def biggan(dim: int | None, classes: int, **networks: Config) -> Config:
    """The configuration of a BigGAN of these networks; what is missing was not in the file."""
    config = adversarial("genzoo.models.biggan.BigGAN", dim, **networks)
    return config | {
        "classes": classes,
        "objective": {"_target_": "genzoo.losses.Hinge"},
        "optimizers": {"d": adam(2e-4, (0.0, 0.999)), "g": adam(5e-5, (0.0, 0.999))},
        "turns": ["d", "dg"],
    }


def places(state: dict[str, Tensor], pattern: str) -> list[int]:
    """The numbers that a pattern finds in the keys, each once, ascending."""
    return sorted({int(found[1]) for key in state if (found := re.match(pattern, key))})


def generator(state: dict[str, Tensor]) -> tuple[Config, int, int]:
    deep = "blocks.0.0.conv4.weight" in state
    stages = (places(state, r"blocks\.(\d+)\.0\.")[-1] + 1) // (2 if deep else 1)
    resolution = 4 << stages
    outputs, piece = state["linear.weight"].shape
    gain = state["blocks.0.0.bn1.gain.weight"]
    at = [i // 2 if deep else i for i in places(state, r"blocks\.(\d+)\.1\.theta")]
    config: dict[str, Any] = {
        "channels": len(state["output_layer.2.weight"]),
        "resolution": resolution,
        "width": outputs // 16 // (4 if resolution == 32 else 16),
        "attention": [8 << i for i in at],
    }
    if not any(key.endswith(".sv0") for key in state):
        config |= {"eps": 1e-4, "spectral_eps": 1e-4}
    shared = state["shared.weight"].shape[1] if "shared.weight" in state else 0
    classes = len(state["shared.weight"] if shared else gain)
    hierarchical = bool(shared) and gain.shape[1] > shared
    dim = piece - shared if deep else piece * (stages + 1) if hierarchical else piece
    config |= {"latent_dim": dim, "classes": classes, "shared": shared}
    return config if deep else config | {"hierarchical": hierarchical}, dim, classes


def discriminator(state: dict[str, Tensor]) -> tuple[Config, None, int]:
    deep = "input_conv.weight" in state
    count = places(state, r"blocks\.(\d+)\.")[-1] + 1  # 128 px: 6 blocks, or 5 stages of deep blocks
    resolution = {3: 32, 4: 32 if not deep else 64}.get(count, 4 << (count if deep else count - 1))
    classes, features = state["embed.weight"].shape
    smallest = 8 if resolution == 32 else 4
    at = places(state, rf"blocks\.(\d+)\.{2 if deep else 1}\.theta")
    config = {
        "channels": state["input_conv.weight" if deep else "blocks.0.0.conv1.weight"].shape[1],
        "resolution": resolution,
        "width": features // (4 if resolution == 32 else 16),
        "attention": sorted({max(resolution >> (i + 1), smallest) for i in at}, reverse=True),
        "classes": classes,
    }
    return config, None, classes


def renamed(state: dict[str, Tensor], part: str, deep: bool) -> State:
    """Their tensors under our names; counters of BatchNorm, and sigmas that are missing, are filled in."""
    ours = {}
    for key, value in state.items():
        stage = re.match(r"blocks\.(\d+)\.(\d)\.(.*)", key)
        if stage:
            first, second, rest = int(stage[1]), int(stage[2]), stage[3]
            if deep and part == "discriminator":  # nested there: stage, then block, attention last
                key = f"blocks.{2 * first + min(second, 1)}.{'attention.' * (second == 2)}{rest}"
            else:
                key = f"blocks.{first}.{'attention.' * second}{rest}"
        elif part == "discriminator" and key.startswith(("linear.", "embed.")):
            key = f"head.{key}"
        for pattern, name in NAMES:
            key = re.sub(pattern, name, key)
        if not key.endswith("accumulation_counter"):
            ours[f"{part}.{key}"] = value
    for key in list(ours):
        if key.endswith(".running_mean"):
            ours[key.replace("running_mean", "num_batches_tracked")] = torch.tensor(0)
        if key.endswith(".u"):
            ours.setdefault(f"{key.removesuffix('u')}sigma", torch.ones(1))
    return ours
