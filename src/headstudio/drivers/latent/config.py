"""Every number of the driver, with the paper's value beside it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from headstudio.nn.face_autoencoder import FaceDecoderConfig, FaceEncoderConfig

Cycle: TypeAlias = Literal["paper", "published", "none"]
"""Eq. 6 as written, its gradient passing through the other, frozen decoder; or as the published code has it, the code
term alone on a picture without a gradient; or nothing, the ablation of fig. 7."""

MappingTime: TypeAlias = Literal["after", "joint"]
"""When the mapping learns: after all else, which is frozen (section 4.2), or with it, as in the published code."""


@dataclass(frozen=True)
class LatentDriverConfig:
    """Configuration of the driver `latent`; sections are those of paper 5, "published" is its authors' code."""

    encoder: FaceEncoderConfig = field(
        default_factory=lambda: FaceEncoderConfig(side_px=64, width=16, normalisation="deviation")
    )
    """The shared encoder; paper: crops of 128 px to codes of 256 (section 5.1). Codes of one length, not divided by
    their variance as published: eq. 6 compares codes by their size."""
    decoder: FaceDecoderConfig = field(default_factory=lambda: FaceDecoderConfig(width=64, side_px=64))
    """Neck and decoders; published 512 wide at 128 px."""
    input_noise: float = 0.05
    """Noise on the crops in training; published 0.05."""
    ssim_weight: float = 0.1
    """Weight of 1 - SSIM in eq. 5 and 6; paper 0.1 on SSIM itself, which as printed would be made small. Published:
    1 - SSIM, weight 1, and 0.1 on the whole of the avatar's side, a setting that the paper does not mention."""
    cycle: Cycle = "paper"
    """Cycle consistency (eq. 6)."""
    cycle_weight: float = 1.0
    """Weight of eq. 6; paper 1 (eq. 7)."""
    code_weight: float = 1e-4
    """Weight of the code in eq. 6; paper 1e-4 (published: 1e-4 for the actor, 1e-5 for the avatar)."""
    mapping: MappingTime = "after"
    """When the mapping learns."""
    steps: int = 1500
    """Training steps; paper 30 000 (section 5.1)."""
    mapping_steps: int = 500
    """Steps of the mapping alone; paper: within its 30 000."""
    batch_size: int = 8
    """Crops a step; paper 16 (section 5.1)."""
    learning_rate: float = 1e-3
    """Of Adam; paper 1e-4 (section 5.1)."""


PRESETS: Mapping[str, LatentDriverConfig] = {
    "draft": LatentDriverConfig(),
    "standard": LatentDriverConfig(
        encoder=FaceEncoderConfig(normalisation="deviation"),
        decoder=FaceDecoderConfig(width=256),
        steps=10_000,
        mapping_steps=2000,
        batch_size=16,
        learning_rate=3e-4,
    ),
    "paper": LatentDriverConfig(
        encoder=FaceEncoderConfig(),
        decoder=FaceDecoderConfig(),
        steps=30_000,
        mapping_steps=30_000,
        batch_size=16,
        learning_rate=1e-4,
    ),
}
