"""Newmu/dcgan_code: the DCGAN authors' own generator for SVHN, 32 pixels, in PyTorch's layout.

100 normal latents, a linear layer, three transposed convolutions of 5x5. The authors' code (Theano) normalises by the
batch at hand; the file holds standing statistics instead. Its BatchNorm adds 1e-8 to the variance.
"""

from torch import Tensor

from genzoo.convert.parts import Config, State, adversarial, layer, renamed

SOURCE = "Newmu/dcgan_code"


def recognises(state: dict[str, Tensor]) -> bool:
    """Whether a state dict is one of this source's."""
    return {"fc.weight", "bn0.weight", "deconv1.weight"} <= set(state)


def convert(state: dict[str, Tensor]) -> tuple[Config, State]:
    """The file's state dict -> the configuration of our model and its state dict."""
    values, dim = state["fc.weight"].shape
    kernels = [state[f"deconv{i}.weight"] for i in (1, 2, 3)]
    first = len(kernels[0])
    side = round((values / first) ** 0.5)
    layers = [layer("Linear", in_features=dim, out_features=values, bias=False)]
    layers += [layer("BatchNorm1d", num_features=values, eps=1e-8), layer("ReLU")]
    layers += [layer("Unflatten", dim=1, unflattened_size=[first, side, side])]
    for kernel in kernels:
        inputs, outputs, size, _ = kernel.shape
        way = {"kernel_size": size, "stride": 2, "padding": size // 2, "output_padding": 1, "bias": False}
        layers += [layer("ConvTranspose2d", in_channels=inputs, out_channels=outputs, **way)]
        layers += [layer("BatchNorm2d", num_features=outputs, eps=1e-8), layer("ReLU")]
    layers = [*layers[:-2], layer("Tanh")]
    network = {"_target_": "genzoo.nets.layers.Layers", "layers": layers}
    places = {"fc": 0, "bn0": 1, "deconv1": 4, "bn1": 5, "deconv2": 7, "bn2": 8, "deconv3": 10}
    ours = renamed(state, {name: f"generator.{place}" for name, place in places.items()})
    return adversarial("genzoo.models.dcgan.DCGAN", dim, network), ours
