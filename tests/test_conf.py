"""Every configuration composes, and every model builds with a data set that fits it, without a byte of weights."""

from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from genzoo import cli, hub, words
from genzoo.commands import train as command
from genzoo.fit import built

CONF = Path(__file__).parents[1] / "conf"


def stems(group):
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def model_of(*overrides):
    config = command.plain(cli.compose("train", [*overrides, "run=nowhere"]))
    with torch.device("meta"):
        return hub.build(built(config["model"]))  # held to the list for files: a checkpoint can be read back


DOUBLING = ("biggan", "biggan_deep", "progan")  # made of powers of two


@pytest.mark.parametrize("model", stems("model"))
@pytest.mark.parametrize("resolution", [28, 32, 64, 128])
def test_every_model_builds_at_every_size(model, resolution):
    if model in DOUBLING and resolution == 28:
        with pytest.raises(ValueError, match=r"data.resolution=28: .*32"):
            model_of(f"model={model}", f"data.resolution={resolution}")
        return
    assert sum(p.numel() for p in model_of(f"model={model}", f"data.resolution={resolution}").parameters()) > 0


@pytest.mark.parametrize("data", stems("data"))
def test_every_data_set_composes_and_sizes_a_model(data):
    config = cli.compose("train", ["model=gan", f"data={data}", "run=nowhere"])
    assert config.data.name == data and config.model.generator.channels == config.data.channels


@pytest.mark.parametrize("objective", stems("objective"))
@pytest.mark.parametrize("name", ["gan", "dcgan", "progan", "biggan", "biggan_deep"])
def test_every_objective_fits_every_adversarial_model(name, objective):
    model = model_of(f"model={name}", f"objective={objective}")
    player = model.parameters_of("d")
    optimizer = model.make_optimizers["d"]([torch.nn.Parameter(torch.zeros(1))])
    assert player and optimizer.param_groups[0]["lr"] > 0
    wasserstein = objective in ("wasserstein", "wgan_gp")
    assert len(model.turns) == (5 if wasserstein else 2 if "biggan" in name else 1)


@pytest.mark.parametrize("experiment", stems("experiment"))
def test_every_experiment_composes(experiment):
    assert cli.compose("train", [f"experiment={experiment}", "run=nowhere"]).model._target_


def test_a_schedule_is_said_in_a_word():
    model = model_of("model=dcgan", "model.schedule={_target_: genzoo.schedules.LinearDecay, start: 100, end: 300}")
    assert (model.schedule(100), model.schedule(200)) == (1, 0.5) and model_of("model=dcgan").schedule(10**9) == 1


def test_rmsprop_gets_rid_of_adams_keys():
    make = model_of("objective=wasserstein").make_optimizers["d"]
    assert make.func is torch.optim.RMSprop and "betas" not in make.keywords


def test_every_file_says_in_one_line_what_it_is():
    for path in CONF.glob("*/*.yaml"):
        lines = [line for line in path.read_text().splitlines() if not line.startswith("# @package")]
        assert lines[0].startswith("# "), path


def test_the_tuned_pair_yields_to_the_user():
    tuned = cli.compose("train", ["model=gan", "data=ring"])
    plain = cli.compose("train", ["model=gan", "data=ring", "model.penalties=[]", "batch_size=32"])
    assert tuned.model.penalties[0].gamma == 0.1 and tuned.batch_size == 256
    assert plain.model.penalties == [] and plain.batch_size == 32


def leaves(node, where=""):
    """Every key of a configuration that holds a value, by its full name."""
    for name, value in node.items():
        key = f"{where}.{name}" if where else name
        if isinstance(value, dict) and value:
            yield from leaves(value, key)
        else:
            yield key, value


def test_every_key_can_be_typed_with_its_own_default():
    """As a keyword of Python and in a shell; interpolations too."""
    seen = set()
    for path in sorted(CONF.glob("*/*.yaml")):
        node = OmegaConf.to_container(OmegaConf.load(path))
        node.pop("defaults", None)
        whole = "@package _global_" in path.read_text()
        for key, value in leaves(node if whole else {path.parent.name: node}):
            word = words.said(key, value)
            if word not in seen:
                seen.add(word)
                assert words.read(word) == value, word
    assert len(seen) > 300


DOCUMENTED = {  # by comments, docstrings and other files of conf/
    "biggan": ["data=cifar10", "model.generator.shared=0", "model.generator.hierarchical=false", "model.orthogonal=5e-5",
               "model.generator.attention=[]", "model.generator.init=normal", "callbacks.ema.buffers=average"],
    "biggan_deep": ["model.classes=null", "callbacks=[ema,standing]", "callbacks.standing.truncation=0.5"],
    "gan": ["~model.generator.init", "callbacks.safeguard.minutes=0.5", "callbacks.safeguard.keep=all", "data.classes=null",
            "model.penalties=[{_target_: genzoo.losses.R1, gamma: 1}]", "~callbacks.samples", "model.clip=null"],
    "gan_2014": ["model.generator.init=null", "model.optimizers.d.momentum=0.7", "model.prior.bound=1"],
    "dcgan": ["objective=wgan_gp", "model.discriminator.norm=layer", "augment=diff_augment", "callbacks.samples=null",
              "model.schedule={_target_: genzoo.schedules.LinearDecay, start: 1000, end: 9000}"],
    "vae": ["model.likelihood=gaussian", "model.sigma=0.1", "model.encoder.hidden=[]", "model.beta=0"],
    "cyclegan": ["data=unpaired", "model.generator.b._target_=genzoo.nets.translators.UNet", "model.generator.b.depth=4",
                 "model.cycle={a: 10, b: 0}", "model.adversarial=1.0", "model.pool=0", "data.load=286"],
    "pix2pix": ["data=paired", "model.to=a", "model.inference_norm=running", "data.resize=scale", "data.load=70",
                "model.generator._target_=genzoo.nets.translators.ResNet"],
    "progan": ["data=packed", "model.classes=${data.classes}", "data.growth=${model.growth}", "data.classes=10",
               "data.channels=3", "data.resolution=64",
               "model.discriminator.group=0", "batch_size={_target_: genzoo.schedules.PerStage, "
               "growth: '${model.growth}', values: [16, 8]}"],
    "classifier": ["data=folder", "data.classes=5", "data.labels=list.csv", "data.attributes=[Smiling]"],
}  # fmt: skip


@pytest.mark.parametrize("model", DOCUMENTED)
def test_what_is_documented_is_accepted(model):
    typed = words.overrides([f"model={model}", *DOCUMENTED[model], "run=x"], cli.hints_of("train"))
    config = command.plain(cli.compose("train", typed))
    for part, node in {"model": built(config["model"]), **{p: config[p] for p in ("data", "callbacks")}}.items():
        hub.check(node, None, part)
