"""Runs in which every image stands alone: torchrun starts this file in test_distributed.py.

What looks at a batch as a whole would differ between one process and two, so BatchNorm becomes Identity, and spectral
norm, which takes a step with every pass, stands still.
"""

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")

from omegaconf import OmegaConf
from torch import nn

from genzoo import hub
from genzoo.commands import train
from genzoo.fit import fit, prepare
from genzoo.nets.spectral import Spectral

BUILD = hub.build


def build_without_batch_norm(node, allowed=hub.ALLOWED):
    made = BUILD(node, allowed)
    if isinstance(made, nn.Module):
        for module in list(made.modules()):
            for name, child in module.named_children():
                if isinstance(child, nn.BatchNorm2d):
                    setattr(module, name, nn.Identity())
                elif isinstance(child, Spectral):
                    child.eval().train = lambda mode=True, child=child: child
    return made


def main(folders):
    hub.build = build_without_batch_norm
    try:
        for folder in folders:
            config = OmegaConf.load(f"{folder}/config.yaml")
            data = train.settle(config, None)
            if code := fit(prepare(train.plain(config), None, data)):
                return code
        return 0
    finally:
        hub.build = BUILD


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
