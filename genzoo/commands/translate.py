"""Pictures of one domain as pictures of the other: a file, a folder or a zip, of any size."""

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from genzoo.commands.opening import Opening, hint, opened
from genzoo.commands.outputs import prepared, writable
from genzoo.commands.train import key
from genzoo.console import escape, say
from genzoo.limits import Count, Place

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
SHEET, THUMB = 16, 192  # pictures of the contact sheet, and pixels of each
TOLD = 3  # failures that are named on the terminal; all of them stand in a file


@dataclass
class Keys(Opening):
    command: str = "translate"
    src: Place = key("???", "a picture, or a folder or zip of pictures")
    to: str | None = key(None, "the domain to make: its name, a or b; needless where the model makes one only")
    seed: int = key(0, "of what is random in the model: the same seed, the same pictures")
    memory: str = key("6GB", "what a pass may take; a picture that takes more goes by tiles")
    device: str = key("cpu", "cpu, cuda, mps, ...")
    batch_size: Count = key(8, "pictures of one size at once")
    out: Place = key("translated", "a folder, or a picture file for a single picture")


class Picture(NamedTuple):
    """A picture to translate: uint8 (c, h, w), and what it had of transparency, (1, h, w), or None."""

    name: str
    pixels: Any
    alpha: Any


def run(config: Any) -> int:
    """Translate what can be read, write it under its own name beside a sheet, list what failed; the exit code."""
    import torch
    from omegaconf import OmegaConf

    from genzoo import tiles
    from genzoo.core.roles import Translator, require
    from genzoo.data.archives import located
    from genzoo.data.pictures import is_picture
    from genzoo.data.store import signed
    from genzoo.progress import Line

    if OmegaConf.is_missing(config, "src"):
        raise ValueError("src is missing: genzoo translate ckpt=... src=<picture, folder or zip> to=<domain>")
    memory, path = bytes_of(config.memory), located(config.src)
    model = require(opened(config), Translator)
    network = alone(model, config.to)
    room = tiles.room(network, memory)
    single = path.is_file() and is_picture(path.name)
    files = files_of(path, single)
    names = [path.name] if single else [name for name in files.names if is_picture(name)]
    if not names:
        raise ValueError(f"src={path} holds no pictures")
    into = single and Path(config.out).suffix != ""
    if not single and Path(config.out).suffix != "":
        raise ValueError(f"out={config.out}: the pictures of {path} go into a folder, whose name has no dot in it")
    out = writable(config, tuple(FORMATS) if into else ("",))

    failed: dict[str, str] = {}
    sheet: list[Any] = []
    written = set[Path]()
    with Line(len(names), "pictures") as line:

        def part(i: int, n: int) -> None:
            line.show(line.done, f"part {i} of {n}")

        for batch in batches(files, names, network, config.batch_size, room.whole, failed):
            try:
                made = translated(model, network, batch, config, room, part)
            except (RuntimeError, MemoryError) as error:
                if not isinstance(error, (torch.OutOfMemoryError, MemoryError)) and "allocate memory" not in str(error):
                    raise
                failed |= {picture.name: "took more memory than there is: say memory=<less>" for picture in batch}
                made = []
            for picture, result in zip(batch, made):
                place = out if into else target(out, picture, names)
                try:
                    save(place, result, picture.alpha)
                except (OSError, ValueError) as error:
                    failed[picture.name] = str(error)
                    continue
                written.add(place)
                if len(sheet) < 2 * SHEET and not single:
                    sheet += [thumbnail(signed(picture.pixels)), thumbnail(result)]
            line.show(len(written) + len(failed))
    made_of = [("source", 1), (f"to {model.names.get(config.to or model.makes, config.to)}", 1)]
    return report(config, out, sheet, made_of, written, failed)


def files_of(path: Path, single: bool) -> Any:
    """The files of a folder or zip, or those beside a single picture; ValueError for any other file."""
    from zipfile import is_zipfile

    from genzoo.data.archives import open_files
    from genzoo.data.pictures import SUFFIXES as READ

    if path.is_file() and not single and not is_zipfile(path):
        raise ValueError(f"src={path} is no zip, and by its name no picture ({', '.join(READ)})")
    return open_files(path.parent if single else path)


def bytes_of(memory: str) -> float:
    """6GB or 500MB as bytes."""
    text = str(memory).strip().upper()
    unit = {"GB": 1e9, "MB": 1e6}.get(text[-2:])
    try:
        found = float(text[:-2]) * unit if unit else 0.0
    except ValueError:
        found = 0.0
    if not 0 < found < float("inf"):
        raise ValueError(f"memory={memory}: a size such as 6GB or 500MB is expected")
    return found


def alone(model: Any, to: Any) -> Any:
    """The network that makes the domain `to`; all others give their memory back."""
    network = model.translator(to)
    kept = {id(parameter) for parameter in network.parameters()}
    for parameter in model.parameters():
        if id(parameter) not in kept:
            parameter.data = parameter.data.new_empty(0)
    return network


def batches(
    files: Any, names: list[str], network: Any, size: int, pixels: float, failed: dict[str, str]
) -> Iterator[list[Picture]]:
    """Pictures in order, several together while they have one size and so many pixels; why others failed goes into
    `failed`."""
    held: list[Picture] = []
    for name in names:
        try:
            picture = read(files, name, network.inputs)
        except (ValueError, OSError) as error:
            failed[name] = str(error).splitlines()[0]
            continue
        shape = picture.pixels.shape
        fits = area(picture, network) * (len(held) + 1) <= pixels
        if held and not (len(held) < size and shape == held[0].pixels.shape and fits):
            yield held
            held = []
        held.append(picture)
    if held:
        yield held


