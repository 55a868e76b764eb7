"""Pictures that do not fit into memory, translated in tiles that share the statistics of their norms.

Instance normalisation looks at a whole picture: a tile that is normalised by itself comes out in colours of its own
(junyanz/CycleGAN#32). Two ways round:

- `staged`: a network with `stages` goes down to a quarter of the size, works there and comes up again. Only its first
  and last stage need tiles, which see a few pixels beyond their borders, and each of their few norms can be told the
  statistics of the whole picture in a sweep of its own. This is what the network makes of the whole picture.
- `tiled`: for other networks, and where a quarter of the size does not fit either. Small samples from all over the
  picture go through the network as one batch, whose statistics, every pixel counted once, then hold for all tiles.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

SAMPLE = 32  # pieces at most that stand for the picture; with 8 larger ones its statistics are met four times worse
PIECE = 96  # pixels of their side at least
MARGIN = 96  # pixels, half of what tiles share: as far as a translator of nine residual blocks sees
REACH = 8  # pixels of its input that a tile of a stage sees beyond its own; a ResNet needs 6 on the way down, 3 up
HELD = 2.0  # what a pass holds at most, in units of the largest layer's input and output; measured


def footprints(network: nn.Module, channels: int) -> dict[nn.Module, float]:
    """Bytes of input and output of each layer of a network for each pixel of a picture."""
    side, found = max(128, 2 * getattr(network, "multiple_of", 1)), dict[nn.Module, float]()

    def look(layer: nn.Module, inputs: Any, output: Tensor) -> None:
        size = sum(t.numel() * t.element_size() for t in (*inputs, output)) / side**2
        found[layer] = max(size, found.get(layer, 0.0))

    leaves = [module for module in network.modules() if not list(module.children())]
    hooks = [leaf.register_forward_hook(look) for leaf in leaves]
    weight = next(network.parameters())
    try:
        with torch.no_grad():
            network(torch.zeros(1, channels, side, side, device=weight.device, dtype=weight.dtype))
    finally:
        for hook in hooks:
            hook.remove()
    return found


def appetite(network: nn.Module, channels: int) -> float:
    """Bytes that a pass of the network takes for each pixel of a picture, about, without gradients."""
    return HELD * max(footprints(network, channels).values())


class Room(NamedTuple):
    """What fits: pixels that go through at once, pixels of a picture for `staged`, and the side of a tile."""

    whole: float
    staged: float
    side: int


def room(network: Any, memory: float) -> Room:
    """What a network can do with so many bytes; ValueError if not even tiles fit."""
    sizes, stages = footprints(network, network.inputs), getattr(network, "stages", None)
    need = HELD * max(sizes.values())
    inside = HELD * max(sizes.get(layer, 0.0) for layer in stages[1].modules()) if stages else math.inf
    # beside the middle stage there are its input, the picture, and what has become of it
    return Room(memory / need, 0.75 * memory / inside, side_of(memory, need, network.multiple_of))


def side_of(memory: float, need: float, multiple: int) -> int:
    """The side of the largest tile that fits into so many bytes; ValueError if it would be all margin."""
    side = int((memory / need) ** 0.5) // multiple * multiple
    least = math.ceil((2 * MARGIN + max(MARGIN, multiple)) / multiple) * multiple
    if side < least:
        enough = math.ceil(need * least**2 / 1e8) / 10
        raise ValueError(f"memory={memory / 1e9:.3g}GB is too little for tiles of this model: say {enough}GB or more")
    return side


def places(length: int, side: int, multiple: int) -> list[int]:
    """Where tiles begin along a picture: evenly, at multiples, and overlapping by two margins or more."""
    if length <= side:
        return [0]
    # Counted in multiples: starts that are rounded afterwards may leave a gap between tiles where the multiple is large.
    way, most = (length - side) // multiple, (side - 2 * MARGIN) // multiple
    count = -(-way // most)
    return [i * way // count * multiple for i in range(count + 1)]


def sample(h: int, w: int, side: int, multiple: int) -> list[tuple[slice, slice]]:
    """Pieces evenly over a picture, together no larger than a tile, `SAMPLE` at most, that leave the least unseen."""
    piece = max(math.ceil(max(side / SAMPLE**0.5, PIECE) / multiple) * multiple, multiple)
    count = max(side**2 // piece**2, 1)
    tall, wide = min(piece, h), min(piece, w)
    shapes = [(rows, count // rows) for rows in range(1, count + 1)]
    rows, columns = min(shapes, key=lambda shape: max(h / (shape[0] * tall), w / (shape[1] * wide)))

    def along(length: int, part: int, parts: int) -> list[slice]:
        parts = min(parts, -(-length // part))
        middles = [(i + 0.5) * length / parts for i in range(parts)]  # from border to border they would favour borders
        starts = [round((middle - part / 2) / multiple) * multiple for middle in middles]
        return [slice(start, start + part) for start in (min(max(start, 0), length - part) for start in starts)]

    return [(y, x) for y in along(h, tall, rows) for x in along(w, wide, columns)]


def weight_of(start: int, side: int, length: int) -> Tensor:
    """How much each pixel of a tile counts along one axis (side,): 0 in the outer half of a margin, rising over the next
    MARGIN pixels, but whole at the picture's own borders."""
    i = torch.arange(side, dtype=torch.float64) + 0.5
    before = (i - MARGIN / 2) / MARGIN if start > 0 else torch.ones(side)
    after = (side - i - MARGIN / 2) / MARGIN if start + side < length else torch.ones(side)
    return torch.minimum(before, after).clamp(0, 1)


