"""Every number of the method, with the paper's or its published configuration's value beside it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

PoseDependence: TypeAlias = Literal["everywhere", "neck", "nowhere"]
"""Where the offsets follow the pose: in all vertices, as the paper writes (section 3.1); in the neck alone, as the
published code has it; or nowhere, the ablation of fig. 8 a."""

ColourInputs: TypeAlias = Literal["paper", "published", "static"]
"""What the texture network is told of the frame: expression, pose and normals everywhere (section 3.1); expression and
pose inside the mouth and normals everywhere, as in the published code; or nothing, the ablation of fig. 8 b."""


@dataclass(frozen=True)
class OffsetConfig:
    """The geometry network G: a FiLM-SIREN over the canonical head."""

    pose_dependence: PoseDependence = "neck"
    """Where the offsets follow the pose; the paper: everywhere."""
    width: int = 64
    """Units of a layer; published 128."""
    layers: int = 3
    """Layers of sines; published 6."""
    features: int = 16
    """Learned numbers a vertex beside its place; published 32."""
    mapping_width: int = 64
    """Units of a layer of the mapping network; published 256."""
    unit_m: float = 0.01
    """What 1 of the network's output stands for: sets how far one step of the optimiser moves; published 1."""
    largest_m: float = 0.1
    """Farthest a vertex may move along an axis; published 1 (the range of its tanh in FLAME's metres)."""


@dataclass(frozen=True)
class TextureConfig:
    """The texture network T."""

    inputs: ColourInputs = "paper"
    """What it is told of the frame."""
    width: int = 64
    """Units of a layer; published 256."""
    layers: int = 3
    """Layers of sines; published 8."""
    mapping_width: int = 64
    """Units of a layer of the mapping network; published 256."""
    dynamic_width: int = 64
    """Units of the layer that sees the normals' encoding; published 128."""
    features: int = 16
    """Channels of the explicit feature map; published 64."""
    features_px: int = 256
    """Side of the explicit feature map; published 256 for the face and 64 for the mouth, here one atlas holds both."""
    normal_width: int = 16
    """Channels of the normal encoder's two hidden convolutions; published 128."""
    normal_features: int = 16
    """Channels that it gives; published 32."""
    base_px: int = 512
    """Side of a learned colour map under the network that starts as the unprojected training frames; 0, as published,
    leaves it out and the network starts from grey."""
    base_frames: int = 24
    """Frames it is unprojected from."""


@dataclass(frozen=True)
class Energies:
    """Weights of the energies; a number a stage: geometry, texture, joint. The units of the losses are ours (see the
    method's page), since nobody says what the published sums are divided by."""

    landmarks: tuple[float, float, float] = (0.5, 0.0, 0.3)
    """L1 of landmarks in half widths of the picture; published 0.01, 0.1, 0."""
    lids: tuple[float, float, float] = (3.0, 0.0, 1.0)
    """Distance of the lids, in half widths; published 1e5 on the square of another measure."""
    normals: tuple[float, float, float] = (0.5, 0.0, 0.2)
    """L1 of the normals' Laplacians; published 0.02 in all stages."""
    orientation: tuple[float, float, float] = (2.0, 0.0, 1.0)
    """L1 of the normals themselves over head and hair, which given normals are good enough for; published 0: the paper
    compares Laplacians alone, because slopes of its estimated normals are false."""
    semantics: tuple[float, float, float] = (2.0, 0.0, 1.0)
    """Exclusive or of the regions skin, eyes and ears; published 0.1 in all stages."""
    hair: tuple[float, float, float] = (2.0, 0.0, 1.0)
    """Exclusive or of the hair; published 0.1, in the first stage falling to 0.01."""
    late_hair: float = 1.0
    """Factor that the hair's weight falls to in the middle third of the first stage; published 0.1."""
    silhouette: tuple[float, float, float] = (2.0, 0.0, 1.0)
    """Exclusive or of silhouettes; published 0.1."""
    early_silhouette: float = 1.0
    """Factor from which the silhouette's weight rises to 1 in the middle third of the first stage; published 0.1."""
    offset_laplacian: tuple[float, float, float] = (5.0, 0.0, 5.0)
    """Squared Laplacian of the offsets in mean edge lengths; published 0.05."""
    thickness: tuple[float, float, float] = (1.0, 0.0, 1.0)
    """Squared differences of the scalp's offsets along its normals, in mean edge lengths, across edges; published 0.
    Hair that no frame shows gets the thickness of what they show."""
    edge_length: tuple[float, float, float] = (1.0, 0.0, 1.0)
    """Scalp edges longer than 1.5 times their mean, in means; published 10."""
    consistency: tuple[float, float, float] = (0.01, 0.0, 0.01)
    """L1 between the offsets of two frames, in mean edge lengths; published 1e-4."""
    prior: tuple[float, float, float] = (1e-3, 0.0, 1e-3)
    """Squares of what is added to identity, expression and pose, in standard units; published 1e-3."""
    l1: tuple[float, float, float] = (0.0, 1.0, 1.0)
    """L1 of colours; published 0, 1, 0.05 on colours in [-1, 1]."""
    perceptual: tuple[float, float, float] = (0.0, 0.1, 0.1)
    """E_perc; published 0, 10, 0.5 on face-recognition features."""


