"""Real files of other projects, and files in their form: read by their keys alone, or refused in a line."""

import numpy
import pytest
import torch

from genzoo import cli, convert, hub


def normal(seed, *shape):
    return torch.from_numpy(numpy.random.RandomState(seed).standard_normal(shape)).float()


def filled(shapes):
    """Weights by the rule under which the sources' untrained networks were measured (Tolerance 2e-4)."""
    state = {}
    for i, (name, shape) in enumerate(shapes.items()):
        a = numpy.random.RandomState(i).standard_normal(shape)
        if name.endswith("running_var"):
            a = 1 + 0.25 * numpy.tanh(a)
        elif name.endswith("weight") and len(shape) > 1:
            a = 1.4 * a / numpy.sqrt(a.size / shape[0])
        else:
            a = 1 + 0.1 * a if name.endswith("weight") else 0.1 * a
        state[name] = torch.from_numpy(numpy.asarray(a)).float()
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(0)
    return state


def batch_norm(name, width):
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": (width,) for part in parts} | {f"{name}.num_batches_tracked": ()}


def generator(dim, width, channels, last):
    """Names and shapes of a DCGAN generator, whose last kernel has 4 pixels (64 px) or one (28 and 32 px)."""
    widths = [dim, 8 * width, 4 * width, 2 * width, width]
    shapes = {}
    for i in range(4):
        shapes[f"main.{3 * i}.weight"] = (widths[i], widths[i + 1], 4, 4)
        shapes |= batch_norm(f"main.{3 * i + 1}", widths[i + 1])
    return shapes | {"main.12.weight": (width, channels, last, last)}


def critic(width, channels, places, last):
    shapes, inputs = {}, channels
    for number, place in enumerate(places[:-1]):
        shapes[f"main.{place}.weight"] = (width * 2**number, inputs, 4, 4)
        inputs = width * 2**number
        shapes |= batch_norm(f"main.{place + 1}", inputs) if number else {}
    return shapes | {f"main.{places[-1]}.weight": (1, inputs, last, last)}


def loaded(tmp_path, state):
    torch.save(state, tmp_path / "theirs.pth")
    return hub.load(tmp_path / "theirs.pth")


@pytest.mark.parametrize(
    ("channels", "last", "size", "mean", "std", "first"),
    [
        (3, 4, 64, -0.002877, 0.155351, [-0.00256, -0.08553, -0.01156, -0.03387]),
        (1, 1, 28, -0.331158, 0.301419, [-0.11710, -0.41269, -0.20686, -0.45506]),
        (3, 1, 32, 0.208956, 0.206970, [0.18702, 0.30432, 0.17303, 0.32023]),
    ],
)
def test_untrained_generators(tmp_path, channels, last, size, mean, std, first):
    images = loaded(tmp_path, filled(generator(20, 8, channels, last))).generate(normal(12345, 4, 20))
    assert images.shape == (4, channels, size, size)
    assert [images.mean().item(), images.std().item()] == pytest.approx([mean, std], abs=2e-4)
    assert images.flatten()[:4].tolist() == pytest.approx(first, abs=2e-4)


def test_untrained_discriminator_of_64_pixels(tmp_path):
    model = loaded(tmp_path, filled(critic(8, 3, (0, 2, 5, 8, 11), 4)))
    images = normal(54321, 4, 3, 64, 64).tanh()
    found = model.discriminator(images).sigmoid().tolist()
    assert found == pytest.approx([0.32590, 0.24091, 0.28769, 0.17388], abs=2e-4)


def test_a_discriminator_of_32_pixels_ends_in_one_logit(tmp_path):
    model = loaded(tmp_path, filled(critic(4, 3, (0, 2, 5, 8, 11), 2)))
    assert model.discriminator(torch.zeros(5, 3, 32, 32)).shape == (5,)


@pytest.fixture(scope="module")
def files(shared):
    return shared / "data/checkpoints"


def test_published_discriminators(files):
    images = hub.load(files / "csinva/mnist_gan_mlp_G--300.ckpt").generate(normal(12345, 4, 64))
    assert images[0].flatten()[400:406].tolist() == pytest.approx(
        [-0.797110, -0.993185, -0.411159, 0.740924, -0.048373, 0.818963], abs=1e-4
    )
    for name, known in {
        "mnist_gan_mlp_D--300.ckpt": [0.999368, 0.078564, 0.227855, 0.339673],
        "mnist_dcgan_netD_epoch_99.pth": [0.002455, 0.797316, 0.358549, 0.096349],
    }.items():
        found = hub.load(files / "csinva" / name).discriminator(images).sigmoid().tolist()
        assert found == pytest.approx(known, abs=1e-4)


def test_published_vae(files):
    model = hub.load(files / "csinva/mnist_vae_epoch_25.pth")
    images = (model.generate(normal(12345, 4, 20)) + 1) / 2
    assert images.mean((1, 2, 3)).tolist() == pytest.approx([0.183032, 0.111110, 0.096400, 0.068693], abs=1e-4)
    mean, log_var = model.encoder((normal(54321, 4, 784).tanh().view(4, 1, 28, 28) + 1) / 2)
    assert mean[0, :4].tolist() == pytest.approx([-0.04435, 2.78799, -0.98283, -1.69483], abs=1e-4)
    assert log_var[0, :4].tolist() == pytest.approx([-5.82555, -6.00702, -6.76894, -3.86229], abs=1e-4)


