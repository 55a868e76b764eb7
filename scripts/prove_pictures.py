"""Train and judge translators on real pictures; one JSON per run in `results/`.

    python scripts/prove_pictures.py --data <folder>              # half an hour of one core for each
    python scripts/prove_pictures.py photo --data <folder>        # tiles and memory, with the run of apple2tomato
    python scripts/prove_pictures.py apple2tomato --sheet out.png

`--data` holds apple2tomato (trainA, trainB, testA, testB), edges2fruit and contours2photo (pairs side by side). What is
already in `results/` is left alone, and a run that is already in `--runs` is judged as it is. All numbers are of
held-out pictures at 64 pixels.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from prove_translation import trained
from torch import Tensor

RESULTS = Path(__file__).parent.parent / "results"
SMALL = ["data.resolution=64", "data.load=72", "precision=bf16-mixed", "model.channels_last=true"]
CRITIC = "model.discriminator.b.layers=1"  # sees 16 of 64 pixels, as the paper's 70 of 256
SETS = ["model=cyclegan", "data=unpaired", *SMALL, "model.width=24", CRITIC, "batch_size=2", "kimg=10"]
PAIRS = ["model=pix2pix", "data=paired", *SMALL, "model.width=32", "batch_size=4", "kimg=40"]
FALLING = "model.schedule={{_target_: genzoo.schedules.LinearDecay, start: {}, end: {}}}"  # as in both papers
RUNS = {
    "apple2tomato": [*SETS, "data.domains=[apple,tomato]", FALLING.format(5_000, 10_000)],
    "edges2fruit": [*PAIRS, "data.domains=[edges,fruit]", FALLING.format(20_000, 40_000)],
    "contours2photo": [*PAIRS, "data.domains=[contours,photo]", FALLING.format(20_000, 40_000)],
}
PAPER = ["model=cyclegan", "data=unpaired", "data.resolution=64", "model.generator.b.depth=9", "kimg=0.002"]
WHITE = 0.8  # a fruit is where the darkest channel is below this, in [0, 1]; its ground is white
HUES = 36


def halves(path: Path) -> dict[str, dict[str, Tensor]]:
    """Training and test pictures of both domains: (n, 3, 64, 64), nothing cut or mirrored."""
    from genzoo.data.pairs import Paired, Unpaired

    found = {}
    for split in ("train", "test"):
        store = (Unpaired if (path / "trainA").is_dir() else Paired)(split, path, resolution=64)
        found[split] = store.__getitems__([(i, i) for i in range(len(store))])._asdict()
    return found


def fruit(x: Tensor) -> Tensor:
    return x.amin(1) / 2 + 0.5 < WHITE


def hues(x: Tensor) -> Tensor:
    """Shares (HUES,) of the hues of all pixels of fruit."""
    r, g, b = (x / 2 + 0.5).movedim(1, 0)[:, fruit(x)].double()
    hue = torch.atan2(3**0.5 * (g - b), 2 * r - g - b)  # of the plane that is normal to grey
    counts = torch.histc(hue, HUES, -torch.pi, torch.pi)
    return counts / counts.sum()


def apart(x: Tensor, y: Tensor) -> float:
    """Total variation of two histograms, from 0 to 1."""
    return ((hues(x) - hues(y)).abs().sum() / 2).item()


def overlap(x: Tensor, y: Tensor) -> float:
    """Mean intersection over union of the fruit in each picture."""
    x, y = fruit(x).flatten(1), fruit(y).flatten(1)
    return ((x & y).sum(1) / (x | y).sum(1)).mean().item()


def of_sets(model: Any, pictures: dict[str, Tensor], train: dict[str, Tensor]) -> dict[str, Any]:
    """Hues against those of the other domain, the fruit's place against the input's."""
    values = {}
    for to, source, way in (("b", "a", "A->B"), ("a", "b", "B->A")):
        made = model.translate(pictures[source], to=to)
        values[way] = {
            "hues_input": apart(pictures[source], pictures[to]),
            "hues_model": apart(made, pictures[to]),
            "hues_train": apart(train[to], pictures[to]),
            "overlap": overlap(made, pictures[source]),
        }
    return values


def of_pairs(model: Any, pictures: dict[str, Tensor], train: dict[str, Tensor]) -> dict[str, Any]:
    """Mean absolute difference in [-1, 1] and SSIM against the truth: of the model and of the mean training picture."""
    from torchmetrics.functional.image import structural_similarity_index_measure as ssim

    truth = pictures["b"]
    guesses = {"model": model.translate(pictures["a"], to="b", seed=0), "mean": train["b"].mean(0).expand_as(truth)}
    values: dict[str, Any] = {}
    for name, guess in guesses.items():
        values[name] = {"l1": (guess - truth).abs().mean().item(), "ssim": ssim(guess, truth, data_range=2.0).item()}
    return values


def prove(name: str, seed: int, data: Path, runs: Path) -> dict[str, Any]:
    run, words = runs / f"{name}-{seed}", [*RUNS[name], f"seed={seed}"]
    model, seconds = trained(run, [*words, f"data.path={data / name}"])
    pictures = halves(data / name)
    judged = of_sets if name == "apple2tomato" else of_pairs
    values = {"pictures": len(pictures["test"]["a"])} | judged(model, pictures["test"], pictures["train"])
    return {
        "checkpoint": f"genzoo train {' '.join(words)}",
        "images_seen": model.images_seen,
        "seed": seed,
        "values": values,
        "cpu_seconds": round(seconds) or None,
    }


def mosaic(files: list[Path], height: int, width: int, side: int) -> Tensor:
    """uint8 (3, height, width): pictures beside each other, each `side` pixels wide and high."""
    from torch.nn.functional import interpolate
    from torchvision.io import decode_image

    rows, columns = -(-height // side), -(-width // side)
    chosen = [decode_image(str(files[i % len(files)]))[None] for i in range(rows * columns)]
    large = torch.cat([interpolate(x, (side, side), mode="bicubic", antialias=True) for x in chosen])
    grid = large.unflatten(0, (rows, columns)).permute(2, 0, 3, 1, 4).flatten(3, 4).flatten(1, 2)
    return grid[:, :height, :width]


def translated(run: Path, src: Path, out: Path, memory: str) -> tuple[Tensor, float, int]:
    """What `genzoo translate` makes of a file, its peak memory in GB and its seconds of processor time."""
    from torchvision.io import decode_image

    words = ["translate", f"ckpt={run}", f"src={src}", "to=b", f"out={out}", f"memory={memory}"]
    process = subprocess.Popen([sys.executable, "-m", "genzoo", *words])
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"genzoo {' '.join(words)} failed")
    return decode_image(str(out)), used.ru_maxrss * 1024 / 1e9, round(used.ru_utime)


def prove_photo(name: str, seed: int, data: Path, runs: Path) -> dict[str, Any]:
    """A photo of 4,000 x 3,000 through the paper's network, of width 64 with 9 blocks and hardly trained, in 6 GB; and
    pictures of 1,024 pixels at once and in parts, in less than it takes."""
    from torchvision.io import write_png

    run, folder = runs / f"apple2tomato-{seed}", runs / "photo"
    folder.mkdir(parents=True, exist_ok=True)
    files = sorted((data / "apple2tomato" / "testA").iterdir())
    pictures = {
        "12 megapixels": mosaic(files, 3_000, 4_000, 250),
        "many fruits": mosaic(files, 1_024, 1_024, 128),
        "one fruit": mosaic(files, 1_024, 1_024, 1_024),
    }
    values = {}
    for what, picture in pictures.items():
        src = folder / f"{what}.png"
        write_png(picture, str(src))
        if what == "12 megapixels":
            trained(runs / "paper", [*PAPER, f"data.path={data / 'apple2tomato'}"])
            _, peak, seconds = translated(runs / "paper", src, folder / f"{what} made.png", "6GB")
            values[what] = {"memory": "6GB", "peak_gb": peak, "cpu_seconds": seconds}
            continue
        whole, parts = (
            translated(run, src, folder / f"{what} {memory}.png", memory)[0].double() for memory in ("60GB", "300MB")
        )
        off = (whole - parts).abs()
        values[what] = {"memory": "300MB", "mean_difference": off.mean().item(), "largest": off.max().item()}
    return {"checkpoint": f"apple2tomato-{seed}", "values": values}


def sheet(name: str, seed: int, data: Path, runs: Path, out: Path) -> None:
    """Held-out pictures above what the model makes of them; of pairs the truth below; of sets the other way beside."""
    from torch.nn.functional import interpolate

    from genzoo import images, load

    model, test = load(runs / f"{name}-{seed}"), halves(data / name)["test"]
    every = range(0, len(test["a"]), max(1, len(test["a"]) // 12))[:12]
    a, b = (test[domain][list(every)] for domain in "ab")
    rows = [a, model.translate(a, to="b", seed=0)]
    rows += [b, model.translate(b, to="a")] if name == "apple2tomato" else [b]
    images.save_png(out, interpolate(images.grid(torch.cat(rows), columns=12)[None], scale_factor=1.5)[0])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(RUNS), metavar="name", help=f"of {', '.join(RUNS)}, photo")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=Path("runs/proof"))
    parser.add_argument("--sheet", type=Path, help="a PNG to draw of the first run; nothing is trained then")
    chosen = parser.parse_args()
    if chosen.sheet:
        sheet(chosen.names[0], chosen.seed, chosen.data, chosen.runs, chosen.sheet)
        sys.exit()
    for name in chosen.names:
        out = RESULTS / f"{name}-{chosen.seed}.json"
        if not out.exists():
            found = (prove_photo if name == "photo" else prove)(name, chosen.seed, chosen.data, chosen.runs)
            out.write_text(json.dumps(found, indent=2) + "\n")
