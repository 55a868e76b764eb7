"""BigGAN. Andrew Brock, Jeff Donahue, Karen Simonyan, Large Scale GAN Training for High Fidelity Natural Image
Synthesis, ICLR 2019.

Residual networks with spectral normalisation and self-attention. The generator's BatchNorms are steered by an embedding
of the class that all of them share, and by a piece of the latent each (section 3, figure 15); the discriminator takes
the class by projection. Hinge losses, orthogonal weights and regularisation, very large batches, averaged weights, and
latents truncated when sampling. Sizes are those of appendix B, below 128 pixels those of ajbrock/BigGAN-PyTorch.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from genzoo.batches import pieces
from genzoo.core.module import AdversarialModule, Terms
from genzoo.core.random import generator as place
from genzoo.core.roles import LatentSampler
from genzoo.limits import Count, Natural, Positive, Weight
from genzoo.nets.attention import SelfAttention
from genzoo.nets.conditional import DISCRIMINATOR, GENERATOR, ProjectionHead, init_weights, sized
from genzoo.nets.norm import ConditionalNorm, select, standing
from genzoo.nets.spectral import ClassEmbedding, SNConv2d, SNLinear
from genzoo.priors import Prior


class GeneratorBlock(nn.Module):
    """(n, inputs, s, s) and a condition -> (n, outputs, 2s, 2s), with attention to places at the end where it is asked."""

    def __init__(self, inputs: int, outputs: int, norm: Any, attention: bool, **spectral: Any) -> None:
        super().__init__()
        self.conv1 = SNConv2d(inputs, outputs, 3, padding=1, **spectral)
        self.conv2 = SNConv2d(outputs, outputs, 3, padding=1, **spectral)
        self.skip = SNConv2d(inputs, outputs, 1, **spectral)
        self.norm1, self.norm2 = norm(inputs), norm(outputs)
        self.attention = SelfAttention(outputs, **spectral) if attention else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        h = interpolate(self.norm1(x, condition).relu_(), scale_factor=2)
        h = self.conv2(self.norm2(self.conv1(h), condition).relu_())
        return self.attention(h + interpolate(self.skip(x), scale_factor=2))  # 1x1: the same before and after doubling


class Generator(nn.Module):
    """Latents (n, latent_dim) and classes y, ids (n,) or shares (n, classes) -> images (n, c, h, w) in [-1, 1].

    shared        size of the class embedding that all BatchNorms share; 0: each has a table of its own
    hierarchical  the latent is cut into equal parts, one for the first layer and one for each block
    attention     resolutions at which a block ends in self-attention
    eps           of BatchNorm; spectral_eps: of spectral normalisation
    """

    def __init__(
        self,
        latent_dim: Count,
        channels: Count,
        resolution: Count,
        width: Count = 64,
        classes: Count | None = None,
        shared: Natural = 128,
        hierarchical: bool = True,
        attention: Sequence[Count] = (64,),
        init: str = "orthogonal",
        eps: Positive = 1e-5,
        spectral_eps: Positive = 1e-6,
    ) -> None:
        super().__init__()
        widths = sized(GENERATOR, resolution, width)
        self.parts = len(widths) if hierarchical else 1
        if latent_dim % self.parts:
            below = max(latent_dim // self.parts, 1) * self.parts
            raise ValueError(
                f"model.latent_dim={latent_dim}: at {resolution} pixels a hierarchical latent has {self.parts} equal "
                f"parts, the nearest are {below} and {below + self.parts}"
            )
        if classes and not shared and hierarchical:
            raise ValueError(
                "model.generator.shared=0 gives every BatchNorm a table of classes, which reads no part of the latent: "
                "say model.generator.hierarchical=false"
            )
        self.classes, piece = classes, latent_dim // self.parts
        spectral: dict[str, Any] = {"eps": spectral_eps}
        self.shared = ClassEmbedding(classes, shared) if classes and shared else None
        known = (shared if classes else 0) + (piece if hierarchical else 0)

        def norm(size: int) -> ConditionalNorm:
            if known:
                return ConditionalNorm(size, partial(SNLinear, known, size, bias=False, **spectral), eps)
            return ConditionalNorm(size, partial(ClassEmbedding, classes, size) if classes else None, eps)

        self.linear = SNLinear(piece, 16 * widths[0], **spectral)
        self.blocks = nn.ModuleList(
            GeneratorBlock(inputs, outputs, norm, 8 << i in attention, **spectral)
            for i, (inputs, outputs) in enumerate(zip(widths, widths[1:]))
        )
        self.norm = ConditionalNorm(widths[-1], None, eps)
        self.rgb = SNConv2d(widths[-1], channels, 3, padding=1, **spectral)
        init_weights(self, init)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        if self.classes and y is None:
            raise ValueError(f"this generator makes images of {self.classes} classes: say their y")
        first, *rest = z.chunk(self.parts, 1)
        known: Any = self.shared(y) if self.shared else y
        h = self.linear(first).unflatten(1, (-1, 4, 4))
        for i, block in enumerate(self.blocks):
            pieces = ([known] if self.shared else []) + rest[i : i + 1]  # the class goes before the latent
            h = block(h, torch.cat(pieces, 1) if pieces else known)
        return self.rgb(self.norm(h).relu_()).tanh()


class DiscriminatorBlock(nn.Module):
    """(n, inputs, s, s) -> (n, outputs, s, s), or of half the side; the first block begins without a ReLU."""

    def __init__(self, inputs: int, outputs: int, down: bool, first: bool, attention: bool, **spectral: Any) -> None:
        super().__init__()
        self.down, self.first = down, first
        self.conv1 = SNConv2d(inputs, outputs, 3, padding=1, **spectral)
        self.conv2 = SNConv2d(outputs, outputs, 3, padding=1, **spectral)
        self.skip = SNConv2d(inputs, outputs, 1, **spectral) if down or inputs != outputs else nn.Identity()
        self.attention = SelfAttention(outputs, **spectral) if attention else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv2(self.conv1(x if self.first else x.relu()).relu_())
        if self.down:  # 1x1: the same before and after pooling
            h, x = avg_pool2d(h, 2), avg_pool2d(x, 2)
        return self.attention(h + self.skip(x))


class Discriminator(nn.Module):
    """Images (n, c, h, w) and classes y, ids (n,) or shares (n, classes) -> (n,) float32 logits."""

    def __init__(
        self,
        channels: Count,
        resolution: Count,
        width: Count = 64,
        classes: Count | None = None,
        attention: Sequence[Count] = (64,),
        init: str = "orthogonal",
        spectral_eps: Positive = 1e-6,
    ) -> None:
        super().__init__()
        widths = sized(DISCRIMINATOR, resolution, width)
        spectral: dict[str, Any] = {"eps": spectral_eps}
        smallest = 8 if resolution == 32 else 4
        blocks: list[nn.Module] = []
        for i, (inputs, outputs) in enumerate(zip([channels, *widths], widths)):
            down, side = resolution >> i > smallest, max(resolution >> (i + 1), smallest)
            blocks.append(DiscriminatorBlock(inputs, outputs, down, i == 0, side in attention, **spectral))
        self.blocks = nn.Sequential(*blocks)
        self.head = ProjectionHead(widths[-1], classes, **spectral)
        init_weights(self, init)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return self.head(self.blocks(x), y)


class BigGAN(LatentSampler, AdversarialModule):
    """The paper's training, for any generator(z, y) and discriminator(x, y).

    classes       of the data; None: labels are not looked at
    orthogonal    beta of section 3.1: the gradient of beta * |W W^T off its diagonal|^2 is added for every weight
                  matrix of the generator but the shared embedding. ajbrock/BigGAN-PyTorch adds half of the gradient:
                  its strength of 1e-4 is a beta of 5e-5 here
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        prior: Prior,
        classes: Count | None = None,
        orthogonal: Weight = 0.0,
        **adversarial: Any,
    ) -> None:
        super().__init__(**adversarial)
        self.generator, self.discriminator, self.prior = generator, discriminator, prior
        self.classes, self.orthogonal = classes, orthogonal

    def generate(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Images of latents and classes: ids (n,), or shares (n, classes); without y of all classes' even mixture."""
        if self.classes and y is None:
            y = torch.full_like(z[:, :1], 1 / self.classes).expand(-1, self.classes)
        return self.generator(z, y)

    def fakes(self, n: int) -> tuple[Tensor, Tensor | None]:
        """New images and their classes, which are uniform."""
        y = self.draw(self.draw_labels, n, "labels") if self.classes else None
        return self.generate(self.draw(self.prior.sample, n), y), y

    def discriminator_loss(self, batch: Any) -> Terms:
        """Fake and real go through the discriminator in one batch: it has no BatchNorm that could tell them apart."""
        with torch.no_grad():
            fake, y = self.fakes(len(batch.x))
        both = None if y is None else torch.cat([y, batch.y])
        x = torch.cat([self.judge(nn.Identity(), part) for part in (fake, batch.x)])  # each with its own augmentation
        fake_logits, real_logits = self.discriminator(x, both).chunk(2)
        critic: Any = lambda x: self.discriminator(x, None if y is None else batch.y)  # noqa: E731
        return self.verdict(real_logits, fake_logits) | self.penalty_terms(critic, batch.x, fake)

    def generator_loss(self, batch: Any) -> Terms:
        fake, y = self.fakes(len(batch.x))
        critic: Any = lambda x: self.discriminator(x, y)  # noqa: E731
        return {"generator/adversarial": self.objective.generator(self.judge(critic, fake))}

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        if self.orthogonal and optimizer is self.optimizer_of("g").optimizer:
            self.orthogonalise()
        super().on_before_optimizer_step(optimizer)

    @torch.no_grad()
    def orthogonalise(self) -> None:
        """Add the gradient 4 beta ((W W^T) o (1 - I)) W of the orthogonal term, once per update."""
        table = getattr(getattr(self.generator, "shared", None), "weight", None)
        with torch.autocast(self.device.type, enabled=False):
            for weight in self.generator.parameters():
                if weight.dim() < 2 or weight is table or weight.grad is None:
                    continue
                matrix = weight.flatten(1)
                products = (matrix @ matrix.T).fill_diagonal_(0)
                weight.grad.add_((products @ matrix).view_as(weight), alpha=4 * self.orthogonal)

    def latents(self, n: int, *, seed: int | None = None, truncation: float | None = None) -> Tensor:
        """As everywhere, (n, dim). Files with tables of statistics get those of the truncation, 1 if none is given, and
        truncate in their own way (`hub`)."""
        if not select(self.generator, 1.0 if truncation is None else truncation) or truncation is None:
            return super().latents(n, seed=seed, truncation=truncation)
        z, generator = super().latents(n, seed=seed), None if seed is None else place(seed, "truncate")
        return self.prior.truncate(z.cpu(), truncation, "hub", generator).to(z)

    @torch.no_grad()
    def standing(
        self, passes: int = 16, batch: int = 64, seed: int | None = None, truncation: float | None = None
    ) -> None:
        """Standing statistics: BatchNorm's running statistics from so many passes of new samples (appendix of the
        paper), truncated like the samples that are to be made with them."""
        z = self.latents(passes * batch, seed=seed, truncation=truncation)
        y = self.labels(passes * batch, seed=seed)
        with standing(self.generator):
            for part in pieces(z, y, batch):
                self.generate(*part)

    def warm_start(self, state: dict[str, Tensor]) -> list[str]:
        for name in ("generator.shared.weight", "discriminator.head.embed.weight"):
            if self.classes and name in state and len(state[name]) < self.classes:
                raise ValueError(
                    f"the checkpoint at init= knows {len(state[name])} classes, the data have {self.classes}: "
                    "choose data with no more, or leave init out"
                )
        return super().warm_start(state)
