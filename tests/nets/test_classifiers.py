import pytest
import torch
from torch import nn

from genzoo.nets.classifiers import LeNet, SmallCNN


@pytest.mark.parametrize(
    "network, parameters",
    [
        (LeNet(), 61_706),  # 156 + 2,416 + 48,120 + 10,164 + 850
        (LeNet(3), 61_706 - 7 * 85),
        (SmallCNN(1, 10, 28), 160 + 2_320 + 4_640 + 9_248 + (32 * 49 + 1) * 128 + 129 * 10),
        (SmallCNN(3, 5, 64, width=4), 112 + 148 + 296 + 584 + (8 * 256 + 1) * 128 + 129 * 5),
    ],
)
def test_shapes_and_parameters(network, parameters):
    assert sum(p.numel() for p in network.parameters()) == parameters
    x = torch.rand(2, network.channels, network.resolution, network.resolution)
    assert network(x).shape == (2, network.classes)
    assert network.features(x).ndim == 2


def test_features_are_what_the_last_layer_reads():
    for network, last in ((lenet := LeNet(), lenet.f7), (small := SmallCNN(1, 10, 28), small.head)):
        x = torch.rand(3, 1, 28, 28)
        assert torch.allclose(last(network.features(x)), network(x))


def test_other_sizes_are_resized():
    x = torch.rand(2, 1, 28, 28)
    enlarged = nn.functional.interpolate(x, size=(32, 32), mode="bilinear", align_corners=False)
    network = LeNet()
    assert torch.equal(network(x), network(enlarged))
    assert SmallCNN(1, 10, 32)(x).shape == (2, 10)


def test_logits_are_float32_under_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for network in (LeNet(), SmallCNN(1, 10, 28)):
            assert network(torch.rand(2, 1, 28, 28)).dtype == torch.float32


def test_small_cnn_learns_real_digits():
    """1,000 of scikit-learn's digits, enlarged to 28 pixels: 97 % on 500 others after ten passes."""
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    digits = load_digits()
    images = nn.functional.interpolate(torch.tensor(digits.images).float().unsqueeze(1) / 16, size=28, mode="bilinear")
    labels = torch.tensor(digits.target)
    network = SmallCNN(1, 10, 28, width=8)
    adam = torch.optim.Adam(network.parameters(), 2e-3)
    for _ in range(10):
        for rows in torch.randperm(1000).split(50):
            adam.zero_grad()
            nn.functional.cross_entropy(network(images[rows]), labels[rows]).backward()
            adam.step()
    with torch.no_grad():
        right = (network(images[1000:1500]).argmax(1) == labels[1000:1500]).float().mean()
    assert right > 0.94
