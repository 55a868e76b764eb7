"""Models as ONNX files, for programs without PyTorch: written, then run by ONNX Runtime and compared with PyTorch."""

import logging
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from genzoo.core.roles import Autoencoder, Labeller, Sampler, roles
from genzoo.extras import needed

OPSET = 18  # read by ONNX Runtime from 1.14 (2023) on
LIMIT = 1e-4  # largest difference from PyTorch, for outputs beyond [-1, 1] as a part of the largest of them


class Call(nn.Module):
    """A method of a model as the forward of a module."""

    def __init__(self, model: nn.Module, method: str) -> None:
        super().__init__()
        self.model, self.method = model, method
        self.train(model.training)

    def forward(self, x: Tensor) -> Tensor:
        return getattr(self.model, self.method)(x)


def parts(model: Any) -> dict[str, tuple[str, str, str, Callable[[int], Tensor]]]:
    """What of a model is exported: file -> (method, name of the input, of the output, n -> an input of n rows).

    A sampler's `generator` turns latents into images in [-1, 1] (or points), an autoencoder's `encoder` such images
    into latents; a `classifier` turns images in [0, 1] into logits. ValueError if the model can do none of these.
    """
    found: dict[str, tuple[str, str, str, Callable[[int], Tensor]]] = {}
    able = roles(model)
    if Sampler in able:
        found["generator"] = ("generate", "latents", "images", lambda n: model.latents(n, seed=0))
        if Autoencoder in able:
            found["encoder"] = ("encode", "images", "latents", lambda n: model.sample(n, seed=0))
    if Labeller in able:
        size = model.facts.get("data", {}).get("resolution", model.network.resolution)
        shape = (model.network.channels, size, size)
        found["classifier"] = ("classify", "images", "logits", lambda n: torch.rand(n, *shape, device=model.device))
    if not found:
        raise ValueError(f"{type(model).__name__} has nothing that is exported to ONNX; format=safetensors takes all")
    return found


def save(model: Any, folder: Path) -> list[Path]:
    """Write a file for each of `parts`, with any number of rows, and check it; the files.

    A file that differs from PyTorch by more than LIMIT is not kept. ValueError then, or where the extra `onnx` is
    missing, or if PyTorch cannot express the model in ONNX.
    """
    needed("onnx", "format=onnx")
    written = []
    for name, (method, read, made, example) in parts(model).items():
        path, part = folder / f"{name}.onnx", folder / f"{name}.onnx.part"
        network = Call(model, method)
        try:
            export(network, example(2), part, read, made)
            compare(network, example(5), part, path.name)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
        written.append(path)
    return written


def export(network: nn.Module, x: Tensor, path: Path, read: str, made: str) -> None:
    """Write one ONNX file. ValueError with the exporter's first line where it fails."""
    logger = logging.getLogger("torch.onnx")
    level, logger.level = logger.level, logging.ERROR
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter's advice is for those who call it
            rows = ({0: torch.export.Dim("n")},)
            program = torch.onnx.export(
                network, (x,), input_names=[read], output_names=[made], opset_version=OPSET,
                dynamo=True, dynamic_shapes=rows, verbose=False,
            )  # fmt: skip
            program.save(str(path))
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        line = str(error).strip().splitlines()[0]
        raise ValueError(f"{path.stem} cannot be exported by torch {torch.__version__}: {line}") from error
    finally:
        logger.level = level


def compare(network: nn.Module, x: Tensor, path: Path, name: str) -> None:
    """ValueError if ONNX Runtime makes something else of an input than the network does."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = torch.from_numpy(session.run(None, {session.get_inputs()[0].name: x.cpu().numpy()})[0])
    with torch.no_grad():
        expected = network(x).cpu()
    difference = ((found - expected).abs().max() / expected.abs().max().clamp(min=1)).item()
    if not difference <= LIMIT:
        raise ValueError(
            f"{name} differs from PyTorch by {difference:.1e}, where {LIMIT:g} is allowed; it was not kept.\n"
            "format=safetensors holds the exact weights"
        )
