"""csinva/gan-vae-pretrained-pytorch: MLP GAN, DCGAN and LeNet (its VAE is that of pytorch/examples).

Last layers without weights fall away, the discriminators' sigmoid and LeNet's log-softmax: ours give logits. LeNet
reads images in [0, 1], 28 pixels resized to 32, without normalisation by mean and deviation. The DCGANs double 4 pixels
to 32 and end in a kernel of one pixel, which by its padding of 2 cuts 28 out of them; the padding is not in a file, so
that one grey channel is taken for MNIST.
"""

from itertools import pairwise

from torch import Tensor

from genzoo.convert.parts import Config, State, adversarial, layer, picture, renamed

SOURCE = "csinva/gan-vae-pretrained-pytorch"
GAN, DCGAN = "genzoo.models.gan", "genzoo.models.dcgan.DCGAN"


def recognises(state: dict[str, Tensor]) -> bool:
    """Whether a state dict is one of this source's."""
    if "main.12.weight" in state:
        return state["main.12.weight"].shape[-1] == 1
    return "convnet.c1.weight" in state or "0.weight" in state or {"main.0.weight", "main.8.weight"} <= set(state)


def convert(state: dict[str, Tensor]) -> tuple[Config, State]:
    """A file's state dict -> the configuration of our model and its state dict."""
    if "convnet.c1.weight" in state:
        return lenet(state)
    if "main.12.weight" in state:
        return generator(state)
    return discriminator(state) if "main.0.weight" in state else mlp(state)


def lenet(state: dict[str, Tensor]) -> tuple[Config, State]:
    names = {"convnet": ("c1", "c3", "c5"), "fc": ("f6", "f7")}
    ours = renamed(state, {f"{part}.{name}": f"network.{name}" for part in names for name in names[part]})
    config = {
        "_target_": "genzoo.robustness.training.Classifier",
        "network": {"_target_": "genzoo.nets.classifiers.LeNet", "classes": len(ours["network.f7.bias"])},
        "optimizers": {"c": {"_target_": "torch.optim.Adam", "_partial_": True, "lr": 1e-3}},
        "turns": ["c"],
    }
    return config, ours


def mlp(state: dict[str, Tensor]) -> tuple[Config, State]:
    """Linear layers at every second place: to one number a discriminator, to a picture a generator."""
    weights = [state[f"{i}.weight"] for i in range(0, 2 * len(state), 2) if f"{i}.weight" in state]
    depth, width, (inputs, outputs) = len(weights) - 1, len(weights[0]), (weights[0].shape[1], len(weights[-1]))
    critic = outputs == 1
    channels, side = picture(inputs if critic else outputs)
    size = {"channels": channels, "resolution": side, "width": width, "depth": depth}
    name, first = ("discriminator", 1) if critic else ("generator", 0)  # our discriminator begins with a reshape
    ours = renamed(state, {f"{i}": f"{name}.{i + first}" for i in range(0, 2 * depth + 1, 2)})
    if critic:
        return adversarial(f"{GAN}.GAN", discriminator={"_target_": f"{GAN}.Discriminator"} | size), ours
    network = {"_target_": f"{GAN}.Generator", "latent_dim": inputs} | size
    return adversarial(f"{GAN}.GAN", inputs, generator=network), ours


def generator(state: dict[str, Tensor]) -> tuple[Config, State]:
    channels = state["main.12.weight"].shape[1]
    widths = [*state["main.0.weight"].shape[:2], *(state[f"main.{i}.weight"].shape[1] for i in (3, 6, 9))]
    layers = [layer("Unflatten", dim=1, unflattened_size=[widths[0], 1, 1])]
    for number, (inputs, outputs) in enumerate(pairwise(widths)):
        way = {"stride": 2, "padding": 1} if number else {}
        layers += [layer("ConvTranspose2d", in_channels=inputs, out_channels=outputs, kernel_size=4, bias=False, **way)]
        layers += [layer("BatchNorm2d", num_features=outputs), layer("ReLU")]
    cut = 2 if channels == 1 else 0
    last = {"in_channels": widths[-1], "out_channels": channels, "kernel_size": 1, "padding": cut, "bias": False}
    layers += [layer("ConvTranspose2d", **last), layer("Tanh")]
    network = {"_target_": "genzoo.nets.layers.Layers", "layers": layers}
    return adversarial(DCGAN, widths[0], network), renamed(
        state, {f"main.{i}": f"generator.{i + 1}" for i in range(13)}
    )


def discriminator(state: dict[str, Tensor]) -> tuple[Config, State]:
    places = [i for i in (0, 2, 5, 8, 11) if f"main.{i}.weight" in state]
    layers = []
    for i in places:
        outputs, inputs, kernel, _ = state[f"main.{i}.weight"].shape
        size = {"in_channels": inputs, "out_channels": outputs, "kernel_size": kernel, "bias": False}
        layers += [layer("Conv2d", stride=2, padding=1 if kernel == 4 else 0, **size)]
        if i:
            layers += [layer("BatchNorm2d", num_features=outputs)]
        layers += [layer("LeakyReLU", negative_slope=0.2)]
    layers = [*layers[:-2], layer("Flatten", start_dim=0)]  # (n, 1, 1, 1) -> (n,) logits, without BatchNorm and ReLU
    network = {"_target_": "genzoo.nets.layers.Layers", "layers": layers}
    return adversarial(DCGAN, discriminator=network), renamed(
        state, {f"main.{i}": f"discriminator.{i}" for i in range(12)}
    )
