"""Walk between latents: rows of images from one to another, a sheet between four, or an endless loop."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

from genzoo.commands.drawing import (
    Drawing,
    afford,
    chosen,
    drawn,
    generate,
    modes_of,
    named,
    numbers,
    opened_to_draw,
    read_latents,
)
from genzoo.commands.opening import at_least, entries, hint
from genzoo.commands.outputs import prepared, writable
from genzoo.commands.train import key
from genzoo.extras import needed
from genzoo.limits import Count, Place

FILMS = (".gif", ".webp", ".mp4")


@dataclass
class Keys(Drawing):
    command: str = "interpolate"
    y: Any = key(None, "a class, or a list of classes to walk through; each walk stays in one if not said")
    ends: Any = key(None, "what to walk between: numbers of samples of `genzoo sample seed=`, such as [3,7,12]")
    latents: Place | None = key(None, "latents of your own instead, (n, dim): a .npy or .safetensors file")
    src: Annotated[Any, Place | Sequence[Place] | None] = key(
        None, "pictures instead: [a.png,b.png], or a folder or zip of them"
    )
    rows: Count = key(6, "walks, one below the other, where none of these is said; in a loop the latents it passes")
    steps: Count = key(10, "images of each walk, both ends among them; in a loop from one latent to the next")
    corners: bool = key(False, "one sheet of rows x steps images between four latents instead")
    path: str | None = key(None, "lerp (straight) or slerp (arc); the prior's own if not said")
    out: Place = key("interpolation.png", "a .png sheet; a loop as .gif, .webp, .mp4 or a folder of single PNGs")


def run(config: Any) -> int:
    """Find the ends, walk between them and write what was seen; the exit code."""
    loop = not config.out.endswith(".png")
    if len(given(config)) > 1:
        raise ValueError(f"{'= and '.join(given(config))}=: one of these says what to walk between")
    if loop and config.corners:
        raise ValueError(f"out={config.out}: corners=true makes a .png")
    at_least(config, "rows", 2 if config.corners or (loop and not given(config)) else 1)
    at_least(config, "steps", 1 if loop else 2)
    if config.path not in (None, "lerp", "slerp"):
        raise ValueError(f"path={config.path}: lerp or slerp")
    if config.out.endswith(".mp4"):
        needed("video", f"out={config.out}")
    model = opened_to_draw(config)
    out = writable(config, (".png", *FILMS, ""))

    import torch

    from genzoo import images

    ends, names = ends_of(model, config, loop)
    z = walk(model, config, ends, loop)
    y = mixtures(model, config, len(z), loop)
    shown, centres = generate(model, z, config.batch_size, y), modes_of(model)
    if loop and shown.dim() == 2:
        shown = torch.stack([images.scatter(point[None], centres) for point in shown])
    if out.suffix in FILMS:
        save = {".gif": images.save_gif, ".webp": images.save_webp, ".mp4": images.save_mp4}[out.suffix]
        save(prepared(out), shown)
    elif loop:
        for number, frame in enumerate(shown):
            images.save_png(prepared(out / f"{number:05}.png"), frame)
    else:
        whole = images.picture(shown, modes=centres) if shown.dim() == 2 else sheet(model, shown, config, names)
        images.save_png(prepared(out), whole)
    print(f"made   {out} ({f'a loop of {len(z)}' if loop else f'{len(z) // config.steps} x {config.steps}'} images)")
    print(f"next   {hint(config, 'sample', 'n=64', 'out=grid.png')}")
    return 0


def sheet(model: Any, shown: Any, config: Any, names: list[str]) -> Any:
    """The images of walks, row by row, with the share of the way over them and the ends beside them."""
    from genzoo import images

    steps, wanted = config.steps, chosen(model, config.y)
    way = [(f"{i / (steps - 1):.2f}", 1) for i in range(steps)]
    title = f"through the classes {', '.join(named(model, wanted))}" if wanted and len(wanted) > 1 else ""
    if config.corners:
        corners = zip(("upper left", "upper right", "lower left", "lower right"), names, strict=True)
        between = f"between {', '.join(f'{name} ({where})' for where, name in corners)}"
        title = f"{between}, {title}" if title else between
        return images.legend(images.grid(shown, columns=steps), title, way)
    pairs = zip(names, names[1:]) if given(config) else zip(names[::2], names[1::2])
    rows = [(f"{first} to {second}", 1) for first, second in pairs]
    return images.legend(images.grid(shown, columns=steps), title, way, rows)


def walk(model: Any, config: Any, ends: Any, loop: bool) -> Any:
    """The latents of a command, row by row: (rows * steps, dim)."""
    import torch

    from genzoo import latents, priors

    prior: Any = SimpleNamespace(path=getattr(priors, config.path)) if config.path else model.prior
    pairs = ends.unfold(0, 2, 1).mT if given(config) else ends.split(2)
    rows = config.rows if config.corners else len(ends) if loop else len(pairs)
    afford(rows * config.steps, ends[0], "latents")
    if config.corners:
        return latents.corners(prior, ends, config.rows, config.steps)
    if loop:
        return latents.strip(prior, ends, len(ends) * config.steps, loop=True)
    return torch.cat([latents.strip(prior, pair, config.steps) for pair in pairs])


def mixtures(model: Any, config: Any, n: int, loop: bool) -> Any:
    """The class of each image of a walk, as shares of all classes (n, classes); None for a model without classes."""
    import torch

    from genzoo import latents, priors

    wanted = chosen(model, config.y)
    if not model.classes:
        return None
    rows, steps = (1, n) if loop or (config.corners and wanted is None) else (n // config.steps, config.steps)
    ids = model.labels(rows, seed=config.seed).cpu() if wanted is None else torch.tensor(wanted)
    shares = torch.nn.functional.one_hot(ids, model.classes).float()
    if wanted is None or len(wanted) == 1:
        return shares.expand(rows, -1).repeat_interleave(steps, 0)
    straight: Any = SimpleNamespace(path=priors.lerp)
    return latents.strip(straight, shares, steps, loop).repeat(rows, 1)


def given(config: Any) -> list[str]:
    """The keys that say what to walk between; none where it is drawn."""
    return [name for name in ("ends", "latents", "src") if config[name] is not None]


def ends_of(model: Any, config: Any, loop: bool) -> tuple[Any, list[str]]:
    """The latents (k, dim) to walk between, and what each of them is called."""
    if config.truncation is not None and (config.latents or config.src):
        raise ValueError("truncation= is for latents drawn here; leave it out beside latents= and src=")
    if not given(config):
        count = 4 if config.corners else config.rows if loop else 2 * config.rows
        return drawn(model, config, count).cpu(), list(map(str, range(count)))
    if config.ends is not None:
        chosen_ends = numbers(config.ends, "ends")
        ends, names = drawn(model, config, max(chosen_ends) + 1).cpu()[chosen_ends], list(map(str, chosen_ends))
    elif config.latents is not None:
        ends = read_latents(Path(config.latents), model.prior.dim).to(model.dtype)
        names = list(map(str, range(len(ends))))
    else:
        ends, names = found(model, config)
    if len(ends) < 2 or (config.corners and len(ends) != 4):
        needs = "4 are needed with corners=true" if config.corners else "2 or more are needed"
        raise ValueError(f"{len(ends)} given to walk between; {needs}")
    return ends, names


def found(model: Any, config: Any) -> tuple[Any, list[str]]:
    """The latents of pictures, by the encoder or else by inversion with the defaults of `genzoo invert`; and their names."""
    import torch

    from genzoo.commands import invert
    from genzoo.core.roles import Autoencoder

    inversion = invert.Keys(seed=config.seed)
    read = [invert.pictures(path, model, inversion.resize) for path in entries(config.src)]
    names, targets = [name for names, _ in read for name in names], torch.cat([images for _, images in read])
    targets = targets.to(model.device, model.dtype)
    with torch.no_grad():
        if isinstance(model, Autoencoder):
            return torch.cat([model.encode(part).cpu() for part in targets.split(config.batch_size)]), names
    return invert.found_for(model, targets, inversion, invert.classes_of(model, config, len(targets)))[0], names
