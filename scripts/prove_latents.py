"""What the README claims of latent space: inversion, arithmetic and attribute directions; JSON in `results/`.

    python scripts/prove_latents.py inversion --model runs/dcgan --pictures digits     # own samples, and real ones
    python scripts/prove_latents.py attributes --model runs/vae --judge runs/judge --data data.path=... data.labels=...

`--model` is a run of `genzoo train`; for attributes a VAE, and `--judge` a classifier of the same attributes.
"""

import argparse
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from genzoo import cli, hub, latents
from genzoo.commands.evaluate import data_of
from genzoo.commands.invert import found_for
from genzoo.core.random import generator
from genzoo.core.stream import spread
from genzoo.images import to_unit

RESULTS = Path(__file__).parent.parent / "results"
GOOD = 35.0  # decibels


def inversion(model: Any, data: Any, count: int, seed: int) -> dict[str, Any]:
    """PSNR of what `genzoo invert` finds, by its defaults, for the model's samples and for test images."""
    found: dict[str, Any] = {}
    test = data.store_of("test")
    real = test.__getitems__([(i, i) for i in spread(len(test), count)]).x
    settings = SimpleNamespace(starts=4, steps=1000, rate=0.1, seed=seed + 1)
    for name, images in {"own samples": model.sample(count, seed=seed), "test images": real}.items():
        quality = torch.cat([found_for(model, part, settings)[1] for part in images.split(16)])
        found[name] = {
            "images": count,
            "share of 35 dB": (quality >= GOOD).double().mean().item(),
            "median dB": quality.median().item(),
            "lowest dB": quality.min().item(),
        }
    return found


REACHES = [0.5 * i for i in range(1, 41)]
SHARE, LEARNED = 0.8, 200  # of so many images of the training half, which tell how far to go
METHODS = {"linear": latents.separating, "mean": latents.difference}  # of `genzoo edit`


def attributes(model: Any, judge: Any, data: Any, triples: int, seed: int) -> dict[str, Any]:
    """How often an edit gives an image its attribute, and changes others; the judge says what an image shows.

    Images are those of the test half that lack the attribute when reconstructed. How far to go is told by the training
    half: the first of `REACHES` that gives the attribute to `SHARE` of those that lack it there. An attribute that
    excludes others in the data (a colour of hair) is expected to take their place: these are not counted as changed.
    Arithmetic adds the mean of three training images with the attribute less that of three without it to test images
    that lack it; the control goes as far in a random direction.
    """

    def read(split: str) -> tuple[Tensor, Tensor]:
        store = data.store_of(split)
        batch = store.__getitems__([(i, i) for i in range(len(store))])
        return torch.cat([model.encode(part) for part in batch.x.split(100)]), batch.y > 0.5

    def shown(z: Tensor) -> Tensor:
        return torch.cat([judge.classify(to_unit(model.generate(part))) > 0 for part in z.split(100)])

    (z, y), (held, labels) = read("train"), read("test")
    names, found = list(data.names), {}
    together = (y.double().T @ y.double()) > 0  # which attributes occur with which
    before, known = shown(held), shown(z)
    source = generator(seed, "triples")
    for column, name in enumerate(names):
        others = [i for i in range(len(names)) if i != column and bool(together[column, i])]
        learned, lacking = z[~known[:, column]][:LEARNED], held[~before[:, column]]
        kept, edits = before[~before[:, column]], {}
        for method, find in METHODS.items():
            direction = torch.nn.functional.normalize(find(z, y[:, column]), dim=0)
            shares = ((r, shown(learned + r * direction)[:, column].double().mean().item()) for r in REACHES)
            reach = next((r for r, share in shares if share >= SHARE), REACHES[-1])
            after = shown(lacking + reach * direction)
            edits[method] = {
                "reach": reach,
                "changed to it": after[:, column].double().mean().item(),
                "others changed": {names[i]: (after[:, i] != kept[:, i]).double().mean().item() for i in others},
            }
        has, lacks = z[y[:, column]], z[~y[:, column]]
        base = held[~labels[:, column]]
        base = base[torch.randint(len(base), (triples,), generator=source)]
        three = (
            torch.randint(len(has), (triples, 3), generator=source),
            torch.randint(len(lacks), (triples, 3), generator=source),
        )
        moved = base + has[three[0]].mean(1) - lacks[three[1]].mean(1)
        random = torch.randn(triples, z.shape[1], generator=source)
        control = base + random * ((moved - base).norm(dim=1) / random.norm(dim=1))[:, None]
        found[name] = {
            "images": len(lacking),
            "reconstructions that show it right": (before == labels)[:, column].double().mean().item(),
            **edits,
            "arithmetic": shown(moved)[:, column].double().mean().item(),
            "random direction": shown(control)[:, column].double().mean().item(),
            "triples": triples,
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("inversion", "attributes"))
    parser.add_argument("--model", required=True)
    parser.add_argument("--judge")
    parser.add_argument("--name", required=True, help="of the file in results/")
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--triples", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", nargs="*", default=[], help="keys of genzoo evaluate, such as data.root=...")
    chosen = parser.parse_args()
    model = hub.load(chosen.model)
    config = cli.compose("evaluate", [f"ckpt={chosen.model}", *chosen.data])
    data = data_of(config, model)
    with torch.set_grad_enabled(chosen.what == "inversion"):
        if chosen.what == "inversion":
            result = inversion(model, data, chosen.count, chosen.seed)
        else:
            result = attributes(model, hub.load(chosen.judge), data, chosen.triples, chosen.seed)
    out = RESULTS / f"{chosen.name}.json"
    out.write_text(json.dumps({"seed": chosen.seed} | result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
