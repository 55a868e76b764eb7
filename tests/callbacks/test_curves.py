"""Curves: what they hold, that a resumed run goes on in them, and that no full disk ends it."""

import json
import resource
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

from genzoo import cli, losses
from genzoo.callbacks import records
from genzoo.callbacks.curves import Lines, handful
from genzoo.commands import train as command
from genzoo.core.module import EVERY, AdversarialModule, agreed
from genzoo.pace import Pace

TINY = ["model=gan", "model.width=4", "batch_size=8", "trainer.log_every_n_steps=2", "accelerator=cpu",
        "callbacks.samples.count=4", "callbacks.safeguard.every=5", "callbacks.safeguard.keep=9"]  # fmt: skip
GAN = ["discriminator/real", "discriminator/fake", "discriminator/D(real)", "discriminator/D(fake)",
       "generator/adversarial", "speed/images_per_second", "learning_rate/d", "learning_rate/g"]  # fmt: skip


def trained(folder, *words):
    words = [*TINY, *words, f"run={folder}"]
    assert command.start(cli.compose("train", words), words)[0] == 0
    return folder


def resumed(folder, *words):
    words = [f"resume={folder}", *words]
    assert command.start(cli.compose("train", words), words)[0] == 0


def lines_of(folder):
    return [json.loads(line) for line in (folder / "curves.jsonl").read_text().splitlines()]


def events_of(folder):
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0, "scalars": 0, "images": 0})
    events.Reload()
    return events


def timeless(lines):
    return [{name: value for name, value in line.items() if not name.startswith("speed/")} for line in lines]


def test_a_run_that_lost_its_last_iterations_has_each_point_once(tmp_path):
    straight = trained(tmp_path / "straight", "kimg=0.112")
    stopped = trained(tmp_path / "stopped", "kimg=0.08")
    for path in stopped.glob("step-*10.ckpt"):
        path.unlink()  # as after a kill: the curves are ahead of the newest checkpoint
    with open(stopped / "curves.jsonl", "a") as file:
        file.write('{"step": 1')
    resumed(stopped, "kimg=0.112")
    found, expected = lines_of(stopped), lines_of(straight)
    assert [line["step"] for line in found] == [1, 2, 4, 6, 8, 10, 12, 14]
    assert timeless(found[:3]) == timeless(expected[:3]) and timeless(found[4:]) == timeless(expected[4:])
    events = events_of(stopped)
    for name in GAN:
        assert [point.step for point in events.Scalars(name)] == [8 * n for n in (1, 2, 4, 6, 8, 10, 12, 14)], name
    assert [point.value for point in events.Scalars("generator/adversarial")] == pytest.approx(
        [line["generator/adversarial"] for line in found]
    )


@pytest.mark.parametrize("logger", ["none", "jsonl", "tensorboard"])
def test_curves_are_always_written_from_the_first_iteration_to_the_last(logger, tmp_path):
    trained(tmp_path, f"logger={logger}", "kimg=0.024", "trainer.log_every_n_steps=50")
    first, last = lines_of(tmp_path)
    assert (first["step"], last["step"]) == (1, 3)
    assert list(first) == ["step", *GAN, "images_seen"] == list(last)
    assert last["speed/images_per_second"] > 0 and last["learning_rate/d"] == 2e-4
    assert bool(list(tmp_path.glob("events.*"))) == (logger == "tensorboard")


def test_tensorboard_has_the_configuration_and_a_handful_of_settings(tmp_path):
    trained(tmp_path, "kimg=0.008")
    events = events_of(tmp_path)
    (text,) = events.Tensors("config.yaml/text_summary")
    told = text.tensor_proto.string_val[0].decode()
    assert "\n".join(line[4:] for line in told.splitlines()) + "\n" == (tmp_path / "config.yaml").read_text()
    content = events.PluginTagToContent(metadata.PLUGIN_NAME)[metadata.SESSION_START_INFO_TAG]
    settings = metadata.parse_session_start_info_plugin_data(content).hparams
    assert settings["model"].string_value == "gan" and settings["rate_g"].number_value == 2e-4
    assert settings["objective"].string_value == "NonSaturating" and 8 <= len(settings) <= 20


@pytest.mark.parametrize("model", ["biggan", "cyclegan", "vae", "classifier", "progan", "pix2pix"])
def test_settings_are_short_whatever_the_model(model):
    made = handful(command.plain(cli.compose("train", [f"model={model}", "run=r"])))
    assert made["model"] == model and 8 <= len(made) <= 22
    assert all(isinstance(value, (int, float, str)) and value != "" for value in made.values())


def test_rates_follow_their_schedule(tmp_path):
    decay = "model.schedule={_target_: genzoo.schedules.LinearDecay, start: 0, end: 80}"
    trained(tmp_path, decay, "kimg=0.08", "logger=none")
    rates = {line["step"]: line["learning_rate/g"] for line in lines_of(tmp_path)}
    assert rates[10] == pytest.approx(2e-4 * (1 - 72 / 80)) and rates[2] == pytest.approx(2e-4 * (1 - 8 / 80))


