"""The engine: modules, clock, noise, data stream, checkpoints, processes. It knows no model."""

import sys
import types

from genzoo import environment

hidden = not {"torchmetrics", "scipy.signal"} & sys.modules.keys()
if hidden:
    # Lightning imports torchmetrics, which imports scipy.signal, a second of processor time, only to look whether it has
    # a function that SciPy removed. It is shown a module that has; whoever needs the real one gets it afterwards.
    sys.modules["scipy.signal"] = shown = types.ModuleType("scipy.signal")
    shown.hamming = None  # type: ignore[attr-defined]
with environment.without(environment.READ_ON_IMPORT):  # Lightning would stumble over what is no number
    import pytorch_lightning  # noqa: F401
if hidden:
    del sys.modules["scipy.signal"]