def tiled(
    translate: Callable[[Tensor], Tensor],
    norms: Sequence[nn.Module],
    picture: Tensor,
    side: int,
    multiple: int,
    report: Callable[[int, int], None] = lambda done, of: None,
) -> Tensor:
    """translate(picture) by tiles of about side x side: (1, c, h, w), h and w divisible by `multiple` -> the same size.

    `norms` are the layers of the network that look at a whole picture; they get their normal behaviour back.
    """
    h, w = picture.shape[2:]
    tall, wide = min(side, h), min(side, w)
    corners = [(y, x) for y in places(h, tall, multiple) for x in places(w, wide, multiple)]
    weights = [torch.outer(weight_of(y, tall, h), weight_of(x, wide, w)).to(picture) for y, x in corners]
    whole = torch.zeros_like(picture[:, :1])
    for (y, x), weight in zip(corners, weights, strict=True):
        whole[0, 0, y : y + tall, x : x + wide] += weight
    weights = [weight / whole[0, 0, y : y + tall, x : x + wide] for (y, x), weight in zip(corners, weights)]
    parts = [picture[:, :, y : y + tall, x : x + wide] for y, x in corners]
    with shared(norms) as statistics:
        seen, counted = sample(h, w, side, multiple), torch.zeros_like(picture[0, 0])
        for place in seen:
            counted[place] += 1
        with statistics.taken(torch.stack([1 / counted[place] for place in seen])):
            translate(torch.cat([picture[:, :, y, x] for y, x in seen]))
        made: Any = 0
        for done, ((y, x), part, weight) in enumerate(zip(corners, parts, weights, strict=True), start=1):
            out = translate(part)
            if done == 1:
                made = picture.new_zeros(1, out.shape[1], h, w)
            made[:, :, y : y + tall, x : x + wide] += weight * out
            report(done, len(corners))
    return made


