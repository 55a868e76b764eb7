"""Images between the library, where they are float32 NCHW in [-1, 1], and files, screens and classifiers."""

import contextlib
import math
import unicodedata
import warnings
from collections.abc import Callable, Iterator, Sequence
from os import PathLike
from typing import IO, TYPE_CHECKING, Any, BinaryIO

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d, pad

from genzoo.console import escape
from genzoo.extras import needed
from genzoo.files import open_regular, replacing

if TYPE_CHECKING:
    from PIL import Image

LIMIT = 2**26  # pixels of a file that is still decoded
READS = 100_000  # of a file, in a decoder's small pieces: an honest one takes some thousands
SLOW_LIMIT = 2**19  # pixels
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")  # Pillow hands some others, as EPS, to foreign programs
LONGEST = 300  # characters of a caption
Captions = Sequence[tuple[str, int]]  # texts, each with the number of tiles that it belongs to
GROUND, CLOUD, MARK = (-0.9, -0.88, -0.8), (1.0, 0.85, 0.3), (-0.5, 0.3, 1.0)  # colours of a scatter plot


def to_unit(x: Tensor) -> Tensor:
    """[-1, 1] -> [0, 1]."""
    return (x + 1) / 2


def to_signed(x: Tensor) -> Tensor:
    """[0, 1] -> [-1, 1]."""
    return 2 * x - 1


def to_uint8(x: Tensor) -> Tensor:
    """[-1, 1] -> 0..255, rounded half up; what lies outside is cut off."""
    return (to_unit(x.float()).clamp(0, 1) * 255 + 0.5).to(torch.uint8)


def from_uint8(x: Tensor) -> Tensor:
    """0..255 -> float32 in [-1, 1]."""
    return x.float() / 127.5 - 1


def grid(images: Tensor, columns: int = 8, padding: int = 2) -> Tensor:
    """One image of many, row by row, on black: (n, c, h, w) -> (c, H, W)."""
    n, c, h, w = images.shape
    columns = min(columns, n)
    sheet = images.new_full(
        (c, math.ceil(n / columns) * (h + padding) + padding, columns * (w + padding) + padding), -1.0
    )
    for i, image in enumerate(images):
        y, x = padding + i // columns * (h + padding), padding + i % columns * (w + padding)
        sheet[:, y : y + h, x : x + w] = image
    return sheet


def picture(shown: Tensor | dict[str, Tensor], title: str = "", modes: Tensor | None = None) -> Tensor:
    """One image of what a model shows, under its title: a grid of images (n, c, h, w), a scatter plot of points (n, 2)
    with their true `modes` (k, 2), or the images of several names side by side, those of one row together."""
    if isinstance(shown, dict):
        return beside(shown, title)
    if shown.dim() == 2 and modes is not None:
        title = "; ".join([*[title] * bool(title), f"{len(shown):,} points", "crosses: the true modes"])
    sheet = grid(shown) if shown.dim() == 4 else scatter(shown, modes)
    return legend(sheet, title) if title else sheet


