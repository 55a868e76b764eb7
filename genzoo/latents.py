"""Walks through latent space, edits and inversion: pure functions of latents (n, dim) and of what makes images of them."""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from genzoo.priors import Prior


def strip(prior: Prior, ends: Tensor, steps: int, loop: bool = False) -> Tensor:
    """`steps` latents at even distances along the path through all `ends`: (k, dim) -> (steps, dim).

    The path begins with the first end and stops at the last; with `loop` it leads back to the first, which is not repeated.
    """
    if len(ends) < 2 or steps < 2:
        raise ValueError(f"a path needs at least 2 ends and 2 steps, not {len(ends)} and {steps}")
    stops = torch.cat([ends, ends[:1]]) if loop else ends
    place = torch.arange(steps, dtype=torch.float64) * (len(stops) - 1) / (steps if loop else steps - 1)
    before = place.long().clamp(max=len(stops) - 2)
    return prior.path(stops[before], stops[before + 1], place - before)


def corners(prior: Prior, ends: Tensor, rows: int, columns: int) -> Tensor:
    """A sheet between four latents, upper left, upper right, lower left, lower right: (4, dim) -> (rows * columns, dim)."""
    if len(ends) != 4 or min(rows, columns) < 2:
        raise ValueError(f"a sheet needs 4 ends, 2 rows and 2 columns or more, not {len(ends)}, {rows} and {columns}")
    down, across = torch.linspace(0, 1, rows, dtype=torch.float64), torch.linspace(0, 1, columns, dtype=torch.float64)
    left, right = prior.path(ends[0], ends[2], down), prior.path(ends[1], ends[3], down)
    return prior.path(left[:, None], right[:, None], across).flatten(0, 1)


def arithmetic(plus: Tensor, minus: Tensor, base: Tensor) -> Tensor:
    """`base` moved from what the latents `minus` share to what `plus` share: the means of (n, dim) (DCGAN, section 6.3.2)."""
    return base + plus.mean(0) - minus.mean(0)


def difference(z: Tensor, has: Tensor) -> Tensor:
    """From the mean of the latents without something to the mean of those with it: (n, dim), (n,) bool -> (dim,).

    ValueError if none or all of them have it.
    """
    if not 0 < has.sum() < len(has):
        raise ValueError(f"{int(has.sum())} of {len(has)} latents have it: some with and some without are needed")
    return z[has].mean(0) - z[~has].mean(0)


def separating(z: Tensor, has: Tensor, penalty: float = 1.0) -> Tensor:
    """The unit normal (dim,) of the plane that logistic regression puts between latents without and with something.

    It points to what has it. Unlike `difference` it leaves out what merely goes along with it.
    """
    from sklearn.linear_model import LogisticRegression

    difference(z, has)  # the same demand on the data
    fitted = LogisticRegression(C=1 / penalty, max_iter=1000).fit(z.double().cpu().numpy(), has.cpu().numpy())
    return nn.functional.normalize(torch.from_numpy(fitted.coef_[0]).to(z), dim=0)


def first_weight(generator: nn.Module, dim: int) -> Tensor:
    """The weight of the first layer that reads latents, as a matrix (outputs, dim). ValueError if there is none."""
    for layer in generator.modules():
        if isinstance(layer, nn.Linear) and layer.in_features == dim:
            return layer.weight.detach()
        if isinstance(layer, nn.ConvTranspose2d) and layer.in_channels == dim:
            return layer.weight.detach().flatten(1).T
    raise ValueError(f"{type(generator).__name__} has no layer that reads latents of {dim} numbers")


def early_features(generator: nn.Module, z: Tensor, y: Tensor | None = None) -> Tensor:
    """What the second layer with weights reads, for each latent: (n, dim) -> (n, k). ValueError if there is no such layer.

    `y` (n,): classes, for a generator that makes images of some.
    """
    layers = [m for m in generator.modules() if isinstance(m, (nn.Linear, nn.modules.conv._ConvNd))]
    if len(layers) < 2:
        raise ValueError(f"{type(generator).__name__} has no second layer, whose input could be looked at")
    seen: list[Tensor] = []
    hook = layers[1].register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0].detach().flatten(1)))
    try:
        with torch.no_grad():
            generator(z) if y is None else generator(z, y)
    finally:
        hook.remove()
    return seen[0]


