"""Distances of generated to real images in a feature space (FID, KID), and scores of a classifier's answers to them.

The distances take `update(features=(n, d), real=...)`, the scores (inception score, class histogram)
`update(logits=(n, classes), real=...)`; the package's docstring shows the use.
"""

import math

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.utilities import dim_zero_cat

BLOCK = 1024  # rows of a distance or kernel matrix held at a time


def too_few(counts, least: int) -> str:
    return f"{counts[0]} real and {counts[1]} generated images; this metric needs at least {least} of each"


class Given(nn.Module):
    """The feature network of a metric that is handed features: hands them on."""

    def __init__(self, dim: int):
        super().__init__()
        self.num_features = dim

    def forward(self, features: Tensor) -> Tensor:
        return features


class FID(FrechetInceptionDistance):
    """Frechet distance between Gaussians fitted to two sets of features (n, dim) (Heusel et al. 2017, eq. 6).

    torchmetrics' own, on features instead of images and in float64 throughout. Needs two images of each kind, and means
    little with fewer than `dim`.
    """

    def __init__(self, dim: int):
        super().__init__(feature=Given(dim))

    def update(self, features: Tensor, real: bool) -> None:
        super().update(features.double(), real=real)

    def compute(self) -> Tensor:
        counts = int(self.real_features_num_samples), int(self.fake_features_num_samples)
        if min(counts) < 2:
            raise ValueError(too_few(counts, 2))
        sums = [self.real_features_sum, self.real_features_cov_sum, self.fake_features_sum, self.fake_features_cov_sum]
        if not all(part.isfinite().all() for part in sums):  # LAPACK would end the process
            return torch.tensor(math.nan, dtype=torch.float64, device=self.device)
        return super().compute()


class TwoSets(Metric):
    """A metric that needs all features of both sets at once and so keeps them (10,000 x 2,048 are 80 MB)."""

    full_state_update = False
    real: list[Tensor]
    fake: list[Tensor]

    def __init__(self):
        super().__init__()
        self.add_state("real", [], dist_reduce_fx="cat")
        self.add_state("fake", [], dist_reduce_fx="cat")

    def update(self, features: Tensor, real: bool) -> None:
        (self.real if real else self.fake).append(features)

    def sets(self, least: int) -> tuple[Tensor, Tensor]:
        """Both sets in float64; ValueError with fewer than `least` images in one."""
        counts = [sum(map(len, part)) if isinstance(part, list) else len(part) for part in (self.real, self.fake)]
        if min(counts) < least:
            raise ValueError(too_few(counts, least))
        return dim_zero_cat(self.real).double(), dim_zero_cat(self.fake).double()


def kernel_sum(a: Tensor, b: Tensor) -> Tensor:
    """The sum of (x.y / d + 1)^3 over all pairs of rows of a and b."""
    return torch.stack([((rows @ b.T / a.shape[1] + 1) ** 3).sum() for rows in a.split(BLOCK)]).sum()


class KID(TwoSets):
    """Unbiased squared MMD with the kernel (x.y / d + 1)^3 (Binkowski et al. 2018, section 4), over all images.

    torchmetrics averages 100 random subsets of 1,000: the same expectation, but a noisier number that also depends on
    torch's global generator, moves it, and cannot use sets of unequal size.
    """

    def compute(self) -> Tensor:
        real, fake = self.sets(least=2)

        def within(x):
            diagonal = ((x.square().sum(1) / x.shape[1] + 1) ** 3).sum()
            return (kernel_sum(x, x) - diagonal) / (len(x) * (len(x) - 1))

        return within(real) + within(fake) - 2 * kernel_sum(real, fake) / (len(real) * len(fake))


class InceptionScore(Metric):
    """exp of the mean KL(p(y|x) || p(y)) over generated images (Salimans et al. 2016, section 4).

    Real images are left out. With `splits` above one: the mean of the scores of that many parts, cut in the order of
    the images, and their (population) deviation, `inception_score_std`. torchmetrics shuffles with torch's global
    generator, and gives nan as the deviation of one split.
    """

    full_state_update = False
    answers: list[Tensor]

    def __init__(self, splits: int = 1):
        super().__init__()
        self.splits = splits
        self.add_state("answers", [], dist_reduce_fx="cat")

    def update(self, logits: Tensor, real: bool = False) -> None:
        if not real:
            self.answers.append(logits)

    def compute(self) -> dict[str, Tensor]:
        log_p = dim_zero_cat(self.answers).double().log_softmax(1)  # (n, classes)
        if len(log_p) < self.splits:
            raise ValueError(
                f"{len(log_p)} images cannot be cut into {self.splits} splits; draw more or take fewer splits"
            )
        scores = []
        for part in log_p.tensor_split(self.splits):
            log_marginal = part.logsumexp(0) - math.log(len(part))  # finite where a mean of probabilities is 0
            scores.append((part.exp() * (part - log_marginal)).sum(1).mean().exp())
        result = torch.stack(scores)
        return {"inception_score": result.mean(), "inception_score_std": result.std(correction=0)}


class ClassHistogram(Metric):
    """What a classifier takes generated images for; real images are left out. Mode collapse shows here.

    `class_kl`: KL(shares || reference) in nats; the reference is a tensor of `classes` shares (the data's labels), or
    uniform. It is infinite if images are of a class that the reference has not. `class_shares` (classes,);
    `classes_present`: classes with an image; `confidence`: the mean of the highest probability.
    """

    full_state_update = False
    reference: Tensor
    counts: Tensor
    certain: Tensor

    def __init__(self, classes: int, reference: Tensor | None = None):
        super().__init__()
        reference = torch.full((classes,), 1 / classes) if reference is None else reference
        if reference.shape != (classes,):
            raise ValueError(f"the reference has shares of {len(reference)} classes, the classifier knows {classes}")
        self.register_buffer("reference", reference.double() / reference.double().sum())
        self.add_state("counts", torch.zeros(classes, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("certain", torch.zeros((), dtype=torch.double), dist_reduce_fx="sum")

    def update(self, logits: Tensor, real: bool = False) -> None:
        if not real:
            self.counts += logits.argmax(1).bincount(minlength=len(self.counts))
            self.certain += logits.double().softmax(1).amax(1).sum()

    def compute(self) -> dict[str, Tensor]:
        n = self.counts.sum()
        if n == 0:
            raise ValueError("no generated images were given; draw some first")
        shares = self.counts.double() / n
        return {
            "class_kl": kl(shares, self.reference),
            "class_shares": shares,
            "classes_present": (self.counts > 0).sum(),
            "confidence": self.certain / n,
        }


def kl(p: Tensor, q: Tensor) -> Tensor:
    """KL(p || q) of two histograms of shares, in nats; 0 log 0 is 0."""
    return (torch.special.xlogy(p, p) - torch.special.xlogy(p, q)).sum()
