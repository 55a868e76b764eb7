"""Weights of csinva/gan-vae-pretrained-pytorch (MNIST): so far its LeNet.

The file is a plain state dict with the keys `convnet.{c1,c3,c5}` and `fc.{f6,f7}`. The source's last log-softmax has no
weights and falls away: our classifiers give logits. Images are in [0, 1], 28 pixels resized to 32, without
normalisation by mean and deviation.
"""

from torch import Tensor


def recognises(state: dict) -> bool:
    """Whether a state dict is one of this source's."""
    return "convnet.c1.weight" in state


def convert(state: dict[str, Tensor]) -> tuple[dict, dict[str, Tensor]]:
    """The file's state dict -> the config of our model and its state dict. The optimiser is ours: files hold none."""
    ours = {"network." + key.removeprefix("convnet.").removeprefix("fc."): value for key, value in state.items()}
    classes = len(ours["network.f7.bias"])
    config = {
        "_target_": "genzoo.robustness.training.Classifier",
        "network": {"_target_": "genzoo.nets.classifiers.LeNet", "classes": classes},
        "optimizers": {"c": {"_target_": "torch.optim.Adam", "_partial_": True, "lr": 1e-3}},
        "turns": ["c"],
    }
    return config, ours
