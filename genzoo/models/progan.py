"""Progressive GAN. Tero Karras, Timo Aila, Samuli Laine, Jaakko Lehtinen, Progressive Growing of GANs for Improved
Quality, Stability, and Variation, ICLR 2018.

Both networks begin at 4x4 pixels and double, each new block fading in beside the old picture (figure 2); the real
images are averaged down and faded alike. Equalised learning rate and pixel normalisation keep the game in balance
(section 4), a channel of minibatch deviation keeps variety (section 3), the loss is WGAN-GP with a small drift term
(appendix A.1). Both networks have their full depth from the start: stage and fade are arguments, and functions of the
images seen. The average of the generator is taken once per iteration, after its step instead of before it.
"""

import functools
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, cross_entropy, interpolate, leaky_relu, one_hot

from genzoo.core.module import AdversarialModule, Terms
from genzoo.core.roles import LatentSampler
from genzoo.limits import Count, Natural, Weight
from genzoo.losses import full
from genzoo.nets.equalized import GAIN, EqualizedConv2d, EqualizedLinear, minibatch_deviation, pixel_norm
from genzoo.priors import Prior
from genzoo.schedules import Growth, Schedule


def feature_maps(resolution: int, width: int, fmap_base: int) -> list[int]:
    """Channels of each stage from 4x4 on: fmap_base / 2^(stage + 1), at most `width` (table 2). ValueError for a
    resolution that is no power of two."""
    last = Growth(resolution, hold=1, fade=1).last
    widths = [min(fmap_base >> (stage + 1), width) for stage in range(last + 1)]
    if widths[-1] < 1:
        raise ValueError(
            f"model.generator.fmap_base={fmap_base} leaves no channel at {resolution} pixels: take {2 ** (last + 1)} or more"
        )
    return widths


class Generator(nn.Module):
    """Latents (n, latent_dim) -> images (n, c, s, s) of s = 4 * 2^stage pixels, about [-1, 1] but without a limit.

    width, fmap_base   most channels, and what they are halved from at every doubling
    classes      y is given: ids (n,) or mixtures (n, classes), which stand beside the latents
    widths       channels of each stage, where a file's do not follow the rule
    even_gain    sqrt(2) for every layer, as in pytorch_GAN_zoo; else the first has a quarter of it and RGB has 1
    scaled_bias  biases are multiplied like weights, as in pytorch_GAN_zoo
    pixel_bias   the first layer has a bias for each of the 4x4 pixels, as in pytorch_GAN_zoo
    """

    def __init__(
        self,
        latent_dim: Count,
        channels: Count,
        resolution: Count,
        width: Count = 512,
        fmap_base: Count = 8192,
        classes: Count | None = None,
        widths: list[Count] | None = None,
        even_gain: bool = False,
        scaled_bias: bool = False,
        pixel_bias: bool = False,
    ) -> None:
        super().__init__()
        maps = widths or feature_maps(resolution, width, fmap_base)
        self.classes, self.last = classes, len(maps) - 1
        conv = functools.partial(EqualizedConv2d, scaled_bias=scaled_bias)
        first, biases = maps[0], maps[0] * (16 if pixel_bias else 1)
        gain = GAIN if even_gain else GAIN / 4
        self.first = EqualizedLinear(latent_dim + (classes or 0), 16 * first, gain, scaled_bias, biases)
        self.conv = conv(first, first)
        self.blocks = nn.ModuleList(
            nn.ModuleDict({"up": conv(inputs, outputs, change="up"), "conv": conv(outputs, outputs)})
            for inputs, outputs in zip(maps, maps[1:])
        )
        self.to_rgb = nn.ModuleList(conv(maps, channels, 1, GAIN if even_gain else 1.0) for maps in maps)

    def forward(
        self, z: Tensor, y: Tensor | None = None, stage: int | None = None, fade: Tensor | None = None
    ) -> Tensor:
        """`fade`, 0-dim, is the share of the stage's own block beside the one before it; None is 1. None is also the
        last stage."""
        stage = self.last if stage is None else stage
        if self.classes:
            z = torch.cat([z, mixture(y, self.classes).to(z)], 1)
        x = pixel_norm(rectified(self.first(pixel_norm(z)).unflatten(1, (-1, 4, 4))))
        x = before = pixel_norm(rectified(self.conv(x)))
        block: Any
        for block in self.blocks[:stage]:
            before = x
            x = pixel_norm(rectified(block["up"](before)))
            x = pixel_norm(rectified(block["conv"](x)))
        image = full(self.to_rgb[stage](x))
        if stage and fade is not None:
            image = blend(doubled(full(self.to_rgb[stage - 1](before))), image, fade)
        return image


