"""The one LightningDataModule: any store, streamed by position."""

import atexit
import multiprocessing
import signal
from collections.abc import Callable, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from genzoo.batches import Captioned, Images, Matched, Pair, images_of
from genzoo.core.launch import SIGNALS
from genzoo.core.machine import keep_memory
from genzoo.core.stream import Stream, spread
from genzoo.data.store import Store
from genzoo.limits import Count, Natural
from genzoo.schedules import Constant, Schedule

ROW = 8  # images of a validation batch at least: what is shown of a model that trains on one at a time is a row
LAST = 2**62  # a position that no run reaches: a set that grows has its full size there
KINDS = {
    Images: "single images",
    Pair: "images of two domains",
    Matched: "pairs that belong together (data=paired)",
    Captioned: "images with captions",
}


class ZooData(pl.LightningDataModule):
    """Streams `store(split="train")` for ever and shows a few images of `store(split="test")` in validation.

    batch_size   images of one turn over all devices: an integer, or a schedule of the position in the stream
    channels, resolution, classes, attributes, domains   what the data are, for models to be sized by; checked
                 against the images. Points (n, 2) have 2 channels and resolution 1. Without labels classes is None
    validation   images of the test half, evenly spread over it, that validation looks at
    source       further keys of the configuration (root, path, ...) that the store was given by interpolation
    """

    def __init__(
        self,
        store: Callable[..., Store],
        batch_size: Count | Schedule,
        seed: int = 0,
        workers: Natural = 0,
        *,
        channels: Count,
        resolution: Count,
        classes: Count | None = None,
        attributes: Sequence[str] | None = None,
        domains: Sequence[str] | None = None,
        name: str = "",
        validation: Count = 256,
        **source: Any,
    ) -> None:
        super().__init__()
        for key, value, least in (("resolution", resolution, 1), ("workers", workers, 0)):
            if value < least:
                raise ValueError(f"data.{key}={value}: at least {least} is expected")
        for key, words in (("attributes", attributes), ("domains", domains)):
            if isinstance(words, str):
                raise ValueError(f"data.{key}={words}: a list is expected, as in 'data.{key}=[{words}]'")
        if domains is not None:
            check_domains(list(domains))
        if source.get("path") == "":
            raise ValueError(f"data.path= is empty: say where the files of data={name} are")
        self.batch_size: Schedule = batch_size if callable(batch_size) else Constant(batch_size)
        self.make_store, self.seed, self.workers, self.validation = store, seed, workers, validation
        self.channels, self.resolution, self.classes = channels, resolution, classes
        self.attributes, self.domains, self.name, self.source = attributes, domains, name, source
        self.stores: dict[str, Store] = {}
        self.checked = False

    @property
    def store(self) -> Store:
        """The training half."""
        return self.store_of("train")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes, where the set has any."""
        return getattr(self.store, "names", ())

    def store_of(self, split: str) -> Store:
        """The store of `train` or `test`, made when it is first asked for."""
        if split not in self.stores:
            self.stores[split] = self.make_store(split=split)
        return self.stores[split]

    def train_dataloader(self) -> DataLoader[Images]:
        assert self.trainer is not None
        module: Any = self.trainer.lightning_module  # a ZooModule
        rank, world = self.trainer.global_rank, self.trainer.world_size

        def images(position: int) -> int:
            return len(module.turns) * divisible(int(self.batch_size(position)), world)

        taken = images(module.images_seen)  # a wrong size is told here and not from within the loader
        if not self.checked:
            self.check(getattr(module, "takes", Images), taken // len(module.turns))
        stream = Stream(len(self.store), self.seed, module.images_seen, images, rank, world)
        return self.loader(self.store, stream)

    def val_dataloader(self) -> DataLoader[Images]:
        """The same few test images in the same order, always; every rank has its share of each batch."""
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        store = self.store_of("test")
        keys = [(index, index) for index in spread(len(store), self.validation)]
        keys = keys[: len(keys) // world * world]  # no rank may be left without its share
        row = -(-ROW // world) * world
        size = max(divisible(int(self.batch_size(0)), world), row)
        return self.loader(store, [keys[first : first + size][rank::world] for first in range(0, len(keys), size)])

    def loader(self, store: Store, batches: Any) -> DataLoader[Images]:
        if self.workers:
            atexit.register(end_workers)
        return DataLoader(
            store,  # type: ignore[arg-type]  # a store answers __getitems__ only
            batch_sampler=batches,
            collate_fn=same,
            num_workers=self.workers,
            worker_init_fn=prepare,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def check(self, takes: type = tuple, size: int = 1) -> None:
        """Whether images from all over the training half are what the configuration says; ValueError if not.

        `takes` is the kind of batch that the model learns from, `size` how many images a turn has.
        """
        count = len(self.store)
        if count == 0:
            raise ValueError(f"data={self.name}: there are no training images")
        if size > count:
            raise ValueError(
                f"batch_size={size} is more than the {count} training image{'s' * (count > 1)} of data={self.name}: "
                f"say batch_size={count} or less, or add images"
            )
        batch: Any = self.store.__getitems__([(index, LAST) for index in spread(count, 64)])
        if not isinstance(batch, takes):
            raise ValueError(
                f"data={self.name} gives {KINDS.get(type(batch), 'other batches')}, but the model learns from "
                f"{KINDS.get(takes, takes.__name__)}: choose other data or another model (genzoo list shows them)"
            )
        for x in images_of(batch):
            self.check_images(x)
        self.check_labels(getattr(batch, "y", None))
        if test := len(self.store_of("test")):  # a file that cannot be read is told now and not in validation
            self.store_of("test").__getitems__([(index, index) for index in spread(test, 64)])
        self.checked = True

    def check_images(self, x: Tensor) -> None:
        found, wanted = tuple(x.shape[1:]), (self.channels, self.resolution, self.resolution)
        if x.dim() == 2:
            found = (*found, 1, 1)
        if found != wanted:
            raise ValueError(
                f"data={self.name} gives images of {found[0]} channel{'s' * (found[0] > 1)}, {found[1]}x{found[2]} pixels, but "
                f"data.channels={self.channels} and data.resolution={self.resolution}: make them agree"
            )
        if x.dtype != torch.float32 or not (x.min() >= -1 and x.max() <= 1):
            raise ValueError(
                f"data={self.name} gives {x.dtype} from {x.min():.3g} to {x.max():.3g}: images are float32 in [-1, 1]"
            )

    def check_labels(self, y: Tensor | None) -> None:
        if self.attributes is not None and (y is None or tuple(y.shape[1:]) != (len(self.attributes),)):
            raise ValueError(
                f"data={self.name}: {'no labels' if y is None else f'labels of shape {tuple(y.shape[1:])}'} "
                f"for data.attributes={list(self.attributes)}"
            )
        if self.classes is not None and y is not None:
            self.check_classes(y, self.classes)

    def check_classes(self, y: Tensor, classes: int) -> None:
        names = self.names
        if names and len(names) != classes:
            raise ValueError(
                f"data={self.name} has {len(names)} classes, but data.classes={classes}: say data.classes={len(names)}"
            )
        if y.dtype != torch.int64 or y.dim() != 1 or y.min() < 0 or y.max() >= classes:
            raise ValueError(
                f"data={self.name} gives labels from {y.min():g} to {y.max():g} ({y.dtype}), but "
                f"data.classes={classes} asks for class ids below {classes}"
            )
        if not names and classes != 1 and y.max() == 0:
            raise ValueError(f"data={self.name} has no labels for data.classes={classes}: say data.classes=null")


def check_domains(names: list[str]) -> None:
    """ValueError unless they name two domains, of which none is called by the other's letter."""
    first, second = [str(name).lower() for name in names] if len(names) == 2 else ["", ""]
    if first == second or first == "b" or second == "a":
        raise ValueError(f"data.domains={names}: two different names are expected, A's first, as in [photo,drawing]")


def divisible(size: int, devices: int) -> int:
    """The batch size, if every device can have an equal part of it; else ValueError with the nearest that can."""
    if size < 1 or size % devices:
        below = size // devices * devices
        nearest = f"{below} or {below + devices}" if below > 0 else f"{devices}"
        raise ValueError(f"batch_size={size} does not divide by {devices} devices: the nearest is {nearest}")
    return size


def same(batch: Any) -> Any:
    """The store has made the batch already."""
    return batch


def prepare(worker: int) -> None:
    """What a worker begins with.

    A signal to the process group must not kill it: the main process answers that, after saving. And it keeps no large
    buffers: batches that travel to another process would tear holes into them, which grew to a gigabyte.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    keep_memory(2**20)


def end_workers() -> None:
    """At exit multiprocessing would wait for ever for workers that somebody still holds: they hear no SIGTERM."""
    for process in multiprocessing.active_children():
        if process.daemon:
            process.kill()
