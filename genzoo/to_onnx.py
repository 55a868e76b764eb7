"""Models as ONNX files, for programs without PyTorch: written, then run by ONNX Runtime and compared with PyTorch."""

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from genzoo.core.roles import Autoencoder, Labeller, Sampler, roles
from genzoo.extras import needed

OPSET = 18  # of December 2022
LIMIT = 1e-4  # largest difference from PyTorch, in units of the largest output where that is above 1


class Part(NamedTuple):
    """A method of a model that becomes a file, the names of what it reads and makes, and n rows to try it on."""

    method: str
    reads: tuple[str, ...]
    makes: str
    example: Callable[[int], tuple[Tensor, ...]]
    range: str = "[-1, 1]"


class Call(nn.Module):
    """A method of a model as the forward of a module."""

    def __init__(self, model: nn.Module, method: str) -> None:
        super().__init__()
        self.model, self.method = model, method
        self.train(model.training)

    def forward(self, *inputs: Tensor) -> Tensor:
        return getattr(self.model, self.method)(*inputs)


def parts(model: Any) -> dict[str, Part]:
    """What of a model is exported, by the names of the files: `generator`, `encoder`, `classifier`.

    ValueError if it can neither sample nor classify.
    """
    found, able = {}, roles(model)
    if Sampler in able:
        reads = ("latents", "labels") if model.classes else ("latents",)
        found["generator"] = Part(
            "generate", reads, "images", lambda n: (model.latents(n, seed=0), model.labels(n, seed=0))[: len(reads)]
        )
        if Autoencoder in able:
            found["encoder"] = Part("encode", ("images",), "latents", lambda n: (model.sample(n, seed=0),))
    if Labeller in able:
        size = model.facts.get("data", {}).get("resolution", model.network.resolution)
        shape = (model.network.channels, size, size)
        found["classifier"] = Part("classify", ("images",), "logits", lambda n: (torch.rand(n, *shape),), "[0, 1]")
    if not found:
        raise ValueError(f"{type(model).__name__} can neither sample nor classify: nothing of it becomes ONNX")
    return found


def save(model: Any, folder: Path) -> dict[str, str]:
    """Write each of `parts`, with any number of rows, and compare it with PyTorch: file -> what it reads and makes.

    ValueError where the extra `onnx` is missing, where PyTorch cannot say the model in ONNX, and where a file makes
    something else than PyTorch, by more than LIMIT; such a file is not kept.
    """
    needed("onnx", "ONNX")
    made = {}
    for name, part in parts(model).items():
        file, unchecked = folder / f"{name}.onnx", folder / f"{name}.onnx.part"
        network = Call(model, part.method)
        try:
            export(network, part, unchecked)
            made[file.name] = compared(network, part, unchecked, file.name)
            os.replace(unchecked, file)
        finally:
            unchecked.unlink(missing_ok=True)
    return made


def export(network: nn.Module, part: Part, path: Path) -> None:
    """Write a file. By the older of PyTorch's two exporters: the other fails at BatchNorm in PyTorch 2.6."""
    rows = {name: {0: "n"} for name in (*part.reads, part.makes)}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # which of the two is younger
            torch.onnx.export(
                network, part.example(2), str(path), dynamo=False, opset_version=OPSET,
                input_names=list(part.reads), output_names=[part.makes], dynamic_axes=rows,
            )  # fmt: skip
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        line = str(error).strip().partition("\n")[0]
        raise ValueError(f"{path.stem} cannot be written by torch {torch.__version__}: {line}") from error


def compared(network: nn.Module, part: Part, path: Path, name: str) -> str:
    """What a file reads and makes, in words; ValueError if that is not what PyTorch makes."""
    import onnxruntime

    inputs = part.example(5)
    with torch.no_grad():
        expected = network(*inputs)
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        named = {name: tensor.numpy() for name, tensor in zip(part.reads, inputs, strict=True)}
        found = torch.from_numpy(session.run(None, named)[0])
        difference = ((found - expected).abs().max() / expected.abs().max().clamp(min=1)).item()
    except Exception as error:  # its classes have no common ancestor; as a rule another number of rows than at first
        line = str(error).strip().partition("\n")[0]
        raise ValueError(f"{name} does not run with {len(expected)} rows and was not kept: {line}") from error
    if not difference <= LIMIT:
        raise ValueError(
            f"{name} differs from PyTorch by {difference:.1e}, where {LIMIT:g} is allowed; it was not kept.\n"
            "Without ONNX, the export holds the exact weights: format=safetensors"
        )
    reads = " and ".join(f"{name} {shape(tensor)}" for name, tensor in zip(part.reads, inputs, strict=True))
    return f"{reads} to {part.makes} {shape(found)}, images in {part.range}"


def shape(tensor: Tensor) -> str:
    """Its shape in words, with any number of rows."""
    return f"({', '.join(['n', *map(str, tensor.shape[1:])])})" if tensor.dim() > 1 else "(n,)"
