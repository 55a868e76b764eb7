"""Measure samples against data: what is judged follows from what the model can do."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from genzoo.commands.drawing import Drawing, afford, classes, in_batches, opened_to_draw
from genzoo.commands.opening import entries
from genzoo.commands.outputs import in_the_way, prepared
from genzoo.commands.train import key, open_data
from genzoo.console import escape, quote, tell
from genzoo.limits import Count, Place, Range

OF_FEATURES = ("fid", "kid", "inception_score", "class_kl", "class_accuracy", "precision_recall", "density_coverage")
LIMIT = 5000  # images of each kind for metrics of quadratic time, if nobody asked for these by name
PLACES = ("path", "root", "labels")  # of data: what names files
SPELLED = {"fid": "FID", "kid": "KID"}


@dataclass
class Keys(Drawing):
    command: str = "evaluate"
    data: Any = None
    features: Place | None = key(None, "the network that judges images: a classifier, or a file of Inception weights")
    metrics: Annotated[Any, str | Sequence[str] | None] = key(
        None, "one or a list, such as [fid,kid]; all that fit if not said"
    )
    n: Annotated[int, Range(2)] = key(10_000, "samples to draw")  # a spread needs two
    split: str = key("test", "the half of the data to compare with: train or test")
    nearest: Count = key(5, "neighbours that density and coverage look at")
    batch_size: Count = key(250, "images in memory at once")
    out: Place | None = key(None, "a JSON file that keeps all results; evaluation.json in a run folder if not said")


def run(config: Any) -> int:
    """Judge a checkpoint, print a table and write the numbers as JSON."""
    from genzoo import hub

    if config.split not in ("train", "test"):
        raise ValueError(f"split={config.split}: train or test")
    model = opened_to_draw(config, sampler=False)
    data = data_of(config, model)
    out = file_for(config)
    net = hub.feature_network(config.features, config.device, config.allow) if config.features else None
    result = judge(model, data, net, config)
    print(table(result))
    return keep(result, out) if out else 0


def file_for(config: Any) -> Path | None:
    """Where the numbers go, or None; ValueError if something else stands there, or a file of the user's cannot be written."""
    from genzoo import scores

    run = Path(config.ckpt).expanduser()
    if config.out is None and not (run / "config.yaml").is_file():
        return None
    out = run / scores.FILE if config.out is None else Path(config.out).expanduser()
    if config.out is not None and (obstacle := in_the_way(out, folder=False)):
        raise ValueError(f"out={config.out} cannot be written: {obstacle}; choose another place")
    scores.read(out)
    return out


def keep(result: dict[str, Any], out: Path) -> int:
    """Add a result to its file; the exit code. Where that fails, as in a run folder for reading only, it has been told."""
    from genzoo import scores

    try:
        changed = scores.add(prepared(out), result)
    except OSError as error:
        tell(f"{error}; name another file with out=")
        return 1
    count = len(scores.read(out)) - 1
    print(f"made   {out}{f' (beside {count} earlier result' + 's' * (count > 1) + ')' if count else ''}")
    for line in changed:
        print(f"note   {escape(line)}")
    return 0


def data_of(config: Any, model: Any) -> Any:
    """The data that the user named, or else those that the checkpoint notes, with the user's keys over them."""
    from inspect import signature

    from omegaconf import OmegaConf

    from genzoo import cli, hub
    from genzoo.core.facts import shown

    if "_target_" not in config.data:
        known, noted = cli.files_of("data"), model.facts.get("data", {})
        if noted.get("name") not in known:
            raise ValueError(
                f"{config.ckpt} notes no data that are known here (it says {shown(noted.get('name'))}): say data=<name>,\n"
                f"or give the folder with its file: --config-dir <folder>\n"
                f"There are {', '.join(known)}"
            )
        node: Any = OmegaConf.load(known[noted["name"]])
        noted = with_own_places(noted, Path(config.ckpt), config.data)
        recall(node, noted, set(node))
        recall(node.store, noted.get("store", {}), set(signature(hub.resolve(node.store._target_, None)).parameters))
        node = OmegaConf.merge(node, {name: value for name, value in config.data.items() if value is not None})
        config = OmegaConf.create({"data": node, "batch_size": config.batch_size, "seed": config.seed})
    data = open_data(config, None)  # addresses come from our configurations and the user's only
    data.follow(model.facts.get("data", {}).get("names") or ())
    return data