def sefa(weight: Tensor, count: int) -> Tensor:
    """The `count` unit directions that a first layer (outputs, dim) amplifies most: (count, dim) (Shen and Zhou 2021, Eq. 4)."""
    _, _, directions = torch.linalg.svd(weight.float(), full_matrices=False)
    return directions[:count]


def principal(z: Tensor, features: Tensor, count: int) -> Tensor:
    """Directions (count, dim) of latents along which features vary most (Haerkoenen et al. 2020, GANSpace, section 2.2).

    Principal components of the features (n, k) of latents (n, dim), each carried over to latents by least squares;
    a direction's length is that of one standard deviation of its component.
    """
    centred = (features - features.mean(0)).float()
    _, _, axes = torch.linalg.svd(centred, full_matrices=False)
    places = centred @ axes[:count].T  # (n, count)
    places = places / places.std(0)
    return torch.linalg.lstsq(places, (z - z.mean(0)).float()).solution


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in decibels of images (n, ...) in [-1, 1], whose peak is 2: (n,)."""
    return 10 * torch.log10(4 / (a - b).square().flatten(1).mean(1))


@torch.inference_mode(False)
@torch.enable_grad()
def invert(
    generate: Callable[[Tensor], Tensor],
    images: Tensor,
    starts: Tensor,
    steps: int = 1000,
    rate: float = 0.1,
    report: Callable[[int], None] = lambda step: None,
) -> tuple[Tensor, Tensor]:
    """Latents whose images come nearest to given ones, found from several starts each by Adam on the squared error.

    images (n, c, h, w) in [-1, 1] and starts (n, k, dim) -> latents (n, dim), the best of all starts and steps, and the
    PSNR (n,) of their images in decibels. The rate falls to 0 along a cosine; `report` is called after every step.
    Adam's second beta is 0.99: with 0.999 half as many samples of a DCGAN are found again in as many steps.
    """
    n, k = starts.shape[:2]
    z = starts.detach().clone().requires_grad_()
    optimizer = torch.optim.Adam([z], rate, betas=(0.9, 0.99))
    target, rows = images[:, None], torch.arange(n, device=images.device)
    best, least = starts[:, 0].clone(), torch.full((n,), math.inf, device=images.device)
    for step in range(steps + 1):
        optimizer.param_groups[0]["lr"] = rate * (1 + math.cos(math.pi * step / max(steps, 1))) / 2
        error = (generate(z.flatten(0, 1)).unflatten(0, (n, k)) - target).square().flatten(2).mean(2)  # (n, k)
        lowest, which = error.detach().min(1)
        better = lowest < least
        best[better], least[better] = z.detach()[rows, which][better], lowest[better]
        if step < steps:
            (gradient,) = torch.autograd.grad(error.sum(), z)
            z.grad = gradient
            optimizer.step()
            report(step + 1)
    return best, 10 * torch.log10(4 / least)


def nearest(queries: Tensor, items: Iterable[Tensor], count: int) -> tuple[Tensor, Tensor]:
    """The `count` nearest of all items to each query by Euclidean distance: indices and distances (n, count).

    Features (n, k) of the queries, and those of the items, a batch (m, k) at a time. ValueError if there are too few.
    """
    distances = torch.empty(len(queries), 0, dtype=torch.float64, device=queries.device)
    indices, seen = torch.empty(len(queries), 0, dtype=torch.long, device=queries.device), 0
    for batch in items:
        exact = "donot_use_mm_for_euclid_dist"  # a copy is at 0, and not at the rounding of a matrix product
        found = torch.cdist(queries.double(), batch.double(), compute_mode=exact)
        place = torch.arange(seen, seen + len(batch), device=queries.device).expand(len(queries), -1)
        seen += len(batch)
        distances, order = torch.cat([distances, found], dim=1).sort(dim=1, stable=True)
        indices = torch.cat([indices, place], dim=1).gather(1, order)[:, :count]
        distances = distances[:, :count]
    if seen < count:
        raise ValueError(f"{count} neighbours of {seen} images: ask for {seen} at most")
    return indices, distances
