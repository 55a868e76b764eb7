"""What the files, sizes and labels of a set are, in words: a line for each topic."""

import io
from collections import Counter
from collections.abc import Iterator
from hashlib import blake2b
from statistics import median
from typing import Any

from PIL import Image

from genzoo.console import brief
from genzoo.core.stream import spread
from genzoo.data.pictures import ADVICE, Pictures
from genzoo.images import FORMATS

READ = 50_000  # files whose headers are read and whose bytes are compared; of a larger set so many, evenly spread
DECODED = 2_000  # of these, how many are decoded as in training
LISTED = 12  # classes or attributes
SHOWN = 5  # unreadable files that are named
Line = tuple[str, str]  # a topic, and what is said of it


def parts(store: Any) -> list[Any]:
    """The sets of picture files that a store consists of; none if it holds something else."""
    return [part for part in getattr(store, "domains", [store]) if isinstance(part, Pictures)]


def of_files(files: dict[str, tuple[Any, int]], data: Any, faults: list[str]) -> Iterator[Line]:
    """What headers, bytes and a sample of the pixels say; `files` holds a store and an index for each address."""
    addresses = sorted(files)
    chosen = [addresses[i] for i in spread(len(addresses), READ)]
    formats, modes, sizes = Counter[str](), Counter[str](), list[tuple[int, int]]()
    copies, broken = dict[bytes, list[str]](), dict[str, str]()
    for address in chosen:
        store, i = files[address]
        try:
            content = store.files.read(store.pictures[i])
            copies.setdefault(blake2b(content, digest_size=16).digest(), []).append(address)
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                formats[str(image.format)] += 1
                modes[image.mode] += 1
                sizes.append(image.size)
        except Exception:  # decoding says what is wrong with it
            broken[address] = ""
    sample = {chosen[i] for i in spread(len(chosen), DECODED)} | broken.keys()
    for address in sorted(sample):
        store, i = files[address]
        try:
            store.decode(i)
        except (ValueError, OSError) as error:
            broken[address] = str(error).removesuffix(ADVICE)
    yield "files", f"{counted(formats)}; modes {counted(modes)}" + limited(len(chosen), len(addresses))
    if sizes:
        yield "sizes", in_words(sizes, data)
    twins = [same for same in copies.values() if len(same) > 1]
    example = " = ".join(tail(address) for address in twins[0][:3]) if twins else ""
    yield "copies", f"{sum(len(same) - 1 for same in twins):,}, byte for byte: {example}" if twins else "none"
    yield "broken", f"{len(broken) or 'none'} of {len(chosen):,} headers read and {len(sample):,} files decoded"
    for told in list(broken.values())[:SHOWN]:
        yield "", told
    if broken:
        several = f"{len(broken):,} files cannot be read; mend or remove them"
        faults.append(several if len(broken) > 1 else f"{next(iter(broken.values()))}; mend or remove it")


def of_pixels(store: Any) -> Iterator[Line]:
    """The same of images that are in memory already."""
    images = getattr(store, "images", None)
    if images is not None and images.dim() == 4:
        chosen = spread(len(images), READ)
        kinds = {blake2b(images[i].numpy().tobytes(), digest_size=16).digest() for i in chosen}
        yield "sizes", f"{images.shape[3]}x{images.shape[2]}"
        copies = len(chosen) - len(kinds)
        yield "copies", (f"{copies:,}" if copies else "none") + limited(len(chosen), len(images))


def in_words(sizes: list[tuple[int, int]], data: Any) -> str:
    """Smallest, median and largest width x height, and how many are unlike what training takes."""
    (w, h), (wide, high) = (pick(sizes, key=lambda size: size[0] * size[1]) for pick in (min, max))
    words = f"{w}x{h}"
    if (w, h) != (wide, high):
        middle = "x".join(f"{median(side):.0f}" for side in zip(*sizes, strict=True))
        words = f"smallest {w}x{h}, median {middle}, largest {wide}x{high} (width x height)"
    uneven = sum(w != h for w, h in sizes) / len(sizes)
    small = sum(min(size) < data.resolution for size in sizes)
    words += f"; {uneven:.0%} not square" if uneven else ""
    return words + (f"; {small:,} below {data.resolution} pixels would be enlarged" if small else "")


def of_labels(train: Any, data: Any) -> Iterator[Line]:
    """Classes with their counts, or attributes with their shares."""
    labels, names = getattr(train, "labels", None), [str(name) for name in data.names]
    if labels is None or (labels.dim() == 1 and not names and not data.classes):
        yield "classes", "none"
    elif labels.dim() == 2:
        shares = [f"{name} {share:.0%}" for name, share in zip(names, labels.mean(0).tolist(), strict=False)]
        yield "labels", f"{labels.shape[1]} attributes: {', '.join(shares[:LISTED])}{', ...' * (len(shares) > LISTED)}"
    else:
        counts = labels.bincount(minlength=len(names)).tolist()
        pairs = [f"{brief(name)} {count:,}" for name, count in zip(names or range(len(counts)), counts, strict=False)]
        rest = f", ... (from {min(counts):,} to {max(counts):,} images each)" if len(pairs) > LISTED else ""
        hint = "" if data.classes else "; data.classes=auto tells them to a model"
        yield "classes", f"{len(pairs)}: {', '.join(pairs[:LISTED])}{rest}{hint}"


def counted(found: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in found.most_common()) or "none"


def limited(read: int, there: int) -> str:
    return f" (looked at {read:,} of {there:,})" if read < there else ""


def tail(address: str) -> str:
    """The last two parts of an address."""
    return "/".join(address.split("/")[-2:])
