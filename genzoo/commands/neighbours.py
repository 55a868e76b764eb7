"""The training images nearest to samples: whether a model does more than remember."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from genzoo.commands.drawing import Drawing, classes, drawn, generate, opened_to_draw
from genzoo.commands.evaluate import batches, data_of
from genzoo.commands.outputs import prepared, writable
from genzoo.commands.train import key
from genzoo.limits import Count, Place


@dataclass
class Keys(Drawing):
    command: str = "neighbours"
    data: Any = None
    n: Count = key(10, "samples, one in each row")
    nearest: Count = key(5, "training images beside each")
    features: Place | None = key(None, "a network that judges nearness too, as in genzoo evaluate")
    batch_size: Count = key(250, "images in memory at once")
    out: Place = key("neighbours.png", "a .png sheet")


def run(config: Any) -> int:
    """Write the sheet and say how near samples are, beside how near test images are; the exit code."""
    model = opened_to_draw(config)

    import torch

    from genzoo import hub, images

    data = data_of(config, model)
    out = writable(config, (".png",), noted=data.source)
    z, y = drawn(model, config, config.n), classes(model, config, config.n)
    samples = generate(model, z, config.batch_size, y)
    if samples.dim() == 2:
        raise ValueError("points have no pictures to lay side by side: genzoo evaluate counts their modes")
    if samples.shape[2] != data.resolution:
        raise ValueError(
            f"{config.ckpt} makes images of {samples.shape[2]} pixels: say data.resolution={samples.shape[2]}"
        )
    train, test = data.store_of("train"), data.store_of("test")
    held = test.__getitems__([(i, i) for i in range(min(len(test), config.n))]).x
    ways = {"pixels": lambda x: x.flatten(1)}
    if config.features:
        net = hub.feature_network(config.features, config.device, config.allow)
        ways[net.name] = lambda x: net(x.to(config.device))["features"].cpu()
    columns = [samples]
    with torch.no_grad():
        for name, look in ways.items():
            indices, near, usual = compared(look, samples, held, train, config)
            found = [train.__getitems__([(i, i) for i in row]).x for row in indices.T.tolist()]
            columns += found
            print(
                f"{name}: nearest training image at {near:.3g} from a sample, at {usual:.3g} from a test image (medians)"
            )
    sheet = torch.stack(columns, dim=1).flatten(0, 1)
    captions = [("sample", 1), *((f"by {name}", config.nearest) for name in ways)]
    beside = ", ".join(f"the {config.nearest} training images nearest by {name}" for name in ways)
    title = f"each row: a sample, {beside}"
    legend = images.legend(images.grid(sheet, columns=len(columns)), title, captions)
    images.save_png(prepared(out), legend)
    print(f"made   {out} (each row: a sample, then {' and '.join(f'{config.nearest} by {name}' for name in ways)})")
    return 0


def compared(look: Any, samples: Any, held: Any, train: Any, config: Any) -> tuple[Any, float, float]:
    """Indices (n, nearest) of the training images nearest to samples, and the median distances to samples and test images."""
    from genzoo import latents

    def known() -> Iterator[Any]:
        return (look(batch.x.cpu()) for batch in batches(train, config))

    indices, near = latents.nearest(look(samples), known(), config.nearest)
    _, usual = latents.nearest(look(held), known(), 1)
    return indices, near[:, 0].median().item(), usual.median().item()
