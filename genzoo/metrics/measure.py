"""One pass over real and generated images for all numbers of a kind. Who makes the batches is not asked here."""

from collections.abc import Collection, Iterable
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from genzoo.batches import Images
from genzoo.images import to_unit
from genzoo.metrics.fidelity import FID, KID, ClassHistogram, InceptionScore
from genzoo.metrics.manifold import DensityCoverage, PrecisionRecall
from genzoo.metrics.modes import Modes
from genzoo.nets.classifiers import right

QUADRATIC = ("kid", "precision_recall", "density_coverage")  # in the number of images, in time


def modes(points: Iterable[Tensor], centres: Tensor, sigma: float, device: str = "cpu") -> dict[str, Tensor]:
    """How batches of points (n, 2) fall on the modes of toy data, as `Modes` counts it."""
    metric = Modes(centres, sigma).to(device)
    for part in points:
        metric.update(part)
    return metric.compute()


def features(
    net: Any,
    names: Collection[str],
    real: Iterable[tuple[Images, Tensor]],
    fake: Iterable[tuple[Tensor, Tensor]],
    nearest: int = 5,
    device: str = "cpu",
    asked: Tensor | None = None,
) -> dict[str, Tensor]:
    """The metrics `names` of what a feature network says about real and generated images (n, c, h, w).

    Beside each batch stands a mask (n,): the QUADRATIC metrics are shown only the images where it is True. What
    `class_kl` compares with are the shares of the real images' labels. `nearest`: the neighbours for density and coverage.
    `class_accuracy` is the share of generated images that show the class they were `asked` for: ids (n,), in order.
    """
    known: dict[str, Metric] = {
        "fid": FID(net.dim),
        "kid": KID(),
        "inception_score": InceptionScore(),
        "precision_recall": PrecisionRecall(),
        "density_coverage": DensityCoverage(nearest),
    }
    chosen = {name: metric for name, metric in known.items() if name in names}
    of_all = MetricCollection({k: v for k, v in chosen.items() if k not in QUADRATIC}).to(device)
    of_some = MetricCollection({k: v for k, v in chosen.items() if k in QUADRATIC}).to(device)

    def look(images: Tensor, mask: Tensor, real: bool) -> Tensor:
        seen = net(images)
        if not all(rows.isfinite().all() for rows in seen.values()):
            raise ValueError(
                f"the network {net.name} answers with what is no finite number: nothing can be judged by it"
            )
        of_all.update(**seen, real=real)
        of_some.update(**{name: rows[mask.to(rows.device)] for name, rows in seen.items()}, real=real)
        return seen["logits"]

    labels = torch.zeros(net.classes)
    for batch, mask in real:
        look(batch.x, mask, real=True)
        if "class_kl" in names:
            labels += batch.y.cpu().bincount(minlength=net.classes)
    histogram = ClassHistogram(net.classes, labels).to(device) if "class_kl" in names else None
    answers = []
    for images, mask in fake:
        logits = look(images, mask, real=False)
        answers.append(logits.argmax(1))
        if histogram:
            histogram.update(logits)
    found = of_all.compute() | of_some.compute() | (histogram.compute() if histogram else {})
    if "class_accuracy" in names and asked is not None:
        found["class_accuracy"] = (torch.cat(answers) == asked.to(device)).double().mean()
    return found


def negative_elbo(model: Any, real: Iterable[Images], noise: Iterable[Tensor]) -> dict[str, float]:
    """Means of a model's `bound` and of its two parts over all images, in nats; the noise comes in batches of its own."""
    count, error, kl = 0, 0.0, 0.0
    for batch, part in zip(real, noise):
        errors, kls = model.bound(batch.x, part.to(batch.x))
        count, error, kl = count + len(errors), error + errors.double().sum().item(), kl + kls.double().sum().item()
    return {"negative_elbo": (error + kl) / count, "reconstruction": error / count, "kl": kl / count}


def accuracy(model: Any, real: Iterable[Images]) -> dict[str, Any]:
    """The share of images whose label the model names first; of attributes the share of right answers, and each one's."""
    logits = [(model.classify(to_unit(batch.x)), batch.y) for batch in real]
    if any(found.isnan().any() for found, _ in logits):
        raise ValueError(f"{type(model).__name__} answers with what is no number: its weights are damaged")
    answers = torch.cat([right(found, y).double() for found, y in logits])
    found: dict[str, Any] = {"accuracy": answers.mean().item()}
    return found | ({"accuracy_of_each": answers.mean(0).tolist()} if answers.dim() == 2 else {})
