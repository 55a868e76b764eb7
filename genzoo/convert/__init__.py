"""Foreign checkpoints, one module per source: pure functions on state dicts, which read no file and build no model.

A source has `recognises(state) -> bool` and `convert(state) -> (config, state)`: the plain config from which our model
is built, and a state dict with our key names.
"""

from torch import Tensor

from genzoo.convert import csinva

SOURCES = (csinva,)


def read(state: dict[str, Tensor]) -> tuple[dict, dict[str, Tensor]]:
    """A foreign state dict -> (config, state) of our model, by the source that knows its keys; ValueError if none."""
    for source in SOURCES:
        if source.recognises(state):
            return source.convert(state)
    names = ", ".join(map(repr, list(state)[:4])) or "no keys at all"
    known = ", ".join(source.__name__.rpartition(".")[2] for source in SOURCES)
    raise ValueError(f"no known source has these keys: {names}, ...; files can be read from: {known}")
