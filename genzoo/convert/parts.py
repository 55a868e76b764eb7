"""What the sources share: configurations as plain data, and renaming that leaves nothing over."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

Config = dict[str, Any]
State = dict[str, Tensor]


def renamed(state: Mapping[str, Tensor], layers: Mapping[str, str]) -> State:
    """Each tensor `<layer>.<name>` under its new layer's name. ValueError for what belongs to none of them.

    BatchNorm's `num_batches_tracked`, which files from before torch 0.4.1 lack, is filled in as 0.
    """
    split = {key: (key.rpartition(".")[0], key.rpartition(".")[2]) for key in state}
    left = [key for key, (layer, _) in split.items() if layer not in layers]
    if left:
        raise ValueError(f"the file holds more than this kind of network has: {', '.join(left[:4])}")
    ours = {f"{layers[layer]}.{name}": state[key] for key, (layer, name) in split.items()}
    for key in [key for key in ours if key.endswith("running_mean")]:
        ours.setdefault(key.replace("running_mean", "num_batches_tracked"), torch.tensor(0))
    return ours


def layer(name: str, **options: Any) -> Config:
    """The configuration of a layer of torch.nn."""
    return {"_target_": f"torch.nn.{name}"} | options


def absent(name: str) -> Config:
    return {"_target_": "genzoo.nets.layers.Absent", "name": name}


def adam(lr: float, betas: tuple[float, float]) -> Config:
    return {"_target_": "torch.optim.Adam", "_partial_": True, "lr": lr, "betas": list(betas)}


def adversarial(
    target: str, dim: int | None = None, generator: Config | None = None, discriminator: Config | None = None
) -> Config:
    """A GAN's configuration with normal latents; what is None was not in the file."""
    return {
        "_target_": target,
        "generator": generator or absent("generator"),
        "discriminator": discriminator or absent("discriminator"),
        "prior": {"_target_": "genzoo.priors.Normal", "dim": dim or 1},
        "objective": {"_target_": "genzoo.losses.NonSaturating"},
        "optimizers": {player: adam(2e-4, (0.5, 0.999)) for player in "dg"},
    }


def variational(dim: int, lr: float, encoder: Config, decoder: Config) -> Config:
    return {
        "_target_": "genzoo.models.vae.VAE",
        "encoder": encoder,
        "decoder": decoder,
        "prior": {"_target_": "genzoo.priors.Normal", "dim": dim},
        "optimizers": {"v": adam(lr, (0.9, 0.999))},
        "turns": ["v"],
    }


def picture(pixels: int) -> tuple[int, int]:
    """Channels and side of a square picture with so many values; ValueError if there is none, grey or RGB."""
    for channels in (1, 3):
        side = math.isqrt(pixels // channels)
        if channels * side * side == pixels:
            return channels, side
    raise ValueError(f"{pixels} values are no square picture, grey or RGB")
