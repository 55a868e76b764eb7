"""Train and judge what the README claims of GAN, DCGAN and VAE; one JSON per run in `results/`.

    python scripts/prove_foundation.py --data ../data --judge lenet.pth                 # everything; hours
    python scripts/prove_foundation.py ring ring-plain --seeds 0 1 2 3 4

Every run is what a user would type. What is already in `results/` is left alone, so a stopped proof goes on.
"""

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path

RESULTS = Path(__file__).parent.parent / "results"
PLAIN = "model.penalties=[]"
# With batch normalisation so narrow a discriminator of 64 pixels wins at once, and the generator never leaves its noise.
LARGE = ("data.resolution=64", "epochs=2", "model.discriminator.norm=layer")
RUNS: dict[str, list[str]] = {
    "ring": ["model=gan", "data=ring"],
    "ring-plain": ["model=gan", "data=ring", PLAIN],
    "ring-minimax": ["model=gan", "data=ring", PLAIN, "objective=minimax"],
    "mnist-dcgan": ["experiment=dcgan_mnist"],
    "mnist-dcgan-bf16": ["experiment=dcgan_mnist", "precision=bf16-mixed", "model.channels_last=true"],
    "mnist-vae": ["experiment=vae_mnist"],
    "mnist-gan": ["experiment=gan_mnist"],
    "mnist-gan-plain": ["experiment=gan_mnist", PLAIN],
    "mnist64-dcgan": ["experiment=dcgan_mnist", *LARGE],
    "mnist64-dcgan-bf16": ["experiment=dcgan_mnist", *LARGE, "precision=bf16-mixed", "model.channels_last=true"],
}


def genzoo(*words: str) -> float:
    """Run a command of the command line; the processor seconds it took. CalledProcessError if it failed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "genzoo", *words], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def prove(name: str, seed: int, data: str, judge: str, folder: Path) -> None:
    run, out = folder / f"{name}-{seed}", RESULTS / f"{name}-{seed}.json"
    words = [*RUNS[name], f"seed={seed}"]
    files = [f"data.root={data}"] if "mnist" in name else []
    look = [f"features={judge}", "metrics=[inception_score,class_kl,fid]"] if files and "vae" not in name else []
    seconds = genzoo("train", *words, *files, f"run={run}")
    genzoo("evaluate", f"ckpt={run}", f"out={out}", *files, *look)
    measured = json.loads(out.read_text()) | {"checkpoint": f"genzoo train {' '.join(words)}"}
    out.write_text(json.dumps(measured | {"cpu_seconds": round(seconds)}, indent=2) + "\n")


def strip(folder: Path, out: Path) -> None:
    """The README's picture: a row of samples of each model on MNIST, those of seed 0, none chosen."""
    import torch
    from torch.nn.functional import interpolate

    from genzoo import images, load

    rows = [load(folder / f"mnist-{name}-0").sample(18, seed=0) for name in ("gan", "dcgan", "vae")]
    images.save_png(out, interpolate(images.grid(torch.cat(rows), columns=18)[None], scale_factor=2)[0])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(RUNS), metavar="name", help=f"of {', '.join(RUNS)}")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--data", default="data", help="the folder that holds MNIST/raw")
    parser.add_argument("--judge", help="a classifier of MNIST: a run folder or a file that genzoo reads")
    parser.add_argument("--runs", type=Path, default=Path("runs/proof"))
    parser.add_argument("--strip", type=Path, help="a PNG to draw from the runs; nothing is trained then")
    chosen = parser.parse_args()
    if chosen.strip:
        strip(chosen.runs, chosen.strip)
        sys.exit()
    if not chosen.judge and any("mnist" in name and "vae" not in name for name in chosen.names):
        parser.error("MNIST's samples need a judge: genzoo train model=classifier data=mnist epochs=3 run=runs/judge")
    for seed in chosen.seeds:
        for name in chosen.names:
            if not (RESULTS / f"{name}-{seed}.json").exists():
                prove(name, seed, chosen.data, chosen.judge, chosen.runs)
