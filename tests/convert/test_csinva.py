import gzip

import numpy
import pytest
import torch

from genzoo import convert, hub
from genzoo.metrics.features import ClassifierFeatures
from genzoo.nets.classifiers import LeNet


def theirs(classes=10):
    """A state dict with the source's key names (and random values)."""
    net = LeNet(classes).state_dict()
    return {("convnet." if key[0] == "c" else "fc.") + key: value for key, value in net.items()}


@pytest.mark.parametrize("classes", [10, 7])
def test_lenet_keys_and_classes(classes):
    state = theirs(classes)
    config, ours, source = convert.read(state)
    assert source == "csinva/gan-vae-pretrained-pytorch"
    assert config["_target_"] == "genzoo.robustness.training.Classifier"
    assert config["network"] == {"_target_": "genzoo.nets.classifiers.LeNet", "classes": classes}
    LeNet(classes).load_state_dict({key.removeprefix("network."): value for key, value in ours.items()})  # strict
    assert torch.equal(ours["network.c3.weight"], state["convnet.c3.weight"]) and torch.equal(
        ours["network.f7.bias"], state["fc.f7.bias"]
    )


def test_unknown_keys_are_named():
    with pytest.raises(ValueError, match=r"'stem.weight', 'stem.bias'.*csinva"):
        convert.read({"stem.weight": torch.zeros(1), "stem.bias": torch.zeros(1)})
    with pytest.raises(ValueError, match="no keys at all"):
        convert.read({})


@pytest.fixture(scope="module")
def lenet(shared):
    state = torch.load(shared / "data/checkpoints/csinva/mnist_lenet_0.991.pth", map_location="cpu", weights_only=True)
    _, ours, _ = convert.read(state)
    network = LeNet()
    network.load_state_dict({key.removeprefix("network."): value for key, value in ours.items()})
    return ClassifierFeatures(network, "lenet")


@pytest.fixture(scope="module")
def files(shared):
    return shared / "data/checkpoints"


@pytest.fixture(scope="module")
def generator(files):
    """The source's MLP GAN generator after 300 epochs: 64 normal numbers -> images (n, 1, 28, 28) in [-1, 1]."""
    model = hub.load(files / "csinva/mnist_gan_mlp_G--300.ckpt")
    return lambda n: model.generate(normal(n, 64))


def normal(n, dim):
    return torch.from_numpy(numpy.random.RandomState(12345).standard_normal((n, dim))).float()


def idx(path, offset):
    return torch.frombuffer(bytearray(gzip.open(path).read()[offset:]), dtype=torch.uint8)


@pytest.fixture(scope="module")
def mnist_test(shared):
    raw = shared / "data/MNIST/raw"
    images = idx(raw / "t10k-images-idx3-ubyte.gz", 16).view(-1, 1, 28, 28) / 127.5 - 1
    return images, idx(raw / "t10k-labels-idx1-ubyte.gz", 8).long()


def test_lenet_on_mnist(lenet, mnist_test):
    images, labels = mnist_test
    answers = torch.cat([lenet.logits(part) for part in images.split(1000)])
    assert (answers.argmax(1) == labels).double().mean().item() == pytest.approx(0.9908, abs=1e-6)


def test_lenet_on_four_known_samples(lenet, generator):
    images = generator(4)
    assert images.mean((1, 2, 3)).tolist() == pytest.approx([-0.771023, -0.883431, -0.839330, -0.773473], abs=1e-5)
    assert lenet.logits(images).argmax(1).tolist() == [4, 1, 1, 7]


def test_published_gan_has_its_known_scores(lenet, generator, mnist_test):
    """Measured elsewhere on the same 10,000 latents: a third of the samples are ones, two in a hundred are twos."""
    from torchmetrics import MetricCollection

    from genzoo.metrics.fidelity import FID, KID, ClassHistogram, InceptionScore
    from genzoo.metrics.manifold import PrecisionRecall

    metrics = MetricCollection({"inception_score": InceptionScore(), "class_kl": ClassHistogram(10)})
    distances = MetricCollection({"fid": FID(lenet.dim), "kid": KID(), "precision_recall": PrecisionRecall()})
    for part in generator(10_000).split(1000):
        metrics.update(**lenet(part), real=False)
    found = metrics.compute()
    assert (found["class_shares"] * 10_000).round().tolist() == [841, 3340, 232, 594, 659, 331, 418, 1688, 385, 1512]
    assert found["class_kl"].item() == pytest.approx(0.337, abs=5e-4)
    assert found["inception_score"].item() == pytest.approx(6.68, abs=5e-3)
    assert found["confidence"].item() == pytest.approx(0.975, abs=5e-4)
    assert found["classes_present"] == 10

    half, rest = mnist_test[0][:2000], mnist_test[0][2000:4000]
    values = []
    for fake in (rest, generator(2000)):  # real digits are nearer to real digits
        distances.reset()
        distances.update(**lenet(half), real=True)
        distances.update(**lenet(fake), real=False)
        values.append(distances.compute())
    real, made = values
    assert real["fid"] < made["fid"] / 5 and real["kid"] < made["kid"] / 5
    assert real["precision"] > made["precision"] and real["recall"] > made["recall"]
