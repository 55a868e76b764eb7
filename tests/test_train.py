"""What a run leaves in its folder, and a folder that was moved."""

import json
import os
import shutil
import threading

import pytest
import pytorch_lightning as pl
import torch

import genzoo
from genzoo import cli, images
from genzoo.commands import train as command
from genzoo.core.folder import Lock

TINY = ["model=gan", "model.width=4", "batch_size=8", "trainer.log_every_n_steps=2", "trainer.val_check_interval=4"]


def trained(*words):
    assert command.start(cli.compose("train", [*TINY, *words]), [*words])[0] == 0


def test_a_run_folder_holds_what_the_readme_says_and_nothing_else(tmp_path):
    trained("kimg=0.032", f"run={tmp_path}")
    found = {path.name for path in tmp_path.iterdir()}
    assert len([name for name in found if name.startswith("events.out.tfevents.")]) == 1
    found = {name for name in found if not name.startswith("events.")}
    assert found == {".lock", "config.yaml", "curves.jsonl", "samples", "step-00000004.ckpt"}


def test_the_last_lines_name_only_what_is_there(tmp_path, capfd):
    trained("kimg=0.032", f"run={tmp_path}/a")
    assert f"look   {tmp_path}/a/samples, tensorboard --logdir {tmp_path}/a\n" in capfd.readouterr().err
    trained("kimg=0.032", f"run={tmp_path}/b", "logger=none")
    assert f"look   {tmp_path}/b/samples\n" in capfd.readouterr().err


def test_a_small_batch_still_gives_a_sheet_of_64_samples(tmp_path):
    trained("data=digits", "kimg=0.032", f"run={tmp_path}", "logger=none")
    sheet = max((tmp_path / "samples").glob("samples-*.png"))
    _, height, width = images.read_image(sheet).shape
    assert width == 8 * 34 + 2 < height < 8 * 34 + 50  # a title stands above


def test_a_run_whose_folder_was_moved_goes_on_where_it_is_now(tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path)
    trained("kimg=0.032", "run=here", "logger=jsonl")
    shutil.move("here", "there/now")
    os.chdir("there")
    words = ["resume=now", "kimg=0.064"]
    assert command.start(cli.compose("train", words), words)[0] == 0
    assert {path.name for path in (tmp_path / "there").iterdir()} == {"now"}
    assert genzoo.load("now").images_seen == 64
    assert sorted(path.name for path in (tmp_path / "there/now/samples").iterdir())[-1].endswith("00000008.png")


