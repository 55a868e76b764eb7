"""Classifiers, as models of their own and as the feature networks that judge generators.

Every classifier reads images in [0, 1] and tells its `channels`, `classes` and `resolution`;
`features(x)` gives the activations before the last layer, `forward(x)` float32 logits.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from genzoo.limits import Count
from genzoo.losses import full


def resized(x: Tensor, resolution: int) -> Tensor:
    """Square images of another size, bilinearly; images of the right size are returned as they are."""
    if x.shape[-2:] == (resolution, resolution):
        return x
    return F.interpolate(x, size=(resolution, resolution), mode="bilinear", align_corners=False)


def right(logits: Tensor, y: Tensor) -> Tensor:
    """Whether each answer is right: (n, classes), class ids (n,) -> (n,); of attributes (n, a), (n, a) -> (n, a).

    A logit above 0 says yes to an attribute.
    """
    return (logits > 0) == (y > 0.5) if y.dim() == 2 else logits.argmax(1) == y


class LeNet(nn.Module):
    """LeNet-5 with ReLU and max-pooling (after LeCun et al. 1998, figure 2) for grey images; 84 features.

    Images of other sizes than 32 are resized bilinearly inside, which for MNIST is better than padding (99.08 % against
    98.61 % with the weights of csinva/gan-vae-pretrained-pytorch).
    """

    channels, resolution = 1, 32

    def __init__(self, classes: int = 10):
        super().__init__()
        self.classes = classes
        self.c1 = nn.Conv2d(1, 6, 5)
        self.c3 = nn.Conv2d(6, 16, 5)
        self.c5 = nn.Conv2d(16, 120, 5)
        self.f6 = nn.Linear(120, 84)
        self.f7 = nn.Linear(84, classes)

    def features(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.c1(resized(x, self.resolution)).relu(), 2)  # (n, 6, 14, 14)
        x = F.max_pool2d(self.c3(x).relu(), 2)  # (n, 16, 5, 5)
        x = self.c5(x).relu().flatten(1)  # (n, 120)
        return self.f6(x).relu()  # (n, 84)

    def forward(self, x: Tensor) -> Tensor:
        return full(self.f7(self.features(x)))  # (n, classes)


class SmallCNN(nn.Module):
    """Twice two 3x3 convolutions and a pooling, then two linear layers, for 28 to 64 pixels; 128 features.

    Images of other sizes than `resolution` are resized bilinearly inside. `width` is the channel count of the first two
    convolutions.
    """

    def __init__(self, channels: Count, classes: Count | None, resolution: Count, width: Count = 16):
        super().__init__()
        if not classes:
            raise ValueError(
                "data.classes=null: say how many classes there are, or attributes: model.network.classes=5"
            )
        self.channels, self.classes, self.resolution = channels, classes, resolution
        self.trunk = nn.Sequential(
            *(nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(width, 2 * width, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(2 * width, 2 * width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(2 * width * (resolution // 4) ** 2, 128), nn.ReLU()),
        )
        self.head = nn.Linear(128, classes)

    def features(self, x: Tensor) -> Tensor:
        return self.trunk(resized(x, self.resolution))  # (n, 128)

    def forward(self, x: Tensor) -> Tensor:
        return full(self.head(self.features(x)))  # (n, classes)
