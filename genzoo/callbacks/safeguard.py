"""A run that can be killed: saved in time, on a signal, at the end, and before what is not finite does harm."""

import os
import re
import signal
import stat
import time
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch

from genzoo.callbacks.records import Follower
from genzoo.console import first_line
from genzoo.core.io import fault
from genzoo.core.launch import answer_as_before, answer_signals
from genzoo.core.module import finite
from genzoo.limits import Count, Positive


class Safeguard(pl.callbacks.Checkpoint):  # a Checkpoint, so that Lightning runs it after EMA and Budget
    """Saves every so many iterations and minutes, keeps the last few that open (or all), stops on a signal, on what is
    not finite, and where the run folder is gone.

    `code` is what the process should exit with: 0, 128 + the signal, or 1 when the last save failed or a term or weight
    was not finite. `say` receives one line for what a person should know.
    """

    CLOCK, MOVED, REMOVED, BROKEN = 0.5, 97, 98, 99  # beside signal numbers; the largest wins
    EVERY = 10  # with several devices, iterations between two agreements to stop

    def __init__(
        self,
        folder: Any,
        every: Count = 500,
        minutes: Positive = 30.0,
        keep: Literal["all"] | Count = 2,
        say: Any = print,
    ) -> None:
        self.folder, self.every, self.minutes, self.keep, self.say = Path(folder), every, minutes, keep, say
        self.pending, self.code, self.saved = 0, 0, 0.0
        self.before: dict[int, Any] = {}
        self.lost: Exception | None = None  # what the last save met
        self.descriptor = -1  # of the folder, wherever it is by now

    def on_fit_start(self, trainer: Any, module: Any) -> None:
        """From here on signals are noted. Lightning's own answer to SIGTERM would let the processes talk wherever
        they happen to be, so that it is not put in place."""
        trainer._signal_connector.register_signal_handlers = lambda: None
        self.before = answer_signals(self.note)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)

    def on_train_start(self, trainer: Any, module: Any) -> None:
        if bad := self.faults(trainer, module):
            raise ValueError(f"{bad[0]} are not finite, so that nothing can be learned from here")
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
        if trainer.is_global_zero and (due or step % module.interval == 0):
            cause = max(cause, self.gone())
        if trainer.world_size > 1:  # all processes stop at the same iteration
            if step % self.EVERY and not due:
                return
            cause = float(trainer.strategy.reduce(torch.tensor(cause, device=module.device), reduce_op="max"))
        if (due or cause or step % module.interval == 0) and self.broken(trainer, module):
            cause = self.BROKEN
        if not (due or cause):
            return
        if cause == self.MOVED and trainer.is_global_zero:
            self.say(f"{self.folder} was moved to {self.place()}: what is written goes there")
            before, self.folder = self.folder, self.place()
            for other in (*trainer.callbacks, *trainer.loggers):
                if isinstance(other, Follower):
                    other.follow(before, self.folder)
        if cause != self.REMOVED:
            self.save(
                trainer, "nonfinite" if cause == self.BROKEN else "step"
            )  # newest() never resumes from the former
        if cause > self.CLOCK:
            self.stop(trainer, module, cause)

    def save(self, trainer: Any, name: str) -> None:
        path = self.folder / f"{name}-{trainer.global_step:08d}.ckpt"
        trainer.save_checkpoint(path)
        before, self.lost = self.lost, trainer.strategy.checkpoint_io.failed
        self.saved, self.code = time.monotonic(), int(bool(self.lost))
        if not trainer.is_global_zero:
            return
        if self.lost and not before:
            why = getattr(self.lost, "strerror", None) or first_line(self.lost)
            self.say(
                f"could not save {path}: {why}\nOlder checkpoints are kept; training continues and will try again."
            )
        elif before and not self.lost:
            self.say(f"saved {path}, as it can be written again")
        if not self.lost:
            self.prune()

    def prune(self) -> None:
        """Delete what is older than the last `keep` checkpoints that open; one that is damaged counts for nothing."""
        if self.keep == "all":
            return
        left = int(self.keep)
        for path in sorted(self.folder.glob("step-*.ckpt"), reverse=True):
            if not OWN.fullmatch(path.name) or not stat.S_ISREG(path.lstat().st_mode):
                continue
            if left:
                left -= fault(path, resume=True) is None
            else:
                path.unlink(missing_ok=True)

    def gone(self) -> int:
        """MOVED or REMOVED if the folder is not any more where the run began, else 0."""
        here = os.fstat(self.descriptor)
        try:
            if os.path.samestat(os.stat(self.folder), here):
                return 0
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError:  # a file server that does not answer now
            return 0
        return self.MOVED if here.st_nlink and self.place().is_dir() else self.REMOVED

    def place(self) -> Path:
        """Where the folder is by now, as Linux knows it."""
        try:
            return Path(os.readlink(f"/proc/self/fd/{self.descriptor}"))
        except OSError:
            return Path("/proc/self/fd/none")

    def stop(self, trainer: Any, module: Any, cause: float) -> None:
        if cause == self.BROKEN:
            module.report()
            terms = ", ".join(f"{name} {value:.4g}" for name, value in module.terms.items())
            what = ", ".join(self.faults(trainer, module))
            self.say(f"stopped at iteration {trainer.global_step}, not finite: {what}\nThe terms were {terms}.")
        if cause == self.REMOVED:
            self.say(f"stopped at iteration {trainer.global_step}: {self.folder} was removed or moved out of sight")
        self.code = 1 if cause >= self.MOVED or self.lost else 128 + int(cause)
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
        if self.descriptor >= 0:
            os.close(self.descriptor)
        self.descriptor = -1


OWN = re.compile(r"step-\d+\.ckpt")
