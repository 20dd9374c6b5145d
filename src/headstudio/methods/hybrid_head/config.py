"""Every number of the method, with the paper's value where it gives one.

The paper describes its head model in words (section 4) and refers to Paier et al. 2023 for sizes, losses and rates. The
preset `paper` has its capture's size and, where it is silent, the numbers of the nearest relative whose code is public:
the deep appearance model that came with the Multiface data.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from headstudio.nn.head_autoencoder import HeadAutoencoderConfig
from headstudio.nn.patch_discriminator import PatchDiscriminatorConfig
from headstudio.nn.refining_unet import RefiningUNetConfig
from headstudio.texture.unwrapping import UnwrappingConfig


@dataclass(frozen=True)
class HeadWeights:
    """Weights of the autoencoder's losses; the paper names the parts and gives no number."""

    texture: float = 1.0
    """L1 of textures in their standard deviations, where the frame shows them; Multiface: 1, squared."""
    weights: float = 0.1
    """Squared error of blendshape weights in their standard deviations."""
    tones: float = 0.1
    """Squared error of the coefficients of eigen-textures, where there are any; the paper has none."""
    vertices: float = 0.2
    """Mean distance of the vertices that the weights move, per mm; Multiface: 1, squared and standardised."""
    divergence: float = 0.01
    """Divergence of codes from the standard normal, the mean over their numbers; Multiface: 0.01."""
    adversarial: float = 0.005
    """What the judge of patches says of made textures (section 4); 0 trains without it, as `draft` does: in a few
    hundred steps the judge is always right and its word paints scratches."""
    r1: float = 10.0
    """Penalty on the judge's gradient, applied every `HybridHeadConfig.penalty_every` steps; the judge that the paper
    cites has none."""
    features: float = 4.0
    """How much more a texel of eyes, lids, lips or mouth counts than one of skin; the paper weighs all alike."""


@dataclass(frozen=True)
class PictureWeights:
    """Weights of the re-rendering's losses; the paper gives none."""

    l1: float = 1.0
    """L1 of the composed picture."""
    perceptual: float = 0.1
    """Perceptual loss of the composed picture."""
    refinement: float = 0.01
    """Mean of the corrective image's weight: it is not to paint what mesh and clean plate show already. Without it
    nothing tells a background that is painted from one that is seen, and the mask would not emerge."""


@dataclass(frozen=True)
class HybridHeadConfig:
    """Configuration of `hybrid-head`; sections are those of paper 3."""

    size_px: int = 256
    """Side of the re-rendered picture; the paper's heads are about 520 x 360 px (section 6)."""
    unwrapping: UnwrappingConfig = field(default_factory=UnwrappingConfig)
    """How frames become textures; their side is the autoencoder's."""
    autoencoder: HeadAutoencoderConfig = field(
        default_factory=lambda: HeadAutoencoderConfig(code=64, narrowest=4, widest=64, tones=32)
    )
    """Weights and texture to code and back (section 4; sizes not in the paper)."""
    judge: PatchDiscriminatorConfig = field(default_factory=lambda: PatchDiscriminatorConfig(width=16))
    """The judge of patches of textures (section 4, after Isola et al. 2017)."""
    renderer: RefiningUNetConfig = field(default_factory=RefiningUNetConfig)
    """The U-Net from the rendered mesh's colours to colour and three weights (section 4; 3 and 6 channels)."""
    corrective: bool = True
    """Let the U-Net paint a corrective image (eq. 1); False leaves it the weights of mesh and clean plate alone."""
    starts_from_mesh: bool = True
    """Begin with the mesh where it is and with the clean plate elsewhere, instead of equal weights for all; the paper
    says nothing of a start."""
    starts_from_portrait: bool = True
    """Begin the corrective image at the mean training frame instead of grey: shoulders and hair are then roughly there
    when a training of minutes begins; the paper says nothing of a start."""
    plate_frames: int = 48
    """Training frames whose median, outside the matte, is the clean plate where none is given as `clean_plate.png` in
    the capture; the paper films one."""
    head_weights: HeadWeights = field(default_factory=lambda: HeadWeights(adversarial=0.0))
    """Of the autoencoder's losses."""
    picture_weights: PictureWeights = field(default_factory=PictureWeights)
    """Of the re-rendering's losses."""
    penalty_every: int = 16
    """Steps between two penalties on the judge."""
    adversary_from: float = 0.4
    """Share of the autoencoder's steps after which the judge's word counts; not in the paper."""
    head_steps: int = 800
    """Steps of the autoencoder; Multiface: 200 000."""
    head_batch: int = 8
    """Frames a step; Multiface: 16."""
    head_rate: float = 1e-3
    """Learning rate of the autoencoder (Adam); Multiface: 3e-4."""
    judge_rate: float = 1e-4
    """Learning rate of the judge; Isola et al.: 2e-4."""
    picture_steps: int = 1000
    """Steps of the re-rendering; not in the paper."""
    picture_batch: int = 1
    """Frames a step; not in the paper."""
    picture_rate: float = 1e-3
    """Learning rate of the U-Net (Adam); not in the paper."""
    code_noise: float = 0.1
    """Noise on codes while the U-Net learns, in standard deviations: what drives the head later says no code exactly.
    Not in the paper."""
    transfer_steps: int = 600
    """Steps of the stage after, in which a small network learns, all else frozen, what code the tracked signals stand
    for: the head then follows ARKit and relative coefficient transfer. The paper drives by features alone; 0 leaves it
    out."""
    last_rate: float = 0.05
    """Factor that each learning rate falls to in the second half of its stage; not in the paper."""
    low_precision: bool = True
    """Compute the networks in bfloat16 while training."""


def _textured(side: int) -> UnwrappingConfig:
    return UnwrappingConfig(size_px=side)


PRESETS: Mapping[str, HybridHeadConfig] = {
    "draft": HybridHeadConfig(),
    "standard": HybridHeadConfig(
        size_px=512,
        unwrapping=_textured(512),
        autoencoder=HeadAutoencoderConfig(side=512, code=128, narrowest=16, widest=256, hidden=256, tones=48),
        judge=PatchDiscriminatorConfig(width=32),
        head_weights=HeadWeights(),
        renderer=RefiningUNetConfig(widths=(24, 48, 96, 192, 256, 256), convolutions=2),
        head_steps=15_000,
        head_batch=8,
        head_rate=5e-4,
        picture_steps=20_000,
        picture_batch=2,
        picture_rate=5e-4,
        transfer_steps=3000,
    ),
    "paper": HybridHeadConfig(
        size_px=512,
        unwrapping=_textured(1024),
        autoencoder=HeadAutoencoderConfig(side=1024, code=256, narrowest=16, widest=256, hidden=256),
        judge=PatchDiscriminatorConfig(),
        renderer=RefiningUNetConfig(widths=(64, 128, 256, 512, 1024), convolutions=2),
        starts_from_mesh=False,
        starts_from_portrait=False,
        head_weights=HeadWeights(adversarial=0.01, features=1.0, r1=0.0),
        head_steps=200_000,
        head_batch=16,
        head_rate=3e-4,
        picture_steps=100_000,
        picture_batch=4,
        picture_rate=2e-4,
        code_noise=0.0,
        transfer_steps=5000,
        low_precision=False,
    ),
}