def test_published_svhn_generator(files):
    model = hub.load(files / "dcgan_svhn/dcgan_svhn_G.pth")
    torch.manual_seed(0)
    images = model.generate(torch.randn(64, 100))
    assert [images.mean().item(), images.std().item()] == pytest.approx([-0.0828, 0.2394], abs=1e-4)


def test_published_bounds_on_the_test_digits(files, shared, tmp_path):
    """Burgess' VAE: the first 1,000 test digits, Pillow's bilinear to 32, at the mean; the MLP's: all, with one draw."""
    from genzoo.core.random import generator as seeded
    from genzoo.data.mnist import MNIST

    small, large = (MNIST("test", root=shared / "data", resolution=side) for side in (28, 32))
    x = small.__getitems__([(i, i) for i in range(10_000)]).x
    noise = torch.randn(10_000, 20, generator=seeded("bound"))
    with torch.no_grad():
        model = hub.load(files / "csinva/mnist_vae_epoch_25.pth")
        error, kl = model.bound(x, noise)
        assert error.mean().item() == pytest.approx(77.5, abs=0.15) and kl.mean().item() == pytest.approx(
            25.75, abs=0.01
        )
        model, x = (
            hub.load(files / "disentangling-vae/VAE_mnist.pt"),
            large.__getitems__([(i, i) for i in range(1000)]).x,
        )
        error, kl = model.bound(x, torch.zeros(1000, 10))
        squared = ((model.reconstruct(x) - x) / 2).square().mean()
    assert error.mean().item() == pytest.approx(116.3, abs=0.1) and kl.mean().item() == pytest.approx(19.4, abs=0.05)
    assert squared.item() == pytest.approx(0.0065, abs=1e-4)


def test_generator_and_discriminator_come_together(files, tmp_path, capsys):
    pair = ",".join(str(files / f"csinva/mnist_gan_mlp_{letter}--300.ckpt") for letter in "DG")
    assert cli.run("convert", [f"src=[{pair}]", f"out={tmp_path}/gan"]) == 0
    told = capsys.readouterr().out
    assert "generator: latent_dim 64, channels 1, resolution 28, width 256, depth 2 (283,920 parameters)" in told
    assert f"genzoo sample ckpt={tmp_path}/gan" in told
    model = hub.load(tmp_path / "gan")
    assert model.prior.dim == 64 and model.discriminator(model.sample(2, seed=0)).shape == (2,)
    card = (tmp_path / "gan/README.md").read_text()
    assert "Converted" in card and "csinva/gan-vae-pretrained-pytorch" in card
    assert cli.run("sample", [f"ckpt={tmp_path}/gan", "n=4", f"out={tmp_path}/four.png"]) == 0


def test_what_is_not_in_the_file_is_told(tmp_path, capsys):
    torch.save(filled(critic(4, 1, (0, 2, 5, 8), 4)), tmp_path / "d.pth")
    assert cli.run("convert", [f"src={tmp_path}/d.pth", f"out={tmp_path}/d"]) == 0
    assert "generator: not in the file" in (told := capsys.readouterr().out) and "genzoo sample" not in told
    assert cli.run("sample", [f"ckpt={tmp_path}/d"]) == 1
    assert "held no generator" in capsys.readouterr().err


def test_wrappings_are_taken_off_and_old_files_filled_in(tmp_path):
    state = filled(generator(6, 2, 3, 4))
    old = {f"module.{key}": value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    model = loaded(tmp_path, {"state_dict": old, "epoch": 3})
    assert (
        torch.equal(model.generator[1].weight, state["main.0.weight"]) and model.generator[2].num_batches_tracked == 0
    )


BAD = {
    "left over": (lambda s: s | {"extra.weight": torch.zeros(2)}, "more than this kind of network has: extra.weight"),
    "missing": (
        lambda s: {k: v for k, v in s.items() if k != "main.4.bias"},
        "does not fit.*Missing.*generator.5.bias",
    ),
    "unknown": (lambda s: {"stem.weight": torch.zeros(1)}, "no known source.*'stem.weight'"),
    "two generators": (None, "no parts of one model"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_converted_is_told(tmp_path, case, capsys):
    change, message = BAD[case]
    state = filled(generator(6, 2, 3, 4))
    torch.save(change(state) if change else state, tmp_path / "x.pth")
    paths = [tmp_path / "x.pth"] * (1 if change else 2)
    with pytest.raises(ValueError, match=message):
        hub.load_foreign(paths)


def test_a_named_source_is_taken_at_its_word(tmp_path):
    state = filled(generator(6, 2, 3, 4))
    assert convert.read(state, source="examples")[2] == "pytorch/examples"
    with pytest.raises(ValueError, match="files can be read from: csinva"):
        convert.read(state, source="csinva")
    with pytest.raises(ValueError, match="source=nowhere: auto, or one of examples, csinva"):
        convert.read(state, source="nowhere")
