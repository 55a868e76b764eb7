"""Models as ONNX files, for programs without PyTorch: written, then run by ONNX Runtime and compared with PyTorch."""

import contextlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from genzoo.core.roles import Autoencoder, Labeller, Sampler, Translator, roles
from genzoo.extras import needed

OPSET = 18  # of December 2022
LIMIT = 1e-4  # largest difference from PyTorch, in units of the largest output where that is above 1


class Part(NamedTuple):
    """A method of a model that becomes a file, the names of what it reads and makes, and n rows to try it on.

    `free` names the axes of any size.
    """

    method: Callable[..., Tensor]
    reads: tuple[str, ...]
    makes: str
    example: Callable[[int], tuple[Tensor, ...]]
    note: str = "images in [-1, 1]"
    free: dict[int, str] = {0: "n"}


class Call(nn.Module):
    """A method of a model as the forward of a module, to which the weights are constants."""

    def __init__(self, method: Callable[..., Tensor]) -> None:
        super().__init__()
        self.method = method

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.method(*inputs)


def parts(model: Any) -> dict[str, Part]:
    """What of a model is exported, by the names of the files: `generator`, `encoder`, `classifier`, `translator_b`.

    ValueError if it can only train.
    """
    found, able = {}, roles(model)
    if Sampler in able:
        reads = ("latents", "labels") if model.classes else ("latents",)
        found["generator"] = Part(
            model.generate, reads, "images", lambda n: (model.latents(n, seed=0), model.labels(n, seed=0))[: len(reads)]
        )
        if Autoencoder in able:
            found["encoder"] = Part(model.encode, ("images",), "latents", lambda n: (model.sample(n, seed=0),))
    if Labeller in able:
        size = model.facts.get("data", {}).get("resolution", model.network.resolution)
        shape = (model.network.channels, size, size)
        found["classifier"] = Part(
            model.classify, ("images",), "logits", lambda n: (torch.rand(n, *shape),), "images in [0, 1]"
        )
    for letter in model.makes if Translator in able else "":
        found[f"translator_{letter}"] = translation(model, letter)
    if not found:
        raise ValueError(f"{type(model).__name__} can only train: nothing of it becomes ONNX")
    return found


def translation(model: Any, letter: str) -> Part:
    """The network that makes this domain, for pictures of the sizes that it takes: at others `translate` pads them."""
    network = model.translator(letter)
    multiple = network.multiple_of
    less = max(multiple, 64)
    more = less + multiple
    calm = ", no dropout" if any(isinstance(module, nn.Dropout) for module in network.modules()) else ""
    note = f"images in [-1, 1], of {model.names[letter]}; h and w are multiples of {multiple}{calm}"

    def pictures(n: int) -> tuple[Tensor, ...]:  # of other sizes when they are compared than when the file is written
        h, w = (less, more) if n == 2 else (more, less)
        return (torch.rand(n, network.inputs, h, w) * 2 - 1,)

    still = partial(model.still, to=letter)
    return Part(still, ("images",), "translated", pictures, note, {0: "n", 2: "h", 3: "w"})


def save(model: Any, folder: Path) -> dict[str, str]:
    """Write each of `parts`, with any number of rows, and compare it with PyTorch: file -> what it reads and makes.

    ValueError where the extra `onnx` is missing, where PyTorch cannot say the model in ONNX, and where a file makes
    something else than PyTorch, by more than LIMIT; such a file is not kept.
    """
    needed("onnx", "ONNX")
    made = {}
    for name, part in parts(model).items():
        file, unchecked = folder / f"{name}.onnx", folder / f"{name}.onnx.part"
        network = Call(part.method).eval()
        try:
            export(network, part, unchecked)
            made[file.name] = compared(network, part, unchecked, file.name)
            os.replace(unchecked, file)
        finally:
            unchecked.unlink(missing_ok=True)
    return made


def export(network: nn.Module, part: Part, path: Path) -> None:
    """Write a file. By the older of PyTorch's two exporters: the other fails at BatchNorm in PyTorch 2.6."""
    free = dict.fromkeys((*part.reads, part.makes), part.free)
    try:
        with warnings.catch_warnings(), torch.no_grad(), silence():
            warnings.simplefilter("ignore")  # which of the two is younger
            torch.onnx.export(
                network, part.example(2), str(path), dynamo=False, opset_version=OPSET,
                input_names=list(part.reads), output_names=[part.makes], dynamic_axes=free,
            )  # fmt: skip
    except Exception as error:  # of the exporter, of its tracer, or of a model that answers neither
        line = str(error).strip().partition("\n")[0]
        raise ValueError(f"{path.stem} cannot be written by torch {torch.__version__}: {line}") from error


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Nothing reaches the terminal: PyTorch prints the whole graph, past Python, where an export fails."""
    sys.stdout.flush()
    sys.stderr.flush()
    with open(os.devnull, "w") as nowhere:
        kept = {number: os.dup(number) for number in (1, 2)}
        for number in kept:
            os.dup2(nowhere.fileno(), number)
        try:
            yield
        finally:
            for number, before in kept.items():
                os.dup2(before, number)
                os.close(before)


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
    reads = " and ".join(f"{name} {shape(tensor, part.free)}" for name, tensor in zip(part.reads, inputs, strict=True))
    return f"{reads} to {part.makes} {shape(found, part.free)}, {part.note}"


def shape(tensor: Tensor, free: dict[int, str]) -> str:
    """Its shape in words, with names for the axes of any size."""
    sizes = [free.get(axis, str(size)) for axis, size in enumerate(tensor.shape)]
    return f"({', '.join(sizes)})" if len(sizes) > 1 else f"({sizes[0]},)"
