"""What `Fidelity` measures is what a user of best.ckpt would measure, and measuring changes nothing."""

import json
import math
import os

import pytest
import torch
from plain_runs import freeze, train_frozen

import genzoo
from genzoo import cli, hub
from genzoo.callbacks.fidelity import Fidelity
from genzoo.commands import train as command
from genzoo.core.io import AtomicCheckpointIO, newest
from genzoo.data.digits import Digits
from genzoo.data.toys import Ring
from genzoo.metrics.features import RandomFeatures
from genzoo.metrics.fidelity import FID, KID
from genzoo.metrics.manifold import DensityCoverage
from genzoo.metrics.modes import Modes

COMMON = ["logger=jsonl", "accelerator=cpu", "threads=1", "trainer.val_check_interval=4", "callbacks.samples.count=4",
          "callbacks.safeguard.every=4", "callbacks.fidelity.n=500", "callbacks.fidelity.batch_size=70"]  # fmt: skip
IMAGES = ["model=gan", "model.width=8", "batch_size=16", "callbacks=[ema,fidelity]", *COMMON]
POINTS = ["model=gan", "data=ring", "model.width=16", "batch_size=16", "callbacks=fidelity", *COMMON]
VAE = ["model=vae", "data.resolution=16", "model.width=4", "batch_size=16", "callbacks=fidelity", *COMMON]


def network_of_random_weights(path, allow=()):
    assert path == "random"
    return RandomFeatures(1)


@pytest.fixture(autouse=True)
def network(monkeypatch):
    monkeypatch.setattr(hub, "feature_network", network_of_random_weights)


def trained(folder, overrides, kimg=0.192):
    config = cli.compose("train", [*overrides, f"run={folder}", f"kimg={kimg}"])
    assert command.start(config, [])[0] == 0
    return folder


def resumed(folder, kimg):
    typed = [f"resume={folder}", f"kimg={kimg}"]
    assert command.start(cli.compose("train", typed), typed)[0] == 0


def curves_of(folder):
    return [json.loads(line) for line in (folder / "curves.jsonl").read_text().splitlines()]


def logged(folder):
    """The curves' lines with a measurement, by iteration."""
    return {row["step"]: row for row in curves_of(folder) if any(name.startswith("metric/") for name in row)}


def best(folder):
    return torch.load(folder / "best.ckpt", weights_only=True)


def test_images_are_judged_with_the_weights_that_best_holds(tmp_path):
    run = trained(tmp_path, [*IMAGES, "features=random"])
    curves = logged(run)
    assert list(curves) == [4, 8, 12]
    made, store, net = best(run), Digits("test", resolution=32), RandomFeatures(1)
    step = min(curves, key=lambda step: curves[step]["metric/FID[random]"])
    assert made["global_step"] == step and "live" in made
    model = genzoo.load(run, which="best")
    real, fake = store.__getitems__([(i, i) for i in range(len(store))]).x, model.sample(500, seed=0)
    assert len(store) < 500
    fid, kid, surface = FID(net.dim), KID(), DensityCoverage()
    for metric in (fid, kid, surface):
        metric.update(features=net.features(real), real=True)
        metric.update(features=net.features(fake), real=False)
    row = curves[step]
    assert row["metric/FID[random]"] == pytest.approx(fid.compute().item(), rel=1e-4)
    assert row["metric/KID[random]"] == pytest.approx(kid.compute().item(), rel=1e-4)
    assert row["metric/coverage[random]"] == pytest.approx(surface.compute()["coverage"].item(), abs=0.005)
    assert row["images_seen"] == 16 * step


def test_points_are_judged_by_their_modes(tmp_path):
    run = trained(tmp_path, POINTS)
    curves, made, store = logged(run), best(run), Ring("test")
    step = made["global_step"]
    assert "live" in made  # callbacks=fidelity leaves the EMA that the ring's own configuration asks for
    metric = Modes(store.centres, store.sigma)
    metric.update(genzoo.load(run, which="best").sample(500, seed=0))
    for name, value in metric.compute().items():
        assert curves[step][f"metric/{name}"] == pytest.approx(float(value))


def test_more_modes_go_before_more_good_points():
    judge = Fidelity(".")
    judge.points = True
    shown = [(8, 0.9), (8, 0.2), (7, 0.99), (7, 0.1), (0, 0.0)]
    order = [
        judge.worth({"metric/modes_found": torch.tensor(m), "metric/good_share": torch.tensor(g)}) for m, g in shown
    ]
    assert order == sorted(set(order))


def test_a_model_with_a_bound_is_ranked_by_it(tmp_path):
    run = trained(tmp_path, VAE)
    bounds = {row["step"]: row["vae/negative_elbo"] for row in curves_of(run) if "vae/negative_elbo" in row}
    assert list(bounds) == [4, 8, 12] and logged(run) == {}
    assert best(run)["callbacks"]["Fidelity"] == {
        "features": None,
        "score": pytest.approx(min(bounds.values()), rel=1e-6),
    }