def beside(shown: dict[str, Tensor], title: str = "") -> Tensor:
    """Images (n, c, h, w) under their names, row by row: (C, H, W), in several blocks where the names leave room for
    eight columns. Grey ones become RGB where others are that."""
    parts = list(shown.values())
    channels = max(part.shape[1] for part in parts)
    room = min(8, 80 // max(map(len, shown)))
    blocks = min(max(room // len(parts), 1), len(parts[0]))
    tiles = torch.stack([part.expand(-1, channels, -1, -1) for part in parts], 1).flatten(0, 1)
    return legend(grid(enlarged(tiles), len(parts) * blocks), title, [(name, 1) for name in shown] * blocks)


def scatter(points: Tensor, centres: Tensor | None = None, size: int = 256) -> Tensor:
    """The density of points (n, 2) in [-1, 1], bright on a dark ground, y upwards, as an image (3, size, size).

    `centres` (k, 2) are marked by blue crosses above the points. Points outside are not drawn.
    """
    cloud = max_pool2d(count(points, size).log1p()[None], 3, 1, 1)[0]  # a point is three pixels wide
    image = torch.tensor(GROUND)[:, None, None].expand(3, size, size)
    strength = cloud / cloud.max().clamp(min=1e-6)
    image = torch.lerp(image, torch.tensor(CLOUD)[:, None, None], strength.sqrt())
    if centres is None:
        return image
    marks = count(centres, size).clamp(max=1)[None]
    crosses = torch.maximum(max_pool2d(marks, (17, 1), 1, (8, 0)), max_pool2d(marks, (1, 17), 1, (0, 8)))
    return torch.lerp(image, torch.tensor(MARK)[:, None, None], crosses)


def count(points: Tensor, size: int) -> Tensor:
    """How many points (n, 2) in [-1, 1] fall on each pixel: (size, size), the first row on top."""
    points = points.detach().float().cpu()
    x, y = (points[(points.abs() <= 1).all(1)].T + 1) / 2 * (size - 1)
    index = (size - 1 - y.round().long()) * size + x.round().long()
    return torch.bincount(index, minlength=size * size).view(size, size).float()


def legend(sheet: Tensor, title: str = "", columns: Captions = (), rows: Captions = ()) -> Tensor:
    """A sheet (c, h, w) with captions around it, white on black: (c, H, W), whose lower left corner is the sheet itself.

    title      over everything, broken into lines where it is too wide
    columns    captions over the sheet, each with the number of tiles that it stands over
    rows       captions at the right, each with its number of tiles
    """
    from PIL import Image, ImageDraw, ImageFont

    height, width = sheet.shape[1:]
    high = min(max(10, width // 45), 32)
    font, line, gap = ImageFont.load_default(high), round(1.4 * high), round(0.4 * high)

    def size(text: str) -> int:
        return math.ceil(font.getlength(text))

    beside = thinned([(middle, high, text) for middle, _, text in middles(rows, height)], height)
    whole = width + max((size(text) + 2 * gap for _, text in beside), default=0)
    lines = broken(in_ascii(title), max(whole, 25 * high) - 2 * gap, size)
    whole = max([whole, *(size(text) + 2 * gap for text in lines)])
    fitting = [(middle, size(text) + gap, text) for middle, room, text in middles(columns, width) if size(text) <= room]
    above = thinned(fitting, whole)
    top = line * (len(lines) + bool(above)) + gap
    paper = Image.new("L", (whole, top + height))
    pen = ImageDraw.Draw(paper)
    for number, text in enumerate(lines):
        pen.text((gap, line * number + gap // 2), text, 255, font)
    for middle, text in above:
        pen.text((middle, line * len(lines) + gap // 2), text, 255, font, anchor="ma")
    for middle, text in beside:
        pen.text((width + gap, top + middle), text, 255, font, anchor="lm")
    captioned = from_uint8(from_pillow(paper)).expand(len(sheet), -1, -1).to(sheet, copy=True)
    captioned[:, top:, :width] = sheet
    return captioned


def in_ascii(text: str) -> str:
    """A caption in the letters of Pillow's own font, on one line, and not endless: it may hold the name of a class."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", escape(text)) if not unicodedata.combining(c))
    plain = plain.encode("ascii", "replace").decode()
    return plain if len(plain) <= LONGEST else f"{plain[: LONGEST - 3]}..."


def middles(captions: Captions, length: int) -> list[tuple[int, float, str]]:
    """Along a side of a sheet, where the middle of each caption's tiles lies, and how far the caption may reach: half a
    tile beyond several, while that of a single tile, as of a scale, may have to do without its neighbours."""
    total, place, found = sum(count for _, count in captions), 0, []
    for text, count in captions:
        room = math.inf if count == 1 else length * (count + 1) / total
        found.append((round(length * (place + count / 2) / total), room, in_ascii(text)))
        place += count
    return found


def thinned(captions: list[tuple[int, int, str]], whole: int) -> list[tuple[int, str]]:
    """Captions by their middle and extent, moved into the picture, without those that would cover another one.

    The first and the last are kept before all others.
    """
    kept: list[tuple[int, int, str]] = []
    for middle, extent, text in [*captions[:1], *captions[:0:-1][:1], *captions[1:-1]]:
        middle = max(extent // 2, min(middle, whole - extent // 2))
        if all(2 * abs(middle - other) >= extent + size for other, size, _ in kept):
            kept.append((middle, extent, text))
    return [(middle, text) for middle, _, text in kept]


def broken(text: str, width: int, size: Callable[[str], int]) -> list[str]:
    """A text in lines of a width, broken between words."""
    lines: list[str] = []
    for word in text.split():
        if lines and size(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def save_png(path: str | PathLike[str], image: Tensor) -> None:
    """Write an image (c, h, w) in [-1, 1], grey or RGB."""
    with replacing(path) as part:
        pillow(image).save(part, format="PNG")


def save_gif(path: str | PathLike[str], frames: Tensor, seconds: float = 0.1) -> None:
    """Write frames (n, c, h, w) in [-1, 1] as an endless animation with `seconds` for each, of 256 colours."""
    save_animation(path, frames, format="GIF", duration=round(1000 * seconds))


def save_webp(path: str | PathLike[str], frames: Tensor, seconds: float = 0.1) -> None:
    """The same with all colours, and in a smaller file."""
    save_animation(path, frames, format="WEBP", duration=round(1000 * seconds), quality=90)


def save_animation(path: str | PathLike[str], frames: Tensor, **options: Any) -> None:
    first, *rest = [pillow(frame) for frame in enlarged(frames)]
    with replacing(path) as part:
        first.save(part, save_all=True, append_images=rest, loop=0, **options)


def save_mp4(path: str | PathLike[str], frames: Tensor, seconds: float = 0.1) -> None:
    """The same as a film (H.264), which ends; ValueError where PyAV is missing. An odd side gets one more pixel."""
    needed("video", "a film")
    from fractions import Fraction

    import av

    larger = enlarged(frames).expand(-1, 3, -1, -1)
    even = pad(larger, (0, larger.shape[3] % 2, 0, larger.shape[2] % 2), mode="replicate")
    with replacing(path) as part, av.open(str(part), "w", format="mp4") as film:
        stream = film.add_stream("h264", rate=Fraction(1 / seconds).limit_denominator(1000))
        stream.height, stream.width, stream.pix_fmt = *even.shape[2:], "yuv420p"
        for frame in even:
            pixels = to_uint8(frame.detach()).cpu().permute(1, 2, 0).contiguous().numpy()
            film.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        film.mux(stream.encode(None))


def enlarged(frames: Tensor) -> Tensor:
    """Frames (n, c, h, w) at least about 100 pixels wide: a walk through digits should be large enough to watch."""
    scale = max(1, 128 // frames.shape[-1])
    return frames.repeat_interleave(scale, 2).repeat_interleave(scale, 3)


def pillow(image: Tensor) -> "Image.Image":
    """An image (c, h, w) in [-1, 1] as Pillow's own kind."""
    from PIL import Image

    pixels = to_uint8(image.detach()).cpu()
    return Image.fromarray((pixels[0] if len(pixels) == 1 else pixels.permute(1, 2, 0)).contiguous().numpy())


def read_image(file: str | PathLike[str] | BinaryIO) -> Tensor:
    """A picture file as uint8 (1, h, w) if it is grey, else (3, h, w); errors as in `decoded`."""
    name = file if isinstance(file, (str, PathLike)) else getattr(file, "name", "image")
    return from_pillow(decoded(file, str(name)))


def from_pillow(image: "Image.Image") -> Tensor:
    """An image in Pillow's modes L or RGB as uint8 (c, h, w)."""
    import numpy as np

    pixels = np.asarray(image).reshape(image.height, image.width, -1)
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())


def decoded(file: str | PathLike[str] | IO[bytes], name: str, smallest: int = 0) -> "Image.Image":
    """A picture file as Pillow's own kind, grey (L) or RGB, turned upright as EXIF says; the first frame of a film.

    Grey of 16 bits is scaled to 8, and white stands behind what is transparent. With `smallest` a large JPEG is decoded
    at 1/2, 1/4 or 1/8 of its size as long as both sides keep so many pixels, which is much faster. ValueError with
    `name` for what is damaged, no picture, above LIMIT pixels (seen in the header, before anything is decoded) or above
    16 bits a channel; OSError where there is no file to open.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    if isinstance(file, (str, PathLike)):
        with open_regular(file) as opened:
            return decoded(opened, name, smallest)
    patient: Any = Patient(file)
    try:
        with silent(), Image.open(patient, formats=FORMATS) as image:
            if image.width * image.height > LIMIT:
                raise ValueError(f"it has {image.width}x{image.height} pixels, the limit is {LIMIT:,}")
            check_ppm(image, patient)
            if smallest:
                image.draft(None, (smallest, smallest))
            if image.format != "JPEG" or {"exif", "xmp"} & image.info.keys():  # looking for a turn takes its time
                ImageOps.exif_transpose(image, in_place=True)  # only what is turned is copied
            return plain(image)
    except UnidentifiedImageError as error:
        raise ValueError(f"{name} cannot be read: it is no picture in the format {', '.join(FORMATS)}") from error
    except Exception as error:  # a damaged file can bring out anything in a decoder
        if isinstance(error, OSError) and error.errno:  # no such file, no permission: these speak for themselves
            raise
        raise ValueError(f"{name} cannot be read: {error}") from error


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Without Pillow's warnings: what is wrong with a file is an error, or can be lived with."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class Patient:
    """A file for a decoder, which may ask it READS times: a header can be made that goes on for minutes, bit by bit."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.reads = file, 0
        self.seek, self.tell, self.close = file.seek, file.tell, file.close

    def read(self, size: int = -1) -> bytes:
        self.reads += 1
        if self.reads > READS:
            raise ValueError("its header is too long")
        return self.file.read(size)


def check_ppm(image: Any, file: Patient) -> None:
    """Let Pillow decode a PPM in Python, pixel by pixel, where it is small; ValueError where that would take minutes."""
    decoder, pixels = image.tile[0][0] if image.tile else "", image.width * image.height
    if not decoder.startswith("ppm"):
        return
    if pixels > SLOW_LIMIT:
        raise ValueError(
            f"as a PPM of text, or of other than 255 levels, it may have {SLOW_LIMIT:,} pixels: save it as PNG"
        )
    file.seek(0)
    if decoder == "ppm_plain" and file.read(LIMIT).count(b"#") > 1000:
        raise ValueError("it has more than 1,000 comments")
    file.reads = -pixels


def alpha_of(file: BinaryIO) -> Tensor | None:
    """What a picture file has of transparency, uint8 (1, h, w), turned upright; None where it is opaque everywhere.

    For a file that `decoded` has read.
    """
    from PIL import Image, ImageOps

    with Image.open(file, formats=FORMATS) as image:
        if image.mode not in ("LA", "PA", "RGBA") and "transparency" not in image.info:
            return None
        alpha = from_pillow(ImageOps.exif_transpose(image).convert("RGBA").getchannel("A"))
    return None if alpha.min() == 255 else alpha


def plain(image: "Image.Image") -> "Image.Image":
    """An image of any of Pillow's modes as L, where it is grey, or RGB."""
    from PIL import Image

    if image.mode.startswith(("I", "F")):
        return from_16_bits(image)
    mode = "L" if image.mode in ("1", "L", "LA") else "RGB"
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:  # the latter: one colour, or a palette's
        ground = Image.new("RGBA", image.size, "white")
        ground.alpha_composite(image.convert("RGBA"))
        image = ground
    image.load()
    return image if image.mode == mode else image.convert(mode)


def from_16_bits(image: "Image.Image") -> "Image.Image":
    """Grey from 0 to 65,535 as L: divided by 257 and rounded, so that black and white stay what they are."""
    import numpy as np
    from PIL import Image

    pixels = np.asarray(image)
    if pixels.dtype.kind == "f" or pixels.min() < 0 or pixels.max() > 65_535:
        raise ValueError(f"its pixels are of the kind {image.mode}: save it with 8 or 16 bits a channel")
    return Image.fromarray(((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8))
