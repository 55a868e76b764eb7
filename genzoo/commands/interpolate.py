"""Walk between latents: rows of images from one to another, a sheet between four, or an endless loop."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

from genzoo.commands.sample import Drawing, at_least, chosen, generate, numbered, opened, read_latents, writable, write
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
    given = [name for name in ("ends", "latents", "src") if config[name] is not None]
    if len(given) > 1:
        raise ValueError(f"{'= and '.join(given)}=: one of these says what to walk between")
    if loop and config.corners:
        raise ValueError(f"out={config.out}: corners=true makes a .png")
    at_least(config, "rows", 2 if config.corners or (loop and not given) else 1)
    at_least(config, "steps", 1 if loop else 2)
    at_least(config, "batch_size", 1)
    if config.path not in (None, "lerp", "slerp"):
        raise ValueError(f"path={config.path}: lerp or slerp")
    if config.out.endswith(".mp4"):
        needed("video", f"out={config.out}")
    model = opened(config)
    out = writable(config.out, (".png", *FILMS, ""))

    import torch

    from genzoo import images

    z = walk(model, config, loop)
    shown = generate(model, z, config.batch_size, mixtures(model, config, len(z), loop))
    if loop and shown.dim() == 2:
        shown = torch.stack([images.scatter(point[None]) for point in shown])
    if out.suffix in FILMS:
        {".gif": images.save_gif, ".webp": images.save_webp, ".mp4": images.save_mp4}[out.suffix](out, shown)
    elif loop:
        write(out, shown)
    else:
        images.save_png(out, images.scatter(shown) if shown.dim() == 2 else images.grid(shown, columns=config.steps))
    print(f"made   {out} ({f'a loop of {len(z)}' if loop else f'{len(z) // config.steps} x {config.steps}'} images)")
    print(f"next   genzoo sample ckpt={config.ckpt} n=64 out=grid.png")
    return 0


def walk(model: Any, config: Any, loop: bool) -> Any:
    """The latents of a command, row by row: (rows * steps, dim)."""
    import torch

    from genzoo import latents, priors

    prior: Any = SimpleNamespace(path=getattr(priors, config.path)) if config.path else model.prior
    ends = ends_of(model, config)
    if ends is None:
        count = 4 if config.corners else config.rows if loop else 2 * config.rows
        ends = model.latents(count, seed=config.seed, truncation=config.truncation).cpu()
        pairs = ends.split(2)
    else:
        if len(ends) < 2 or (config.corners and len(ends) != 4):
            needs = "4 are needed with corners=true" if config.corners else "2 or more are needed"
            raise ValueError(f"{len(ends)} given to walk between; {needs}")
        pairs = ends.unfold(0, 2, 1).mT
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


def ends_of(model: Any, config: Any) -> Any:
    """The latents (k, dim) that the user chose, or None."""
    if config.ends is not None:
        return numbered(model, config, "ends")
    if config.truncation is not None and (config.latents or config.src):
        raise ValueError("truncation= is for latents drawn here; leave it out beside latents= and src=")
    if config.latents is not None:
        return read_latents(Path(config.latents), model.prior.dim).to(model.dtype)
    return None if config.src is None else found(model, config)


def found(model: Any, config: Any) -> Any:
    """The latents of pictures: the encoder's answer, or else by inversion with the defaults of `genzoo invert`."""
    import torch

    from genzoo.batches import pieces
    from genzoo.commands import invert
    from genzoo.core.roles import Autoencoder

    paths = [config.src] if isinstance(config.src, str) else list(config.src)
    inversion = invert.Keys(seed=config.seed)
    targets = torch.cat([invert.pictures(Path(str(path)), model, inversion.resize)[1] for path in paths])
    targets = targets.to(model.device, model.dtype)
    with torch.no_grad():
        if isinstance(model, Autoencoder):
            return torch.cat([model.encode(part).cpu() for part in targets.split(config.batch_size)])
    y = invert.classes_of(model, config, len(targets))
    parts = pieces(targets, y, inversion.batch_size)
    return torch.cat([invert.found_for(model, part, inversion, y)[0].cpu() for part, y in parts])
