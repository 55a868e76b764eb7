import os
import sys

import pytest
import torch

from genzoo import hub
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
    with pytest.raises(ValueError, match=r"inception.pth.*\n.*pt_inception-2015-12-05-6726825d.pth"):
        hub.feature_network(tmp_path / "inception.pth")
    os.mkfifo(tmp_path / "inception.pth")
    with pytest.raises(ValueError, match="a FIFO"):
        hub.feature_network(tmp_path / "inception.pth")
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    with pytest.raises(ValueError, match=r"genzoo\[metrics\]"):
        Inception({})


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
    torch.save(state, tmp_path / "inception.pth")
    torch.save({"a": torch.zeros(1)}, tmp_path / "inception-foreign.pth")
    torch.save([1], tmp_path / "inception-list.pth")

    net = hub.feature_network(tmp_path / "inception.pth")
    seen = net(torch.zeros(2, 3, 32, 32))
    assert seen["features"].shape == (2, 2048) and seen["logits"].shape == (2, 1008)
    for weights in ("inception-foreign.pth", "inception-list.pth"):
        with pytest.raises(ValueError, match=f"{weights}: it does not hold the weights"):
            hub.feature_network(tmp_path / weights)


def test_inception_is_read_as_every_checkpoint_is(tmp_path):
    """Nothing of it runs, and damage is found by its checksums, before torch-fidelity sees it."""
    torch.save(Planted(tmp_path / "executed"), tmp_path / "inception-code.pth")
    torch.save({"a": torch.arange(1000)}, tmp_path / "inception-flipped.pth")
    whole = (tmp_path / "inception-flipped.pth").read_bytes()
    place = whole.index(torch.arange(500, 510).numpy().tobytes())
    (tmp_path / "inception-flipped.pth").write_bytes(whole[:place] + b"\xff" + whole[place + 1 :])
    (tmp_path / "inception-short.pth").write_bytes(whole[:300])
    for name, what in {"code": "could run code", "flipped": "checksum", "short": "cannot be read"}.items():
        with pytest.raises(ValueError, match=f"inception-{name}.pth.*{what}"):
            hub.feature_network(tmp_path / f"inception-{name}.pth")
    assert not (tmp_path / "executed").exists()
