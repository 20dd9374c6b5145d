"""A U-Net whose decoder is styled by a code: StyleUNet (StyleAvatar, Wang et al. 2023, section 3.3).

An encoder takes a conditioning picture down; a decoder of StyleGAN2's modulated convolutions comes up again, with the
encoder's maps of the same side laid beside its own and a picture painted level by level, in wavelet space. The decoder
may go on beyond the side of the input.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor, nn

from headstudio.errors import HeadstudioError
from headstudio.nn.equalised import EqualisedConv, MappingNetwork, leaky
from headstudio.nn.feature_generator import GeneratorLevel, StyleConfig, StyledMaps, level_sides, noise_of_levels
from headstudio.nn.level_widths import LevelWidths
from headstudio.nn.wavelets import analyse


@dataclass(frozen=True)
class StyleUNetConfig:
    """Size of a U-Net; the defaults are about those of StyleAvatar's image network."""

    channels: int = 256
    """Channels of the input."""
    side: int = 128
    """Side of the input; any input of a multiple of `side / bottom_side` cells will do, its maps scale with it."""
    wavelet_input: bool = False
    """The input is a picture, taken apart into Haar bands first, which halves its side."""
    bottom_side: int = 8
    """Side of the coarsest maps (authors' code: 8 for the image, 16 for the foreground's features)."""
    out_side: int = 512
    """Side of the features and of the painted map."""
    widths: LevelWidths = field(default_factory=LevelWidths)
    """Channels by side."""
    out_channels: int | None = None
    """Channels of a linear layer at the end, for features of both signs; None: the decoder's last maps."""
    painted_channels: int = 12
    """Channels of the painted map: 12 for the bands of RGB, which make a picture of twice `out_side`; 0 for none."""
    wavelets: bool = True
    """What is painted are Haar bands."""
    style: StyleConfig = field(default_factory=StyleConfig)
    """The code and its mapping network."""

    @property
    def encoder_side(self) -> int:
        """Side of the encoder's finest maps."""
        return self.side // 2 if self.wavelet_input else self.side


class StyleUNet(nn.Module):
    """A conditioning picture or feature map and a code in; features and a painted picture out."""

    def __init__(self, config: StyleUNetConfig) -> None:
        super().__init__()
        if config.out_side < config.bottom_side or config.encoder_side < config.bottom_side:
            raise HeadstudioError(
                f"a U-Net from {config.encoder_side} to {config.out_side} cannot go down to {config.bottom_side}",
                next_step="choose a smaller bottom_side",
            )
        self.config = config
        down = level_sides(config.bottom_side, config.encoder_side)[::-1]
        up = level_sides(config.bottom_side, config.out_side)
        at, style = config.widths.at, config.style.width
        self.mapping = MappingNetwork(config.style.code_width, style, config.style.layers, config.style.rate)
        self.entry = EqualisedConv(config.channels * (4 if config.wavelet_input else 1), at(down[0]))
        self.encoder = nn.ModuleList(_EncoderLevel(at(side), at(side // 2)) for side in down[:-1])
        self.bottom = EqualisedConv(at(down[-1]), at(down[-1]))
        self.decoder = nn.ModuleList(
            GeneratorLevel(
                at(max(side // 2, up[0])),
                at(side),
                style,
                config.painted_channels,
                config.wavelets,
                up=side > up[0],
                skip=at(side) if side in down else 0,
            )
            for side in up
        )
        last = at(up[-1])
        self.ending = EqualisedConv(last, config.out_channels, 1) if config.out_channels else nn.Identity()

    def forward(
        self,
        picture: Float[Tensor, "batch channels rows columns"],
        codes: Float[Tensor, "batch code_width"],
        noise: Sequence[Float[Tensor, "_ 1 _ _"]] = (),
    ) -> StyledMaps:
        """Features and painted map, `out_side / side` times the size of the input.

        Args:
            picture: the conditioning picture or feature map.
            codes: latent codes, for example of a time.
            noise: one map of variance 1 a level, for the decoder's finest `len(noise)` levels, coarsest first; or none.
        """
        style = self.mapping(codes)
        maps = leaky(self.entry(analyse(picture) if self.config.wavelet_input else picture))
        skips: list[Tensor] = []
        for level in self.encoder:
            skip, maps = level(maps)
            skips.append(skip)
        maps, painted = leaky(self.bottom(maps)), None
        skips.append(maps)
        for level, given in zip(self.decoder, noise_of_levels(noise, len(self.decoder)), strict=True):
            maps, painted = level(maps, style, given, painted, skips.pop() if skips else None)
        return StyledMaps(self.ending(maps), painted)


class _EncoderLevel(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.here = EqualisedConv(inputs, inputs)
        self.down = EqualisedConv(inputs, outputs, down=True)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        here = leaky(self.here(maps))
        return here, leaky(self.down(here))