class Discriminator(nn.Module):
    """Images (n, c, s, s) of s = 4 * 2^stage pixels -> logits (n,), with `classes` also their logits (n, classes).

    width, fmap_base, widths, even_gain, scaled_bias   as in the generator
    fused        blocks average before the bias and the rectifier, as in the authors' code, in one convolution; else after
    group        images whose deviation is told by a channel (16 in the paper's run); 0: no such channel
    consecutive, unbiased   how groups are made and deviations taken in pytorch_GAN_zoo
    """

    def __init__(
        self,
        channels: Count,
        resolution: Count,
        width: Count = 512,
        fmap_base: Count = 8192,
        classes: Count | None = None,
        widths: list[Count] | None = None,
        even_gain: bool = False,
        scaled_bias: bool = False,
        fused: bool = True,
        group: Natural = 4,
        consecutive: bool = False,
        unbiased: bool = False,
    ) -> None:
        super().__init__()
        maps = widths or feature_maps(resolution, width, fmap_base)
        hidden = maps[0] if widths else min(fmap_base, width)
        self.classes, self.last, self.fused = classes, len(maps) - 1, fused
        self.group, self.consecutive, self.unbiased = group, consecutive, unbiased
        conv = functools.partial(EqualizedConv2d, scaled_bias=scaled_bias)
        self.from_rgb = nn.ModuleList(conv(channels, maps, 1) for maps in maps)
        change = "down" if fused else ""
        self.blocks = nn.ModuleList(
            nn.ModuleDict({"conv": conv(inputs, inputs), "down": conv(inputs, outputs, change=change)})
            for outputs, inputs in zip(maps, maps[1:])
        )
        self.conv = conv(maps[0] + (group > 0), maps[0])
        self.dense = EqualizedLinear(16 * maps[0], hidden, scaled_bias=scaled_bias)
        self.score = EqualizedLinear(hidden, 1 + (classes or 0), GAIN if even_gain else 1.0, scaled_bias)

    def forward(self, x: Tensor, stage: int | None = None, fade: Tensor | None = None) -> Any:
        """`stage` and `fade` as in the generator."""
        stage = self.last if stage is None else stage
        h = rectified(self.from_rgb[stage](x))
        for number in range(stage, 0, -1):
            block: Any = self.blocks[number - 1]
            h = rectified(block["down"](rectified(block["conv"](h))))
            h = h if self.fused else halved(h)
            if number == stage and fade is not None:
                h = blend(rectified(self.from_rgb[stage - 1](halved(x))), h, fade)
        if self.group:
            h = minibatch_deviation(h, self.group, self.consecutive, self.unbiased)
        h = rectified(self.dense(rectified(self.conv(h)).flatten(1)))
        out = full(self.score(h))
        return (out[:, 0], out[:, 1:]) if self.classes else out[:, 0]


