"""The one way weights change here: players take turns inside an iteration, whatever the model."""

import functools
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from genzoo.batches import Images
from genzoo.core.random import generator, key
from genzoo.limits import Count, Natural, Positive
from genzoo.losses import Objective, Penalty, Probabilistic
from genzoo.pace import Pace
from genzoo.schedules import Constant, Schedule

Terms = dict[str, Tensor]  # named scalars: their sum is minimised, each of them is logged
Shown = dict[str, Any]  # sheets by name: images (n, c, h, w), points (n, 2), or named images to lie side by side
EVERY = 10  # iterations between two looks at the clock, which all devices have to agree on


@dataclass
class Place:
    """Where in the stream an update happens, and which part of it this process holds."""

    position: int
    player: str
    total: int
    rank: int
    world: int
    rows: slice
    calls: int = 0


class ZooModule(pl.LightningModule):
    """A paper writes `loss` (and, for a picture of its progress, `preview`); everything else is here.

    players      a letter -> the attribute names of its networks; one optimiser each
    optimizers   a letter -> a callable from parameters to an optimiser (a partial)
    turns        words of players: `["d", "dg"]` is two turns, each on its own part of the batch, whose letters
                 play in order
    micro_batch  images of one device that are held in memory at once; None for the whole turn
    schedule     images seen -> factor on every learning rate; None for 1
    clip         largest norm of a player's gradient
    channels_last   whether convolutions run with channels innermost, where a measurement says that it pays
    start_images    where the clock of a new run starts: with `init=` a growing model goes on at a later stage
    """

    players: dict[str, tuple[str, ...]] = {}
    takes: type = Images  # the kind of batch that its losses read

    def __init__(
        self,
        optimizers: dict[str, Callable[..., torch.optim.Optimizer]],
        turns: tuple[str, ...] | list[str] = ("dg",),
        micro_batch: Count | None = None,
        schedule: Schedule | None = None,
        clip: Positive | None = None,
        seed: int = 0,
        channels_last: bool = False,
        start_images: Natural = 0,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.make_optimizers, self.turns, self.micro_batch = optimizers, list(turns), micro_batch
        self.schedule, self.clip = schedule or Constant(1), clip
        self.seed, self.channels_last = seed, channels_last
        self.images_seen = start_images
        self.resumed_at: int | None = None  # the iteration of the checkpoint that training goes on from
        self.place: Place | None = None
        self.config: dict[str, Any] | None = None  # set by hub.build: what this model was built from
        self.facts: dict[str, Any] = {}  # set by training: data, versions, machine; plain values
        self.noted: Terms = {}  # what a loss told beside its terms
        self.beside: set[str] = set()  # the names of all of that
        self.sums: Terms = {}  # running sums of both on the device since the last report
        self.counts: dict[str, float] = {}
        self.terms: dict[str, float] = {}  # the last interval's means of what is minimised
        self.drawn: dict[tuple[Any, ...], Tensor] = {}  # this update's draws
        self.left: dict[int, Tensor] = {}  # what one player leaves to the next of its turn
        known, unknown = ", ".join(self.players), set("".join(self.turns)) - set(self.players)
        if unknown or not self.turns or not all(self.turns):
            raise ValueError(f"model.turns={self.turns}: {type(self).__name__} has the players {known} only")
        if missing := [player for player in self.players if player not in optimizers]:
            raise ValueError(f"model.optimizers.{missing[0]} is missing: each of the players {known} needs one")

    # What a paper writes

    def loss(self, player: str, batch: Any) -> Terms:
        """What `player` minimises on this part of the batch. Randomness comes from `self.draw` only."""
        raise NotImplementedError

    def note(self, name: str, value: Tensor) -> None:
        """A scalar that is logged beside the terms of a loss, and not minimised: to be called within `loss`."""
        self.noted[name] = value
        self.beside.add(name)

    def after_step(self, player: str) -> None:
        """Called after each update of a player; room for weight clipping."""

    def check(self, data: Any) -> None:
        """ValueError if the model cannot learn from these data: a ZooData, or None where a loader of one's own feeds it."""

    def preview(self, batch: Any) -> Shown:
        """What shows where the model stands, as sheets."""
        return {}

    def warm_start(self, state: dict[str, Tensor]) -> list[str]:
        """Take what fits by name and shape from another model's state; the names taken."""
        own = self.state_dict()
        fitting = {name: value for name, value in state.items() if name in own and alike(own[name], value)}
        self.load_state_dict(fitting, strict=False)
        return sorted(fitting)

    # Lightning's hooks

    def setup(self, stage: str) -> None:
        self.check(getattr(self.trainer, "datamodule", None))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["genzoo"] = self.facts | {"format": 1, "images_seen": self.images_seen, "config": self.config}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:  # runs before train_dataloader() is called
        held = len(checkpoint["optimizer_states"])
        if held != len(self.players):
            raise ValueError(f"the checkpoint holds {held} optimisers, the model has {len(self.players)}")
        self.images_seen, self.resumed_at = checkpoint["genzoo"]["images_seen"], checkpoint["global_step"]

    def configure_model(self) -> None:
        """Before a checkpoint is read, which a module that becomes float64 later would round to float32, and
        before DDP wraps the module: a layout that changes behind its back garbles the reduced gradients."""
        self.trainer.precision_plugin.convert_module(self)
        if self.channels_last:
            self.to(memory_format=torch.channels_last)

    def on_train_start(self) -> None:
        """What a checkpoint says agrees: its iterations with one another, its optimisers with the weights."""
        step, source = self.trainer.global_step, self.trainer.ckpt_path
        if self.resumed_at not in (None, step):
            raise ValueError(f"{source}: its loops are at iteration {step}, its global_step is {self.resumed_at}")
        for optimizer in self.trainer.optimizers:
            for weight, state in optimizer.state.items():
                for name, value in state.items():
                    if isinstance(value, Tensor) and value.dim() and value.shape != weight.shape:
                        shapes = f"{tuple(value.shape)} for weights of {tuple(weight.shape)}"
                        raise ValueError(f"{source}: its {name} is {shapes}, so that training cannot go on from it")
            for group in optimizer.param_groups:
                for name in ("lr", "initial_lr"):
                    if not isinstance(group.get(name), (int, float, Tensor)):
                        raise ValueError(f"{source}: its {name} is {group.get(name)}, no number")
        self.reports = Pace(10, 60)
        self.before = time.monotonic(), self.images_seen  # at the last report

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """One optimiser per player, in the players' order."""
        made = []
        for player in self.players:
            make = self.make_optimizers[player]
            if self.trainer.precision == "16-mixed" and "fused" in getattr(make, "keywords", {}):
                make = functools.partial(make, fused=False)  # a fused optimiser would unscale behind clipping's back
            made.append(make(self.parameters_of(player)))
        for group in (group for optimizer in made for group in optimizer.param_groups):
            group["initial_lr"] = group["lr"]
        return made

    def on_before_optimizer_step(self, optimizer: Any) -> None:  # gradients are complete and unscaled here
        if self.clip:
            self.clip_gradients(optimizer, gradient_clip_val=self.clip, gradient_clip_algorithm="norm")

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """One iteration: every turn on its own part of the batch, which may come from a loader of torch's own."""
        batch = batch if isinstance(batch, self.takes) else named(batch, self.takes, len(self.turns))
        world = self.trainer.world_size
        share = len(batch[0]) // len(self.turns)
        self.reseed()
        for i, turn in enumerate(self.turns):
            part = rows(batch, slice(i * share, (i + 1) * share))
            for number, player in enumerate(turn, start=1):
                last = i + 1 == len(self.turns) and number == len(turn)
                self.update(player, part, self.images_seen + i * share * world, counted=last)
            self.left = {}
        self.images_seen += len(batch[0]) * world
        step = self.trainer.global_step
        if step == 1 or step % self.interval == 0 or agreed(self.trainer, self.reports.due()):
            self.report()
            self.log_dict(self.terms, prog_bar=True, logger=False)

    def on_train_end(self) -> None:
        self.report()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Nothing to measure unless a paper says so, by `self.log(..., logger=False)`; callbacks look at the first batch."""

    def on_validation_end(self) -> None:
        measured = {k: float(v) for k, v in self.trainer.callback_metrics.items() if k not in self.terms}
        if measured and not self.trainer.sanity_checking:
            self.publish(measured)

    def bfloat16(self) -> Any:
        return self.to(torch.bfloat16)  # Lightning keeps its `dtype` up to date in the other three ways only

    # The engine

    @property
    def interval(self) -> int:
        """Iterations between two reports; there is one after the first too, in the end, and by time."""
        return int(cast(Any, self.trainer).log_every_n_steps)

    def update(self, player: str, batch: Any, position: int, counted: bool) -> None:
        """zero, micro-batches, backward, clip, step: the only place where weights change."""
        optimizer = self.optimizer_of(player)
        factor = self.schedule(self.images_seen)
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        optimizer.zero_grad()
        self.drawn = {}
        n, step, world = len(batch[0]), self.micro_batch or len(batch[0]), self.trainer.world_size
        for first in range(0, n, step):
            part = slice(first, min(first + step, n))
            self.place = Place(position, player, n * world, self.trainer.global_rank, world, part)
            self.noted = {}
            with optimizer.toggle_model(sync_grad=part.stop == n):
                terms = self.loss(player, rows(batch, part))
                weight = (part.stop - part.start) / n
                self.manual_backward(weight * cast(Tensor, sum(terms.values())))
            self.tally(terms | self.noted, weight)
        self.place = None
        if counted:
            optimizer.step()
        else:  # the same path, but not counted in global_step
            self.trainer.strategy.optimizer_step(optimizer.optimizer, lambda: None)
        self.after_step(player)

    def draw(self, sample: Callable[..., Tensor], n: int, purpose: str = "noise") -> Tensor:
        """n rows of one global draw `sample(n, generator)`: the same numbers on any devices and micro-batches."""
        at = self.place
        if at is None:  # outside an update every purpose has its own name
            return sample(n, generator(self.seed, purpose, self.images_seen)).to(self.device)
        at.calls += 1
        tag = (purpose, at.position, at.player, at.calls)
        if tag not in self.drawn:  # once per update, not once per micro-batch
            self.drawn[tag] = sample(at.total, generator(self.seed, *tag))
        return self.drawn[tag][at.rank :: at.world][at.rows].to(self.device, non_blocking=True)

    def reseed(self) -> None:
        """The default generators (dropout) as a function of the place in the run."""
        seed = key(self.seed, "default", self.images_seen, self.trainer.global_rank) >> 1
        torch.default_generator.manual_seed(seed)  # torch.manual_seed asks every backend and takes far longer
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def networks_of(self, player: str) -> list[nn.Module]:
        return [getattr(self, name) for name in self.players[player]]

    def parameters_of(self, player: str) -> list[nn.Parameter]:
        return [parameter for network in self.networks_of(player) for parameter in network.parameters()]

    def optimizer_of(self, player: str) -> Any:
        made = self.optimizers()  # one optimiser is no list
        return (made if isinstance(made, list) else [made])[list(self.players).index(player)]

    def tally(self, terms: Terms, weight: float) -> None:
        """Add an update's terms to the interval's sums, on the device and without waiting for it."""
        for name, term in terms.items():
            value = term.detach() if weight == 1 else term.detach() * weight
            self.sums[name] = self.sums[name] + value if name in self.sums else value
            self.counts[name] = self.counts.get(name, 0.0) + weight

    def report(self) -> None:
        """The interval's means to the loggers and the progress line; read from the device once."""
        if not self.sums:
            return
        means = torch.stack([self.sums[name].float() / self.counts[name] for name in self.sums])
        if self.trainer.world_size > 1:
            means = self.trainer.strategy.reduce(means, reduce_op="mean")
        found = dict(zip(self.sums, means.tolist(), strict=True))
        self.terms = {name: value for name, value in found.items() if name not in self.beside}
        self.sums, self.counts = {}, {}
        self.publish(found | self.circumstances())
        self.reports.done()

    def circumstances(self) -> dict[str, float]:
        """How fast training has been since the last report, and the players' learning rates."""
        (then, seen), self.before = self.before, (time.monotonic(), self.images_seen)
        speed = (self.images_seen - seen) / max(self.before[0] - then, 1e-9)
        rates = {f"learning_rate/{p}": self.optimizer_of(p).param_groups[0]["lr"] for p in self.players}
        return {"speed/images_per_second": speed} | rates

    def publish(self, values: dict[str, float]) -> None:
        """To every logger at this iteration: Lightning's own axis is zero-based, and so one behind."""
        for logger in self.trainer.loggers:
            logger.log_metrics(values | {"images_seen": self.images_seen}, step=self.trainer.global_step)

    def broken(self) -> list[str]:
        """What is not finite on this device: terms since the last report, and networks (a gradient went before)."""
        terms = self.terms | {name: float(value) for name, value in self.sums.items()}
        found = [name for name, value in terms.items() if not math.isfinite(value)]
        networks = {name: getattr(self, name) for names in self.players.values() for name in names}
        return found + [
            f"the weights of {name}"
            for name, network in networks.items()
            if not finite((*network.parameters(), *network.buffers()))
        ]


class AdversarialModule(ZooModule):
    """A generator against a discriminator under any objective of `genzoo.losses`, with any gradient penalties."""

    players = {"d": ("discriminator",), "g": ("generator",)}

    def __init__(
        self,
        objective: Objective,
        penalties: tuple[Penalty, ...] | list[Penalty] = (),
        augment: Callable[..., Tensor] | None = None,
        **engine: Any,
    ) -> None:
        super().__init__(**engine)
        self.objective, self.penalties, self.augment = objective, list(penalties), augment
        names = [type(penalty).__name__ for penalty in self.penalties]
        if len(set(names)) < len(names):
            raise ValueError(f"model.penalties holds {', '.join(names)}: each kind may stand once, with its weight")

    def discriminator_loss(self, batch: Any) -> Terms:
        raise NotImplementedError

    def generator_loss(self, batch: Any) -> Terms:
        raise NotImplementedError

    def loss(self, player: str, batch: Any) -> Terms:
        return {"d": self.discriminator_loss, "g": self.generator_loss}[player](batch)

    def verdict(self, real: Tensor, fake: Tensor, of: str = "") -> Terms:
        """The discriminator's two terms, by its logits of real and fake images; its mean answers are noted, as
        probabilities where the objective has these. `of` is added to the names of one discriminator among several."""
        probable = isinstance(self.objective, Probabilistic)
        for kind, logits in (("real", real.detach()), ("fake", fake.detach())):
            answer = self.objective.probability(logits) if probable else logits  # type: ignore[attr-defined]
            self.note(f"discriminator/D({kind}){of}", answer.mean())
        of_real, of_fake = self.objective.discriminator(real, fake)
        return {f"discriminator/real{of}": of_real, f"discriminator/fake{of}": of_fake}

    def judge(self, critic: nn.Module, x: Tensor) -> Tensor:
        """Logits of images, real and fake alike after the same augmentation."""
        return critic(self.augment(x, self.draw) if self.augment else x)

    def penalty_terms(self, critic: nn.Module, real: Tensor, fake: Tensor) -> Terms:
        return {
            f"discriminator/{type(penalty).__name__.lower()}": penalty(critic, real, fake, self.draw)
            for penalty in self.penalties
        }

    def after_step(self, player: str) -> None:
        limit = getattr(self.objective, "clip", None)
        if player == "d" and limit:
            with torch.no_grad():
                for parameter in self.parameters_of("d"):
                    parameter.clamp_(-limit, limit)

    def check(self, data: Any) -> None:
        """Classes are those of the data. A gradient penalty speaks of one sample's gradient, which BatchNorm mixes with
        its neighbours'."""
        classes = getattr(self, "classes", None)
        if classes and data is not None and data.classes != classes:
            has = f"{data.classes} classes" if data.classes else "no classes"
            raise ValueError(
                f"model.classes={classes}, but data={data.name} has {has}: say model.classes={data.classes or 'null'}"
            )
        batch_norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.SyncBatchNorm)
        if self.penalties and any(isinstance(m, batch_norms) for n in self.networks_of("d") for m in n.modules()):
            raise ValueError(
                f"{type(self.penalties[0]).__name__} does not work with BatchNorm in the discriminator: "
                "add model.discriminator.norm=layer"
            )