def with_own_places(noted: dict[str, Any], ckpt: Path, typed: Any) -> dict[str, Any]:
    """What a checkpoint notes, but what is opened only as the user has said it: on this line, or for the run in whose
    folder the checkpoint lies, as in resume=. ValueError if that leaves out a place that the file names."""
    from genzoo.commands import frozen
    from genzoo.core.facts import shown

    folder = ckpt.expanduser() if ckpt.expanduser().is_dir() else ckpt.expanduser().parent
    run = frozen.read(folder)["data"] if (folder / "config.yaml").exists() else {}
    own = run if run.get("name") == noted["name"] else {}
    foreign = {**noted.get("store", {}), **noted}
    for name in ("path", "labels"):  # root has a default
        if foreign.get(name) is not None and not own.get(name) and typed.get(name) is None:
            raise ValueError(
                f"{ckpt} notes data.{name}={shown(foreign[name])}, and what a file names is not opened by itself.\n"
                f"If that is yours, say it: {quote(f'data.{name}={foreign[name]}')}"
            )
    places = {name: own[name] for name in PLACES if own.get(name) is not None}
    store = {name: value for name, value in noted.get("store", {}).items() if name not in PLACES}
    return {name: value for name, value in noted.items() if name not in PLACES} | {"store": store} | places


def recall(node: Any, noted: dict[str, Any], options: set[str]) -> None:
    """Set those options of a configuration that a checkpoint notes: plain values only, nothing to build or to fetch."""
    from omegaconf import OmegaConf

    for name in sorted(options & set(noted) - {"_target_", "_partial_", "store", "download"}):
        words = noted[name] if isinstance(noted[name], list) else [noted[name]]
        plain = all(isinstance(w, (str, int, float, type(None))) for w in words) and "${" not in str(words)
        if plain and not OmegaConf.is_interpolation(node, name):  # that follows an option that is set by itself
            node[name] = noted[name]


def fitting(model: Any, data: Any, net: Any, store: Any) -> list[str]:
    """The metrics that can be taken of this model, with these data and this feature network."""
    from genzoo.core.roles import Labeller, Likelihood, Sampler

    names: list[str] = []
    if isinstance(model, Sampler):
        names += ["modes"] if hasattr(store, "centres") else []
        fits = {"class_kl": net and net.classes == data.classes, "class_accuracy": net and net.classes == model.classes}
        names += [name for name in OF_FEATURES if fits.get(name, True)] if net else []
    if isinstance(model, Likelihood):
        names.append("negative_elbo")
    if isinstance(model, Labeller) and (data.classes or data.names):
        names.append("accuracy")
    return names


def judge(model: Any, data: Any, net: Any, config: Any) -> dict[str, Any]:
    """All numbers, as plain data for JSON."""
    import torch

    from genzoo import cli
    from genzoo.core.random import generator
    from genzoo.core.roles import Labeller, Sampler, require
    from genzoo.metrics import measure

    store, size, device = data.store_of(config.split), config.batch_size, config.device
    able = fitting(model, data, net, store)
    asked = [] if config.metrics is None else entries(config.metrics)
    advice = f"features=<run of a classifier>; genzoo train model=classifier data={data.name} makes one"
    made = model.facts.get("data", {}).get("resolution", data.resolution)
    if (made == 1) != (data.resolution == 1):
        raise ValueError(f"{config.ckpt} makes {'points' if made == 1 else 'images'}, data={data.name} has others")
    if not isinstance(model, (Sampler, Labeller)):
        require(model, Sampler)  # tells what it can do instead
    if not able:
        raise ValueError(f"{config.ckpt} on data={data.name} needs a network that looks at the images:\n{advice}")
    for name in asked:
        if name not in able:
            more = f"\n{name} looks through a network: {advice}" if name in OF_FEATURES and net is None else ""
            near = "" if more else cli.nearest(str(name), able)
            raise ValueError(f"metrics={name} cannot be taken here{near}\nThere are {', '.join(able)}{more}")
    names = asked or able
    if {"negative_elbo", "accuracy"} & set(names):
        suits(model, data, config)
    if {"modes", *OF_FEATURES} & set(names):
        afford(config.n, model.latents(1, seed=config.seed)[0], "latents")
    result = about(model, data, store, net, names, config)
    values: dict[str, Any] = {}
    with torch.no_grad():
        if "modes" in names:
            values |= measure.modes(drawn(model, config), store.centres, store.sigma, device)
        if set(OF_FEATURES) & set(names):
            real, fake = (kept(count, count if asked else LIMIT) for count in (len(store), config.n))
            if set(measure.QUADRATIC) & set(names):
                result["quadratic"] = {"n": int(fake.sum()), "images": int(real.sum())}
            pairs = zip(batches(store, config), real.split(size)), zip(drawn(model, config), fake.split(size))
            asked = classes(model, config, config.n)
            found = measure.features(net, names, *pairs, config.nearest, device, asked)
            values |= {f"{SPELLED.get(name, name)}[{net.name}]": value for name, value in found.items()}
        if "negative_elbo" in names:  # one draw of q(z|x) for each image, the same for the same seed
            noise = model.prior.sample(len(store), generator(config.seed, "evaluate"))
            values |= measure.negative_elbo(model, batches(store, config), noise.split(size))
        if "accuracy" in names:
            values |= measure.accuracy(model, batches(store, config))
    shown = {name: plain(value) for name, value in values.items()}
    if any(shown.get(name) == "nan" for name in shown):
        raise ValueError(
            f"{config.ckpt} gives answers that are no numbers: its weights are damaged, or training failed"
        )
    return result | {"values": shown}


