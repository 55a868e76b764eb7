"""Runs in which every image stands alone, so that one process and two can be compared.

What looks at a batch as a whole would differ, so BatchNorm becomes Identity, and spectral norm, which takes a step with
every pass, stands still.
"""

from omegaconf import OmegaConf
from torch import nn

from genzoo import cli, hub
from genzoo.commands import train as command
from genzoo.fit import fit, prepare
from genzoo.nets.spectral import Spectral

BUILD = hub.build


def freeze(folder, overrides):
    """Write the configuration of a run into its folder; the folder."""
    config = cli.compose("train", [*overrides, f"run={folder}"])
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(command.plain(config)))
    return folder


def train_frozen(folder):
    """One process of a run, this one; the exit code."""
    config = OmegaConf.load(f"{folder}/config.yaml")
    data = command.settle(config, None)
    return fit(prepare(command.plain(config), None, data))


def build_without_batch_norm(*arguments):
    made = BUILD(*arguments)
    if isinstance(made, nn.Module):
        for module in list(made.modules()):
            for name, child in module.named_children():
                if isinstance(child, nn.BatchNorm2d):
                    setattr(module, name, nn.Identity())
                elif isinstance(child, Spectral):
                    child.eval().train = lambda mode=True, child=child: child
    return made


def train(folder):
    hub.build = build_without_batch_norm
    try:
        return train_frozen(folder)
    finally:
        hub.build = BUILD
