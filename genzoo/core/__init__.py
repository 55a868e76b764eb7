"""The engine: modules, clock, noise, data stream, checkpoints, processes. It knows no model."""

import sys
import types

if not {"torchmetrics", "scipy.signal"} & sys.modules.keys():
    # Lightning imports torchmetrics, which imports scipy.signal, a second of processor time, only to look whether it has
    # a function that SciPy removed. It is shown a module that has; whoever needs the real one gets it afterwards.
    sys.modules["scipy.signal"] = shown = types.ModuleType("scipy.signal")
    shown.hamming = None  # type: ignore[attr-defined]
    import pytorch_lightning  # noqa: F401

    del sys.modules["scipy.signal"]
