"""The one LightningDataModule: any store, streamed by position."""

import atexit
import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, get_worker_info

from genzoo.batches import Captioned, Images, Matched, Pair, images_of
from genzoo.core.launch import SIGNALS
from genzoo.core.machine import keep_memory
from genzoo.core.stream import Stream, spread
from genzoo.data.store import CLASSES_LIMIT, Key, Store
from genzoo.limits import Count, Natural, Range
from genzoo.schedules import Constant, Schedule

ROW = 8  # images of a validation batch at least: what is shown of a model that trains on one at a time is a row
SHARED_MEMORY = "/dev/shm"
LARGEST = 8192  # pixels of a side: more than a picture may have altogether
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
                 against the images. Points (n, 2) have 2 channels and resolution 1. Without labels classes is None;
                 with `auto` they are counted
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
        resolution: Annotated[int, Range(1, LARGEST)],
        classes: Annotated[int, Range(1, CLASSES_LIMIT)] | Literal["auto"] | None = None,
        attributes: Sequence[str] | None = None,
        domains: Sequence[str] | None = None,
        name: str = "",
        validation: Count = 256,
        **source: Any,
    ) -> None:
        super().__init__()
        check_workers(workers)
        for key, words in (("attributes", attributes), ("domains", domains)):
            if isinstance(words, str):
                raise ValueError(f"data.{key}={words}: a list is expected, as in 'data.{key}=[{words}]'")
        if domains is not None:
            check_domains(list(domains))
        if source.get("path") == "":
            raise ValueError(f"data.path= is empty: say where the files of data={name} are")
        self.batch_size: Schedule = batch_size if callable(batch_size) else Constant(batch_size)
        self.make_store, self.seed, self.workers, self.validation = store, seed, workers, validation
        self.channels, self.resolution, self.said = channels, resolution, classes
        self.attributes, self.domains, self.name, self.source = attributes, domains, name, source
        self.stores: dict[str, Store] = {}
        self.checked = False
        self.learned: tuple[str, ...] = ()

    @property
    def store(self) -> Store:
        """The training half."""
        return self.store_of("train")

    @cached_property
    def classes(self) -> int | None:
        """How many classes there are: what the configuration says or, where that is `auto`, what the labels of both
        halves say. None for attributes, and where all images are of one kind."""
        if not isinstance(self.said, str):
            return self.said
        labels = [getattr(self.store_of(split), "labels", None) for split in ("train", "test")]
        ids = [y for y in labels if y is not None and y.dim() == 1 and len(y)]
        count = max([len(self.names) if ids else 0, *(int(y.max()) + 1 for y in ids)])
        return count if count > 1 else None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes, where the set has any."""
        return getattr(self.store, "names", ())

    def store_of(self, split: str) -> Store:
        """The store of `train` or `test`, made when it is first asked for."""
        if split not in self.stores:
            self.stores[split] = self.make_store(split=split)
            renumber(self.stores[split], self.learned)
        return self.stores[split]

    def follow(self, names: Iterable[object]) -> None:
        """Number the classes in this order, in which a model has learned them, wherever they are the same classes."""
        self.learned = tuple(map(str, names))
        for store in self.stores.values():
            renumber(store, self.learned)

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
        return self.loader(self.store_of("test"), self.test_keys())

    def test_batch(self) -> Any:
        """The first batch of validation without its loader, whose workers take a while to start; None without images."""
        batches = self.test_keys()
        return self.store_of("test").__getitems__(batches[0]) if batches else None

    def test_keys(self) -> list[list[Key]]:
        """Of the images that validation looks at, batch by batch, this rank's share."""
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        count = len(self.store_of("test"))
        keys = [(index, index) for index in spread(count, self.validation)]
        keys = keys[: len(keys) // world * world]  # no rank may be left without its share
        row = -(-ROW // world) * world
        size = max(divisible(int(self.batch_size(0)), world), row)
        return [keys[first : first + size][rank::world] for first in range(0, len(keys), size)]

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

        if x.dim() == 4 and x.min() == -1 < x.max() <= -1 + 1.01 / 127.5:
            raise ValueError(
                f"data={self.name} gives pictures of 0 and 1 where 255 is white, all but black: multiply them by 255"
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


def renumber(store: Any, names: tuple[str, ...]) -> None:
    """Give the classes of a store this order, if these are their names."""
    now = getattr(store, "names", ())
    if now != names and sorted(now) == sorted(names) and store.labels.dim() == 1:
        store.labels, store.names = torch.tensor([names.index(name) for name in now])[store.labels], names


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


def same(batch: Any, setting: str = "data.workers") -> Any:
    """The store has made the batch already; `setting` is how the user says how many workers there are.

    A worker puts it into the memory that processes share while the loader still hears of errors: the thread that sends
    batches would do it too, but where there is no room it drops them, and the loader waits for ever.
    """
    if worker := get_worker_info():
        try:
            for part in batch if isinstance(batch, tuple) else (batch,):
                part.share_memory_()
        except RuntimeError as error:
            raise no_room(f"{setting}={worker.num_workers}") from error
    return batch


def check_workers(workers: int, setting: str = "data.workers") -> None:
    """ValueError for more processes than a machine can bear, OSError if they could not even talk to each other."""
    if workers > (most := max(64, 4 * (os.cpu_count() or 1))):
        raise ValueError(f"{setting}={workers}: at most {most} processes are started on this machine")
    with contextlib.suppress(FileNotFoundError):  # systems keep it elsewhere
        found = os.statvfs(SHARED_MEMORY)
        if workers and found.f_bavail * found.f_frsize < 4096 * 8 * (2 + workers):  # a page for each semaphore
            raise no_room(f"{setting}={workers}")


def no_room(said: str) -> OSError:
    return OSError(
        f"{said}: there is too little room in {SHARED_MEMORY}, through which workers hand over images:\n"
        f"{said.partition('=')[0]}=0 does without it; a container gets more by docker run --shm-size=2g"
    )


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