def area(picture: Picture, network: Any) -> int:
    """Pixels of the picture at the size that the network takes."""
    return math.prod(-(-size // network.multiple_of) * network.multiple_of for size in picture.pixels.shape[1:])


def read(files: Any, name: str, channels: int) -> Picture:
    """A picture as the network takes it, grey or RGB; ValueError if it cannot be read."""
    from genzoo.images import alpha_of, decoded, from_pillow

    content = files.read(name)
    image = decoded(io.BytesIO(content), name)
    return Picture(name, from_pillow(image.convert("L" if channels == 1 else "RGB")), alpha_of(io.BytesIO(content)))


def translated(model: Any, network: Any, batch: list[Picture], config: Any, room: Any, report: Any) -> Any:
    """Images (n, c, h, w) in [-1, 1] on the CPU, of the pictures' own size: at once, by stages or by tiles, which are
    reported."""
    import torch
    from torch import nn

    from genzoo import tiles
    from genzoo.data.store import signed
    from genzoo.nets.translators import at_any_size

    x = signed(torch.stack([picture.pixels for picture in batch])).to(model.device, model.dtype)

    def translate(part: Any) -> Any:
        return model.translate(part, config.to, seed=config.seed)

    pixels = area(batch[0], network) * len(batch)
    if pixels <= room.whole:
        return translate(x).float().cpu()
    own = getattr(model, "inference_norm", "running") == "batch"  # BatchNorm that goes by the picture at hand
    kinds = (nn.InstanceNorm2d, nn.BatchNorm2d) if own else (nn.InstanceNorm2d,)
    norms = [module for module in network.modules() if isinstance(module, kinds)]

    def by_stages(padded: Any) -> Any:
        return tiles.staged(network.stages, norms, padded, room.side // 8 * 4, report)

    def by_tiles(padded: Any) -> Any:
        return tiles.tiled(translate, norms, padded, room.side, network.multiple_of, report)

    if pixels > room.staged:
        return at_any_size(network, x, by_tiles).float().cpu()
    with torch.no_grad(), model.as_tested(config.seed):
        return at_any_size(network, x, by_stages).float().cpu()


def target(out: Path, picture: Picture, names: list[str]) -> Path:
    """The picture's own name, in its own folder below `out`. Formats that are not written become .png, by a name that
    is no other picture's, nor is one to the file system, which may take A.png and a.png for the same."""
    name, kind = picture.name, FORMATS.get(Path(picture.name).suffix.lower())
    if not kind or (picture.alpha is not None and kind == "JPEG"):
        name += ".png"
        while name in names:
            name += ".png"
    while (out / name).exists():
        name += ".png"
    return out / name


def save(path: Path, image: Any, alpha: Any) -> None:
    """An image (c, h, w) in [-1, 1] with its transparency, in the format of the path's suffix."""
    from genzoo.files import replacing
    from genzoo.images import pillow

    picture, kind = pillow(image), FORMATS[path.suffix.lower()]
    if alpha is not None and kind == "JPEG":
        raise ValueError("cannot be written: a JPEG has no transparency, a .png or .webp has")
    if alpha is not None:
        from PIL import Image

        picture.putalpha(Image.fromarray(alpha[0].numpy()))
    with replacing(prepared(path)) as part:
        picture.save(part, format=kind, quality=95)


def report(config: Any, out: Path, sheet: list[Any], captions: Any, written: set[Path], failed: dict[str, str]) -> int:
    """The sheet, and what is said in the end; the exit code."""
    import torch

    from genzoo import images

    also, done = "", len(written)
    if sheet:
        path = free(out / "before_after.png")
        pairs = images.grid(torch.stack(sheet), columns=4)
        images.save_png(path, images.legend(pairs, columns=captions * min(2, len(sheet) // 2)))
        also = f", {path.name} (each picture beside what became of it)"
    if done:
        print(f"made   {out} ({done} picture{'s' * (done > 1)}{also})")
    lines = [f"failed {name}: {why}" if name not in why else f"failed {why}" for name, why in failed.items()]
    more = ""
    if len(lines) > TOLD:
        path = free(prepared(out / "failed.txt"))
        path.write_text("\n".join(map(escape, lines)) + "\n")
        more = f"; all of them stand in {path}"
    for line in lines[:TOLD]:
        say(escape(line))
    if failed:
        say(f"{len(failed)} of {done + len(failed)} pictures failed{more}")
        return 1
    print(f"next   {hint(config, 'info')}")
    return 0


def free(path: Path) -> Path:
    """A name that nothing has yet, which is as a rule the path itself."""
    while path.exists():
        path = path.with_name(f"{path.name}{path.suffix}")
    return path


def thumbnail(image: Any) -> Any:
    """An image (c, h, w) within THUMB pixels, on black: (3, THUMB, THUMB)."""
    from torch.nn.functional import interpolate, pad

    h, w = image.shape[1:]
    scale = THUMB / max(h, w)
    size = max(1, round(h * scale)), max(1, round(w * scale))
    small = interpolate(image[None].float(), size, mode="bilinear", antialias=True)[0].expand(3, -1, -1)
    return pad(small, (0, THUMB - size[1], 0, THUMB - size[0]), value=-1.0)
