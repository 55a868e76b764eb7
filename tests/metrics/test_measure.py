"""Which images each metric is shown. The network is none: an image's four pixels are its features and its answer."""

import pytest
import torch

from genzoo.batches import Images
from genzoo.metrics import measure
from genzoo.metrics.fidelity import FID, KID, ClassHistogram, InceptionScore
from genzoo.metrics.manifold import DensityCoverage, PrecisionRecall
from genzoo.metrics.measure import QUADRATIC

NAMES = ("fid", "kid", "inception_score", "class_kl", "precision_recall", "density_coverage")


class Pixels:
    """A feature network that keeps what it was shown."""

    dim = classes = 4

    def __call__(self, images):
        return {"features": images.flatten(1), "logits": images.flatten(1)}


def sets():
    source = torch.Generator().manual_seed(0)
    real, fake = torch.randn(50, 1, 2, 2, generator=source), 0.5 + torch.randn(40, 1, 2, 2, generator=source)
    labels = torch.randint(4, (50,), generator=source)
    return real, labels, fake, torch.arange(50) % 3 == 1, torch.arange(40) % 2 == 0


def measured(names, size):
    real, labels, fake, real_mask, fake_mask = sets()
    pairs = zip(real.split(size), labels.split(size), real_mask.split(size))
    return measure.features(
        Pixels(), names, ((Images(x, y), mask) for x, y, mask in pairs),
        zip(fake.split(size), fake_mask.split(size)), nearest=4,
    )  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_quadratic_metrics_see_what_the_masks_leave_and_the_others_see_all(name):
    real, labels, fake, real_mask, fake_mask = sets()
    metric = {
        "fid": FID(4), "kid": KID(), "inception_score": InceptionScore(), "precision_recall": PrecisionRecall(),
        "density_coverage": DensityCoverage(4), "class_kl": ClassHistogram(4, labels.bincount(minlength=4)),
    }[name]  # fmt: skip
    real, fake = (real[real_mask], fake[fake_mask]) if name in QUADRATIC else (real, fake)
    what = "logits" if name in ("inception_score", "class_kl") else "features"
    metric.update(**{what: real.flatten(1)}, real=True)
    metric.update(**{what: fake.flatten(1)}, real=False)
    wanted = metric.compute()
    wanted = wanted if isinstance(wanted, dict) else {name: wanted}
    for names in ([name], NAMES):
        found = measured(names, 7)
        assert list(found) == list(wanted) if len(names) == 1 else set(found) > set(wanted)
        for key, value in wanted.items():
            torch.testing.assert_close(found[key].double(), value.double(), rtol=1e-5, atol=1e-7)


def test_batches_change_nothing():
    one, many = measured(NAMES, 50), measured(NAMES, 3)
    for key, value in one.items():
        torch.testing.assert_close(many[key].double(), value.double(), rtol=1e-5, atol=1e-7)
