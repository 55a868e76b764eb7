"""Write the tables of the README and of docs/ from the files in `results/`: `python scripts/tables.py`.

A table stands between `<!-- table NAME -->` and `<!-- end -->`. Nothing in it is typed: a test compares them.
"""

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parent.parent
Row = tuple[str, str, str, Callable[[dict[str, Any]], float], str, str]


def value(name: str) -> Callable[[dict[str, Any]], float]:
    return lambda result: result["values"][name]


def rarest(result: dict[str, Any]) -> float:
    return min(result["values"]["class_shares[lenet]"])


# files in results/ before the seed, what it is, what is measured, where it stands, format, goal
SCORES: list[Row] = [
    ("ring", "GAN on a ring of 8, R1", "modes", value("modes_found"), "d", "8"),
    ("ring", "", "good points", value("good_share"), ".1%", "> 75 %"),
    ("ring-plain", "the same without R1", "modes", value("modes_found"), "d", "below 8 in 4 of 5"),
    ("ring-minimax", "minimax without R1", "modes", value("modes_found"), "d", ""),
    ("mnist-gan", "GAN on MNIST, R1, 10 epochs", "class KL", value("class_kl[lenet]"), ".3f", "< 0.15"),
    ("mnist-gan", "", "rarest class", rarest, ".1%", "> 3 %"),
    ("mnist-gan-plain", "the same without R1", "class KL", value("class_kl[lenet]"), ".3f", ""),
    ("mnist-gan-plain", "", "rarest class", rarest, ".1%", ""),
    ("mnist-dcgan", "DCGAN on MNIST, width 16, 4 epochs", "inception score", value("inception_score[lenet]"), ".2f", "> 6.3"),
    ("mnist-dcgan", "", "class KL", value("class_kl[lenet]"), ".3f", "< 0.2"),
    ("mnist-dcgan", "", "rarest class", rarest, ".1%", "> 1 %"),
    ("mnist-dcgan-bf16", "the same in bf16-mixed", "inception score", value("inception_score[lenet]"), ".2f", "> 6.3"),
    ("mnist-dcgan-bf16", "", "class KL", value("class_kl[lenet]"), ".3f", "< 0.2"),
    ("mnist64-dcgan", "DCGAN at 64 px, layer norm, 2 epochs", "inception score", value("inception_score[lenet]"), ".2f", ""),
    ("mnist64-dcgan", "", "class KL", value("class_kl[lenet]"), ".3f", ""),
    ("mnist64-dcgan-bf16", "the same in bf16-mixed", "inception score", value("inception_score[lenet]"), ".2f", "the same"),
    ("mnist64-dcgan-bf16", "", "class KL", value("class_kl[lenet]"), ".3f", "the same"),
    ("progan-mnist32", "ProGAN on MNIST, 4 to 32 px, 72 kimg", "mean top probability", value("top_probability"), ".2f", "> 0.75"),
    ("biggan-mnist32", "BigGAN on MNIST at 32 px, 128 kimg", "class accuracy", value("class_accuracy"), ".1%", "> 80 %"),
    ("mnist-vae", "VAE on MNIST, 20 latents, 5 epochs", "-ELBO in nats", value("negative_elbo"), ".1f", "< 104"),
]  # fmt: skip


def way(to: str, name: str) -> Callable[[dict[str, Any]], float]:
    return lambda result: result["values"][to][name]


