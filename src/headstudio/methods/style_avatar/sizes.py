"""Sizes of everything in StyleAvatar, from the grid of feature cells that holds pixels and features together.

A cell is the unit by which windows slide: one feature where face, foreground and background are composed. Pictures,
renderings and features all have a whole number of pixels a cell, so a window moved by a cell moves them alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from headstudio.nn.discriminator import DiscriminatorConfig
from headstudio.nn.feature_generator import FeatureGeneratorConfig, StyleConfig
from headstudio.nn.level_widths import LevelWidths
from headstudio.nn.noise_maps import noise_channels
from headstudio.nn.style_unet import StyleUNetConfig

_STYLE = StyleConfig()
_LARGEST_BOTTOM = 16
"""Largest side of the foreground network's coarsest maps (authors' code: 16)."""


@dataclass(frozen=True)
class StyleAvatarSizes:
    """The grid and the widths; the defaults are those of the paper and its code."""

    window_cells: int = 128
    """Side of the composed features and of the windows (authors' code: 128)."""
    crop_cells: int = 192
    """Side of the whole crop, 1.5 times the window (section 3.1)."""
    padded_cells: int = 256
    """Side of the padded rendering (section 3.2: 512 for 256, twice the window)."""
    picture_px: int = 8
    """Pixels of the picture in a cell; a power of two (authors' code: 1024 / 128)."""
    rendering_px: int = 2
    """Pixels of the renderings in a cell; 2, as the foreground network halves them (authors' code: 256 / 128)."""
    plane_side: int = 128
    """Side of the generated planes (authors' code: 128; the background's is enlarged to the crop)."""
    generator_widths: LevelWidths = field(default_factory=LevelWidths)
    """Of both plane generators (authors' code: 512 to 64, 256 at 128)."""
    foreground_widths: LevelWidths = field(default_factory=lambda: LevelWidths(32768, 256))
    """Of the foreground's U-Net (authors' code: 256 up to 32, 128 at 128)."""
    image_widths: LevelWidths = field(default_factory=LevelWidths)
    """Of the image's U-Net (authors' code: 512 up to 64, 64 at 512)."""
    discriminator_widths: LevelWidths = field(default_factory=LevelWidths)
    """Of the discriminator."""
    feature_channels: int = 256
    """Channels of the composed features (authors' code: 256)."""

    @property
    def picture_side_px(self) -> int:
        """Side of the picture in a window."""
        return self.window_cells * self.picture_px

    @property
    def noise_levels(self) -> int:
        """Levels of the image network that get noise: from the window's cells to its finest maps."""
        return (self.picture_px // 2).bit_length()

    @property
    def noise_channels(self) -> int:
        """Channels of noise in a cell, enough for all these levels."""
        return noise_channels(self.noise_levels)

    def plane(self) -> FeatureGeneratorConfig:
        """Generator of the face's plane, or of the background's; it paints nothing beside (the authors' code does)."""
        return FeatureGeneratorConfig(
            side=self.plane_side,
            widths=self.generator_widths,
            out_channels=self.feature_channels,
            painted_channels=0,
        )

    def foreground(self, style: StyleConfig = _STYLE) -> StyleUNetConfig:
        """The U-Net from a padded texture rendering to features, one a cell."""
        return StyleUNetConfig(
            channels=3,
            side=self.padded_cells * self.rendering_px,
            wavelet_input=True,
            bottom_side=_bottom_side(self.padded_cells),
            out_side=self.padded_cells,
            style=style,
            widths=self.foreground_widths,
            out_channels=self.feature_channels,
            painted_channels=0,
        )

    def image(self, style: StyleConfig = _STYLE, colours: int = 3) -> StyleUNetConfig:
        """The U-Net from composed features to the picture of so many colours, in wavelet space."""
        return StyleUNetConfig(
            channels=self.feature_channels,
            side=self.window_cells,
            bottom_side=8,
            out_side=self.picture_side_px // 2,
            widths=self.image_widths,
            painted_channels=4 * colours,
            style=style,
        )

    def single(self, style: StyleConfig = _STYLE, colours: int = 4) -> StyleUNetConfig:
        """One U-Net from the texture rendering of a window to the picture (the paper's "Single-StyleUNet")."""
        return replace(
            self.image(style, colours), channels=3, side=self.window_cells * self.rendering_px, wavelet_input=True
        )

    def discriminator(self) -> DiscriminatorConfig:
        """The judge of pictures beside their texture renderings."""
        return DiscriminatorConfig(side=self.picture_side_px, widths=self.discriminator_widths)


def _bottom_side(side: int) -> int:
    while side > _LARGEST_BOTTOM and side % 2 == 0:
        side //= 2
    return side


SIZES: Mapping[str, StyleAvatarSizes] = {
    "draft": StyleAvatarSizes(
        window_cells=64,
        crop_cells=96,
        padded_cells=96,
        picture_px=4,
        plane_side=64,
        generator_widths=LevelWidths(2048, 64),
        foreground_widths=LevelWidths(2048, 64),
        image_widths=LevelWidths(2048, 64),
        discriminator_widths=LevelWidths(2048, 64),
        feature_channels=32,
    ),
    "standard": StyleAvatarSizes(
        window_cells=64,
        crop_cells=96,
        padded_cells=128,
        plane_side=64,
        generator_widths=LevelWidths(16384, 256),
        foreground_widths=LevelWidths(16384, 256),
        image_widths=LevelWidths(16384, 256),
        discriminator_widths=LevelWidths(16384, 256),
        feature_channels=128,
    ),
    "paper": StyleAvatarSizes(),
}
"""Sizes by preset: pictures of 256, 512 and 1024 px."""
