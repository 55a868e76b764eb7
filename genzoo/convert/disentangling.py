"""YannDubs/disentangling-vae: the convolutional VAE of Burgess et al. (2018) for 32 and 64 pixels in [0, 1].

All maps have the same number of channels, two hidden layers follow. Its last encoder layer gives mean and log variance
in turn, latent by latent; ours gives all means first.
"""

import math

from torch import Tensor

from genzoo.convert.parts import Config, State, renamed, variational

SOURCE = "YannDubs/disentangling-vae"


def recognises(state: dict[str, Tensor]) -> bool:
    """Whether a state dict is one of this source's."""
    return "encoder.mu_logvar_gen.weight" in state


def convert(state: dict[str, Tensor]) -> tuple[Config, State]:
    """The file's state dict -> the configuration of our model and its state dict."""
    width, channels = state["encoder.conv1.weight"].shape[:2]
    hidden, flat = state["encoder.lin1.weight"].shape
    dim = len(state["encoder.mu_logvar_gen.weight"]) // 2
    convolutions = ["conv1", "conv2", "conv3", *(["conv_64"] if "encoder.conv_64.weight" in state else [])]
    resolution = math.isqrt(flat // width) * 2 ** len(convolutions)
    size = {"latent_dim": dim, "channels": channels, "resolution": resolution, "width": width, "growth": 1}
    size |= {"hidden": [hidden, hidden]}
    config = variational(
        dim, 5e-4, {"_target_": "genzoo.models.vae.Encoder"} | size, {"_target_": "genzoo.models.vae.Decoder"} | size
    )
    after = 2 * len(convolutions) + 1  # the layer behind the encoder's reshape
    layers = {f"encoder.{name}": f"encoder.body.{2 * i}" for i, name in enumerate(convolutions)}
    layers |= {"encoder.lin1": f"encoder.body.{after}", "encoder.lin2": f"encoder.body.{after + 2}"}
    layers |= {"encoder.mu_logvar_gen": "encoder.heads"}
    layers |= {"decoder.lin1": "decoder.0", "decoder.lin2": "decoder.2", "decoder.lin3": "decoder.4"}
    names = [*(["convT_64"] if "conv_64" in convolutions else []), "convT1", "convT2", "convT3"]
    layers |= {f"decoder.{name}": f"decoder.{7 + 2 * i}" for i, name in enumerate(names)}
    ours = renamed(state, layers)
    for key in ("encoder.heads.weight", "encoder.heads.bias"):
        ours[key] = ours[key].unflatten(0, (dim, 2)).transpose(0, 1).flatten(0, 1).contiguous()
    return config, ours