TRANSLATION: list[Row] = [
    ("shapes", "CycleGAN, 1,500 iterations", "gap closed A -> B", way("A->B", "gap_closed"), ".2f", "> 0.75"),
    ("shapes", "", "gap closed B -> A", way("B->A", "gap_closed"), ".2f", "> 0.75"),
    ("shapes", "", "colours right", value("colour_accuracy"), ".1%", "> 90 %"),
    ("shapes", "", "noisy cycle / clean cycle", value("noisy_to_clean"), ".2f", "< 1.5"),
    ("shapes-no-identity", "the same without identity", "gap closed A -> B", way("A->B", "gap_closed"), ".2f", "fails"),
    ("shapes-no-identity", "", "gap closed B -> A", way("B->A", "gap_closed"), ".2f", "fails"),
    ("shapes-no-identity", "", "colours right", value("colour_accuracy"), ".1%", "fails"),
    ("shapes", "difference to the truth, A -> B", "mean picture", way("A->B", "mean"), ".3f", ""),
    ("shapes", "", "CycleGAN", way("A->B", "model"), ".3f", ""),
    ("shapes", "", "pix2pix", way("A->B", "paired"), ".3f", ""),
    ("shapes", "the same, B -> A", "mean picture", way("B->A", "mean"), ".3f", ""),
    ("shapes", "", "CycleGAN", way("B->A", "model"), ".3f", ""),
    ("shapes", "", "pix2pix", way("B->A", "paired"), ".3f", ""),
]
PICTURES: list[Row] = [
    ("apple2tomato", "apples to tomatoes, CycleGAN", "hues apart before", way("A->B", "hues_input"), ".2f", ""),
    ("apple2tomato", "", "hues apart after", way("A->B", "hues_model"), ".2f", "half of it"),
    ("apple2tomato", "", "overlap", way("A->B", "overlap"), ".3f", "> 0.9"),
    ("apple2tomato", "tomatoes to apples", "hues apart before", way("B->A", "hues_input"), ".2f", ""),
    ("apple2tomato", "", "hues apart after", way("B->A", "hues_model"), ".2f", "half of it"),
    ("apple2tomato", "", "overlap", way("B->A", "overlap"), ".3f", "> 0.9"),
    ("edges2fruit", "edges to fruit, pix2pix", "mean difference", way("model", "l1"), ".3f", ""),
    ("edges2fruit", "", "that of the mean picture", way("mean", "l1"), ".3f", ""),
    ("edges2fruit", "", "SSIM", way("model", "ssim"), ".3f", ""),
    ("edges2fruit", "", "that of the mean picture", way("mean", "ssim"), ".3f", ""),
    ("contours2photo", "contours to photos, pix2pix", "mean difference", way("model", "l1"), ".3f", ""),
    ("contours2photo", "", "that of the mean picture", way("mean", "l1"), ".3f", ""),
    ("contours2photo", "", "SSIM", way("model", "ssim"), ".3f", ""),
    ("contours2photo", "", "that of the mean picture", way("mean", "ssim"), ".3f", ""),
]  # fmt: skip


def scores(folder: Path, rows: list[Row]) -> list[str]:
    """One line per number, all seeds side by side; what was not run is left out."""
    lines = ["| what | measured | every seed | goal |", "|---|---|---|---|"]
    for name, title, measured, read, form, goal in rows:
        found = [json.loads(path.read_text()) for path in sorted(folder.glob(f"{name}-[0-9].json"))]
        if found:
            shown = ", ".join(f"{read(result):{form}}" for result in found)
            lines.append(f"| {title} | {measured} | {shown} | {goal} |")
    return lines


def speed(folder: Path) -> list[str]:
    """What `scripts/bench.py --out` has written, as it was printed."""
    found = [(path.stem, json.loads(path.read_text())) for path in sorted(folder.glob("bench-*.json"))]
    tables = [[f"{name}, turns of GAN and DCGAN [{result['turn']}]", *result["table"]] for name, result in found]
    return ["```text", *"\n\n".join("\n".join(table) for table in tables).splitlines(), "```"]


def data(folder: Path) -> list[str]:
    """What `scripts/bench_data.py --out` has written of what is promised: medians, with the lowest and the highest."""
    lines = ["| what | measured | promise |", "|---|---|---|"]
    for path in folder.glob("data.json"):
        rows = json.loads(path.read_text())["rows"]
        for name, row in ((name, row) for name, row in rows.items() if row["promise"]):
            low, middle, high = min(row["values"]), median(row["values"]), max(row["values"])
            form = ",.0f" if middle > 100 else ".3g"
            lines.append(f"| {name} | {middle:{form}} ({low:{form}} to {high:{form}}) | {row['promise']} |")
    return lines