class Judge(AdversarialModule):
    """Made without its networks, to ask it for a verdict."""

    def __init__(self, objective):
        torch.nn.Module.__init__(self)
        self.objective, self.noted, self.beside = objective, {}, set()


def test_answers_are_probabilities_where_the_objective_has_them():
    real, fake = torch.tensor([0.0, 2.0]), torch.tensor([-1.0, -3.0])
    for objective, answers in {
        losses.NonSaturating(): [real.sigmoid().mean(), fake.sigmoid().mean()],
        losses.Minimax(): [real.sigmoid().mean(), fake.sigmoid().mean()],
        losses.LeastSquares(): [1.0, -2.0],
        losses.Hinge(): [1.0, -2.0],
        losses.Wasserstein(): [1.0, -2.0],
    }.items():
        judge = Judge(objective)
        terms = judge.verdict(real, fake, of="_a")
        assert list(terms) == ["discriminator/real_a", "discriminator/fake_a"]
        assert tuple(terms.values()) == objective.discriminator(real, fake)
        assert list(judge.noted) == ["discriminator/D(real)_a", "discriminator/D(fake)_a"]
        assert [float(value) for value in judge.noted.values()] == pytest.approx([float(a) for a in answers])


def test_notes_are_means_over_all_micro_batches_and_no_terms(tmp_path):
    one, four = (trained(tmp_path / str(n), "kimg=0.016", f"micro_batch={n}") for n in (8, 2))
    for a, b in zip(lines_of(one), lines_of(four), strict=True):
        assert {name: a[name] for name in GAN[:5]} == pytest.approx({name: b[name] for name in GAN[:5]}, rel=1e-4)
        assert 0 < a["discriminator/D(real)"] < 1


def test_a_slow_run_is_reported_by_time(tmp_path, monkeypatch):
    monkeypatch.setattr(Pace, "due", lambda self: True)
    trained(tmp_path, "kimg=0.04", "trainer.log_every_n_steps=50", "logger=none")
    assert [line["step"] for line in lines_of(tmp_path)] == [1, 2, 3, 4, 5]


def test_several_devices_agree_on_what_is_late():
    asked = []
    strategy = SimpleNamespace(reduce_boolean_decision=lambda late, all: asked.append(late) or True)
    trainer = SimpleNamespace(world_size=2, strategy=strategy, global_step=EVERY - 1)
    assert not agreed(trainer, True) and asked == []
    trainer.global_step = EVERY
    assert agreed(trainer, False) and asked == [False]  # late on the other one
    trainer.world_size = 1
    assert agreed(trainer, True) and not agreed(trainer, False) and len(asked) == 1


def test_lines_keep_what_somebody_else_has_written(tmp_path):
    path = tmp_path / "curves.jsonl"
    path.write_text('{"step": 2, "a": 1}\nmy own note\n{"step": 12, "a": 2}\n{"step": 13, "a": 3}\n')
    Lines(tmp_path).begin(12, 0, "")
    assert path.read_text() == '{"step": 2, "a": 1}\nmy own note\n{"step": 12, "a": 2}\n'
    Lines(tmp_path).begin(0, 0, "")
    assert path.read_text() == ""


def test_a_line_that_does_not_fit_leaves_nothing_and_is_told_once(tmp_path, capsys):
    lines = Lines(tmp_path)
    lines.log_metrics({"a": 1.0}, 1)
    before, limit = lines.path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 5, limit[1]))  # a disk with room for half a line
        for step in (2, 3):
            lines.log_metrics({"a": 2.0}, step)
            assert lines.path.read_bytes() == before
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    lines.log_metrics({"a": 4.0}, 4)
    assert [line["step"] for line in lines_of(tmp_path)] == [1, 4]
    told = capsys.readouterr().err
    assert told.count("could not write") == 1 and str(lines.path) in told and "Training goes on" in told


def test_a_folder_that_takes_nothing_ends_no_run(tmp_path, monkeypatch, capfd):
    def full(path, flags):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(records, "own", full)
    (tmp_path / "samples").write_text("a file where a folder should be")
    trained(tmp_path, "kimg=0.04")
    told = capfd.readouterr().err
    assert told.count("No space left on device") == 2 and told.count("could not write") == 3  # json, events, samples
    assert (tmp_path / "step-00000005.ckpt").exists()


def test_nothing_is_written_through_a_link(tmp_path, capsys):
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "curves.jsonl").symlink_to("victim")
    lines = Lines(tmp_path)
    lines.begin(0, 0, "")
    lines.log_metrics({"a": 1.0}, 1)
    assert (tmp_path / "victim").read_text() == "precious"
    assert "curves.jsonl is a link" in capsys.readouterr().err


def test_records_follow_a_folder_that_is_moved():
    lines = Lines("a/run")
    lines.follow(Path("a/run"), Path("b/now"))
    assert lines.path == Path("b/now/curves.jsonl")
    assert records.moved(Path("elsewhere/x"), Path("a"), Path("b")) == Path("elsewhere/x")