def about(model: Any, data: Any, store: Any, net: Any, names: list[str], config: Any) -> dict[str, Any]:
    """What the numbers are of: the conditions under which they would be the same again."""
    from genzoo import scores

    sampled = {"modes", *OF_FEATURES} & set(names)
    return {
        "checkpoint": str(config.ckpt),
        "images_seen": model.images_seen,
        "weights": scores.fingerprint(model),
        "data": data.name,
        "source": {name: str(data.source[name]) for name in ("root", "path") if data.source.get(name)} or None,
        "resolution": data.resolution,
        "split": config.split,
        "images": len(store),
        "n": config.n if sampled else None,
        "seed": config.seed,
        "truncation": config.truncation,
        "level": config.level,
        "standing": config.standing or None,
        "y": None if config.y is None else entries(config.y),
        "nearest": config.nearest if "density_coverage" in names else None,
        "features": net.name if net else None,
        "network": scores.fingerprint(net) if net else None,
    }


def suits(model: Any, data: Any, config: Any) -> None:
    """ValueError if the model was made for images of another number of channels, or a VAE for another size."""
    from genzoo.core.roles import Likelihood

    made = model.facts.get("data", {})
    made = {"channels": getattr(getattr(model, "network", None), "channels", None)} | made
    for name in ("channels", "resolution") if isinstance(model, Likelihood) else ("channels",):
        if made.get(name) not in (None, getattr(data, name)):
            raise ValueError(
                f"{config.ckpt} is made for data.{name}={made[name]}, but data={data.name} has {getattr(data, name)}"
            )


def drawn(model: Any, config: Any) -> Iterator[Any]:
    """The images of `model.sample(n, y, seed=seed)`, a batch at a time."""
    z, y = model.latents(config.n, seed=config.seed, truncation=config.truncation), classes(model, config, config.n)
    return in_batches(model, z, config.batch_size, y)


def batches(store: Any, config: Any) -> Iterator[Any]:
    """The store in order, on the device."""
    from genzoo.progress import Line

    with Line(len(store), "images") as line:
        for first in range(0, len(store), config.batch_size):
            end = min(first + config.batch_size, len(store))
            batch = store.__getitems__([(i, i) for i in range(first, end)])
            yield type(batch)(*(part.to(config.device) for part in batch))
            line.show(end)


def kept(count: int, most: int) -> Any:
    """A mask (count,) of at most `most` images, evenly spread."""
    import torch

    from genzoo.core.stream import spread

    mask = torch.zeros(count, dtype=torch.bool)
    mask[spread(count, most)] = True
    return mask


def plain(value: Any) -> Any:
    """A tensor or number as JSON can hold it: inf and nan become words."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value if isinstance(value, int) or math.isfinite(value) else str(value)


def table(result: dict[str, Any]) -> str:
    samples = f"{result['n']:,} samples, seed {result['seed']}, " if result["n"] else ""
    lines = [
        f"{result['checkpoint']} ({result['images_seen']:,} images seen)",
        f"{samples}{result['images']:,} images of {result['data']} ({result['split']})",
    ]
    if "quadratic" in result:
        n, images = result["quadratic"].values()
        lines.append(f"KID, precision, recall, density, coverage: of {n:,} samples and {images:,} images")
    width = max(map(len, result["values"]))
    for name, value in result["values"].items():
        shown = value if isinstance(value, list) else [value]
        lines.append(f"  {name:{width}}  {' '.join(f'{v:.4g}' if isinstance(v, float) else str(v) for v in shown)}")
    return "\n".join(map(escape, lines))
