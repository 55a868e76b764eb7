"""The README of an exported model, as people and the Hugging Face Hub read it."""

import json
from collections.abc import Sequence
from typing import Any

import genzoo
from genzoo.console import allowing, escape, quote
from genzoo.core.roles import Labeller, Sampler, Translator, roles
from genzoo.scores import Result, results


def card(model: Any, name: str, onnx: dict[str, str] | None = None, allow: Sequence[str] = ()) -> str:
    """The README of an exported model, as the Hugging Face Hub reads it: what it is, its scores, what to type.

    `allow` are the packages other than genzoo that its classes come from.
    """
    facts, able, made = model.facts, roles(model), f"genzoo {genzoo.__version__}"
    data, kind = facts.get("data", {}), facts.get("model", type(model).__name__.lower())
    head: dict[str, Any] = {"library_name": "genzoo", "tags": ["genzoo", kind]}
    if "license" in facts:
        head["license"] = facts["license"]
    if Sampler in able and data.get("resolution") != 1:  # points of the plane are no images
        head["pipeline_tag"] = "unconditional-image-generation"
    elif Translator in able:
        head["pipeline_tag"] = "image-to-image"
    elif Labeller in able:
        head["pipeline_tag"] = "image-classification"
    if "source" in facts:
        title, origin = type(model).__name__, f"Converted by {made} from {escape(facts['source'])}."
    else:
        title = f"{type(model).__name__} on {escape(data.get('name', 'unknown data'))}"
        revision = f" (revision {escape(facts['revision'])})" if facts.get("revision") else ""
        origin = f"Trained with {made}{revision} on {model.images_seen:,} images."
    verb, *words = use(model)
    words += allowing(allow)
    opening = f", allow={list(allow)}" if allow else ""
    front = "".join(f"{key}: {json.dumps(value)}\n" for key, value in head.items())  # JSON is YAML too
    files = "".join(f"- `{file}`: {what}\n" for file, what in (onnx or {}).items())
    return "\n".join([
        f"---\n{front}---\n\n# {title}\n\n{origin}\n",
        *(table(result) for result in (results(facts["evaluation"]) if "evaluation" in facts else [])),
        f"```\ngenzoo {verb} {' '.join(map(quote, [f'ckpt={name}', *words]))}\n```\n",
        "From the Hugging Face Hub, by the name of its repository there:\n",
        "```python\nimport genzoo\nfrom huggingface_hub import snapshot_download\n",
        f'model = genzoo.load(snapshot_download("<user>/{name}"){opening})\n```\n',
        *([f"ONNX, for any number n of rows:\n\n{files}"] if files else []),
    ])  # fmt: skip


def use(model: Any) -> list[str]:
    """The verb to type first with this model, and its settings."""
    able = roles(model)
    if Translator in able:
        return ["translate", "src=photos", f"to={model.makes[-1]}"]
    return ["sample" if Sampler in able else "info"]


def table(result: Result) -> str:
    """What `genzoo evaluate` found, as a table of Markdown."""
    n, seed = result.get("n"), result.get("seed")
    drawn = "".join(f", {name} {result[name]}" for name in ("truncation", "level", "standing", "y") if name in result)
    samples = f"{n:,} samples of seed {seed}{drawn} and " if n else ""
    lines = [f"By `genzoo evaluate`, of {samples}{result['images']:,} images of {escape(result['data'])} "
             f"({escape(result['split'])}):", "", "| metric | value |", "|---|---|"]  # fmt: skip
    for name, value in result["values"].items():
        shown = value if isinstance(value, list) else [value]
        lines.append(f"| {escape(name)} | {' '.join(f'{v:.4g}' if isinstance(v, float) else str(v) for v in shown)} |")
    return "\n".join(lines) + "\n"