def alike(one: Tensor, other: Tensor) -> bool:
    """Whether one can take the other's values."""
    return one.shape == other.shape and one.is_floating_point() == other.is_floating_point()


def finite(tensors: Iterable[Tensor]) -> bool:
    """Whether every number is finite; read from the device once.

    A sum keeps what is not, and takes a fraction of the time of a norm.
    """
    sums = [tensor.detach().sum(dtype=torch.float32) for tensor in tensors if tensor.is_floating_point()]
    return not sums or bool(torch.stack(sums).sum().isfinite())


def named(batch: Any, kind: Any, turns: int) -> Any:
    """A tuple or list of tensors, as torch's own loaders hand it over, as a batch of this kind; ValueError if it is none."""
    names = kind._fields
    parts = list(batch) if isinstance(batch, (tuple, list)) else [batch]
    tensors = all(isinstance(part, Tensor) and part.dim() for part in parts)
    if not tensors or len(parts) != len(names) or not parts[0].is_floating_point() or len({*map(len, parts)}) > 1:
        found = ", ".join(f"{p.dtype} {tuple(p.shape)}" if isinstance(p, Tensor) else type(p).__name__ for p in parts)
        raise ValueError(
            f"a batch of {found}: this model learns from ({', '.join(names)}), tensors with the same first dimension;\n"
            "images are float (n, c, h, w) in [-1, 1], y holds class ids (n,), or zeros where there are none"
        )
    if len(parts[0]) < turns:
        raise ValueError(f"a batch of {len(parts[0])} for {turns} turns (model.turns): each needs images of its own")
    return kind(*parts)


def agreed(trainer: Any, late: bool) -> bool:
    """Whether it is late on any device; where there are several, they ask each other at every tenth iteration only."""
    if trainer.world_size == 1:
        return late
    return trainer.global_step % EVERY == 0 and bool(trainer.strategy.reduce_boolean_decision(late, all=False))


def rows(batch: Any, part: slice) -> Any:
    """The same rows of every tensor of a batch."""
    return type(batch)(*(tensor[part] for tensor in batch))
