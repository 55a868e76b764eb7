"""Change what images show: arithmetic with latents, or steps along a direction."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from genzoo.commands.evaluate import data_of
from genzoo.commands.sample import Drawing, at_least, classes, generate, numbered, opened, writable
from genzoo.commands.train import key
from genzoo.limits import Count, Natural, Place, Range

POOL = 4000  # latents that a label, or a direction without labels, is learned from
UNLABELLED = ("sefa", "pca")


@dataclass
class Keys(Drawing):
    command: str = "edit"
    data: Any = None
    plus: Any = key(None, "what is added: numbers of samples of `genzoo sample seed=`, from 0 on, or a label")
    minus: Any = key(None, "what is taken away: the same")
    base: Any = key(None, "what is changed so: the same; the first sample if not said")
    along: Place | None = key(None, "a direction instead: a label, sefa or pca (none needs labels), or a .npy file")
    which: Natural = key(0, "the number of the direction of sefa or pca, the strongest first")
    method: str = key("linear", "how a label's direction is found: linear (what separates), mean (what differs)")
    reach: float = key(3.0, "how far the steps go to both sides, in standard deviations of a latent")
    rows: Count = key(6, "samples that take the steps")
    steps: Annotated[int, Range(2)] = key(7, "images of each row")
    typical: bool = key(True, "bring sums back to where the prior draws: to length sqrt(dim), or within its bounds")
    features: Place | None = key(None, "a classifier that tells labels of samples; a model that encodes needs none")
    save: Place | None = key(None, "a .npy file for the direction, to be used as along=")
    out: Place = key("edit.png", "a .png sheet")


def run(config: Any) -> int:
    """Write a sheet of the arithmetic, or of steps along a direction; the exit code."""
    by_sum = config.plus is not None or config.minus is not None
    if by_sum == (config.along is not None):
        raise ValueError("say plus= and minus= for arithmetic, or along= for a direction, and not both")
    if config.method not in ("linear", "mean"):
        raise ValueError(f"method={config.method}: linear or mean")
    for name, least in {"rows": 1, "steps": 2, "which": 0, "batch_size": 1}.items():
        at_least(config, name, least)
    model = opened(config)
    out = writable(config.out, (".png",))

    from genzoo import images

    if by_sum:
        z, columns = summed(model, config), 7
    else:
        z, columns = stepped(model, config), config.steps
    y = classes(model, config, len(z) // columns)  # a row of the sheet has one class
    shown = generate(model, z, config.batch_size, None if y is None else y.repeat_interleave(columns))
    if shown.dim() == 2:
        raise ValueError("points are not edited; this model makes no images")
    images.save_png(out, images.grid(shown, columns=columns))
    what = "base, minus, plus: three of each and their mean; the sum amid eight neighbours" if by_sum else ""
    print(
        f"made   {out} ({what or f'{config.rows} samples, {config.steps} steps from {-config.reach:g} to {config.reach:g}'})"
    )
    print(f"next   genzoo interpolate ckpt={config.ckpt}")
    return 0


def summed(model: Any, config: Any) -> Any:
    """The latents of DCGAN's Figure 7, row by row: (3 * 7, dim)."""
    import torch

    from genzoo import latents
    from genzoo.core.random import generator

    base, minus, plus = (meant(model, config, name) for name in ("base", "minus", "plus"))
    place = (lambda z: model.prior.typical(z)) if config.typical else (lambda z: z)
    result = place(latents.arithmetic(plus, minus, base.mean(0)))
    noise = torch.rand(9, model.prior.dim, generator=generator(config.seed, "edit")) / 2 - 0.25  # section 6.3.2
    noise[4] = 0
    around = (result + noise).view(3, 3, -1)
    rows = []
    for operand, three in zip((base, minus, plus), around, strict=True):
        some = operand[torch.arange(3) % len(operand)]
        rows.append(torch.cat([some, place(operand.mean(0))[None], three]))
    return torch.cat(rows)


