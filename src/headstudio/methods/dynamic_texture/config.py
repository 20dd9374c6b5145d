"""Every number of the method, with the paper's value beside it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from headstudio.nn.texture_decoder import TextureDecoderConfig
from headstudio.texture.unproject import UnprojectionConfig


@dataclass(frozen=True)
class DynamicTextureConfig:
    """Configuration of `dynamic-texture`; section numbers are those of paper 1."""

    size_px: int = 256
    """Side of the training pictures; the paper renders the video's resolution."""
    texture_px: int = 512
    """Side of the static texture; the paper's figures show about 2k."""
    decoder: TextureDecoderConfig = field(default_factory=TextureDecoderConfig)
    """The painting network; its picture is stretched over the whole atlas (the upsampling of sec. 3.3.2)."""
    residual: bool = True
    """Add to the static texture instead of replacing it; the paper blends the painted texture in."""
    relight: bool = True
    """Take the tracked light off the static texture and put it back when rendering (sec. 3.3.1); False bakes it in."""
    margin_m: float = 0.010
    """Soft border of the eye and mouth regions; not given in the paper."""
    texture_frames: int = 60
    """Frames the static texture is unprojected from; paper: the key frames of clip A, under 20."""
    unprojection: UnprojectionConfig = field(default_factory=UnprojectionConfig)
    """How these frames are averaged."""
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
        size_px=512, texture_px=2048, decoder=TextureDecoderConfig(side=512), steps=4000, batch_size=4
    ),
    "paper": DynamicTextureConfig(
        size_px=512,
        texture_px=4096,
        decoder=TextureDecoderConfig(side=512),
        residual=False,
        unprojection=UnprojectionConfig(angle_power=0.0, robust_passes=0),
        steps=2500,
        batch_size=1,
        perceptual_weight=1.0,
        input_noise=0.0,
        low_precision=False,
    ),
}