@dataclass(frozen=True)
class Pace:
    """How long a stage lasts and how fast who learns."""

    steps: int
    """Training steps."""
    batch_size: int
    """Frames a step."""
    offsets: float = 0.0
    """Learning rate of the offsets (Adam)."""
    texture: float = 0.0
    """Learning rate of the texture (Adam)."""
    head: float = 0.0
    """Learning rate of what is added to identity, expression and pose."""
    last_rate: float = 0.05
    """Factor that all rates fall to in the second half of the stage; published 1."""


@dataclass(frozen=True)
class NeuralHeadConfig:
    """Configuration of `neural-head`; sections are those of paper 4, "published" is its authors' configuration."""

    size_px: int = 256
    """Side of the training pictures, and of the buffer that colours are painted in; published 512."""
    patch_px: int | None = 96
    """Side of the windows that colours are learned in; None, as published, takes whole frames."""
    subdivisions: int = 0
    """Four-way subdivisions of the head's mesh; the paper 1. At 256 px an edge is four pixels long as it is."""
    offsets: OffsetConfig = field(default_factory=OffsetConfig)
    """The geometry network G."""
    texture: TextureConfig = field(default_factory=TextureConfig)
    """The texture network T."""
    energies: Energies = field(default_factory=Energies)
    """Weights of the losses."""
    geometry_stage: Pace = field(default_factory=lambda: Pace(1000, 1, offsets=5e-4))
    """First stage: geometry alone; published 150 epochs of 16 frames, 1e-5 and 1e-3."""
    texture_stage: Pace = field(default_factory=lambda: Pace(1000, 1, texture=1e-3))
    """Second stage: colour alone; published 50 epochs of 2 frames, 1e-4."""
    joint_stage: Pace = field(default_factory=lambda: Pace(150, 1, offsets=1e-4, texture=5e-4, head=0.1))
    """Third stage: all; published 50 epochs of 2 frames, 2e-6, 2e-5 and 2e-4."""
    condition_noise: float = 0.1
    """Noise on the networks' signals in training, in standard deviations, so that foreign drivers do not break them;
    published 0.1 of ranges given for each signal."""
    plain_descent: bool = False
    """What is added learns by plain gradient descent, as published; False takes steps of one size, since gradients of
    single frames are small and a short training sees each frame a few times."""
    thorough_head: bool = False
    """What is added to identity, expression and pose learns from pictures too, at the price of a second rendering of
    every step; the paper does. False leaves it to landmarks and lids."""
    embedder: str | None = None
    """File with weights of a face-recognition network for E_perc; None takes the perceptual loss of this machine."""
    low_precision: bool = True
    """Compute the texture network in bfloat16 while training."""


PRESETS: Mapping[str, NeuralHeadConfig] = {
    "draft": NeuralHeadConfig(),
    "standard": NeuralHeadConfig(
        size_px=512,
        patch_px=256,
        subdivisions=1,
        offsets=OffsetConfig(width=128, layers=4, features=32, mapping_width=128),
        texture=TextureConfig(
            width=128,
            layers=5,
            mapping_width=256,
            dynamic_width=128,
            features=32,
            features_px=512,
            normal_width=64,
            normal_features=32,
            base_px=1024,
        ),
        geometry_stage=Pace(1500, 4, offsets=3e-4, head=0.05),
        texture_stage=Pace(6000, 2, texture=5e-4),
        joint_stage=Pace(2000, 2, offsets=5e-5, texture=2e-4, head=0.02),
        thorough_head=True,
    ),
    "paper": NeuralHeadConfig(
        size_px=512,
        patch_px=None,
        subdivisions=1,
        offsets=OffsetConfig("everywhere", 128, 6, 32, 256, unit_m=1.0, largest_m=1.0),
        texture=TextureConfig(
            width=256,
            layers=8,
            mapping_width=256,
            dynamic_width=128,
            features=64,
            features_px=256,
            normal_width=128,
            normal_features=32,
            base_px=0,
        ),
        # The published weights, with our units of the losses.
        energies=replace(
            Energies(),
            normals=(0.02, 0.0, 0.02),
            orientation=(0.0, 0.0, 0.0),
            semantics=(0.1, 0.0, 0.1),
            hair=(0.1, 0.0, 0.01),
            late_hair=0.1,
            silhouette=(0.1, 0.0, 0.1),
            early_silhouette=0.1,
            offset_laplacian=(0.05, 0.0, 0.05),
            thickness=(0.0, 0.0, 0.0),
            edge_length=(10.0, 0.0, 10.0),
            consistency=(1e-4, 0.0, 1e-4),
            prior=(1e-3, 0.0, 1e-3),
            landmarks=(0.01, 0.0, 0.0),
            l1=(0.0, 1.0, 0.05),
            perceptual=(0.0, 10.0, 0.5),
        ),
        # 150, 50 and 50 epochs of its 750 frames.
        geometry_stage=Pace(7000, 16, offsets=1e-5, head=1e-3, last_rate=1.0),
        texture_stage=Pace(18750, 2, texture=1e-4, last_rate=1.0),
        joint_stage=Pace(18750, 2, offsets=2e-6, texture=2e-5, head=2e-4, last_rate=1.0),
        plain_descent=True,
        thorough_head=True,
        low_precision=False,
    ),
}
