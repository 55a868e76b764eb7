"""Find the latents whose images come nearest to given pictures."""

import json
import math
from dataclasses import dataclass
from typing import Any

from genzoo.commands.drawing import afford, chosen, generate
from genzoo.commands.evaluate import plain
from genzoo.commands.opening import Opening, hint, opened
from genzoo.commands.outputs import prepared, writable
from genzoo.commands.train import key
from genzoo.limits import Count, Place, Positive

POOL = 1024  # draws that the starts are chosen from


@dataclass
class Keys(Opening):
    command: str = "invert"
    src: Place = key("???", "a picture, or a folder or zip of pictures")
    y: Any = key(None, "the class of the pictures, or a list of classes in turn, for a model that has classes")
    starts: Count = key(
        4, "latents to start from for each picture: the encoder's answer, where there is one, and draws"
    )
    steps: Count = key(1000, "steps of Adam")
    rate: Positive = key(0.1, "their size at first")
    resize: str = key("crop", "crop, pad or stretch, to the model's size")
    seed: int = key(0, "of the draws")
    device: str = key("cpu", "cpu, cuda, mps, ...")
    batch_size: Count = key(16, "pictures at once")
    out: Place = key("inversion", "a folder for latents.npy, inversion.png and inversion.json")


def run(config: Any) -> int:
    """Invert every picture and write latents, a sheet of originals beside reconstructions, and PSNRs; the exit code."""
    from omegaconf import OmegaConf

    if OmegaConf.is_missing(config, "src"):
        raise ValueError("src is missing: genzoo invert ckpt=... src=<picture, folder or zip>")

    from genzoo.core.roles import Sampler, require

    if config.starts > POOL:
        raise ValueError(f"starts={config.starts}: {POOL} at most, 4 are usual")
    model = require(opened(config), Sampler)
    out = writable(config, ("",))

    import numpy as np
    import torch

    from genzoo import images
    from genzoo.files import replacing

    names, targets = pictures(config.src, model, config.resize)
    y = classes_of(model, config, len(targets))
    z, quality = found_for(model, targets, config, y)
    made = generate(model, z, config.batch_size, y)
    with replacing(prepared(out / "latents.npy")) as part, open(part, "wb") as file:
        np.save(file, z.numpy())
    pairs = images.grid(torch.stack([targets, made], dim=1).flatten(0, 1), columns=8)
    captions = [("given", 1), ("found", 1)] * min(4, len(z))
    images.save_png(
        out / "inversion.png", images.legend(pairs, "pictures, each beside what its latent makes", captions)
    )
    values = [plain(round(value, 2)) for value in quality.tolist()]
    with replacing(out / "inversion.json") as part:
        part.write_text(json.dumps(dict(zip(names, values)), indent=2) + "\n")
    print(f"made   {out}: latents.npy, inversion.png (each original beside what was found), inversion.json")
    print(f"PSNR   median {quality.median():.1f} dB, lowest {quality.min():.1f} dB of {len(z)}")
    print(f"next   {hint(config, 'sample', f'latents={out}/latents.npy', 'out=again.png')}")
    return 0


def pictures(src: Any, model: Any, resize: str) -> tuple[list[str], Any]:
    """Names and images (n, c, h, w) in [-1, 1] of a picture or of a folder or zip, in the model's size."""
    import torch

    from genzoo.data.archives import located, open_files
    from genzoo.data.pictures import Pictures, is_picture

    shape = model.sample(1, seed=0).shape
    if len(shape) != 4:
        raise ValueError(f"{type(model).__name__} here makes points: there is no picture of them to invert")
    path = located(src)
    single = path.is_file() and is_picture(path.name)
    files = open_files(path.parent if single else path)
    names = [path.name] if single else [name for name in files.names if is_picture(name)]
    if not names:
        raise ValueError(f"src={path} holds no pictures")
    afford(len(names), torch.empty(shape[1:]), "pictures")
    store = Pictures(files, names, torch.zeros(len(names)), shape[1], shape[2], resize)
    return names, store.__getitems__([(i, i) for i in range(len(names))]).x


def classes_of(model: Any, config: Any, n: int) -> Any:
    """The class of each of n pictures, (n,), or None; ValueError where the model has classes and none is said."""
    import torch

    wanted = chosen(model, config.y)
    if wanted is None and not model.classes:
        return None
    if wanted is None or n % len(wanted):
        raise ValueError(
            f"y={config.y}: say of which class the pictures are, from 0 to {model.classes - 1}, for all or for each of {n}"
        )
    return torch.tensor(wanted).repeat(n // len(wanted))


def found_for(model: Any, targets: Any, config: Any, y: Any = None) -> tuple[Any, Any]:
    """Latents (n, dim) and PSNRs (n,), on the CPU, of images (n, c, h, w) of the classes y (n,) if the model has any."""
    import torch

    from genzoo.batches import pieces
    from genzoo.progress import Line

    total, found = math.ceil(len(targets) / config.batch_size) * config.steps, []
    with Line(total, "steps") as line:
        for part, labels in pieces(targets, y, config.batch_size):
            part = part.to(model.device, model.dtype)
            found.append(found_at_once(model, part, config, labels, lambda step: line.show(line.done + 1)))
    z, quality = (torch.cat(parts).cpu() for parts in zip(*found))
    return z, quality


def found_at_once(model: Any, targets: Any, config: Any, y: Any, report: Any) -> tuple[Any, Any]:
    """The same for a batch; `report` is called after every step."""
    import torch

    from genzoo import latents
    from genzoo.core.roles import Autoencoder

    y = None if y is None else y.to(targets.device)
    pool = model.latents(POOL, seed=config.seed)
    starts = pool.new_empty(len(targets), config.starts, pool.shape[1])
    with torch.no_grad():
        for label in [None] if y is None else y.unique():
            mine = torch.ones(len(targets), dtype=torch.bool) if label is None else (y == label).cpu()
            drawn = (
                model.generate(part, None if label is None else label.expand(len(part))).flatten(1)
                for part in pool.split(256)
            )
            which, _ = latents.nearest(targets[mine].flatten(1), drawn, config.starts)
            starts[mine] = pool[which]
        if isinstance(model, Autoencoder):
            starts[:, -1] = model.encode(targets)

    def images(z: Any) -> Any:  # config.starts for each picture
        return model.generate(z, None if y is None else y.repeat_interleave(config.starts))

    return latents.invert(images, targets, starts, config.steps, config.rate, report)
