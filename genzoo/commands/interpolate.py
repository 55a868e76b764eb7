"""Walk between latents: rows of images from one to another, a sheet between four, or an endless loop."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from genzoo.commands.sample import Drawing, at_least, generate, opened, writable
from genzoo.commands.train import key


@dataclass
class Keys(Drawing):
    command: str = "interpolate"
    rows: int = key(6, "walks, one below the other; in a .gif the latents that the loop passes")
    steps: int = key(10, "images of each walk, both ends among them")
    corners: bool = key(False, "one sheet of rows x steps images between four latents instead")
    path: str | None = key(None, "lerp (straight) or slerp (arc); the prior's own if not said")
    out: str = key("interpolation.png", "a .png sheet, or a .gif that loops")


def run(config: Any) -> int:
    """Draw the ends, walk between them and write what was seen; the exit code."""
    loop = config.out.endswith(".gif")
    if loop and config.corners:
        raise ValueError(f"out={config.out}: corners=true makes a .png")
    at_least(config, "rows", 2 if loop or config.corners else 1)
    at_least(config, "steps", 1 if loop else 2)
    at_least(config, "batch_size", 1)
    if config.path not in (None, "lerp", "slerp"):
        raise ValueError(f"path={config.path}: lerp or slerp")
    model = opened(config)
    z = walk(model, config, loop)
    out = writable(config.out, (".png", ".gif"))

    import torch

    from genzoo import images

    shown = generate(model, z, config.batch_size)
    if shown.dim() == 2 and loop:
        images.save_gif(out, torch.stack([images.scatter(point[None]) for point in shown]))
    elif loop:
        images.save_gif(out, shown)
    else:
        images.save_png(out, images.scatter(shown) if shown.dim() == 2 else images.grid(shown, columns=config.steps))
    what = f"a loop of {len(shown)} images" if loop else f"{config.rows} x {config.steps} images"
    print(f"made   {out} ({what})")
    print(f"next   genzoo sample ckpt={config.ckpt} n=64 out=grid.png")
    return 0


def walk(model: Any, config: Any, loop: bool) -> Any:
    """The latents of a command, row by row: (rows * steps, dim)."""
    import torch

    from genzoo import latents, priors

    prior: Any = SimpleNamespace(path=getattr(priors, config.path)) if config.path else model.prior
    count = 4 if config.corners else config.rows if loop else 2 * config.rows
    ends = model.latents(count, seed=config.seed, truncation=config.truncation).cpu()
    if config.corners:
        return latents.corners(prior, ends, config.rows, config.steps)
    if loop:
        return latents.strip(prior, ends, config.rows * config.steps, loop=True)
    return torch.cat([latents.strip(prior, pair, config.steps) for pair in ends.split(2)])
