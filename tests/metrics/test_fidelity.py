import math

import pytest
import torch
from torchmetrics import MetricCollection
from torchmetrics.image.inception import InceptionScore as StockInceptionScore
from torchmetrics.image.kid import KernelInceptionDistance

from genzoo.metrics.fidelity import FID, KID, ClassHistogram, Given, InceptionScore
from genzoo.metrics.manifold import DensityCoverage, PrecisionRecall


def judged(metric, real, fake, batch=1000):
    for features in real.split(batch):
        metric.update(features=features, real=True)
    for features in fake.split(batch):
        metric.update(features=features, real=False)
    return metric.compute()


def scored(metric, logits, batch=1000):
    for part in logits.split(batch):
        metric.update(logits=part)
    return metric.compute()


@pytest.mark.parametrize("batch", [80, 7, 1])
def test_golden_distances_whatever_the_batches(golden, batch):
    tensors, expected = golden
    real, fake = tensors["features_real"], tensors["features_fake"]
    assert judged(FID(12), real, fake, batch).item() == pytest.approx(expected["fid_float64_scipy_sqrtm"], rel=1e-9)
    assert judged(KID(), real, fake, batch).item() == pytest.approx(expected["kid_unbiased_all_samples"], rel=1e-9)
    kid = judged(KID(), real[:70], fake, batch).item()
    assert kid == pytest.approx(expected["kid_torch_fidelity_first_70_of_each_one_subset"], rel=1e-9)


@pytest.mark.parametrize("batch", [200, 7])
def test_golden_inception_score(golden, batch):
    tensors, expected = golden
    one = scored(InceptionScore(), tensors["logits"], batch)
    assert one["inception_score"].item() == pytest.approx(expected["inception_score_one_split"], rel=1e-9)
    assert one["inception_score_std"] == 0
    five = scored(InceptionScore(splits=5), tensors["logits"], batch)
    wanted = expected["inception_score_5_splits_in_order"]
    assert five["inception_score"].item() == pytest.approx(wanted["mean"], rel=1e-9)
    assert five["inception_score_std"].item() == pytest.approx(wanted["std_population"], rel=1e-9)


