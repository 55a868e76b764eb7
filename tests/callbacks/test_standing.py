"""Standing statistics in validation: of the averaged weights, and only there."""

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from genzoo.batches import Images
from genzoo.callbacks.ema import EMA
from genzoo.callbacks.standing import Standing
from genzoo.losses import Hinge
from genzoo.models.biggan import BigGAN, Discriminator, Generator
from genzoo.priors import Normal


def model():
    torch.manual_seed(0)
    return BigGAN(
        Generator(8, 1, 32, 2, 4, 4), Discriminator(1, 32, 2, 4), Normal(8), 4, objective=Hinge(),
        optimizers=dict.fromkeys("dg", torch.optim.SGD), turns=["dg"],
    )  # fmt: skip


class Look(pl.Callback):
    """The module's buffers while samples are looked at."""

    def on_validation_batch_end(self, trainer, module, *_):
        self.seen = {k: v.clone() for k, v in module.state_dict().items()}


def fit(*callbacks):
    made, look = model(), Look()
    trainer = pl.Trainer(
        max_steps=2, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[*callbacks, look], num_sanity_val_steps=0, val_check_interval=1,
    )  # fmt: skip
    torch.manual_seed(1)
    batches = [Images(torch.rand(4, 1, 32, 32), torch.randint(4, (4,))) for _ in range(2)]
    trainer.fit(made, DataLoader(batches, batch_size=None), DataLoader(batches[:1], batch_size=None))
    return made.state_dict(), look.seen


@pytest.mark.parametrize("first", ["ema", "standing"])
def test_training_and_averages_keep_their_own(first):
    pairs = [[EMA(decay=0.5, ramp=False, buffers="average")] for _ in range(2)]
    standing = [Standing(passes=2, batch=4, seed=3)]
    order = [*pairs[1], *standing] if first == "ema" else [*standing, *pairs[1]]
    (plain, seen), (stood, judged) = fit(*pairs[0]), fit(*order)
    for name, value in plain.items():
        assert torch.equal(value, stood[name]), name  # as if nobody had looked
    for name, value in pairs[0][0].average.items():
        assert torch.equal(value, pairs[1][0].average[name]), name
    moved = {name for name in seen if not torch.equal(seen[name], judged[name])}
    assert moved and all(".bn." in name for name in moved)
    fresh = model()
    fresh.load_state_dict(seen)  # the averaged weights
    fresh.eval().standing(passes=2, batch=4, seed=3)
    for name in moved:
        if "running" in name:
            torch.testing.assert_close(judged[name], fresh.state_dict()[name])


def test_a_model_without_them_is_told():
    with pytest.raises(ValueError, match="callbacks=standing: Linear has no standing statistics; model=biggan has"):
        Standing().check(torch.nn.Linear(1, 1), None, 1)
