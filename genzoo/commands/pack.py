"""Pictures decoded once into a folder of plain arrays, which training reads at the speed of memory."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genzoo.commands.train import key
from genzoo.console import escape, quote, say
from genzoo.limits import Count, Natural, Place


@dataclass
class Keys:
    command: str = "pack"
    data: Any = None
    src: Place | None = key(
        None, "a folder or zip of pictures, a .npz or .npy file, or tar shards; or say data=<a data set>"
    )
    out: Place = key("???", "the folder to write; stopped, the same command goes on where it was")
    resolution: Count | None = key(None, "pixels of a side; 64, or what the data set has, if not said")
    pyramid: bool = key(False, "the halves of the resolution down to 4 too, for progressive growing")
    channels: Count | None = key(None, "1 for grey, 3 for RGB; RGB, or what the data set has, if not said")
    resize: str | None = key(
        None, "crop, pad or stretch what is not square; crop, or what the data set does, if not said"
    )
    workers: Natural | None = key(None, "processes that decode; 0 for none but this one; one for each core if not said")
    seed: int = key(0, "for data sets that are drawn")
    batch_size: int = 1  # data sets refer to it


def run(config: Any) -> int:
    """Pack a set, telling the time that is left; the exit code."""
    from omegaconf import OmegaConf

    from genzoo import hub
    from genzoo.commands.opening import at_least
    from genzoo.data.archives import located
    from genzoo.data.module import check_workers
    from genzoo.data.packed import part_of
    from genzoo.data.packing import plan_of

    if OmegaConf.is_missing(config, "out") or not config.out:
        raise ValueError("out is missing: genzoo pack src=... out=<folder>")
    out = located(config.out)
    if os.path.lexists(out) and not (out.is_dir() and not any(out.iterdir())):
        raise ValueError(f"out={out} is there already: choose another, or delete it first")
    workers = min(os.cpu_count() or 1, 64) if config.workers is None else config.workers
    check_workers(workers, "workers")
    data = data_of(config)
    at_least(data, "resolution", 1)
    make, notes = hub.build(data["store"], None, "data.store"), {"source": data["source"], "resize": data.get("resize")}
    stores = {split: make(split=split) for split in ("train", "test")}
    plan = plan_of(stores, data["resolution"], data["channels"], config.pyramid, **notes)
    began = time.monotonic()
    try:
        follow(out, stores, plan, workers)
    except KeyboardInterrupt:
        say(f"stopped; nothing is lost: the same command goes on from {out}.part")
        return 130
    except OSError as error:
        if error.errno is None:  # it has a message of its own, as for a picture that cannot be read
            raise
        begun = f"What is done stays in {out}.part: the same command goes on from there"
        way_out = begun if part_of(out).is_dir() else "Choose another folder with out="
        raise OSError(f"out={out} cannot be written: {error.strerror or error}\n{way_out}") from error
    size, count = sum(file.stat().st_size for file in out.iterdir()), plan["count"]
    channels = f"{plan['channels']} channel{'s' * (plan['channels'] > 1)}"
    print(
        f"made   {escape(out)} ({count['train']:,} + {count['test']:,} images of {channels}, "
        f"{' '.join(map(str, plan['resolutions']))} pixels, {size / 1e6:,.1f} MB, {time.monotonic() - began:.1f} s)"
    )
    print(f"next   genzoo check data=packed {quote(f'data.path={out}')}")
    return 0


def data_of(config: Any) -> Any:
    """The configuration of the set to pack as plain data, with the keys of this command over its own, and `source`."""
    from omegaconf import OmegaConf

    from genzoo import cli
    from genzoo.commands.train import plain
    from genzoo.data.describe import describe

    named = config.data is not None
    if named == bool(config.src):
        raise ValueError("genzoo pack takes either src=<a folder, zip, npz or tar> or data=<a data set>, one of them")
    node: Any = config.data if named else OmegaConf.load(cli.files_of("data")[kind(config.src)])
    store: Any = OmegaConf.to_container(node.store, resolve=False)
    wired = list(store.values())  # what the set reads from its own keys
    own = {name: config[name] for name in ("resolution", "channels", "resize") if config[name] is not None}
    if strange := [name for name in own if name not in node or f"${{data.{name}}}" not in wired]:
        raise ValueError(f"{strange[0]}={own[strange[0]]}: data={node.name} has no such choice, leave it out")
    node.update(own if named else own | {"path": config.src})
    whole = OmegaConf.create({"data": node, "seed": config.seed, "batch_size": config.batch_size})
    for name, value in describe(plain(whole.data)).items():
        whole.data[name] = value
    return plain(whole)["data"] | {"source": node.name if named else Path(config.src).name}


def kind(src: str) -> str:
    """Which data set reads a path."""
    from genzoo.data.archives import located
    from genzoo.data.shards import tars_below

    path = located(src)
    if path.suffix.lower() in (".npz", ".npy"):
        return "arrays"
    if path.is_dir():
        return "shards" if any(tar.suffix == ".tar" for tar in tars_below(path)) else "folder"
    return "shards" if path.suffix.lower() != ".zip" and ".tar" in path.name else "folder"


def follow(out: Path, stores: dict[str, Any], plan: dict[str, Any], workers: int) -> None:
    """Write the pack and show how far it is."""
    from genzoo.data.packing import write
    from genzoo.progress import Line

    total, steps = sum(plan["count"].values()), write(out, stores, plan, workers, say)
    first = next(steps)
    if first:
        say(f"goes on behind {first:,} of {total:,} images")
    with Line(total, "images", first) as line:
        for done in steps:
            line.show(done)
