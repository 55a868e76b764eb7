"""Measure samples against data: what is judged follows from what the model can do."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genzoo.commands.train import key

OF_FEATURES = ("fid", "kid", "inception_score", "class_kl", "precision_recall", "density_coverage")
QUADRATIC = ("kid", "precision_recall", "density_coverage")  # in the number of images, in time
LIMIT = 5000  # images of each kind that these look at if nobody asked for them by name
SPELLED = {"fid": "FID", "kid": "KID"}


@dataclass
class Keys:
    data: Any = None
    command: str = "evaluate"
    ckpt: str = key("???", "a run folder, a checkpoint or an exported folder")
    features: str | None = key(None, "the network that judges images: a classifier, or a file of Inception weights")
    metrics: Any = key(None, "one or a list, such as [fid,kid]; all that fit if not said")
    n: int = key(10_000, "samples to draw")
    split: str = key("test", "the half of the data to compare with: train or test")
    seed: int = key(0, "of samples and noise")
    truncation: float | None = key(None, "samples of less variety")
    nearest: int = key(5, "neighbours that density and coverage look at")
    batch_size: int = key(250, "images in memory at once")
    device: str = key("cpu", "cpu, cuda, ...")
    out: str | None = key(None, "a JSON file for the numbers; evaluation.json in a run folder if not said")


def run(config: Any) -> int:
    """Judge a checkpoint, print a table and write the numbers as JSON."""
    check(config)
    from genzoo import hub

    try:
        model = hub.load(config.ckpt, config.device)
    except (AssertionError, RuntimeError) as error:  # how torch refuses a device
        raise ValueError(f"device={config.device}: {str(error).splitlines()[0]}") from error
    data = data_of(config, model)
    net = feature_network(config.features, config.device) if config.features else None
    result = judge(model, data, net, config)
    print(table(result))
    inside = Path(config.ckpt) / "evaluation.json" if (Path(config.ckpt) / "config.yaml").is_file() else None
    out = Path(config.out) if config.out else inside
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(result, indent=2) + "\n")
        print(f"made   {out}")
    return 0


def check(config: Any) -> None:
    if config.split not in ("train", "test"):
        raise ValueError(f"split={config.split}: train or test")
    for name in ("n", "batch_size", "nearest"):
        if config[name] < 1:
            raise ValueError(f"{name}={config[name]}: at least 1 is expected")


def data_of(config: Any, model: Any) -> Any:
    """The data that the user named, or else those that the checkpoint notes, with the user's keys over them."""
    from omegaconf import OmegaConf

    from genzoo import cli, hub

    typed = config.data
    if "_target_" not in typed:
        folder, noted = cli.config_folder() / "data", model.facts.get("data", {})
        known = sorted(path.stem for path in folder.glob("*.yaml"))
        if noted.get("name") not in known:
            raise ValueError(
                f"{config.ckpt} notes no data that are known here (it says {noted.get('name')}): say data=<name>\n"
                f"There are {', '.join(known)}"
            )
        node: Any = OmegaConf.load(folder / f"{noted['name']}.yaml")
        for name, value in noted.items():  # from a file: values of keys we have, no addresses, nothing to fetch
            if name in node and name not in ("_target_", "store", "download") and "${" not in str(value):
                node[name] = value
        for name, value in typed.items():
            if value is not None:
                node[name] = value
        config = OmegaConf.create({"data": node, "batch_size": config.batch_size, "seed": config.seed})
    plain_config: Any = OmegaConf.to_container(config, resolve=True)
    return hub.build(plain_config["data"], hub.ALLOWED + ("genzoo.data.",))


def feature_network(path: str, device: str) -> Any:
    """The network behind `features=`: Inception by the name of its file, or any classifier that can be loaded."""
    from genzoo import hub
    from genzoo.core.roles import Labeller, require
    from genzoo.metrics.features import ClassifierFeatures, Inception

    if "inception" in Path(path).name and not Path(path).is_dir():
        return Inception(path).to(device)
    classifier = require(hub.load(path, device), Labeller)
    name, seen = type(classifier.network).__name__.lower(), classifier.facts.get("data", {}).get("name")
    return ClassifierFeatures(classifier.network, f"{name}-{seen}" if seen else name)


def fitting(model: Any, data: Any, net: Any, store: Any) -> list[str]:
    """The metrics that can be taken of this model, with these data and this feature network."""
    from genzoo.core.roles import Labeller, Sampler

    names: list[str] = []
    if isinstance(model, Sampler):
        names += ["modes"] if hasattr(store, "centres") else []
        names += [name for name in OF_FEATURES if name != "class_kl" or net.classes == data.classes] if net else []
    if hasattr(model, "bound"):
        names.append("negative_elbo")
    if isinstance(model, Labeller) and data.classes:
        names.append("accuracy")
    return names


