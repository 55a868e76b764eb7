"""The classifier."""

import pytest
import torch

from genzoo.batches import Images
from genzoo.nets.classifiers import SmallCNN, right
from genzoo.robustness.training import Classifier

TINY = ["data=digits", "model.width=4", "batch_size=8"]


def test_training_reads_what_classify_reads():
    """A loader's images are in [-1, 1], those of `classify` in [0, 1]."""
    torch.manual_seed(0)
    model = Classifier(SmallCNN(1, 10, 28, width=2), optimizers={"c": torch.optim.Adam})
    unit, y = torch.rand(6, 1, 28, 28), torch.arange(6)
    by_hand = -model.classify(unit).log_softmax(1)[torch.arange(6), y].mean()
    assert torch.allclose(model.loss("c", Images(2 * unit - 1, y))["classifier/cross_entropy"], by_hand)


def test_attributes_are_learned_one_by_one():
    torch.manual_seed(0)
    model = Classifier(SmallCNN(1, 3, 28, width=2), optimizers={"c": torch.optim.Adam})
    unit, y = torch.rand(6, 1, 28, 28), torch.tensor([[0.0, 1, 1], [1, 0, 0]]).repeat(3, 1)
    share = model.classify(unit).sigmoid()
    by_hand = -(y * share.log() + (1 - y) * (1 - share).log()).mean()
    terms = model.loss("c", Images(2 * unit - 1, y))
    assert torch.allclose(terms["classifier/binary_cross_entropy"], by_hand)
    logits = torch.tensor([[2.0, -1.0, 0.5], [0.3, 0.2, -4.0]])
    assert right(logits, torch.tensor([[1.0, 0, 0], [1, 1, 1]])).tolist() == [[True, True, False], [True, True, False]]
    assert right(logits, torch.tensor([0, 2])).tolist() == [True, False]
    with pytest.raises(ValueError, match="data.classes=null.*model.network.classes"):
        SmallCNN(1, None, 28)
