"""The networks that look at images for the metrics: a classifier of the data at hand, Inception, or random weights.

Each takes images in [-1, 1] and gives {"features": (n, dim), "logits": (n, classes)}, made for
`metrics.update(**net(images), real=...)`.
"""

import io
import pickle
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genzoo.images import to_uint8, to_unit


class Features(nn.Module):
    """A network for judging, always in eval mode: `name` (as in FID[name]), `channels` it reads, `dim`, `classes`."""

    def __init__(self, name: str, channels: int, dim: int, classes: int):
        super().__init__()
        self.name, self.channels, self.dim, self.classes = name, channels, dim, classes

    @torch.no_grad()
    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Images (n, channels, h, w) in [-1, 1] -> {"features": (n, dim), "logits": (n, classes)}, both float32.

        Images of another number of channels are refused with a ValueError.
        """
        if images.ndim != 4 or images.shape[1] != self.channels:
            colour = {1: "grey", 3: "RGB"}.get(self.channels, f"{self.channels}-channel")
            raise ValueError(
                f"the feature network {self.name!r} reads {colour} images (n, {self.channels}, h, w), "
                f"not {tuple(images.shape)}; choose one trained on such data"
            )
        features, logits = self.look(images)
        return {"features": features.float(), "logits": logits.float()}

    def look(self, images: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def features(self, images: Tensor) -> Tensor:
        return self(images)["features"]  # (n, dim)

    def logits(self, images: Tensor) -> Tensor:
        return self(images)["logits"]  # (n, classes)

    def train(self, mode: bool = True) -> "Features":
        return super().train(False)


class ClassifierFeatures(Features):
    """A classifier as feature network: what `genzoo.nets.classifiers` describes, and so in [0, 1] (converted here)."""

    def __init__(self, network: Any, name: str):
        probe = next(network.parameters()).new_zeros(1, network.channels, network.resolution, network.resolution)
        network.eval()
        with torch.no_grad():
            super().__init__(name, network.channels, network.features(probe).shape[1], network(probe).shape[1])
        self.network = network

    def look(self, images):
        x = to_unit(images)
        return self.network.features(x), self.network(x)


class Inception(Features):
    """Inception-v3 as FID means it (Heusel et al. 2017), by torch-fidelity, from the converted weights in its releases.

    ValueError if `weights` hold anything else, or without the extra `metrics`.
    """

    def __init__(self, weights: Any):
        super().__init__("inception", channels=3, dim=2048, classes=1008)
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        except ImportError as error:
            raise ValueError("Inception features need torch-fidelity: pip install 'genzoo[metrics]'") from error
        copy = io.BytesIO()  # torch-fidelity takes nothing but a file
        torch.save(weights, copy)
        copy.seek(0)
        try:
            self.network = FeatureExtractorInceptionV3("inception", ["2048", "logits_unbiased"], copy)
        except (RuntimeError, TypeError, pickle.UnpicklingError) as error:
            raise ValueError("it does not hold the weights of torch-fidelity's Inception-v3") from error

    def look(self, images):
        return self.network(to_uint8(images))


class RandomFeatures(Features):
    """Two convolutions and a linear layer with random weights, the same for the same seed: for tests only."""

    def __init__(self, channels: int, seed: int = 0, classes: int = 10):
        super().__init__("random", channels, dim=128, classes=classes)
        generator = torch.Generator().manual_seed(seed)
        for name, shape in {"a": (16, channels, 4, 4), "b": (32, 16, 4, 4), "c": (classes, 128)}.items():
            weight = torch.randn(shape, generator=generator)
            self.register_buffer(name, weight / weight[0].numel() ** 0.5)

    def look(self, images):
        x = F.leaky_relu(F.conv2d(images, self.a, stride=2, padding=1), 0.2)
        x = F.leaky_relu(F.conv2d(x, self.b, stride=2, padding=1), 0.2)
        features = F.adaptive_avg_pool2d(x, 2).flatten(1)
        return features, features @ self.c.T
