"""pytorch/examples: the DCGAN of 64 pixels (dcgan/main.py, netG_epoch_N.pth and netD_epoch_N.pth) and the MLP VAE.

The discriminator's sigmoid has no weights and falls away: ours gives logits. The VAE reads pixels in [0, 1].
"""

import torch
from torch import Tensor

from genzoo.convert.parts import Config, State, adversarial, picture, renamed, variational

SOURCE = "pytorch/examples"


def recognises(state: dict[str, Tensor]) -> bool:
    """Whether a state dict is one of this source's."""
    last = state.get("main.12.weight", state.get("main.11.weight"))  # of a generator, of a discriminator
    return "fc21.weight" in state or (last is not None and last.dim() == 4 and last.shape[-1] == 4)


def convert(state: dict[str, Tensor]) -> tuple[Config, State]:
    """A file's state dict -> the configuration of our model and its state dict."""
    if "fc21.weight" in state:
        return vae(state)
    return generator(state) if "main.12.weight" in state else discriminator(state)


def generator(state: dict[str, Tensor]) -> tuple[Config, State]:
    dim, width, channels = len(state["main.0.weight"]), *state["main.12.weight"].shape[:2]
    network = {"_target_": "genzoo.models.dcgan.Generator", "latent_dim": dim, "width": width}
    network |= {"channels": channels, "resolution": 64}
    ours = renamed(state, {f"main.{i}": f"generator.{i + 1}" for i in range(13)})  # ours begins with a reshape
    return adversarial("genzoo.models.dcgan.DCGAN", dim, generator=network), ours


def discriminator(state: dict[str, Tensor]) -> tuple[Config, State]:
    width, channels = state["main.0.weight"].shape[:2]
    network = {"_target_": "genzoo.models.dcgan.Discriminator", "channels": channels, "resolution": 64, "width": width}
    ours = renamed(state, {f"main.{i}": f"discriminator.{i}" for i in range(12)})
    return adversarial("genzoo.models.dcgan.DCGAN", discriminator=network), ours


def vae(state: dict[str, Tensor]) -> tuple[Config, State]:
    """fc21 gives the mean, fc22 the log variance: the two halves of our heads."""
    width, pixels = state["fc1.weight"].shape
    dim, (channels, side) = len(state["fc21.weight"]), picture(pixels)
    size = {"latent_dim": dim, "channels": channels, "resolution": side, "width": width}
    config = variational(
        dim,
        1e-3,
        {"_target_": "genzoo.models.vae.MLPEncoder"} | size,
        {"_target_": "genzoo.models.vae.MLPDecoder"} | size,
    )
    heads = {f"fc2.{name}": torch.cat([state[f"fc21.{name}"], state[f"fc22.{name}"]]) for name in ("weight", "bias")}
    rest = {key: value for key, value in state.items() if not key.startswith(("fc21.", "fc22."))}
    layers = {"fc1": "encoder.body.1", "fc2": "encoder.heads", "fc3": "decoder.0", "fc4": "decoder.2"}
    return config, renamed(rest | heads, layers)
