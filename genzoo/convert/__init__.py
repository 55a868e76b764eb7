"""Foreign checkpoints, one module per source: pure functions on state dicts, which read no file and build no model.

A source has `SOURCE`, where its files come from, `recognises(state) -> bool` and `convert(state) -> (config, state)`:
the plain config from which our model is built, with every size read off the tensors, and a state dict with our names.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from genzoo.convert import (
    biggan_deep_hf,
    biggan_pytorch,
    csinva,
    cyclegan,
    dcgan_code,
    disentangling,
    examples,
    gan_zoo,
    progressive,
)
from genzoo.convert.parts import Config, State, absent

SOURCES = {
    module.__name__.rpartition(".")[2]: module
    for module in (
        examples,
        csinva,
        dcgan_code,
        disentangling,
        gan_zoo,
        progressive,
        biggan_pytorch,
        biggan_deep_hf,
        cyclegan,
    )
}
INNER = ("state_dict", "model_state_dict", "model", "net")  # keys under which training scripts put the weights
PARALLEL = "module."  # what torch's DataParallel writes before every key


def read(*files: Any, source: str = "auto") -> tuple[Config, State, str]:
    """What one or several foreign files hold -> (config, state, source) of one model of ours.

    A generator and its discriminator may come apart; a source whose models have several of each says in `joined(states)`
    what the order of files means. ValueError if no source knows the keys, or if a key is left over.
    """
    for whole in (SOURCES[name] for name in SOURCES if source in ("auto", name) and len(files) > 1):
        if hasattr(whole, "joined") and all(whole.recognises(unwrapped(file)) for file in files):
            return *whole.joined([unwrapped(file) for file in files]), whole.SOURCE
    parts = [converted(file, source) for file in files]
    parts.sort(key=lambda part: part[0].get("generator") == absent("generator"))  # the latents are the generator's
    config, state, name = parts[0]
    for more, tensors, other in parts[1:]:
        if other != name or more["_target_"] != config["_target_"] or set(tensors) & set(state):
            raise ValueError("these files are no parts of one model: a generator and its discriminator are expected")
        config = {key: more[key] if value == absent(key) else value for key, value in config.items()}
        state = state | tensors
    return config, state, name


def converted(data: Any, name: str) -> tuple[Config, State, str]:
    state = unwrapped(data)
    if name != "auto" and name not in SOURCES:
        raise ValueError(f"source={name}: auto, or one of {', '.join(SOURCES)}")
    for source in SOURCES.values() if name == "auto" else [SOURCES[name]]:
        if source.recognises(state):
            return *source.convert(state), source.SOURCE
    keys = ", ".join(map(repr, list(state)[:4])) or "no keys at all"
    known = ", ".join(SOURCES) if name == "auto" else name
    raise ValueError(f"no known source has these keys: {keys}, ...; files can be read from: {known}")


def unwrapped(data: Any) -> State:
    """The state dict in what a training script has saved; only tensors count."""
    for source in (gan_zoo, progressive):  # files that nest in a form of their own
        if (state := source.opened(data)) is not None:
            return state
    while isinstance(data, Mapping) and (
        inner := next((data[k] for k in INNER if isinstance(data.get(k), Mapping)), None)
    ):
        data = inner
    if not isinstance(data, Mapping):
        raise ValueError(f"a state dict is expected, not {type(data).__name__}")
    return {str(key).removeprefix(PARALLEL): value for key, value in data.items() if isinstance(value, Tensor)}