def judge(model: Any, data: Any, net: Any, config: Any) -> dict[str, Any]:
    """All numbers, as plain data for JSON."""
    import torch

    store = data.store_of(config.split)
    able = fitting(model, data, net, store)
    asked = [config.metrics] if isinstance(config.metrics, str) else list(config.metrics or [])
    advice = "features=<run of a classifier>; genzoo train model=classifier data=mnist makes one"
    if not able:
        raise ValueError(f"{config.ckpt} on data={data.name} needs a network that looks at the images:\n{advice}")
    for name in asked:
        if name not in able:
            more = f"\n{name} looks through a network: {advice}" if name in OF_FEATURES and net is None else ""
            raise ValueError(f"metrics={name} does not fit here: there are {', '.join(able)}{more}")
    names = asked or able
    if {"negative_elbo", "accuracy"} & set(names):
        suits(model, data, config)
    result: dict[str, Any] = {
        "checkpoint": str(config.ckpt),
        "images_seen": model.images_seen,
        "data": data.name,
        "split": config.split,
        "images": len(store),
        "n": config.n if {"modes", *OF_FEATURES} & set(names) else None,
        "seed": config.seed,
        "truncation": config.truncation,
        "features": net.name if net else None,
        "values": {},
    }
    values = result["values"]
    with torch.no_grad():
        if "modes" in names:
            values |= modes(model, store, config)
        if set(OF_FEATURES) & set(names):
            if set(QUADRATIC) & set(names):
                limit = max(config.n, len(store)) if asked else LIMIT
                result["quadratic"] = {"n": min(config.n, limit), "images": min(len(store), limit)}
            found = through(net, model, data, store, names, bool(asked), config)
            values |= {f"{SPELLED.get(name, name)}[{net.name}]": value for name, value in found.items()}
        if "negative_elbo" in names:
            values |= elbo(model, store, config)
        if "accuracy" in names:
            values |= accuracy(model, store, config)
    result["values"] = {name: plain(value) for name, value in values.items()}
    return result


def suits(model: Any, data: Any, config: Any) -> None:
    """ValueError if the model was made for images of another number of channels, or a VAE for another size."""
    made = model.facts.get("data", {})
    made = {"channels": getattr(getattr(model, "network", None), "channels", None)} | made
    for name in ("channels", "resolution") if hasattr(model, "bound") else ("channels",):
        if made.get(name) not in (None, getattr(data, name)):
            raise ValueError(
                f"{config.ckpt} is made for data.{name}={made[name]}, but data={data.name} has {getattr(data, name)}"
            )


def drawn(model: Any, config: Any) -> Iterator[Any]:
    """The images of `model.sample(n, seed=seed)`, a batch at a time."""
    for z in model.latents(config.n, seed=config.seed, truncation=config.truncation).split(config.batch_size):
        yield model.generate(z)


def batches(store: Any, config: Any) -> Iterator[Any]:
    """The store in order, on the device."""
    for first in range(0, len(store), config.batch_size):
        batch = store.__getitems__([(i, i) for i in range(first, min(first + config.batch_size, len(store)))])
        yield type(batch)(*(part.to(config.device) for part in batch))


def modes(model: Any, store: Any, config: Any) -> dict[str, Any]:
    from genzoo.metrics.modes import Modes

    metric = Modes(store.centres, store.sigma).to(config.device)
    for points in drawn(model, config):
        metric.update(points)
    return metric.compute()


def through(net: Any, model: Any, data: Any, store: Any, names: list[str], every: bool, config: Any) -> dict[str, Any]:
    """The metrics of features; the quadratic ones of at most LIMIT images, unless `every`."""
    import torch
    from torchmetrics import MetricCollection

    from genzoo.data.module import spread
    from genzoo.metrics.fidelity import FID, KID, ClassHistogram, InceptionScore
    from genzoo.metrics.manifold import DensityCoverage, PrecisionRecall

    reference = torch.zeros(net.classes)  # shares of the data's classes, counted in the pass over the data
    makers: dict[str, Any] = {
        "fid": lambda: FID(net.dim),
        "kid": KID,
        "inception_score": InceptionScore,
        "precision_recall": PrecisionRecall,
        "density_coverage": lambda: DensityCoverage(config.nearest),
    }
    chosen = [name for name in names if name in makers]
    few = [name for name in chosen if name in QUADRATIC and not every]
    of_all = MetricCollection({name: makers[name]() for name in chosen if name not in few}).to(config.device)
    of_few = MetricCollection({name: makers[name]() for name in few}).to(config.device)

    def look(images: Any, first: int, kept: Any, real: bool) -> Any:
        seen = net(images)
        rows = kept[(kept >= first) & (kept < first + len(images))] - first
        if of_all:
            of_all.update(**seen, real=real)
        if of_few and len(rows):
            of_few.update(**{name: value[rows] for name, value in seen.items()}, real=real)
        return seen["logits"]

    first, kept = 0, torch.tensor(spread(len(store), LIMIT), device=config.device)
    for batch in batches(store, config):
        look(batch.x, first, kept, real=True)
        if "class_kl" in names:
            reference += batch.y.cpu().bincount(minlength=net.classes)
        first += len(batch.x)
    histogram = ClassHistogram(net.classes, reference).to(config.device) if "class_kl" in names else None
    first, kept = 0, torch.tensor(spread(config.n, LIMIT), device=config.device)
    for images in drawn(model, config):
        logits = look(images, first, kept, real=False)
        if histogram:
            histogram.update(logits)
        first += len(images)
    found = [metrics.compute() for metrics in (of_all, of_few, histogram) if metrics]
    return {name: value for part in found for name, value in part.items()}


def elbo(model: Any, store: Any, config: Any) -> dict[str, Any]:
    """Means over the whole split in nats, by one draw of q(z|x) for each image, the same for the same seed."""
    from genzoo.core.random import generator

    noise = model.prior.sample(len(store), generator(config.seed, "evaluate")).split(config.batch_size)
    error = kl = 0.0
    for batch, part in zip(batches(store, config), noise):
        errors, kls = model.bound(batch.x, part.to(batch.x))
        error, kl = error + errors.double().sum().item(), kl + kls.double().sum().item()
    return {
        "negative_elbo": (error + kl) / len(store),
        "reconstruction": error / len(store),
        "kl": kl / len(store),
    }


def accuracy(model: Any, store: Any, config: Any) -> dict[str, Any]:
    from genzoo.images import to_unit

    right = sum(int((model.classify(to_unit(b.x)).argmax(1) == b.y).sum()) for b in batches(store, config))
    return {"accuracy": right / len(store)}


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
    return "\n".join(lines)
