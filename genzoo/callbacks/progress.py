"""How far a run is: a calm line on a terminal, one plain line per interval elsewhere."""

import sys
import time
from typing import Any

import pytorch_lightning as pl


class Progress(pl.callbacks.ProgressBar):
    """Images seen, real images per second, time left, and the last interval's terms; at most four times a second."""

    def __init__(self, images: int, stream: Any = None) -> None:
        super().__init__()
        self.images, self.stream = images, stream or sys.stderr
        self.shown, self.enabled = 0.0, True

    def disable(self) -> None:
        self.enabled = False  # Lightning calls this on all processes but the first

    def enable(self) -> None:
        self.enabled = True

    def on_train_start(self, trainer: Any, module: Any) -> None:
        self.began, self.first = time.monotonic(), module.images_seen

    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        if not self.enabled:
            return
        now = time.monotonic()
        if self.stream.isatty():
            if now - self.shown > 0.25:
                self.shown = now
                self.stream.write("\r" + self.line(trainer, module, now) + "\x1b[K")
                self.stream.flush()
        elif trainer.global_step % trainer.log_every_n_steps == 0:
            print(self.line(trainer, module, now), file=self.stream, flush=True)

    def line(self, trainer: Any, module: Any, now: float) -> str:
        seen, rate = module.images_seen, (module.images_seen - self.first) / max(now - self.began, 1e-9)
        left = max(self.images - seen, 0) / max(rate, 1e-9)
        terms = "  ".join(f"{name} {value:.3f}" for name, value in module.terms.items())
        share = min(seen / self.images, 1)
        return f"{share:4.0%}  {seen / 1000:.1f}/{self.images / 1000:.1f} kimg  {rate:.0f} images/s  {clock(left)} left  {terms}"

    def on_train_end(self, trainer: Any, module: Any) -> None:
        if self.enabled and self.stream.isatty() and module.images_seen > self.first:
            self.stream.write("\r" + self.line(trainer, module, time.monotonic()) + "\x1b[K\n")
            self.stream.flush()


def clock(seconds: float) -> str:
    """1:02:03 or 2:03."""
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"
