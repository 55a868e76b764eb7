"""Change what images show: arithmetic with latents, or steps along a direction."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from genzoo.commands.drawing import (
    Drawing,
    afford,
    classes,
    drawn,
    few,
    generate,
    named,
    numbered,
    opened_to_draw,
    read_latents,
)
from genzoo.commands.evaluate import data_of
from genzoo.commands.opening import entries, hint
from genzoo.commands.outputs import prepared, writable
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
    if config.save is not None and not config.along:
        raise ValueError(f"save={config.save}: it is for a direction, which along= names")
    model = opened_to_draw(config)
    out = writable(config, (".png",))
    save = writable(config, (".npy",), "save") if config.save is not None else None

    from genzoo import images

    z, columns = (summed(model, config), 7) if by_sum else (stepped(model, config, save), config.steps)
    y = classes(model, config, len(z) // columns)  # a row of the sheet has one class
    shown = generate(model, z, config.batch_size, None if y is None else y.repeat_interleave(columns))
    if shown.dim() == 2:
        raise ValueError("points are not edited; this model makes no images")
    of_class = [""] * len(z) if y is None else [f", {name}" for name in named(model, y.tolist())]
    captions = terms(config, of_class) if by_sum else places(config, of_class)
    images.save_png(prepared(out), images.legend(images.grid(shown, columns=columns), *captions))
    reach = f"{-config.reach:g} to {config.reach:g}"
    what = "base, minus, plus, and the sum" if by_sum else f"{config.rows} samples, {config.steps} steps from {reach}"
    print(f"made   {out} ({what})")
    print(f"next   {hint(config, 'interpolate')}")
    return 0


def terms(config: Any, of_class: list[str]) -> tuple[str, Any, Any]:
    """What stands beside the sheet of a sum: a title, captions of columns, and of rows."""
    base, plus, minus = (told(config, name) for name in ("base", "plus", "minus"))
    title = f"base ({base}) + plus ({plus}) - minus ({minus}), in the middle of eight neighbours"
    columns = [("three of each", 3), ("mean", 1), ("sum, neighbours", 3)]
    return title, columns, [(f"{name}{also}", 1) for name, also in zip(("base", "minus", "plus"), of_class)]


def told(config: Any, name: str) -> str:
    """What `plus=`, `minus=` or `base=` names, in words."""
    if config[name] is None:
        return "sample 0" if name == "base" else "nothing"
    words = entries(config[name])
    if isinstance(words[0], str):
        return f"label {words[0]}"
    return f"sample{'s' * (len(words) > 1)} {', '.join(map(str, words))}"


def places(config: Any, of_class: list[str]) -> tuple[str, Any, Any]:
    """The same for steps along a direction."""
    known = config.along in UNLABELLED or config.along.endswith(".npy")
    along = (
        f"{config.along} {config.which}" if config.along in UNLABELLED else f"{'label ' * (not known)}{config.along}"
    )
    way = [-config.reach + 2 * config.reach * step / (config.steps - 1) for step in range(config.steps)]
    title = f"along {along}, in standard deviations of a latent"
    rows = [(f"sample {number}{also}", 1) for number, also in zip(range(config.rows), of_class)]
    return title, [(f"{place:+.3g}" if round(place, 6) else "0", 1) for place in way], rows


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
    return numbered(model, config, name, also=", or one label")


def stepped(model: Any, config: Any, save: Path | None) -> Any:
    """Samples and what lies to both sides of them, (rows * steps, dim); the direction is saved if that is wanted."""
    import numpy as np
    import torch

    from genzoo.files import replacing

    start = drawn(model, config, config.rows).cpu()
    afford(config.rows * config.steps, start[0], "latents")
    direction = torch.nn.functional.normalize(direction_of(model, config), dim=0)
    if save:
        with replacing(prepared(save)) as part, open(part, "wb") as file:
            np.save(file, direction.numpy())
    way = torch.linspace(-config.reach, config.reach, config.steps)
    return (start[:, None] + way[:, None] * direction).flatten(0, 1)


def direction_of(model: Any, config: Any) -> Any:
    """The direction (dim,) that `along=` names."""
    import torch

    from genzoo import latents
    from genzoo.batches import pieces

    name, dim = config.along, model.prior.dim
    if name.endswith(".npy"):
        direction = read_latents(Path(name), dim, "along")[0].float()
        if not direction.any():
            raise ValueError(f"along={name} holds zeros, which lead nowhere: give a direction that edit save= wrote")
        return direction
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
    from genzoo.core.roles import Autoencoder, Labeller
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
            judge = hub.load(config.features, config.device, allow=config.allow)
            if not isinstance(judge, Labeller):
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
        raise ValueError(f"{label} is no label of these data; there are {few(known)}")
    column = known.index(label)
    return z, y[:, column] > 0.5 if y.dim() == 2 else y == column