def staged(
    stages: Sequence[nn.Sequential],
    norms: Sequence[nn.Module],
    picture: Tensor,
    side: int,
    report: Callable[[int, int], None] = lambda done, of: None,
) -> Tensor:
    """What a network of these three stages makes of a whole picture: (1, c, h, w), h and w divisible by 4, to the same
    size, in tiles of side x side where they are large. `norms` are the layers that look at a whole picture."""
    down, inside, up = stages
    steps = 3 + sum(layer in norms for layer in (*down, *up))
    done = iter(range(1, steps + 1))

    def step() -> None:
        report(next(done), steps)

    x = swept(down, norms, picture, side, step)
    x = inside(x)
    step()
    return swept(up, norms, x, side // 4, step)


def swept(
    layers: nn.Sequential, norms: Sequence[nn.Module], x: Tensor, side: int, step: Callable[[], None] = lambda: None
) -> Tensor:
    """layers(x) by tiles, with a sweep over the picture for the statistics of each of the norms before the last one."""
    known: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def through(part: Tensor, end: int) -> Tensor:
        for layer in list(layers)[:end]:
            part = normalised(layer, part, *known[layer]) if layer in known else layer(part)
        return part

    def sweep(end: int) -> Iterator[tuple[int, int, Tensor, Fraction]]:
        """Of each tile where it begins, what becomes of it, without what it only sees, and the change of scale."""
        h, w = x.shape[2:]
        for y0, x0 in itertools.product(range(0, h, side), range(0, w, side)):
            y1, x1 = min(y0 + side, h), min(x0 + side, w)
            top, left = max(y0 - REACH, 0), max(x0 - REACH, 0)
            part = x[:, :, top : y1 + REACH, left : x1 + REACH]
            made = through(part, end)
            scale = Fraction(made.shape[2], part.shape[2])
            a, b, c, d = (int(place * scale) for place in (y0 - top, y1 - top, x0 - left, x1 - left))
            yield int(y0 * scale), int(x0 * scale), made[:, :, a:b, c:d], scale
        step()

    for place, layer in enumerate(layers):
        if layer in norms:
            found = [
                (made[0, 0].numel(), *torch.var_mean(made, (0, 2, 3), correction=0)) for _, _, made, _ in sweep(place)
            ]
            sizes, variances, means = (
                torch.stack([torch.as_tensor(v).cpu().double() for v in one]) for one in zip(*found)
            )
            shares = (sizes / sizes.sum())[:, None]
            mean = (shares * means).sum(0)
            variance = (shares * (variances + (means - mean).square())).sum(0)
            known[layer] = mean.to(x)[:, None, None], (variance + layer.eps).rsqrt().to(x)[:, None, None]
    whole = x.new_empty(0)
    for y, left, part, scale in sweep(len(layers)):
        if not whole.numel():
            whole = x.new_empty(1, part.shape[1], *(int(size * scale) for size in x.shape[2:]))
        whole[:, :, y : y + part.shape[2], left : left + part.shape[3]] = part
    return whole


def normalised(layer: Any, x: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """The work of a norm with given statistics (c, 1, 1)."""
    x = (x - mean) * scale
    return x if layer.weight is None else x * layer.weight[:, None, None] + layer.bias[:, None, None]


class Statistics:
    """Mean and deviation of the input of each norm, over a batch of weighted tiles."""

    def __init__(self) -> None:
        self.found: dict[nn.Module, tuple[Tensor, Tensor]] = {}
        self.weights: Tensor | None = None

    @contextmanager
    def taken(self, weights: Tensor) -> Iterator[None]:
        """What goes through the network now is counted, by the weights (n, h, w) of the tiles' pixels."""
        self.weights = weights[:, None]
        yield
        self.weights = None

    def apply(self, layer: Any, inputs: tuple[Tensor], _: Tensor) -> Tensor:
        """The layer's work by these statistics, in place of its own."""
        (x,) = inputs
        if self.weights is not None:
            weights = adaptive_avg_pool2d(self.weights, x.shape[2:]).to(x)
            share = weights / weights.sum()
            mean = (share * x).sum((0, 2, 3), keepdim=True)
            variance = (share * (x - mean).square()).sum((0, 2, 3), keepdim=True)
            self.found[layer] = mean, (variance + layer.eps).rsqrt()
        return normalised(layer, x, *self.found[layer])


@contextmanager
def shared(norms: Sequence[nn.Module]) -> Iterator[Statistics]:
    """These layers normalise by common statistics, which must be `taken` before they are used."""
    statistics = Statistics()
    hooks = [norm.register_forward_hook(statistics.apply) for norm in norms]
    try:
        yield statistics
    finally:
        for hook in hooks:
            hook.remove()
