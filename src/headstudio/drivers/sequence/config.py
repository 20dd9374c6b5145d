"""Every number of the driver, with the paper's value beside it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

FeatureKind: TypeAlias = Literal["tracked", "blendshapes", "network", "encoder", "encoder_weights"]
"""tracked: the tracker's ARKit weights; blendshapes: MediaPipe's; network: the ONNX file that HEADSTUDIO_FEATURES
names; encoder: the features of `headstudio train-encoder`; encoder_weights: the ARKit weights that follow from them."""

NetworkKind: TypeAlias = Literal["lstm", "cnn", "mlp"]
"""lstm remembers within its window; cnn looks back a few frames; mlp sees each frame alone."""


@dataclass(frozen=True)
class FeatureConfig:
    """What the driver reads off the actor."""

    kind: FeatureKind = "tracked"
    """tracked, blendshapes, network, encoder or encoder_weights; paper 3: the 2048 features of DECA's ResNet-50, which
    a `network` gives; `tracked` stands for its baseline, coefficients."""
    path: str = ""
    """The encoder's folder; it is kept inside the driver, which does not need the folder again."""
    relative: bool = True
    """Shift the actor's features so that at rest they are those of the avatar's person at rest; the paper does not, and
    strangers then drive hardly better than a head that rests (docs/sequence-driver.md)."""


@dataclass(frozen=True)
class SequenceConfig:
    """Configuration of the driver `sequence`; sections are those of paper 3 (Paier et al., "Video-Driven Animation of
    Neural Head Avatars")."""

    features: FeatureConfig = field(default_factory=FeatureConfig)
    """The expression feature x (section 5)."""
    target: Literal["auto", "latent", "coefficients"] = "auto"
    """What to say: the avatar's own code z, as in the paper, or expression, jaw and gaze; auto takes the code of
    avatars that prefer to be driven by one."""
    network: NetworkKind = "lstm"
    """Paper: LSTM; it was compared with the other two by eye."""
    window: int = 8
    """Frames that are seen together; paper 8 (section 5)."""
    width: int = 96
    """Width of the layers; the paper does not tell."""
    residual: int = 16
    """Length of the residual feature that training adds to x and that is zero afterwards; 0 leaves it out. The paper
    does not tell."""
    whiten: bool = True
    """Compare whitened codes, in which each direction counts alike; paper: the codes themselves."""
    steps: int = 3000
    """Training steps; paper 15 000 (section 5)."""
    batch_size: int = 32
    """Windows a step; paper 32."""
    learning_rate: float = 1e-3
    """Of Adam, at the start; paper 1e-4."""
    last_rate: float = 0.01
    """What is left of it at the end; paper: times 0.96 an epoch, which comes to this on its three minutes of film."""


PRESETS: Mapping[str, SequenceConfig] = {
    "draft": SequenceConfig(),
    "standard": SequenceConfig(width=192, steps=8000, learning_rate=5e-4),
    "paper": SequenceConfig(
        features=FeatureConfig("network", relative=False), width=512, whiten=False, steps=15_000, learning_rate=1e-4
    ),
}
