"""What the README claims of progressive GAN and BigGAN; JSON in `results/`.

    python scripts/prove_large.py progan --model runs/progan --judge lenet --name progan-mnist32-0
    python scripts/prove_large.py biggan --model runs/biggan --judge lenet --name biggan-mnist32-0
    python scripts/prove_large.py step1024            # one iteration of progressive GAN at 1024 pixels, on the CPU
    python scripts/prove_large.py memory              # what 1.6 billion parameters take, by the number of devices

`--model` is a run of `genzoo train experiment=progan_mnist32` or `biggan_mnist32`, `--judge` a classifier of its data.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genzoo import cli, hub, images
from genzoo.batches import pieces
from genzoo.commands.train import plain
from genzoo.fit import built

RESULTS = Path(__file__).parent.parent / "results"
TRUNCATIONS = (0.25, 0.5, 1.0, 1.5, 2.0, None)
COUNT = 2000


def judged(net: Any, shown: Tensor) -> Tensor:
    """Probabilities of classes: images (n, c, h, w) in [-1, 1] -> (n, classes)."""
    return torch.cat([net(part)["logits"].softmax(1) for part in shown.split(250)])


def drawn(model: Any, y: Tensor | None, seed: int, truncation: float | None = None) -> Tensor:
    """COUNT samples of these classes, made 250 at a time."""
    z = model.latents(COUNT, seed=seed, truncation=truncation)
    return torch.cat([model.generate(*part) for part in pieces(z, y, 250)])


def progan(model: Any, net: Any, args: argparse.Namespace) -> dict[str, Any]:
    """How sure the judge is of samples, and a picture of every stage."""
    sure = judged(net, drawn(model, None, args.seed))
    rows = []
    for level in range(model.generator.last + 1):
        model.level = level
        rows.append(torch.nn.functional.interpolate(model.sample(16, seed=args.seed), size=4 << model.generator.last))
    if args.picture:
        images.save_png(args.picture, images.grid(torch.cat(rows), columns=16))
    shares = sure.argmax(1).bincount(minlength=net.classes) / COUNT
    return {"values": {"top_probability": sure.amax(1).mean().item(), "class_shares": shares.tolist()}}


def biggan(model: Any, net: Any, args: argparse.Namespace) -> dict[str, Any]:
    """Whether samples show the class that was asked for; fidelity and variety under truncation; standing statistics."""
    y = torch.arange(COUNT) % model.classes
    curve = []
    for truncation in TRUNCATIONS:
        shown = drawn(model, y, args.seed, truncation)
        sure = judged(net, shown)
        within = [shown[y == label].var(0).mean().item() for label in range(model.classes)]
        curve.append(
            {
                "truncation": truncation,
                "class accuracy": (sure.argmax(1) == y).double().mean().item(),
                "mean error of probability": (1 - sure[torch.arange(COUNT), y].double()).mean().item(),
                "variance within classes": sum(within) / len(within),
            }
        )
    running = drawn(model, y, args.seed)
    if args.picture:
        images.save_png(args.picture, images.grid(running[: 10 * model.classes], columns=model.classes))
    model.standing(16, seed=args.seed)
    standing = drawn(model, y, args.seed)
    return {
        "values": {"class_accuracy": curve[-1]["class accuracy"]},
        "curve": curve,
        "standing statistics": {
            "class accuracy": (judged(net, standing).argmax(1) == y).double().mean().item(),
            "mean difference of images": (standing - running).abs().mean().item(),
        },
    }


def step1024(*_: Any) -> dict[str, Any]:
    """Two iterations of `genzoo train` on pictures of 1024 pixels, at the last stage, with the paper's batch of 3."""
    with tempfile.TemporaryDirectory() as folder:
        for i in range(4):
            noise = torch.nn.functional.interpolate(torch.rand(1, 3, 32, 32), size=1024, mode="bilinear")[0]
            images.save_png(Path(folder) / f"{i}.png", 2 * noise - 1)
        words = ["experiment=progan_celebahq1024", "data=folder", f"data.path={folder}", "model.start_images=100000000",
                 "batch_size=3", "kimg=100000.006", f"run={folder}/run", "logger=none", "trainer.val_check_interval=1000",
                 "accelerator=cpu"]  # fmt: skip
        subprocess.run([sys.executable, "-m", "genzoo", "train", *words], check=True)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        made = sorted(Path(folder, "run").glob("step-*.ckpt"))[-1]
        iterations = torch.load(made, weights_only=True, map_location="cpu")["global_step"]
    return {"iterations": iterations, "batch": 3, "peak GB": used.ru_maxrss * 1024 / 1e9, "CPU s": used.ru_utime}


def model_of(*words: str) -> Any:
    return hub.build(built(plain(cli.compose("train", [*words, "run=nowhere"]))["model"]), None)


def memory(*_: Any) -> dict[str, Any]:
    """Gigabytes of a device that trains `experiment=biggan_1b6`, for one device and for several.

    Weights, gradients and averages are counted; what a pass keeps for each image is measured on narrow networks, in
    which it is a constant (attention maps) and a part that grows with the width, and continued to the full width.
    """
    with torch.device("meta"):
        full = model_of("experiment=biggan_1b6", "data.path=x")
    g, d = (sum(p.numel() for p in network.parameters()) for network in (full.generator, full.discriminator))
    widths = (8, 16)
    held = [kept(model_of("experiment=biggan_1b6", "data.path=x", f"model.width={width}")) for width in widths]
    slope = (held[1] - held[0]) / (widths[1] - widths[0])
    image = held[0] + slope * (288 - widths[0])
    state = 4 * (4 * (g + d) + g)  # weights, gradients and two moments of both, an average of the generator; float32
    return {
        "parameters": {"generator": g, "discriminator": d, "both": g + d},
        "GB": {
            "weights, gradients, moments, average": state / 1e9,
            "buckets of gradients, with several devices": 4 * (g + d) / 1e9,
            "a generator step, each image of a micro-batch, bf16": image / 1e9,
        },
        "a device, in GB, by devices and micro-batch": {
            f"{devices} x {micro}": (state + (4 * (g + d) if devices > 1 else 0) + micro * image) / 1e9
            for devices in (1, 2, 8, 64)
            for micro in (1, 8, 32)
            if 2048 % (devices * micro) == 0
        },
    }


def kept(model: Any) -> float:
    """Bytes that a generator's update keeps for its backward pass, for each image."""

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        seen[storage.data_ptr()] = storage.nbytes()
        alive.append(tensor)
        return tensor

    sizes = []
    model.discriminator.requires_grad_(False)
    for n in (1, 2):
        seen: dict[int, int] = {}
        alive: list[Tensor] = []
        y = torch.arange(n)
        with (
            torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
            torch.autocast("cpu", torch.bfloat16),
        ):
            model.discriminator(model.generator(model.prior.sample(n), y), y).mean()
        sizes.append(sum(seen.values()))
    return sizes[1] - sizes[0]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("progan", "biggan", "step1024", "memory"))
    parser.add_argument("--model")
    parser.add_argument("--judge")
    parser.add_argument("--name", help="of the file in results/; what is proved, if not said")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", type=Path, help="a PNG of samples")
    chosen = parser.parse_args()
    proof = {"progan": progan, "biggan": biggan, "step1024": step1024, "memory": memory}[chosen.what]
    if chosen.model:
        with torch.no_grad():
            result = proof(hub.load(chosen.model), hub.feature_network(chosen.judge), chosen)
    else:
        result = proof()
    out = RESULTS / f"{chosen.name or chosen.what}.json"
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
