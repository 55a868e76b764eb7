"""Train and judge translators where the truth is known; one JSON per run in `results/`.

    python scripts/prove_translation.py shapes --seeds 0 1 2        # a quarter of an hour of one core for each seed
    python scripts/prove_translation.py shapes-no-identity          # the control, which must fail
    python scripts/prove_translation.py shapes --sheet before-after.png

What is already in `results/` is left alone, and a run that is already in `--runs` is judged as it is.
Distances are mean absolute differences in [-1, 1] inside the mask of objects, over the 500 test scenes.
"""

import argparse
import itertools
import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

RESULTS = Path(__file__).parent.parent / "results"
RUNS = {
    "shapes": ["experiment=cyclegan_shapes"],
    "shapes-no-identity": ["experiment=cyclegan_shapes", "model.identity=0"],
}
PAIRED = {
    "b": ["experiment=pix2pix_shapes"],
    "a": ["experiment=pix2pix_shapes", "model.to=a"],
}  # an upper bound each way
WAYS = {"b": "A->B", "a": "B->A"}  # by the domain that is made
NOISE = 0.05  # standard deviation of what the intermediate picture of the noisy cycle is disturbed by


def trained(run: Path, words: list[str]) -> tuple[Any, float]:
    """The model of a run, which is made if there is none yet, and the processor seconds that took."""
    from genzoo import load

    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    if not any(run.glob("*.ckpt")):
        subprocess.run([sys.executable, "-m", "genzoo", "train", *words, f"run={run}", "threads=1"], check=True)
    return load(run), resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before


class Scenes:
    """The test scenes in both domains, where their objects are, and the mean training picture of each domain."""

    def __init__(self) -> None:
        from genzoo.data.shapes_ab import ShapesAB

        train, test = ShapesAB("train"), ShapesAB("test")
        pair = test.__getitems__([(i, i) for i in range(len(test))])
        self.truth = {"a": pair.a, "b": pair.b}
        self.source = {"a": pair.b, "b": pair.a}  # of what is made
        self.mask = test.mask[:, None].expand_as(pair.a)
        self.mean = {"a": train.a.float().mean(0) / 127.5 - 1, "b": train.b.float().mean(0) / 127.5 - 1}

    def distance(self, made: Tensor, to: str) -> float:
        return (made - self.truth[to]).abs()[self.mask].mean().item()

    def confusion(self, made: Tensor) -> list[list[float]]:
        """Of the pixels whose true colour in A is red, yellow or cyan, the shares that are nearest to each of them."""
        from genzoo.data.shapes_ab import FLAT

        colours = 2 * FLAT - 1
        apart = [torch.cdist(x.movedim(1, -1).flatten(0, 2), colours) for x in (self.truth["a"], made)]
        near, true = apart[0].min(1)
        inside = near < 0.1  # edges are mixtures
        chosen, true = apart[1].argmin(1)[inside], true[inside]
        counts = torch.stack([chosen[true == colour].bincount(minlength=3) for colour in range(3)]).double()
        return (counts / counts.sum(1, keepdim=True)).tolist()


def in_parts(translate: Any, x: Tensor) -> Tensor:
    return torch.cat([translate(part) for part in x.split(100)])


def psnr(made: Tensor, truth: Tensor) -> float:
    return 10 * torch.log10(4 / (made - truth).square().mean()).item()


def verdict(rows: list[list[float]]) -> dict[str, float | str]:
    """Colours right, consistently exchanged, or merged: the mean diagonal, and that of the best permutation."""
    right = sum(rows[i][i] for i in range(3)) / 3
    best = max(sum(rows[i][p[i]] for i in range(3)) / 3 for p in itertools.permutations(range(3)))
    outcome = "correct" if right >= 0.9 else "permuted" if best >= 0.9 else "merged"
    return {"colour_accuracy": right, "best_permutation": best, "outcome": outcome}


def judged(model: Any, paired: dict[str, Any], scenes: Scenes) -> dict[str, Any]:
    values: dict[str, Any] = {}
    made = {to: in_parts(lambda x, to=to: model.translate(x, to=to), scenes.source[to]) for to in WAYS}
    for to, way in WAYS.items():
        pairs = in_parts(lambda x, to=to: paired[to].translate(x, to=to, seed=0), scenes.source[to])
        found = {
            "mean": scenes.distance(scenes.mean[to].expand_as(pairs), to),
            "input": scenes.distance(scenes.source[to], to),
            "paired": scenes.distance(pairs, to),
            "model": scenes.distance(made[to], to),
        }
        gap = (found["mean"] - found["model"]) / (found["mean"] - found["paired"])
        values[way] = found | {"gap_closed": gap, "psnr": psnr(made[to], scenes.truth[to])}
    rows = scenes.confusion(made["a"])
    values |= {"confusion": rows} | verdict(rows)
    noise = NOISE * torch.randn(made["b"].shape, generator=torch.Generator().manual_seed(0))
    clean, noisy = (
        (in_parts(lambda x: model.translate(x, to="a"), x) - scenes.truth["a"]).abs().mean().item()
        for x in (made["b"], made["b"] + noise)
    )
    return values | {"cycle": clean, "noisy_cycle": noisy, "noisy_to_clean": noisy / clean}


def prove(name: str, seed: int, folder: Path) -> None:
    model, seconds = trained(folder / f"{name}-{seed}", [*RUNS[name], f"seed={seed}"])
    paired = {to: trained(folder / f"paired-{to}-{seed}", [*words, f"seed={seed}"])[0] for to, words in PAIRED.items()}
    values = judged(model, paired, Scenes())
    result = {
        "checkpoint": f"genzoo train {' '.join(RUNS[name])} seed={seed}",
        "images_seen": model.images_seen,
        "seed": seed,
        "values": values,
        "cpu_seconds": round(seconds) or None,
    }
    (RESULTS / f"{name}-{seed}.json").write_text(json.dumps(result, indent=2) + "\n")


def sheet(name: str, seed: int, folder: Path, out: Path) -> None:
    """A, what is made of it, its truth; B, what is made of it, its truth: the first ten test scenes."""
    from torch.nn.functional import interpolate

    from genzoo import images

    model, scenes = trained(folder / f"{name}-{seed}", [])[0], Scenes()
    rows = [
        x[:10]
        for to in WAYS
        for x in (scenes.source[to], model.translate(scenes.source[to][:10], to=to), scenes.truth[to])
    ]
    images.save_png(out, interpolate(images.grid(torch.cat(rows), columns=10)[None], scale_factor=2)[0])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(RUNS), metavar="name", help=f"of {', '.join(RUNS)}")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, default=Path("runs/proof"))
    parser.add_argument("--sheet", type=Path, help="a PNG to draw of the first run; nothing is trained then")
    chosen = parser.parse_args()
    if chosen.sheet:
        sheet(chosen.names[0], chosen.seeds[0], chosen.runs, chosen.sheet)
        sys.exit()
    for seed in chosen.seeds:
        for name in chosen.names:
            if not (RESULTS / f"{name}-{seed}.json").exists():
                prove(name, seed, chosen.runs)
