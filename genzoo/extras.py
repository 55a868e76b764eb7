"""Packages that only some commands need: the ONNX file format, films, the Hugging Face Hub."""

from importlib.util import find_spec

EXTRAS = {
    "onnx": ("onnx", "onnxruntime"),
    "video": ("av",),
    "hub": ("huggingface_hub",),
}  # as in setup.cfg


def needed(extra: str, purpose: str) -> None:
    """ValueError with what to type if a package of an extra is missing; nothing is imported."""
    missing = [name for name in EXTRAS[extra] if find_spec(name) is None]
    if missing:
        raise ValueError(f'{purpose} needs {", ".join(missing)}: pip install "genzoo[{extra}]"')
