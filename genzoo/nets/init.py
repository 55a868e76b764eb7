"""Initialisation shared by several papers."""

from torch import nn


def normal_init(module: nn.Module, std: float = 0.02) -> None:
    """Weights from N(0, std), biases 0 (DCGAN, section 4); batch norm's gains from N(1, std), as in the authors' code."""
    for part in module.modules():
        if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.normal_(part.weight, 0.0, std)
        elif isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)) and part.affine:
            nn.init.normal_(part.weight, 1.0, std)
        else:
            continue
        if part.bias is not None:
            nn.init.zeros_(part.bias)
