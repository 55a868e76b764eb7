"""Networks that stand in a configuration layer by layer: for foreign files that fit no class of ours."""

from typing import Any

from torch import Tensor, nn


class Layers(nn.Sequential):
    """The layers of a list, one after the other."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__(*layers)


class Absent(nn.Module):
    """Stands where a model expects a network that the file did not hold; ValueError when it is called."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, *_: Any) -> Tensor:
        raise ValueError(
            f"the file of this model held no {self.name}; files of one training are joined by "
            "genzoo convert src=[<file>,<file>] out=<folder>, generators first, G_A before G_B"
        )
