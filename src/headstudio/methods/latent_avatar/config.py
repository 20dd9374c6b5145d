"""Every number of the method, with the paper's value beside it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from headstudio.nn.face_autoencoder import FaceEncoderConfig
from headstudio.nn.feature_generator import FeatureGeneratorConfig, StyleConfig
from headstudio.nn.level_widths import LevelWidths
from headstudio.nn.super_resolution import SuperResolutionConfig
from headstudio.nn.volume_field import VolumeFieldConfig

CodeSource: TypeAlias = Literal["encoded", "tracked"]
"""What the code is made of: the picture of the face, as the paper has it; or all that the tracker estimates, which is
its baseline Coeff+Tri-plane (section 5.2)."""


def _encoder(width: int) -> FaceEncoderConfig:
    # Codes of one length, unlike the published code's: divided by the variance, a code of a small spread grows without
    # bound, and eq. 8 compares codes by their size.
    return FaceEncoderConfig(width=width, code=128, normalisation="deviation")


def _generator(side: int, channels: int, widest: int, volume: int) -> FeatureGeneratorConfig:
    # The code is the style, without a mapping network between (published code).
    return FeatureGeneratorConfig(
        side=side,
        widths=LevelWidths(volume, widest),
        out_channels=3 * channels,
        painted_channels=0,
        style=StyleConfig(code_width=128, width=128, layers=0),
    )


@dataclass(frozen=True)
class LatentAvatarConfig:
    """Configuration of `latent-avatar`; sections are those of paper 5, "published" is its authors' code."""

    code: CodeSource = "encoded"
    """What the code is made of; the paper: encoded."""
    rays_side: int = 96
    """Side of the rendered low-resolution picture, one ray a pixel; paper 128 (section 5.1). It is a square window
    around the volume, so that rays are not spent on the rest of the frame; the paper's clips are cut to the head."""
    samples: int = 32
    """Places a ray at which the volume is asked; paper 64 (section 5.1)."""
    stratified: bool = False
    """Draw a place in each of a ray's cells while training; published: False, the middles."""
    box_lowest: tuple[float, float, float] = (-1.3, -1.35, -1.2)
    """Least x, y, z of the volume, in half extents of the tracked head from its middle. Published: a box of 3 x 3.6 x 3
    in units of the fitted head's scale, which holds head and shoulders; ours ends at the collar, as shoulders do not
    turn with the head."""
    box_highest: tuple[float, float, float] = (1.3, 1.3, 1.2)
    """Greatest x, y, z of the volume; wide or high hair wants more."""
    encoder: FaceEncoderConfig = field(default_factory=lambda: _encoder(16))
    """Aligned crops of 128 px to codes of 128 (section 5.1). Deterministic: the published "variational" encoder has
    neither sampling nor divergence either. It subtracts 0.5 itself, so nobody can subtract it twice, as the published
    self re-enactment does."""
    spread_frames: int = 64
    """Training frames whose codes are spread before training: mean 0 and deviation 1 in each number, since codes of
    nearly equal crops hardly move a head. 0, as in the paper: they start as they come."""
    input_noise: float = 0.05
    """Noise on the crops in training (published: 0.05), so that foreign pictures do not break the encoder; for the
    baseline in standard deviations of its signals."""
    generator: FeatureGeneratorConfig = field(default_factory=lambda: _generator(64, 8, 64, 1024))
    """Code to tri-plane; paper: 3 x 32 channels of 128 x 128 (section 5.1; published: 256 x 256)."""
    own_planes: bool = True
    """Add a learned tri-plane that is the same for all codes: what does not move need not pass through the generator,
    which saves a short training most of its way. The paper has none."""
    mixed_planes: int = 24
    """Add as many learned tri-planes in shares that are linear in the code, as Xu et al. 2023 (AvatarMAV) mix voxels
    with expressions: what a code moves then learns as fast as what stands still, while a generator that starts from
    noise first learns to keep still. The paper has none."""
    volume: VolumeFieldConfig = field(default_factory=lambda: VolumeFieldConfig(8, 48, 16, view_octaves=1, start=0.0))
    """Features to density and values. Its softplus density (published: relu) cannot vanish for good, so the published
    darkening of the first hundred targets, a guard against collapse to the white background, is left out."""
    start_side: int = 96
    """Places along each axis of the volume from which training starts: the tracked head at rest, soft, with the colours
    that training frames show on it; the networks add to it. A short training then spends its steps on what moves. The
    paper: 0, nothing."""
    density_noise: float = 0.01
    """Noise on the density before its activation in training (published: 0.01)."""
    super_resolution: SuperResolutionConfig = field(
        default_factory=lambda: SuperResolutionConfig(17, 16, 1, outputs=4, residual=True)
    )
    """The U-Net; paper: 128 to 512 px, colour alone. A fourth output is the mask at full size (ours), for edges that
    can be laid over any background; without it the low-resolution mask is enlarged."""
    background: float = 1.0
    """Grey level behind the head while learning; published: white."""
    cells: int = 32
    """Cells along each axis of the grid that tells where the volume is empty; the published code skips nothing. 0 asks
    everywhere."""
    skip_hidden: bool = True
    """Ask density first, without a gradient, and colours only of what is not hidden; published: all is asked."""
    cells_looked_at: int = 2000
    """Cells looked at in each step."""
    matte_frames: int = 24
    """Frames whose mattes cut the volume before training; 0 leaves it whole."""
    matte_share: float = 0.5
    """Least share of them that must have a cell in their matte; jaw and hair, which move, want little."""
    l1_weight: float = 1.0
    """Weight of L1 at full size (eq. 4); paper 1."""
    moving_weight: float = 8.0
    """How much more colours count around eyes and mouth, a twentieth of the picture and nearly all that a code
    is for; fades with the distance from them. Paper: 0."""
    perceptual_weight: float = 0.1
    """Weight of VGG (eq. 4); paper 0.1, on LPIPS, which the published code hands values in +-0.5 instead of +-1. Ours
    takes sRGB in [0, 1] and scales by itself."""
    low_resolution_weight: float = 0.1
    """Weight of L1 of the rendered colour (eq. 4); paper 0.1. Its target is the averaged picture; published: every
    fourth pixel, which aliases."""
    mask_weight: float = 0.1
    """Weight of the squared difference of the rendered mask (eq. 4), and of the full-size one where there is one; paper
    0.1. Eq. 4 prints a norm; published: its mean square, as here."""
    steps: int = 1500
    """Training steps; paper 200 000 (section 5.1)."""
    batch_size: int = 1
    """Frames a step; paper 2 (section 5.1)."""
    learning_rate: float = 2e-3
    """Of Adam; paper 1e-4 (section 5.1)."""
    last_rate: float = 0.05
    """Factor that the learning rate falls to in the second half; published: 1."""
    ema: float | None = None
    """Decay of the moving average of the weights that is kept; published: none."""
    transfer_steps: int = 500
    """Steps of the stage after, in which a small network learns, all else frozen, what code the tracked signals stand
    for: the avatar then also follows ARKit and relative coefficient transfer. Not in the paper; 0 leaves it out."""
    samples_at_once: int | None = None
    """The most samples of a picture that are computed at a time; fewer take less memory and more time."""
    low_precision: bool = False
    """Compute encoder, generator and U-Net in bfloat16 while training."""

    @property
    def has_fine_mask(self) -> bool:
        """Whether the U-Net makes the mask at full size."""
        return self.super_resolution.outputs > 3


