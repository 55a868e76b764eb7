"""Tiles that share their statistics make the whole picture; tiles that do not, do not."""

import pytest
import torch
from torch import nn

from genzoo import tiles
from genzoo.nets.translators import ResNet, UNet


def network(kind="resnet"):
    torch.manual_seed(0)
    made = ResNet(3, 3, 64, width=4, depth=3) if kind == "resnet" else UNet(3, 3, 64, width=4, depth=3, norm="instance")
    for part in made.modules():
        if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(part.weight)  # N(0, 0.02) leaves nearly nothing of so narrow a network's picture
    return made.eval().requires_grad_(False)


def norms_of(made):
    return [part for part in made.modules() if isinstance(part, nn.InstanceNorm2d)]


def picture(h, w):
    """Colours that change over the picture, so that the statistics of its parts differ."""
    y, x = torch.linspace(-1, 1, h)[:, None], torch.linspace(-1, 1, w)[None]
    torch.manual_seed(1)
    base = torch.stack([x.expand(h, w), y.expand(h, w), -x * y])
    return (0.7 * base + 0.3 * (2 * torch.rand(3, h, w) - 1))[None]


@pytest.mark.parametrize("shape", [(640, 512), (480, 640), (512, 512)])
def test_tiles_with_shared_statistics_make_the_whole_picture(shape):
    made, x = network(), picture(*shape)
    whole = made(x)
    seen = []
    parts = tiles.tiled(made, norms_of(made), x, 496, 4, lambda i, n: seen.append((i, n)))
    assert parts.shape == whole.shape and (parts - whole).abs().mean() < 0.05 * whole.std()
    assert seen == [(i + 1, len(seen)) for i in range(len(seen))] and len(seen) > 1
    assert torch.equal(made(x), whole)  # the layers work as before


@pytest.mark.parametrize("shape", [(300, 2000), (900, 900)])
def test_a_part_of_the_picture_stands_for_it(shape):
    """Of these a third is seen; pieces that lean on the borders meet the statistics half as well."""
    made, x = network(), picture(*shape)
    whole = made(x)
    assert (tiles.tiled(made, norms_of(made), x, 496, 4) - whole).abs().mean() < 0.08 * whole.std()


def test_pieces_stand_around_the_middle():
    for h, w, side, multiple in [(300, 2000, 496, 4), (900, 900, 496, 4), (1024, 3072, 512, 256)]:
        for place, length in zip(zip(*tiles.sample(h, w, side, multiple)), (h, w)):
            middles = [(part.start + part.stop) / 2 for part in place]
            assert sum(middles) / len(middles) == pytest.approx(length / 2, abs=multiple)


def test_tiles_of_a_deep_unet_overlap():
    made, x = UNet(3, 3, 256, width=1, norm="none").requires_grad_(False), picture(256, 2048)
    assert tiles.tiled(made, [], x, 512, 256).isfinite().all()


def test_without_sharing_the_tiles_come_out_in_colours_of_their_own():
    made, x = network(), picture(640, 512)
    whole = made(x)
    parts = tiles.tiled(made, [], x, 384, 4)
    assert (parts - whole).abs().mean() > 0.1 * whole.std()


def test_a_network_that_looks_at_no_whole_picture_is_tiled_exactly():
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv2d(3, 8, 7, padding=3), nn.ReLU(), nn.Conv2d(8, 3, 7, padding=3)).requires_grad_(False)
    x = picture(700, 500)
    assert torch.allclose(tiles.tiled(made, [], x, 400, 4), made(x), atol=1e-5)


def test_statistics_count_every_pixel_once(monkeypatch):
    """Of pieces that cover the picture, here one strip twice, they are those of the whole picture."""
    layer, x = nn.InstanceNorm2d(3), picture(480, 440)
    side, multiple = 336, 4
    pieces = tiles.sample(480, 440, side, multiple)
    assert sum((y.stop - y.start) * (x.stop - x.start) for y, x in pieces) <= side**2
    monkeypatch.setattr(
        tiles,
        "sample",
        lambda *_: [(slice(0, 240), slice(0, 440)), (slice(200, 440), slice(0, 440)), (slice(240, 480), slice(0, 440))],
    )
    assert torch.allclose(tiles.tiled(layer, [layer], x, side, multiple), layer(x), atol=1e-4)


def test_places_cover_the_picture_at_multiples():
    cases = [(4000, 700, 4), (1024, 512, 4), (512, 512, 4), (300, 512, 4), (516, 512, 4), (2048, 768, 256)]
    for length, side, multiple in [*cases, (2048, 512, 256)]:
        found = tiles.places(length, side, multiple)
        assert found[0] == 0 and found[-1] == max(length - side, 0) and all(place % multiple == 0 for place in found)
        assert all(b - a <= side - 2 * tiles.MARGIN for a, b in zip(found, found[1:]))


def test_memory_decides_about_the_side():
    need = tiles.appetite(network(), 3)
    assert need > 2 * 4 * 4  # of the first layer alone: input and output of 4 channels in float32, and more is held
    side = tiles.side_of(1e9, need, 4)
    assert side % 4 == 0 and need * side**2 <= 1e9 < need * (side + 4) ** 2
    with pytest.raises(ValueError, match=r"memory=0.001GB is too little .* say .*GB or more"):
        tiles.side_of(1e6, need, 4)


def test_the_appetite_follows_the_width():
    wide = ResNet(3, 3, 64, width=8, depth=3).eval()
    assert tiles.appetite(wide, 3) == pytest.approx(2 * tiles.appetite(network(), 3), rel=0.2)


@pytest.mark.parametrize("upsample", ["deconv", "nearest", "bilinear"])
@pytest.mark.parametrize("shape", [(240, 332), (72, 700)])
def test_stages_make_exactly_the_whole_picture(shape, upsample):
    torch.manual_seed(0)
    made = ResNet(3, 2, 64, width=4, depth=2, upsample=upsample).double().eval().requires_grad_(False)
    x, seen = picture(*shape).double(), []
    parts = tiles.staged(made.stages, norms_of(made), x, 64, lambda i, n: seen.append((i, n)))
    assert torch.allclose(parts, nn.Sequential(*made)(x), atol=1e-10)  # a ResNet answers in float32
    assert seen == [(i, 7) for i in range(1, 8)]


def test_stages_keep_the_affine_part_of_a_norm():
    torch.manual_seed(0)
    made = ResNet(3, 3, 64, width=4, depth=1, norm="batch").double().train().requires_grad_(False)
    norms = [part for part in made.modules() if isinstance(part, nn.BatchNorm2d)]
    for norm in norms:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    x = picture(160, 200).double()
    assert torch.allclose(tiles.staged(made.stages, norms, x, 64), nn.Sequential(*made)(x), atol=1e-10)
