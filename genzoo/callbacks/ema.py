"""Averaged weights: what a reader of a checkpoint gets, what validation looks at, what never trains."""

from typing import Any

import pytorch_lightning as pl
import torch

from genzoo.limits import Natural, Share


class EMA(pl.Callback):
    """Exponential moving average of the named networks, once per iteration.

    In a checkpoint `state_dict` holds the averages, which is what a reader wants; `live` holds the weights that
    train. `ramp` lets the decay grow with (1 + t) / (10 + t), so that short runs keep nothing of their start;
    before iteration `start` the average is a copy. `buffers` are copied or averaged (BigGAN).
    """

    def __init__(
        self,
        decay: Share = 0.999,
        start: Natural = 0,
        networks: tuple[str, ...] | list[str] = ("generator",),
        ramp: bool = True,
        buffers: str = "copy",
    ) -> None:
        if buffers not in ("copy", "average"):
            raise ValueError(f"callbacks.ema.buffers={buffers}: copy or average")
        self.decay, self.start, self.networks, self.ramp, self.buffers = decay, start, list(networks), ramp, buffers
        self.average: dict[str, torch.Tensor] | None = None

    def check(self, module: Any, data: Any, processes: int) -> None:
        """ValueError if a network that is to be averaged is not there."""
        there = dict.fromkeys(name for names in module.players.values() for name in names)
        if missing := [name for name in self.networks if name not in there]:
            raise ValueError(
                f"callbacks.ema.networks={self.networks}: {type(module).__name__} has no {missing[0]}, "
                f"say 'callbacks.ema.networks=[{','.join(there)}]'"
            )

    def live(self, module: Any) -> dict[str, torch.Tensor]:
        """The training weights by their names in the module, as aliases."""
        return {f"{n}.{k}": v for n in self.networks for k, v in getattr(module, n).state_dict().items()}

    def on_fit_start(self, trainer: Any, module: Any) -> None:
        self.weights = live = self.live(module)  # prepared once: building it costs more than averaging
        source = self.average or live
        self.average = {k: source[k].detach().to(v, copy=True) for k, v in live.items()}
        learned = {f"{n}.{k}" for n in self.networks for k, _ in getattr(module, n).named_parameters()}
        if self.buffers == "average":
            learned |= {k for k, v in live.items() if v.is_floating_point()}
        self.moving, self.copied = sorted(learned), sorted(live.keys() - learned)

    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        t = trainer.global_step - self.start
        decay = min(self.decay, (1 + t) / (10 + t)) if self.ramp else self.decay
        decay = decay if t > 0 else 0.0
        average, weights = self.average, self.weights
        torch._foreach_lerp_([average[k] for k in self.moving], [weights[k] for k in self.moving], 1 - decay)
        for k in self.copied:  # integers included
            average[k].copy_(weights[k])

    def on_save_checkpoint(self, trainer: Any, module: Any, checkpoint: dict[str, Any]) -> None:
        checkpoint["live"] = {k: checkpoint["state_dict"][k] for k in self.average}
        checkpoint["state_dict"].update(self.average)

    def on_load_checkpoint(self, trainer: Any, module: Any, checkpoint: dict[str, Any]) -> None:
        live = self.live(module)  # Lightning has just loaded the averages into the module
        self.average = {k: checkpoint["state_dict"][k] for k in live}
        for k, v in live.items():
            v.copy_(checkpoint["live"][k])

    def on_validation_start(self, trainer: Any, module: Any) -> None:
        self.swap(module)

    def on_validation_end(self, trainer: Any, module: Any) -> None:  # before ModelCheckpoint saves
        self.swap(module)

    @torch.no_grad()
    def swap(self, module: Any) -> None:
        """Exchange averages and training weights in place."""
        for k, v in self.weights.items():
            kept = v.clone()
            v.copy_(self.average[k])
            self.average[k].copy_(kept)
