"""A run that can be killed: saved in time, on a signal, at the end, and before what is not finite does harm."""

import signal
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from genzoo.core.launch import answer_as_before, answer_signals
from genzoo.core.module import finite


class Safeguard(pl.callbacks.Checkpoint):  # a Checkpoint, so that Lightning runs it after EMA and Budget
    """Saves every so many iterations and minutes, keeps the last few, stops on a signal or what is not finite.

    `code` is what the process should exit with: 0, 128 + the signal, or 1 when the last save failed or a term or weight
    was not finite. `say` receives one line for what a person should know.
    """

    CLOCK, BROKEN = 0.5, 99  # beside signal numbers; the largest wins
    EVERY = 10  # with several devices, iterations between two agreements to stop

    def __init__(self, folder: Any, every: int = 500, minutes: float = 30.0, keep: int = 2, say: Any = print) -> None:
        self.folder, self.every, self.minutes, self.keep, self.say = Path(folder), every, minutes, keep, say
        self.pending, self.code = 0, 0
        self.before: dict[int, Any] = {}
        self.lost: Exception | None = None  # what the last save met

    def on_fit_start(self, trainer: Any, module: Any) -> None:
        """From here on signals are noted. Lightning's own answer to SIGTERM would let the processes talk wherever
        they happen to be, so that it is not put in place."""
        trainer._signal_connector.register_signal_handlers = lambda: None
        self.before = answer_signals(self.note)

    def on_train_start(self, trainer: Any, module: Any) -> None:
        self.saved = time.monotonic()

    def note(self, number: int, frame: Any) -> None:
        if number == self.pending == signal.SIGINT:
            raise KeyboardInterrupt  # the second Ctrl-C does not wait
        self.pending = number

    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        step, cause = trainer.global_step, float(self.pending)
        due = step % self.every == 0 or trainer.should_stop or step == trainer.max_steps
        if trainer.is_global_zero and time.monotonic() - self.saved > 60 * self.minutes:
            cause = cause or self.CLOCK
        if trainer.world_size > 1:  # all processes stop at the same iteration
            if step % self.EVERY and not due:
                return
            cause = float(trainer.strategy.reduce(torch.tensor(cause, device=module.device), reduce_op="max"))
        if (due or cause or step % trainer.log_every_n_steps == 0) and self.broken(trainer, module):
            cause = self.BROKEN
        if not (due or cause):
            return
        self.save(trainer, "nonfinite" if cause == self.BROKEN else "step")  # newest() never resumes from the former
        if cause > self.CLOCK:
            self.stop(trainer, module, cause)

    def save(self, trainer: Any, name: str) -> None:
        path = self.folder / f"{name}-{trainer.global_step:08d}.ckpt"
        trainer.save_checkpoint(path)
        self.saved, self.lost = time.monotonic(), trainer.strategy.checkpoint_io.failed
        if not trainer.is_global_zero:
            return
        if self.lost:
            self.say(f"could not save {path}: {first_line(self.lost)}\nOlder checkpoints are kept; training goes on.")
            self.code = 1
        else:
            self.code = 0
            for old in sorted(self.folder.glob("step-*.ckpt"))[: -self.keep]:
                old.unlink()

    def stop(self, trainer: Any, module: Any, cause: float) -> None:
        if cause == self.BROKEN:
            module.report()
            terms = ", ".join(f"{name} {value:.4g}" for name, value in module.terms.items())
            what = ", ".join(self.faults(trainer, module))
            self.say(f"stopped at iteration {trainer.global_step}, not finite: {what}\nThe terms were {terms}.")
        self.code = 1 if cause == self.BROKEN or self.lost else 128 + int(cause)
        trainer.should_stop, trainer.limit_val_batches = True, 0  # stop at once: no validation on the way out

    def faults(self, trainer: Any, module: Any) -> list[str]:
        """What is not finite on this device."""
        averages = [getattr(callback, "average", None) or {} for callback in trainer.callbacks]  # EMA has some
        return module.broken() + ["the averages" for average in averages if not finite(average.values())]

    def broken(self, trainer: Any, module: Any) -> bool:
        """Whether anything is not finite, on any device."""
        bad = torch.tensor(float(bool(self.faults(trainer, module))), device=module.device)
        return bool(trainer.strategy.reduce(bad, reduce_op="max"))

    def teardown(self, trainer: Any, module: Any, stage: str) -> None:
        self.give_back()

    def on_exception(self, trainer: Any, module: Any, exception: BaseException) -> None:
        if isinstance(exception, KeyboardInterrupt):
            self.code = 128 + signal.SIGINT
        self.give_back()

    def give_back(self) -> None:
        """The signal handlers that were there before."""
        answer_as_before(self.before)
        self.before = {}


def first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