class ProGAN(LatentSampler, AdversarialModule):
    """`growth` tells the level of a number of images seen: 2.3 is stage 3 at a fade of 0.3, 2.0 is stage 2 alone.

    drift         weight of the mean squared real logit, which holds the critic near 0
    classes       labels stand beside the latents, and the discriminator names them (AC-GAN, Odena et al. 2017)
    label_weight  weight of its cross-entropies
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        prior: Prior,
        growth: Schedule,
        drift: Weight = 1e-3,
        classes: Count | None = None,
        label_weight: Weight = 1.0,
        **adversarial: Any,
    ) -> None:
        super().__init__(**adversarial)
        self.generator, self.discriminator, self.prior, self.growth = generator, discriminator, prior, growth
        self.drift, self.classes, self.label_weight = drift, classes, label_weight
        self.chosen: float | None = None

    @property
    def level(self) -> float:
        """What `generate` shows: the level that training has reached, unless another one was set."""
        return self.growth(self.images_seen) if self.chosen is None else self.chosen

    @level.setter
    def level(self, level: float) -> None:
        last: int = self.generator.last  # type: ignore[assignment]
        if not 0 <= level <= last:
            side = 4 << last
            raise ValueError(
                f"level={level:g}: this model has 0 (4x4 pixels) to {last} ({side}x{side}), say one of these"
            )
        self.chosen = float(level)

    def at(self, level: float) -> tuple[int, Tensor | None]:
        """Stage and fade of a level; whole levels need no fade."""
        stage = math.ceil(level)
        share = 1 + level - stage
        return stage, None if share == 1 else torch.tensor(share, device=self.device).to(self.dtype)

    def generate(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Images of the level's own size; the network's rare values beyond [-1, 1] are cut off."""
        return self.generator(z, y, *self.at(self.level)).clamp(-1, 1)

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """One iteration. Adam forgets whenever a fade has begun or ended, as in the authors' code."""
        before = self.growth(self.images_seen)
        super().training_step(batch, batch_idx)
        after = self.growth(self.images_seen)
        if (math.floor(before), math.ceil(before)) != (math.floor(after), math.ceil(after)):
            for player in self.players:
                self.optimizer_of(player).optimizer.state.clear()

    def discriminator_loss(self, batch: Any) -> Terms:
        stage, fade = self.at(self.growth(self.images_seen))
        x = faded(batch.x, stage, fade)
        with torch.no_grad():
            fake, y = self.fakes(len(x), stage, fade)
        critic: Any = functools.partial(self.discriminator, stage=stage, fade=fade)
        (real, of_real), (made, of_made) = (self.split(self.judge(critic, images)) for images in (x, fake))
        terms = self.verdict(real, made)
        terms["discriminator/drift"] = self.drift * real.square().mean()
        if self.classes:
            terms["discriminator/label_real"] = self.label_weight * cross_entropy(of_real, batch.y)
            terms["discriminator/label_fake"] = self.label_weight * cross_entropy(of_made, y)
        alone: Any = critic if not self.classes else lambda images: critic(images)[0]
        return terms | self.penalty_terms(alone, x, fake)

    def generator_loss(self, batch: Any) -> Terms:
        stage, fade = self.at(self.growth(self.images_seen))
        fake, y = self.fakes(len(batch.x), stage, fade)
        critic: Any = functools.partial(self.discriminator, stage=stage, fade=fade)
        made, of_made = self.split(self.judge(critic, fake))
        terms = {"generator/adversarial": self.objective.generator(made)}
        if self.classes:
            terms["generator/label"] = self.label_weight * cross_entropy(of_made, y)
        return terms

    def fakes(self, n: int, stage: int, fade: Tensor | None) -> tuple[Tensor, Any]:
        """Images of the network itself, not cut off, and their classes (n,), or None."""
        z = self.draw(self.prior.sample, n)
        y = self.draw(self.draw_labels, n, "labels") if self.classes else None
        return self.generator(z, y, stage, fade), y

    def split(self, judged: Any) -> tuple[Tensor, Any]:
        """Logits, and those of the classes or None."""
        return judged if self.classes else (judged, None)


def faded(x: Tensor, stage: int, fade: Tensor | None) -> Tensor:
    """Real images (n, c, s, s) as a stage sees them: averaged by 2x2 boxes down to its size, and the new half of their
    detail faded in. ValueError for images smaller than the stage."""
    side = 4 << stage
    if x.shape[-1] % side:
        raise ValueError(f"images of {x.shape[-1]} pixels cannot be averaged down to the {side} of stage {stage}")
    if x.shape[-1] > side:
        x = avg_pool2d(x, x.shape[-1] // side)
    return blend(doubled(halved(x)), x, fade) if stage and fade is not None else x


def blend(old: Tensor, new: Tensor, share: Tensor) -> Tensor:
    return old + share * (new - old)


def doubled(x: Tensor) -> Tensor:
    return interpolate(x, scale_factor=2, mode="nearest")


def halved(x: Tensor) -> Tensor:
    return avg_pool2d(x, 2)


def rectified(x: Tensor) -> Tensor:
    return leaky_relu(x, 0.2, inplace=True)


def mixture(y: Tensor | None, classes: int) -> Tensor:
    """Class ids (n,) as (n, classes); mixtures of classes as they are."""
    if y is None:
        raise ValueError(f"this model draws {classes} classes: say which, y=<0 to {classes - 1}>")
    return y if y.is_floating_point() else one_hot(y, classes)
