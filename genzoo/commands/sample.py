"""New images from a checkpoint."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genzoo.commands.drawing import (
    Drawing,
    classes,
    drawn,
    generate,
    generated,
    modes_of,
    opened_to_draw,
    read_latents,
)
from genzoo.commands.opening import hint
from genzoo.commands.outputs import prepared, writable
from genzoo.commands.train import key
from genzoo.limits import Count, Place


@dataclass
class Keys(Drawing):
    command: str = "sample"
    n: Count = key(64, "how many")
    latents: Place | None = key(
        None, "latents of your own, (n, dim): a .npy file, or .safetensors with the key latents"
    )
    out: Place = key("samples.png", "a .png sheet, .npy, .safetensors, or a folder of single PNGs")


def run(config: Any) -> int:
    """Draw latents, make images of them and write them; the exit code."""
    from genzoo.core.roles import Likelihood

    model = opened_to_draw(config)
    if config.latents is None:
        z = drawn(model, config, config.n)
    else:
        if config.truncation is not None:
            raise ValueError("truncation= is for latents drawn here; leave it out beside latents=")
        z = read_latents(Path(config.latents), model.prior.dim)
    y = classes(model, config, len(z))
    out = writable(config, (".png", ".npy", ".safetensors", ""))
    if out.suffix:
        shown = generate(model, z, config.batch_size, y)
        write(prepared(out), shown, modes_of(model))
        shape = shown.shape[1:]
    else:
        shape = write_each(out, generated(model, z, config.batch_size, y), modes_of(model))
    what = "points" if len(shape) == 1 else f"images of {' x '.join(map(str, shape))}"
    print(f"made   {out} ({len(z)} {what})")
    print(f"next   {hint(config, 'interpolate')}")
    if "data" in model.facts:  # else nobody knows what to compare with
        alone = len(shape) == 1 or isinstance(model, Likelihood)
        print(f"       {hint(config, 'evaluate', *[] if alone else ['features=runs/classifier'])}")
    return 0


def write(out: Path, shown: Any, centres: Any) -> None:
    """Images (n, c, h, w) or points (n, 2) to a file, by its suffix."""
    import numpy as np
    from safetensors.torch import save

    from genzoo import images
    from genzoo.files import replacing

    if out.suffix == ".png":
        images.save_png(out, images.picture(shown, modes=centres))
        return
    with replacing(out) as part, open(part, "wb") as file:
        if out.suffix == ".npy":
            np.save(file, shown.numpy())
        else:  # its save_file makes a file that only its owner can read
            file.write(save({"images": shown.contiguous()}))


def write_each(out: Path, parts: Any, centres: Any) -> Any:
    """Every image or point as a PNG of its own in a folder, as they come; the shape of one."""
    from genzoo import images

    for number, one in enumerate(one for part in parts for one in part):
        file = prepared(out / f"{number:05}.png")
        images.save_png(file, images.scatter(one[None], centres) if one.dim() == 1 else one)
    return one.shape
