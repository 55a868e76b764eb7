"""The classifier."""

import torch

from genzoo.batches import Images
from genzoo.nets.classifiers import SmallCNN
from genzoo.robustness.training import Classifier

TINY = ["data=digits", "model.width=4", "batch_size=8"]


def test_training_reads_what_classify_reads():
    """A loader's images are in [-1, 1], those of `classify` in [0, 1]."""
    torch.manual_seed(0)
    model = Classifier(SmallCNN(1, 10, 28, width=2), optimizers={})
    unit, y = torch.rand(6, 1, 28, 28), torch.arange(6)
    by_hand = -model.classify(unit).log_softmax(1)[torch.arange(6), y].mean()
    assert torch.allclose(model.loss("c", Images(2 * unit - 1, y))["classifier/cross_entropy"], by_hand)