PRESETS: Mapping[str, LatentAvatarConfig] = {
    "draft": LatentAvatarConfig(),
    "standard": LatentAvatarConfig(
        rays_side=128,
        samples=64,
        encoder=_encoder(32),
        generator=_generator(128, 16, 256, 16384),
        volume=VolumeFieldConfig(16, 64, 32, start=0.0),
        super_resolution=SuperResolutionConfig(33, 64, 2, outputs=4, residual=True),
        cells=64,
        cells_looked_at=16384,
        steps=20000,
        batch_size=2,
        learning_rate=1e-3,
        ema=0.998,
        transfer_steps=2000,
        low_precision=True,
    ),
    "paper": LatentAvatarConfig(
        rays_side=128,
        samples=64,
        box_lowest=(-2.2, -2.2, -1.8),
        box_highest=(2.2, 1.8, 1.4),
        # Divided by the variance as published; the generator does not notice, as it normalises its style.
        encoder=FaceEncoderConfig(code=128),
        generator=_generator(128, 32, 256, 32768),
        spread_frames=0,
        moving_weight=0.0,
        own_planes=False,
        mixed_planes=0,
        start_side=0,
        volume=VolumeFieldConfig(),
        super_resolution=SuperResolutionConfig(),
        cells=64,
        cells_looked_at=16384,
        steps=200_000,
        batch_size=2,
        learning_rate=1e-4,
        last_rate=1.0,
        transfer_steps=5000,
        low_precision=False,
    ),
}
