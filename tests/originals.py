"""Cases of the original implementations: their files, our networks, one iteration of ours.

The originals ran in float32, which each case's tolerance allows for. Ours run in float64, so that nothing but their
rounding is left to differ: in float32 ours would be another on every processor, and where a ReLU lies a millionth from
its kink, so would the gradient behind it.
"""

import pytorch_lightning as pl
import torch
from safetensors.torch import load_file
from torch.utils.data import DataLoader

from genzoo import convert, hub


def weights(path):
    return torch.load(path, map_location="cpu", weights_only=True)


def case_of(folder):
    """The tensors of a case by their names, numbers in float64."""
    return {k: v.double() if v.is_floating_point() else v for k, v in load_file(folder / "io.safetensors").items()}


def read(*states, **change):
    """A model from the original's state dicts, as a user gets it; `change` goes into its configuration."""
    config, state, _ = convert.read(*states)
    made = hub.build(config | change)
    made.load_state_dict(state)
    return made.eval()


def model(*states, **change):
    """The same for comparing numbers."""
    return read(*states, **change).double()


def signed(u8):
    return u8.double() / 127.5 - 1


def near(ours, theirs, tolerance=1e-5, least=1.0):
    """Equal up to `tolerance` of the largest number, which counts as `least` at least."""
    assert ours.dtype in (torch.float64, torch.int64) and ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= tolerance * max(least, theirs.abs().max().item())


def one_iteration(made, batch, *callbacks):
    """Through the engine's own `update`; the gradients of each update as its optimiser takes them, in their order."""
    found, before = [], made.on_before_optimizer_step

    def watch(optimizer):
        before(optimizer)
        moving = {id(p) for group in optimizer.param_groups for p in group["params"]}
        named = [(k, p.grad) for k, p in made.named_parameters() if id(p) in moving and p.grad is not None]
        found.append({k: gradient.clone() for k, gradient in named})

    made.on_before_optimizer_step = watch
    trainer = pl.Trainer(
        max_steps=1, accelerator="cpu", precision="64-true", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[*callbacks],
    )  # fmt: skip
    trainer.fit(made.train().requires_grad_(True), DataLoader([batch], batch_size=None))
    return found


def merged(gradients):
    return {k: v for part in gradients for k, v in part.items()}
