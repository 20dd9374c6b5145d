"""Every number of the method, with the paper's value beside it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from headstudio.nn.texture_decoder import TextureDecoderConfig
from headstudio.texture.static import StaticTextureConfig

Canvas: TypeAlias = Literal["mask", "everywhere", "alone"]
"""Where the network paints: on eyes and mouth; on the whole head over the static texture; on the whole head over one
flat colour."""


@dataclass(frozen=True)
class DynamicTextureConfig:
    """Configuration of `dynamic-texture`; section numbers are those of paper 1."""

    size_px: int = 256
    """Side of the training pictures; the paper renders the video's resolution."""
    static: StaticTextureConfig = field(default_factory=StaticTextureConfig.draft)
    """The static texture and its light (sec. 3.3.1), from this clip where no scan is given; the light of the clip is
    always looked for. The paper's figures show about 2k."""
    decoder: TextureDecoderConfig = field(default_factory=TextureDecoderConfig)
    """The painting network; its picture is stretched over the whole atlas (the upsampling of sec. 3.3.2)."""
    residual: bool = True
    """Add to the static texture instead of replacing it; the paper blends the painted texture in."""
    canvas: Canvas = "mask"
    """Where the network paints: the blend mask's eyes and mouth (sec. 3.3.2), everywhere over the static texture, or
    alone on the whole head without one. The paper: mask."""
    relight: bool = True
    """Take the light off the static texture and put it back inside eq. 2 (sec. 3.3.1), so that the painted texture is
    albedo as well; False gives a lit map, which no other light falls on."""
    own_skin: bool = True
    """Where this clip sees the skin well, its own texture, in the terms of the scan's, goes over the scan's: between
    two clips a tracked head slips by about a millimetre. Paper: False."""
    margin_m: float = 0.010
    """Soft border of the eye and mouth regions where no scan brings a mask; not given in the paper."""
    texture_frames: int = 60
    """Frames of this clip that are looked at for texture and light; paper: the key frames of clip A, under 20."""
    steps: int = 1500
    """Training steps; paper about 2500 (appendix B)."""
    batch_size: int = 2
    """Frames a step; not given in the paper."""
    learning_rate: float = 4e-4
    """Of Adam; paper 4e-4 (appendix B)."""
    l1_weight: float = 1.0
    """Weight of the L1 term (eq. 2); paper 1."""
    perceptual_weight: float = 0.1
    """Weight of the perceptual term (eq. 2), in our relative scale; paper 1 on VGG features of unstated layers."""
    input_noise: float = 0.05
    """Noise on the network's input in training, in standard deviations, so that foreign drivers do not break it."""
    low_precision: bool = True
    """Compute the decoder and the perceptual features in bfloat16 while training."""


PRESETS: Mapping[str, DynamicTextureConfig] = {
    "draft": DynamicTextureConfig(),
    "standard": DynamicTextureConfig(
        size_px=512,
        static=StaticTextureConfig.standard(),
        decoder=TextureDecoderConfig(side=512),
        steps=4000,
        batch_size=4,
    ),
    "paper": DynamicTextureConfig(
        size_px=512,
        static=StaticTextureConfig.paper(),
        decoder=TextureDecoderConfig(side=512),
        residual=False,
        own_skin=False,
        steps=2500,
        batch_size=1,
        perceptual_weight=1.0,
        input_noise=0.0,
        low_precision=False,
    ),
}
