"""Every number of the method, with the paper's or its published code's value beside it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from headstudio.methods.style_avatar.renderings import FixedLightConfig
from headstudio.methods.style_avatar.sizes import SIZES, StyleAvatarSizes
from headstudio.methods.style_avatar.windows import BoxConfig

Design: TypeAlias = Literal["full", "no-neural-texture", "single-unet", "plain-unet", "neural-texture-unet"]
"""The whole method, or a row of the paper's table 3: without the face's plane ("Ours w/o NT"), one StyleUNet from the
texture rendering to the picture ("Single-StyleUNet"), a U-Net without styles in its place ("DVP (Ours)"), and that one
fed with the face's plane alone ("DNR (Ours)")."""


@dataclass(frozen=True)
class CodeConfig:
    """The codes of persons and of moments."""

    octaves: int = 32
    """Frequencies of a moment's code; published 32, of which the high ones name each frame as a hash would. Few make
    neighbouring moments alike."""
    neutral_share: float = 0.0
    """Share of the training frames that are told the moment of use instead of their own, so that what an expression
    says is not told by its moment; published 0."""
    neutral: float = 0.5
    """The moment that use is fixed to, as a share of the clip; published 0.5."""


@dataclass(frozen=True)
class Weights:
    """Weights of the losses."""

    l1: float = 1.0
    """L1 of colours in [-1, 1]; published 1."""
    perceptual: float = 0.3
    """Perceptual term; the paper gives no weight, its code computes 0.3 times a VGG term and leaves it out. Without
    network weights on this machine it is one of gradients and structure."""
    matte: float = 3.0
    """L1 of the matte; published 3."""
    adversarial: float = 1.0
    """The generator's adversarial term; published 1."""
    r1: float = 5.0
    """R1's gamma; it counts gamma / 2 times the steps between two penalties (published 5)."""


@dataclass(frozen=True)
class StyleAvatarConfig:
    """Configuration of `style-avatar`; sections are those of paper 2, "published" is its authors' code."""

    design: Design = "full"
    """The whole method, or one of the designs that the paper compares it with."""
    sizes: StyleAvatarSizes = field(default_factory=StyleAvatarSizes)
    """The grid and the widths of the networks."""
    wide_crop: bool = False
    """The capture's crop is 1.5 windows wide and training sees two thirds of it at a time, as in the paper; use shows
    all of it, in a picture 1.5 times as wide. False: a window is as wide as the crop, and what lies beyond is padding
    that counts nowhere, because all methods are compared on the whole crop."""
    boxes: BoxConfig = field(default_factory=BoxConfig)
    """Random boxes (section 3.2)."""
    sliding: bool = True
    """Slide windows at use after heads that stand where none was filmed, and draw random boxes in training."""
    light: FixedLightConfig = field(default_factory=FixedLightConfig)
    """The light of the texture rendering."""
    codes: CodeConfig = field(default_factory=CodeConfig)
    """z_tmp and z_id."""
    plates: bool = False
    """Paint over the face's colours and the empty background as training frames show them, which learn as well;
    False, as in the paper, paints everything from features. For the designs that compose features."""
    fine_matte: bool = False
    """The image network paints the matte at the picture's resolution; False, as published, has the one of cells."""
    noise: bool = True
    """Noise in the image network: the face's moves with the face, the background's is fixed (section 3.3)."""
    weights: Weights = field(default_factory=Weights)
    """Weights of the losses."""
    plane_steps: int = 10_000
    """Steps in which the planes learn as well; published 10 000."""
    steps: int = 790_000
    """Steps after that, with fixed planes; published up to 800 000 in all."""
    early_adversary: bool = True
    """The adversary plays from the first step; False, from the step on from which the planes are fixed."""
    batch_size: int = 3
    """Frames a step; published 3."""
    learning_rate: float = 2e-3
    """Of all networks; published 2e-3 (AdamW)."""
    momentum: float = 0.0
    """First beta of the generator's optimiser; published 0."""
    last_rate: float = 1.0
    """Factor that the learning rate has fallen to at the end; published 1."""
    average: float = 0.99778
    """Decay of the moving average of the generator in the second part; published 0.5^(32 / 10000)."""
    clip: float | None = 1.0
    """Largest norm of the generator's gradient; published 1."""
    penalty_every: int = 16
    """Steps from one R1 penalty to the next; published 16."""
    low_precision: bool = False
    """Compute the networks in bfloat16 while training."""


PRESETS: Mapping[str, StyleAvatarConfig] = {
    "draft": StyleAvatarConfig(
        sizes=SIZES["draft"],
        codes=CodeConfig(octaves=6, neutral_share=0.5),
        plates=True,
        fine_matte=True,
        weights=Weights(adversarial=0.02),
        plane_steps=800,
        steps=1000,
        early_adversary=False,
        batch_size=1,
        momentum=0.9,
        last_rate=0.2,
        average=0.99,
        low_precision=True,
    ),
    "standard": StyleAvatarConfig(
        sizes=SIZES["standard"],
        codes=CodeConfig(octaves=6, neutral_share=0.5),
        plates=True,
        fine_matte=True,
        weights=Weights(adversarial=0.05),
        plane_steps=5000,
        steps=15_000,
        early_adversary=False,
        batch_size=4,
        momentum=0.5,
        last_rate=0.2,
        low_precision=True,
    ),
    "paper": StyleAvatarConfig(sizes=SIZES["paper"], wide_crop=True),
}