def meant(model: Any, config: Any, name: str) -> Any:
    """The latents (k, dim) that `plus=`, `minus=` or `base=` names; for what is not said, none that matter."""
    import torch

    wanted = config[name]
    if wanted is None:
        return model.latents(1, seed=config.seed) if name == "base" else torch.zeros(1, model.prior.dim)
    if isinstance(wanted, str):
        z, has = labelled(model, config, wanted)
        if not has.any():
            raise ValueError(f"{name}={wanted}: none of {len(z)} latents show it")
        return z[has]
    z = numbered(model, config, name, also=", or one label")
    if not len(z):
        raise ValueError(f"{name}={wanted}: numbers of samples from 0 on, such as [3,7,12], or one label")
    return z


def stepped(model: Any, config: Any) -> Any:
    """Samples and what lies to both sides of them: (rows * steps, dim)."""
    import numpy as np
    import torch

    direction = torch.nn.functional.normalize(direction_of(model, config), dim=0)
    if config.save:
        if not config.save.endswith(".npy"):
            raise ValueError(f"save={config.save}: it ends in .npy")
        np.save(config.save, direction.numpy())
    start = model.latents(config.rows, seed=config.seed, truncation=config.truncation).cpu()
    way = torch.linspace(-config.reach, config.reach, config.steps)
    return (start[:, None] + way[:, None] * direction).flatten(0, 1)


def direction_of(model: Any, config: Any) -> Any:
    """The direction (dim,) that `along=` names."""
    import torch

    from genzoo import latents
    from genzoo.batches import pieces
    from genzoo.commands.sample import read_latents

    name, dim = config.along, model.prior.dim
    if name.endswith(".npy"):
        return read_latents(Path(name), dim, "along")[0].float()
    network = model.generator if hasattr(model, "generator") else model.decoder
    if name in UNLABELLED and config.which >= dim:
        raise ValueError(f"which={config.which}: latents have {dim} numbers, so that the last direction is {dim - 1}")
    if name == "sefa":
        return latents.sefa(latents.first_weight(network, dim).cpu(), config.which + 1)[config.which]
    if name == "pca":
        z = model.latents(POOL // 4, seed=config.seed)
        y = classes(model, config, len(z))
        features = torch.cat([latents.early_features(network, *part) for part in pieces(z, y, config.batch_size)])
        return latents.principal(z.cpu(), features.cpu(), config.which + 1)[config.which]
    z, has = labelled(model, config, name)
    find = latents.separating if config.method == "linear" else latents.difference
    try:
        return find(z, has)
    except ValueError as error:
        raise ValueError(f"along={name}: {error}") from error


def labelled(model: Any, config: Any, label: str) -> tuple[Any, Any]:
    """Latents (n, dim), and whether the image of each shows the label: (n,) bool.

    A model that encodes takes the labels of the data; for another, a classifier tells those of samples.
    """
    import torch

    from genzoo import hub
    from genzoo.commands.evaluate import batches
    from genzoo.core.roles import Autoencoder
    from genzoo.images import to_unit

    with torch.no_grad():
        if isinstance(model, Autoencoder) and not config.features:
            data = data_of(config, model)
            names, parts = data.names, list(batches(data.store, config))
            z, y = (
                torch.cat([model.encode(part.x).cpu() for part in parts]),
                torch.cat([part.y.cpu() for part in parts]),
            )
        elif config.features:
            judge = hub.load(config.features, config.device)
            if not hasattr(judge, "classify"):
                raise ValueError(f"features={config.features}: a classifier is expected, not {type(judge).__name__}")
            names, z = judge.facts.get("data", {}).get("names", ()), model.latents(POOL, seed=config.seed + 1)
            shown = generate(model, z, config.batch_size, classes(model, config, POOL))
            logits = [judge.classify(to_unit(part.to(judge.device))) for part in shown.split(config.batch_size)]
            one = judge.facts.get("data", {}).get("classes")  # else it tells attributes
            z, y = z.cpu(), torch.cat([part.argmax(1) if one else part > 0 for part in logits]).cpu()
        else:
            raise ValueError(f"{label} is told by a classifier: features=<run of genzoo train model=classifier>")
    known = [str(name) for name in names] or [str(i) for i in range(int(y.max()) + 1)]
    if label not in known:
        raise ValueError(f"{label} is no label of these data; there are {', '.join(known)}")
    column = known.index(label)
    return z, y[:, column] > 0.5 if y.dim() == 2 else y == column
