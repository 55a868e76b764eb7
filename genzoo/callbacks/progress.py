"""How far a run is, on the terminal or in the log."""

from typing import Any

import pytorch_lightning as pl

from genzoo.progress import Line


class Progress(pl.callbacks.ProgressBar):
    """A line of images seen and of what each player's terms came to in the last report, after the first iteration at
    once; `images` are those of the whole run."""

    def __init__(self, images: int) -> None:
        super().__init__()
        self.images, self.enabled = images, True
        self.line: Line | None = None
        self.terms: dict[str, float] = {}
        self.notes: list[str] = []

    def disable(self) -> None:
        self.enabled = False  # Lightning calls this on all processes but the first

    def enable(self) -> None:
        self.enabled = True

    def on_train_start(self, trainer: Any, module: Any) -> None:
        if self.enabled:
            self.line = Line(self.images, "images", first=module.images_seen, early=True)

    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        if self.line is None:
            return
        if module.terms is not self.terms:
            self.terms, self.notes = module.terms, totals(module.terms)
        self.line.show(module.images_seen, *self.notes)

    def on_fit_end(self, trainer: Any, module: Any) -> None:  # after the last report
        self.close(module)

    def on_exception(self, trainer: Any, module: Any, exception: BaseException) -> None:
        self.close(module)

    def close(self, module: Any) -> None:
        if self.line:
            self.line.notes = tuple(totals(module.terms))
            self.line.close()
        self.line = None


def totals(terms: dict[str, float]) -> list[str]:
    """`D 1.39`, `G 0.69`: what each part of the game minimises, whose terms begin with its name."""
    sums: dict[str, float] = {}
    for name, value in terms.items():
        part = name.partition("/")[0]
        sums[part] = sums.get(part, 0.0) + value
    return [f"{LETTERS.get(part, part)} {total:.3g}" for part, total in sums.items()]


LETTERS = {"discriminator": "D", "generator": "G"}
