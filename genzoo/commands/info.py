"""What a checkpoint is and what can be done with it."""

from dataclasses import dataclass
from typing import Any

from genzoo.commands.export import judged
from genzoo.commands.opening import Opening, opened
from genzoo.console import escape


@dataclass
class Keys(Opening):
    command: str = "info"


def run(config: Any) -> int:
    """Print the facts of a checkpoint, a line each; the exit code."""
    model = opened(config, finite=False)
    model.facts |= judged(model, config)
    works = " | ".join(" ".join(words) for words in commands(model))
    for name, line in {**about(model), "works": f"genzoo {works}"}.items():
        print(f"{name:8} {brief(line)}")
    return 0


def brief(line: str) -> str:
    """What a file says, on one line that does not fill the screen."""
    shown = escape(line)
    return shown if len(shown) <= 400 else f"{shown[:397]}..."


def about(model: Any) -> dict[str, str]:
    """What a model is, in words, by topic."""
    from genzoo.core.roles import ABILITY, Translator, roles
    from genzoo.scores import results

    facts, data = model.facts, model.facts.get("data", {})
    machine = facts.get("machine", {})
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    names = data.get("names") or []
    bad = [name for name, value in model.state_dict().items() if not value.isfinite().all()]
    lines = {
        "model": f"{type(model).__name__}" + (f" ({facts['model']})" if "model" in facts else ""),
        "can": ", ".join(ABILITY[role] for role in roles(model)) or "only train",
        "networks": ", ".join(f"{name} {size:,}" for name, size in sizes.items() if size) + " parameters",
        "trained": ""
        if "source" in facts
        else f"on {model.images_seen:,} images" + (f", seed {facts['seed']}" if "seed" in facts else ""),
        "data": ", ".join(f"{k} {data[k]}" for k in ("name", "channels", "resolution") if k in data) or "unknown",
        "makes": ", ".join(f"{model.names[letter]} by to={letter}" for letter in model.makes)
        if Translator in roles(model)
        else "",
        "classes": f"{len(names)}: {', '.join(map(str, names[:10]))}{', ...' if len(names) > 10 else ''}"
        if names
        else "",
        "made by": ", ".join(
            f"{k} {v}"
            for k, v in {
                "genzoo": facts.get("version"),
                "revision": facts.get("revision"),
                "torch": machine.get("torch"),
                "Lightning": machine.get("pytorch_lightning"),
                "Python": machine.get("python"),
            }.items()
            if v
        ),
        "source": facts.get("source", ""),
        "license": facts.get("license", ""),
        "weights": f"not finite: {', '.join(bad[:3])}{', ...' * (len(bad) > 3)}" if bad else "",
        "scores": "; ".join(map(summary, results(facts["evaluation"]))) if "evaluation" in facts else "",
    }
    return {topic: line for topic, line in lines.items() if line}


def summary(result: dict[str, Any]) -> str:
    """What `genzoo evaluate` found, in a line; lists are left out."""
    values = [f"{name} {value:.4g}" for name, value in result["values"].items() if isinstance(value, (int, float))]
    return f"{', '.join(values)} on {result['data']} ({result['split']})"


def commands(model: Any) -> list[list[str]]:
    """The commands that take this model as ckpt=, each with its other settings."""
    from genzoo.core.roles import Labeller, Sampler, Translator, roles

    able = roles(model)
    use = [["sample"], ["interpolate"], ["edit"], ["invert"], ["neighbours"]] if Sampler in able else []
    use += [["translate", "src=photos", f"to={model.makes[-1]}"]] if Translator in able else []
    return [*use, *([["evaluate"]] if Sampler in able or Labeller in able else []), ["export"], ["info"]]
