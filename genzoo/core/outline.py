"""What a configuration describes, built on the meta device: compared with the tensors of a file before anything is
allocated."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from genzoo.core.facts import shown
from genzoo.core.roles import Labeller, Sampler, roles

STEPS = 300  # calls of torch that a tensor of a model may take to be built; ours take up to 25

NETWORKS = ("genzoo.models.", "genzoo.nets.", "torch.nn.")


class Limited(TorchFunctionMode):
    """Ends a building that goes on and on."""

    def __init__(self, tensors: int) -> None:
        super().__init__()
        self.tensors, self.left = tensors, STEPS * (tensors + 10)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.left -= 1
        if self.left < 0:
            raise ValueError(f"it describes far more than the {self.tensors} tensors of the file")
        return func(*args, **(kwargs or {}))


def check(build: Callable[[], Any], state: dict[str, Tensor], config: dict[str, Any]) -> None:
    """ValueError unless what `build` makes of a config has these tensors, by name, shape and kind, and can be called."""
    modest(config, max(1000, sum(value.numel() for value in state.values())))
    with torch.device("meta"), Limited(len(state)):
        model = build()
        compare(model.state_dict(), state)
        rehearse(model.to("meta").eval())


def modest(config: dict[str, Any], most: int) -> None:
    """ValueError for a whole number in a network's config that is above the number of values in the file: a class may
    make a list of so many."""

    def follow(node: Any, network: bool) -> None:
        for name, value in node.items() if isinstance(node, dict) else enumerate(node):
            if network and isinstance(value, int) and abs(value) > most:
                raise ValueError(f"{shown(name)}: {value} is more than a file of {most} values calls for")
            if isinstance(value, (dict, list)):
                target = value.get("_target_") if isinstance(value, dict) else None
                follow(value, network or str(target).startswith(NETWORKS))

    follow(config, False)


def compare(own: dict[str, Tensor], state: dict[str, Tensor]) -> None:
    """ValueError that names the first tensor that is missing, unknown, or of another shape or kind."""
    for name, tensor in own.items():
        if name not in state:
            raise ValueError(f"Missing in it: {name}")
        found = state[name]
        if found.shape != tensor.shape:
            raise ValueError(f"{name} is {tuple(found.shape)} in it, {tuple(tensor.shape)} by its config")
        if found.is_floating_point() != tensor.is_floating_point() or found.is_complex() != tensor.is_complex():
            raise ValueError(f"{name} is {found.dtype} in it, {tensor.dtype} by its config")
    for name in state:
        if name not in own:
            raise ValueError(f"Unexpected in it: {shown(name)}")


@torch.no_grad()
def rehearse(model: Any) -> None:
    """One image, without its numbers: networks fit each other. Any error if they do not."""
    able = roles(model)
    if Sampler in able:
        y = torch.zeros(1, dtype=torch.long) if model.classes else None
        model.generate(torch.empty(1, model.prior.dim), y)
    if Labeller in able:
        network = model.network
        model.classify(torch.empty(1, network.channels, network.resolution, network.resolution))