def test_lines_of_json_count_as_the_checkpoints_do_and_go_on_after_a_stop(tmp_path):
    trained("kimg=0.032", f"run={tmp_path}", "logger=jsonl")
    words = [f"resume={tmp_path}", "kimg=0.064"]
    assert command.start(cli.compose("train", words), words)[0] == 0
    lines = [json.loads(line) for line in (tmp_path / "curves.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 4, 6, 8]
    assert [line["images_seen"] for line in lines] == [8, 16, 32, 48, 64]
    assert all({"discriminator/real", "generator/adversarial"} <= line.keys() for line in lines)


def test_a_run_is_not_overwritten_by_another_and_a_bad_resume_leaves_it_good(tmp_path):
    trained("kimg=0.032", f"run={tmp_path}")
    before = (tmp_path / "config.yaml").read_text()
    with pytest.raises(ValueError, match="resume="):
        trained("kimg=0.064", f"run={tmp_path}", "model.width=8")
    assert (tmp_path / "config.yaml").read_text() == before
    words = [f"resume={tmp_path}", "kimg=0.064", "features=nothing"]
    with pytest.raises(ValueError, match="callbacks=fidelity"):
        command.start(cli.compose("train", words), words)
    assert (tmp_path / "config.yaml").read_text() == before


def test_a_run_that_is_going_on_keeps_its_configuration(tmp_path):
    trained("kimg=0.032", f"run={tmp_path}")
    lock, before = Lock(tmp_path), (tmp_path / "config.yaml").read_text()
    words = [f"resume={tmp_path}", "kimg=0.064"]
    with pytest.raises(BlockingIOError, match="in use by another run"):
        command.start(cli.compose("train", words), words)
    lock.release()
    assert (tmp_path / "config.yaml").read_text() == before


def test_a_run_in_a_thread_beside_stray_variables_is_like_any_other(tmp_path, monkeypatch, capsys):
    of_launchers = {"RANK": "1", "LOCAL_RANK": "x", "MASTER_PORT": "x", "NODE_RANK": "7"}
    of_lightning = {"PL_TRAINER_FAST_DEV_RUN": "1", "PL_TRAINER_MAX_TIME": "00:00:00:00", "PL_SEED_WORKERS": "x"}
    for name, value in (of_launchers | of_lightning).items():
        monkeypatch.setenv(name, value)
    thread = threading.Thread(target=lambda: trained("kimg=0.032", f"run={tmp_path}", "logger=jsonl"))
    thread.start()
    thread.join()
    assert genzoo.load(tmp_path).images_seen == 32
    found = {path.name for path in tmp_path.iterdir()}
    assert found == {".lock", "config.yaml", "curves.jsonl", "samples", "step-00000004.ckpt"}
    said = capsys.readouterr().err
    assert all(
        said.count(word) == 1 for word in ("RANK=1, LOCAL_RANK=x", "FAST_DEV_RUN", "MAX_TIME", "PL_SEED_WORKERS")
    )
    assert os.environ["PL_TRAINER_FAST_DEV_RUN"] == "1"


@pytest.mark.parametrize(
    ("words", "named"),
    [(["threads=1000000"], "threads=1000000"), (["devices=5000"], "devices=5000")],
)
def test_more_than_the_machine_can_bear_is_refused_before_anything_is_made(tmp_path, words, named):
    with pytest.raises(ValueError, match=rf"{named}: .*at most \d+ .*cores") as refused:
        trained(*words, "batch_size=20000", f"run={tmp_path}/r")
    assert "\n" not in str(refused.value) and not (tmp_path / "r").exists()


def loader(*tensors, size=8):
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*tensors), size)


def fitted(model, data):
    options = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    pl.Trainer(max_steps=2, accelerator="cpu", **options).fit(model.requires_grad_(True).train(), data)


def test_a_model_trains_in_a_trainer_of_ones_own_or_says_what_a_batch_must_be(tmp_path):
    trained("data=digits", "data.resolution=8", "kimg=0.008", f"run={tmp_path}", "logger=none")
    model = genzoo.load(tmp_path)
    x, y = torch.rand(16, 1, 8, 8) * 2 - 1, torch.zeros(16, dtype=torch.long)
    before = model.generator.state_dict()["0.weight"].clone() if "0.weight" in model.generator.state_dict() else None
    fitted(model, loader(x, y))
    assert model.images_seen == 8 + 16
    assert before is None or not torch.equal(before, model.generator.state_dict()["0.weight"])
    for data in (loader(x), loader(x, y, y), loader(y, y), [{"x": x, "y": y}], [x], [(x, y[:3])]):
        with pytest.raises(ValueError, match=r"learns from \(x, y\).*\n.*\[-1, 1\]"):
            fitted(model, data)


def test_what_a_notebook_has_made_torchs_defaults_changes_nothing(tmp_path):
    words = [*TINY, "data=digits", "data.resolution=8", "kimg=0.008", "logger=none", "accelerator=cpu"]
    plain = genzoo.train(*words, run=tmp_path / "plain")
    torch.set_default_dtype(torch.float64)
    try:
        with torch.inference_mode(), torch.device("meta"):
            other = genzoo.train(*words, run=tmp_path / "other")
    finally:
        torch.set_default_dtype(torch.float32)
    for name, value in plain.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]) and value.dtype == other.state_dict()[name].dtype, name


def test_a_short_run_has_a_line_at_once_and_one_at_the_end_with_what_each_player_minimises(tmp_path, capfd):
    trained("kimg=0.24", f"run={tmp_path}", "logger=none", "trainer.log_every_n_steps=50")
    first, last = (json.loads(line) for line in (tmp_path / "curves.jsonl").read_text().splitlines())
    shown = [line for line in capfd.readouterr().err.splitlines() if "images/s" in line]
    assert [line.split()[0] for line in shown] == ["3%", "100%"] and "8/240 images" in shown[0]
    for line, found in zip(shown, (first, last)):
        d = found["discriminator/real"] + found["discriminator/fake"]
        assert line.endswith(f"D {d:.3g}  G {found['generator/adversarial']:.3g}")
