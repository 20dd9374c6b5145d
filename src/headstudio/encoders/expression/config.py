"""Every number of the expression encoder."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class AugmentationConfig:
    """What is done to rendered faces so that filmed ones are nothing new; 0 leaves a part out."""

    colour: float = 0.25
    """Furthest change of gain, gamma and saturation, as a share."""
    blur: float = 3.0
    """Largest factor by which a crop is made smaller and large again."""
    noise: float = 0.05
    """Largest deviation of noise on sRGB in [0, 1]."""
    compression: float = 0.5
    """Share of the crops that lose what a strong JPEG loses."""
    occlusion: float = 0.3
    """Share of the crops that something lies before."""
    background: float = 0.3
    """Share of the crops whose rim shows something else: hair, or what is behind a turned face."""
    jitter: float = 2.0
    """Furthest shift of crop and landmarks against each other in pixels; turns and sizes in proportion."""
    landmark_noise: float = 0.4
    """Deviation of each landmark in pixels of the crop."""
    missing: float = 0.1
    """Share of the faces of which the network is given the picture alone, and likewise the landmarks alone."""


@dataclass(frozen=True)
class ExpressionConfig:
    """Configuration of the encoder `face-expression`. Paper 3 takes the 2048 features of DECA's ResNet-50 (section 5),
    which may not be sold; this one learns from people that are synthesised."""

    width: int = 16
    """Channels of the first convolution; each of the five halves the picture and widens it up to eight times."""
    features: int = 128
    """Length of the feature x; paper 3: 2048."""
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    steps: int = 4000
    """Training steps."""
    batch_size: int = 8
    """Faces of one person in a batch; several batches make a step (`--accumulate`)."""
    learning_rate: float = 1e-3
    """Of Adam, at the start."""
    last_rate: float = 0.02
    """What is left of it at the end."""


PRESETS: Mapping[str, ExpressionConfig] = {
    "draft": ExpressionConfig(),
    "standard": ExpressionConfig(width=24, features=256, steps=12_000),
    "paper": ExpressionConfig(width=48, features=2048, steps=60_000, learning_rate=5e-4),
}