def drill(folder: Path) -> list[str]:
    """What `scripts/drill.py --out` has written: one line for each event and number of processes."""
    lines = ["| event | processes | runs that ended in the same bits | stops | longest stop |", "|---|---|---|---|---|"]
    for path in folder.glob("drill.json"):
        found: dict[tuple[str, int], list[dict[str, Any]]] = {}
        for case in json.loads(path.read_text())["cases"]:
            found.setdefault((case["told"], case["processes"]), []).extend(case["tries"])
        for (told, processes), tries in found.items():
            exact, longest = sum(not one["faults"] for one in tries), max(one["longest"] for one in tries)
            stops = sum(one["stops"] for one in tries)
            lines.append(f"| {told} | {processes} | {exact} of {len(tries)} | {stops} | {longest:.1f} s |")
    return lines


def memory(folder: Path) -> list[str]:
    """What `scripts/prove_large.py memory` has written."""
    lines = ["| devices x micro-batch | GB on each device |", "|---|---|"]
    for path in folder.glob("memory.json"):
        found = json.loads(path.read_text())
        lines += [
            f"| {name} | {size:.0f} |" for name, size in found["a device, in GB, by devices and micro-batch"].items()
        ]
        lines += ["", "Of these: " + "; ".join(f"{name} {size:.1f} GB" for name, size in found["GB"].items()) + "."]
    return lines


def tiles(folder: Path) -> list[str]:
    """What `scripts/prove_pictures.py photo` has written."""
    lines = ["| picture | what | measured |", "|---|---|---|"]
    for path in folder.glob("photo-0.json"):
        for name, found in json.loads(path.read_text())["values"].items():
            given = found["memory"]
            if "peak_gb" in found:
                lines.append(f"| {name}, the paper's network | peak with memory={given} | {found['peak_gb']:.1f} GB |")
            else:
                off = f"{found['mean_difference']:.2g} of 255 on average, {found['largest']:.0f} at most"
                lines.append(f"| {name}, 1,024 pixels | memory={given}, in parts, against at once | {off} |")
    return lines


def directions(folder: Path) -> list[str]:
    """What `scripts/prove_latents.py attributes` has written; of two directions that which leaves most as it is."""
    lines = [
        "| seed, attribute | given to | of the others changes at most | by sums | in a random direction |",
        "|---|---|---|---|---|",
    ]
    for path in sorted(folder.glob("latents-avatars-[0-9].json")):
        found = json.loads(path.read_text())
        for name, row in ((name, row) for name, row in found.items() if name != "seed"):
            edits = [(max(row[m]["others changed"].values()), row[m]["changed to it"]) for m in ("linear", "mean")]
            other, changed = min(edits, key=lambda edit: edit[0] - edit[1])
            shares = (changed, other, row["arithmetic"], row["random direction"])
            lines.append(f"| {found['seed']}, {name} | " + " | ".join(f"{share:.0%}" for share in shares) + " |")
    return lines


TABLES = {
    "directions": directions,
    "scores": partial(scores, rows=SCORES),
    "translation": partial(scores, rows=TRANSLATION),
    "pictures": partial(scores, rows=PICTURES),
    "tiles": tiles,
    "speed": speed,
    "data": data,
    "drill": drill,
    "memory": memory,
}
PAGES = ("docs/results.md", "docs/large.md", "docs/translation.md")


def filled(text: str, folder: Path) -> str:
    """The text with every table written anew."""
    for name, make in TABLES.items():
        block = f"<!-- table {name} -->\n" + "\n".join(make(folder)) + "\n<!-- end -->"
        text = re.sub(rf"<!-- table {name} -->.*?<!-- end -->", lambda _, block=block: block, text, flags=re.DOTALL)
    return text


if __name__ == "__main__":
    for page in PAGES:
        (ROOT / page).write_text(filled((ROOT / page).read_text(), ROOT / "results"))
