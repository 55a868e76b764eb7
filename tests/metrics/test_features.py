import sys

import pytest
import torch

from genzoo.metrics.features import ClassifierFeatures, Inception, RandomFeatures
from genzoo.nets.classifiers import LeNet, SmallCNN


def test_classifier_reads_unit_range_in_eval_mode():
    torch.manual_seed(0)
    network = SmallCNN(3, 7, 28)
    net = ClassifierFeatures(network, "mine").train()
    images = 2 * torch.rand(5, 3, 28, 28) - 1
    seen = net(images)
    assert (net.name, net.channels, net.dim, net.classes, net.training) == ("mine", 3, 128, 7, False)
    assert torch.equal(seen["features"], network.features((images + 1) / 2)) and not seen["features"].requires_grad
    assert torch.equal(seen["logits"], network((images + 1) / 2))
    assert torch.equal(net.features(images), seen["features"]) and torch.equal(net.logits(images), seen["logits"])


def test_wrong_channels_are_refused():
    with pytest.raises(ValueError, match=r"'lenet' reads grey images .* not \(2, 3, 32, 32\)"):
        ClassifierFeatures(LeNet(), "lenet")(torch.zeros(2, 3, 32, 32))
    with pytest.raises(ValueError, match="reads RGB images"):
        RandomFeatures(3)(torch.zeros(2, 1, 32, 32))


def test_random_features_depend_on_the_seed_alone():
    images = torch.randn(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    state = torch.get_rng_state()
    first, second, other = RandomFeatures(1, seed=3), RandomFeatures(1, seed=3), RandomFeatures(1, seed=4)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(first.features(images), second.features(images))
    assert not torch.equal(first.features(images), other.features(images))
    assert first.features(images).shape == (4, first.dim) and first.logits(images).shape == (4, first.classes)


def test_inception_says_what_is_missing(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="pt_inception-2015-12-05-6726825d.pth"):
        Inception(tmp_path / "none.pth")
    file = tmp_path / "weights.pth"
    torch.save({"a": torch.zeros(1)}, file)
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    with pytest.raises(ValueError, match=r"genzoo\[metrics\]"):
        Inception(file)


class Planted:
    """A pickle that would leave a file behind if it were executed."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_inception_from_a_file(tmp_path, monkeypatch):
    module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3", reason="needs the extra metrics")
    extractor = module.FeatureExtractorInceptionV3
    with monkeypatch.context() as patch:  # its constructor cannot do without weights
        patch.setattr(module, "load_state_dict_from_url", lambda *args, **kwargs: {})
        patch.setattr(extractor, "load_state_dict", lambda self, state: None)
        state = extractor("inception", ["2048"]).state_dict()
    torch.save(state, tmp_path / "good.pth")
    torch.save({"a": torch.zeros(1)}, tmp_path / "foreign.pth")
    torch.save(Planted(tmp_path / "executed"), tmp_path / "code.pth")
    (tmp_path / "empty.pth").touch()
    (tmp_path / "short.pth").write_bytes((tmp_path / "foreign.pth").read_bytes()[:300])

    net = Inception(tmp_path / "good.pth")
    seen = net(torch.zeros(2, 3, 32, 32))
    assert seen["features"].shape == (2, 2048) and seen["logits"].shape == (2, 1008)
    for name in ("foreign", "code", "short", "empty"):
        with pytest.raises(ValueError, match=f"{name}.pth does not hold the weights"):
            Inception(tmp_path / f"{name}.pth")
    assert not (tmp_path / "executed").exists()