def test_fid_of_gaussians_with_known_moments():
    """Diagonal covariances commute: FID is |m1 - m2|^2 + sum (s1 - s2)^2."""
    x = torch.randn(500, 6, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    x = x - x.mean(0)
    values, vectors = torch.linalg.eigh(torch.cov(x.T))
    white = x @ vectors / values.sqrt()  # mean 0 and covariance 1, exactly
    a, b = torch.arange(1.0, 7.0), torch.tensor([2.0, 2.0, 2.0, 5.0, 5.0, 5.0])
    expected = 6 * 0.25 + (a - b).square().sum().item()
    assert judged(FID(6), white * a, white * b + 0.5).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance` will save")
def test_kid_is_torchmetrics_with_one_subset_of_everything():
    generator = torch.Generator().manual_seed(1)
    real, fake = (
        torch.randn(1500, 5, generator=generator),
        torch.randn(1500, 5, generator=generator) + 0.2,
    )  # more than a block
    stock = KernelInceptionDistance(feature=Given(5), subsets=1, subset_size=1500)
    stock.update(real.double(), real=True)
    stock.update(fake.double(), real=False)
    assert judged(KID(), real, fake).item() == pytest.approx(stock.compute()[0].item(), rel=1e-9)


def test_kid_is_unbiased():
    """Equal distributions: the mean over many small draws is zero within its error, whereas a biased estimate would
    stay above.
    """
    generator = torch.Generator().manual_seed(2)
    values = [judged(KID(), *torch.randn(2, 8, 3, generator=generator)).item() for _ in range(400)]
    mean, deviation = torch.tensor(values).mean().item(), torch.tensor(values).std().item()
    assert abs(mean) < 3 * deviation / 20


@pytest.mark.filterwarnings("ignore:Metric `InceptionScore` will save", "ignore:.*degrees of freedom")
def test_inception_score_in_closed_form_and_against_torchmetrics():
    sure = 100 * torch.eye(4).repeat(3, 1)  # four classes, each certain and equally frequent: exp(log 4)
    assert scored(InceptionScore(), sure)["inception_score"].item() == pytest.approx(4)
    assert scored(InceptionScore(), torch.zeros(5, 4))["inception_score"].item() == pytest.approx(1)
    very_sure = 5000 * torch.eye(4)[[0, 0]]  # probabilities underflow to 0: still a number
    assert scored(InceptionScore(), very_sure)["inception_score"].item() == pytest.approx(1)
    logits = torch.randn(300, 7, generator=torch.Generator().manual_seed(3), dtype=torch.double)
    stock = StockInceptionScore(feature=Given(7), splits=1)
    stock.update(logits)
    assert scored(InceptionScore(), logits)["inception_score"].item() == pytest.approx(
        stock.compute()[0].item(), rel=1e-12
    )


def test_inception_score_splits_of_unequal_length():
    logits = 100 * torch.eye(4)[[0, 1, 0, 1, 2]]  # parts of 2, 1, 1, 1: scores 2, 1, 1, 1
    assert scored(InceptionScore(splits=4), logits)["inception_score"].item() == pytest.approx(1.25)
    with pytest.raises(ValueError, match="5 images cannot be cut into 6 splits"):
        scored(InceptionScore(splits=6), logits)


def test_class_histogram():
    logits = torch.eye(4)[[0, 0, 0, 1]] * 50
    seen = scored(ClassHistogram(4), logits, batch=3)
    assert seen["class_shares"].tolist() == [0.75, 0.25, 0, 0]
    assert seen["classes_present"] == 2
    assert seen["class_kl"].item() == pytest.approx(0.75 * math.log(3) + 0.25 * math.log(1))
    assert seen["confidence"].item() == pytest.approx(1)
    exact = scored(ClassHistogram(4, torch.tensor([0.75, 0.25, 0, 0])), logits)
    assert exact["class_kl"] == 0
    counts = scored(ClassHistogram(4, torch.tensor([6000, 2000, 1000, 1000])), logits)  # counts do as well as shares
    assert counts["class_kl"].item() == pytest.approx(0.75 * math.log(0.75 / 0.6) + 0.25 * math.log(0.25 / 0.2))
    assert scored(ClassHistogram(4, torch.tensor([0.0, 1, 0, 0])), logits)["class_kl"] == math.inf
    with pytest.raises(ValueError, match="shares of 3 classes"):
        ClassHistogram(4, torch.ones(3))


def test_collection_takes_everything_and_real_images_stay_out_of_scores(golden):
    tensors, expected = golden
    metrics = MetricCollection(
        {
            "fid": FID(12),
            "kid": KID(),
            "inception_score": InceptionScore(),
            "class_kl": ClassHistogram(10),
            "precision_recall": PrecisionRecall(nearest=3),
            "density_coverage": DensityCoverage(nearest=3),
        }
    )
    logits = tensors["logits"]
    state = torch.get_rng_state()
    for rows in torch.arange(80).split(30):
        metrics.update(features=tensors["features_real"][rows], logits=-logits[rows], real=True)
    for rows in torch.arange(70).split(30):
        metrics.update(features=tensors["features_fake"][rows], logits=logits[rows], real=False)
    found = metrics.compute()
    assert torch.equal(state, torch.get_rng_state()), "judging must not move torch's generator"
    assert found["fid"].item() == pytest.approx(expected["fid_float64_scipy_sqrtm"])
    assert found["kid"].item() == pytest.approx(expected["kid_unbiased_all_samples"])
    assert {key: found[key].item() for key in expected["prdc"]} == pytest.approx(expected["prdc"])
    alone = scored(InceptionScore(), logits[:70]) | scored(ClassHistogram(10), logits[:70])
    for key in alone:
        torch.testing.assert_close(found[key], alone[key], rtol=1e-12, atol=0)
    metrics.reset()
    with (
        pytest.raises(ValueError, match="0 real and 0 generated"),
        pytest.warns(UserWarning, match="before the ``update``"),
    ):
        metrics["kid"].compute()


@pytest.mark.parametrize("metric", [FID(3), KID(), PrecisionRecall(), DensityCoverage()])
def test_too_few_images(metric):
    with pytest.raises(ValueError, match="30 real and 1 generated images"):
        judged(metric, torch.randn(30, 3), torch.randn(1, 3))