def test_measuring_changes_no_weight_and_draws_nothing_from_the_default_generator(tmp_path, monkeypatch):
    measure = Fidelity.on_validation_epoch_end

    def watched(self, trainer, module):
        before = torch.get_rng_state()
        measure(self, trainer, module)
        assert torch.equal(before, torch.get_rng_state())

    monkeypatch.setattr(Fidelity, "on_validation_epoch_end", watched)
    with_it = newest(trained(tmp_path / "with", [*IMAGES, "features=random"]))
    without = newest(trained(tmp_path / "without", [*IMAGES[:-2], "callbacks=ema"]))
    one, other = (torch.load(path, weights_only=True) for path in (with_it, without))
    for part in ("state_dict", "live"):
        assert all(torch.equal(one[part][name], other[part][name]) for name in other[part])
    assert not (tmp_path / "without" / "best.ckpt").exists()


@pytest.fixture
def scores(monkeypatch):
    """Scores of iterations 4, 8, 12 as the test sets them."""
    known = {4: 3.0, 8: 1.0, 12: 2.0}
    monkeypatch.setattr(Fidelity, "worth", lambda self, metrics: known[self.trainer.global_step])
    start = Fidelity.on_fit_start

    def remember(self, trainer, module):
        self.trainer = trainer
        start(self, trainer, module)

    monkeypatch.setattr(Fidelity, "on_fit_start", remember)
    return known


def test_a_resumed_run_knows_the_best_of_the_validation_after_its_last_save(tmp_path, scores):
    """step-8 was saved before that iteration's validation; nothing in it knows of best.ckpt at 8."""
    run = trained(tmp_path, VAE, kimg=0.128)
    assert best(run)["global_step"] == 8
    resumed(run, 0.192)
    assert newest(run).name == "step-00000012.ckpt" and best(run)["global_step"] == 8


def test_a_best_that_could_not_be_written_is_not_remembered_as_one(tmp_path, scores, monkeypatch):
    save = AtomicCheckpointIO.save_checkpoint

    def full(self, checkpoint, path, storage_options=None):
        if checkpoint["global_step"] == 8 and path.name == "best.ckpt":
            self.failed = OSError("disk full")
        else:
            save(self, checkpoint, path, storage_options)

    monkeypatch.setattr(AtomicCheckpointIO, "save_checkpoint", full)
    made = best(trained(tmp_path, VAE))
    assert made["global_step"] == 12 and made["callbacks"]["Fidelity"]["score"] == 2.0


def test_what_cannot_be_judged_is_told_before_training(tmp_path):
    classifier = ["model=classifier", "model.width=4", "batch_size=16", "callbacks=fidelity", *COMMON]
    for number, (overrides, words) in enumerate(
        [
            (IMAGES, "features=<its run>"),
            ([*classifier, "features=random"], "cannot sample; it can classify"),
            ([*IMAGES, "features=random", "data=shapes"], "reads grey images"),
            ([*POINTS, "callbacks.fidelity.n=5"], "6 of each are needed"),
        ]
    ):
        with pytest.raises(ValueError, match=words):
            trained(tmp_path / str(number), overrides)
        assert newest(tmp_path / str(number)) is None


def train(folder):
    """A frozen run in this process, or in one of two."""
    hub.feature_network = network_of_random_weights
    return train_frozen(folder)


@pytest.mark.parametrize("case", [[*IMAGES, "features=random"], POINTS, VAE], ids=["images", "points", "vae"])
def test_two_processes_measure_what_one_measures(ranks, tmp_path, case):
    exact = ["precision=64-true", "kimg=0.192", "callbacks.fidelity.n=333"]  # an odd number: unequal shares
    one, two = (freeze(tmp_path / str(n), [*case, *exact, f"devices={n}"]) for n in (1, 2))
    assert train(one) == 0
    ranks.train(__file__, two)
    assert [best(run)["genzoo"]["machine"]["processes"] for run in (one, two)] == [1, 2]
    assert best(one)["global_step"] == best(two)["global_step"]
    assert best(one)["callbacks"]["Fidelity"]["score"] == pytest.approx(
        best(two)["callbacks"]["Fidelity"]["score"], rel=1e-8
    )
    rows, others = logged(one), logged(two)
    for step, row in rows.items():
        for name in (name for name in row if name.startswith("metric/")):
            assert row[name] == pytest.approx(others[step][name], rel=1e-8), name


def test_only_a_sound_best_checkpoint_is_believed(tmp_path):
    judge, file = Fidelity(tmp_path), tmp_path / "best.ckpt"
    notes = {"callbacks": {"Fidelity": {"features": None, "score": 1.5}}, "genzoo": {"config": {}}}
    torch.save({**notes, "state_dict": {"w": torch.arange(1000)}}, file)
    assert judge.noted() == 1.5
    whole = file.read_bytes()
    place = whole.index(torch.arange(500, 510).numpy().tobytes())
    file.write_bytes(whole[:place] + b"\xff" + whole[place + 1 :])
    assert judge.noted() == math.inf  # its checksum says so
    file.unlink()
    os.mkfifo(file)
    assert judge.noted() == math.inf  # and nobody waits for it
