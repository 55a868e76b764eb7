"""Sheets: when they are made, of which weights, and that making them changes nothing."""

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import genzoo
from genzoo import cli, images
from genzoo.callbacks.samples import Samples
from genzoo.commands import train as command
from genzoo.core.io import newest
from genzoo.data.toys import Ring
from genzoo.pace import Pace

TINY = ["model.width=4", "batch_size=8", "accelerator=cpu", "logger=none", "callbacks.safeguard.every=3"]
BIGGAN = ["model=biggan", "data=digits", "callbacks=[ema,standing]", "callbacks.ema.start=0", "callbacks.ema.decay=0.5",
          "callbacks.standing.passes=2", "callbacks.standing.batch=4", "model.turns=[dg]", *TINY]  # fmt: skip


def trained(folder, *words):
    words = [*words, f"run={folder}"]
    assert command.start(cli.compose("train", words), words)[0] == 0
    return folder


def names(folder):
    return sorted(path.name for path in (folder / "samples").iterdir())


def test_the_first_iteration_every_validation_and_the_end_have_a_sheet_and_the_real_images_one(tmp_path):
    trained(tmp_path, "model=gan", *TINY, "kimg=0.056", "trainer.val_check_interval=3")
    assert names(tmp_path) == ["real.png", *(f"samples-{step:08d}.png" for step in (1, 3, 6, 7))]
    height, width = images.read_image(tmp_path / "samples/real.png").shape[1:]
    assert width == 8 * 34 + 2 and 34 + 2 < height < 2 * 34  # a row under its title


def test_a_slow_run_has_sheets_by_time(tmp_path, monkeypatch):
    due = iter([False, True, False, False])
    monkeypatch.setattr(Pace, "due", lambda self: self.most == 600 and next(due))
    trained(tmp_path, "model=gan", *TINY, "kimg=0.04")
    assert names(tmp_path)[1:] == [f"samples-{step:08d}.png" for step in (1, 3, 5)]


@pytest.mark.parametrize("setting", ["count=0", "seconds=0"])
def test_settings_out_of_range_are_told(setting, tmp_path):
    with pytest.raises(ValueError, match=f"callbacks.samples.{setting}: expected .* (above 0|at least 1)"):
        trained(tmp_path, "model=gan", *TINY, f"callbacks.samples.{setting}")


def test_a_sheet_between_validations_shows_the_averages_and_changes_no_bit(tmp_path, monkeypatch):
    """BigGAN with averaged weights and standing statistics: a sheet at iteration 3, where a checkpoint is saved too."""
    seen = {}
    show = Samples.show

    def spy(self, trainer, module, batch):
        assert not any(part.training for part in module.modules())
        seen[trainer.global_step] = {name: value.clone() for name, value in module.state_dict().items()}
        show(self, trainer, module, batch)

    monkeypatch.setattr(Samples, "show", spy)
    monkeypatch.setattr(Pace, "due", lambda self: self.most == 600)
    often = trained(tmp_path / "often", *BIGGAN, "kimg=0.048")
    assert sorted(seen) == [1, 2, 3, 4, 5, 6]
    made = torch.load(often / "step-00000003.ckpt", weights_only=True)["state_dict"]  # holds the averages
    standing = {name for name in made if not torch.equal(made[name], seen[3][name])}
    assert standing and all(".bn." in name for name in standing)
    monkeypatch.setattr(Pace, "due", lambda self: False)
    monkeypatch.setattr(Samples, "look", lambda *_: None)
    seldom = trained(tmp_path / "seldom", *BIGGAN, "kimg=0.048")
    one, other = (torch.load(newest(run), weights_only=True) for run in (often, seldom))
    for part in ("state_dict", "live"):
        assert all(torch.equal(one[part][name], other[part][name]) for name in other[part])


def test_a_run_that_is_told_to_stop_at_once_makes_no_sheet(tmp_path):
    def stop(self, trainer, module, *_):
        if trainer.global_step == 4:
            trainer.should_stop, trainer.limit_val_batches = True, 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Samples, "on_train_batch_end", stop)
        trained(tmp_path, "model=gan", *TINY, "kimg=0.08")
    assert (tmp_path / "step-00000003.ckpt").exists() and names(tmp_path) == []


def test_points_stand_beside_their_true_modes(tmp_path):
    trained(tmp_path, "model=gan", "data=ring", *TINY, "kimg=0.008")
    model, centres = genzoo.load(tmp_path), Ring("test").centres
    sheet = images.to_uint8(images.picture(model.sample(2000, seed=0), "samples after 8 images", centres))
    assert torch.equal(images.read_image(tmp_path / "samples/samples-00000001.png"), sheet)
    assert not torch.equal(sheet[:, -256:], images.to_uint8(images.scatter(model.sample(2000, seed=0))))


@pytest.mark.parametrize(
    "words, sheets",
    [
        (["model=vae", "data=digits", "data.resolution=16"], ["real", "reconstructions", "samples"]),
        (
            ["model=cyclegan", "data=shapes_ab", "data.resolution=32", "model.generator.b.depth=1",
             "model.discriminator.b.layers=2"],
            ["a_to_b", "b_to_a"],
        ),
    ],
)  # fmt: skip
def test_sheets_of_other_models_and_their_pictures_in_tensorboard(words, sheets, tmp_path):
    trained(tmp_path, *words, *TINY, "logger=tensorboard", "kimg=0.008")
    assert {name.partition("-")[0].removesuffix(".png") for name in names(tmp_path)} == set(sheets)
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert sorted(events.Tags()["images"]) == [f"pictures/{name}" for name in sheets]
    assert [point.step for point in events.Images(f"pictures/{sheets[0]}")] == [8]
