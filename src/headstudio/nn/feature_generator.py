"""Feature maps out of a code alone: the synthesis network of StyleGAN2 (Karras et al. 2020), ended at a feature map.

Planes of features for the face in UV space and for the background (StyleAvatar, section 3.2), and tri-planes
(LatentAvatar). A picture in wavelet space may be painted beside the features, level by level.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from headstudio.errors import HeadstudioError
from headstudio.nn.equalised import EqualisedConv, MappingNetwork
from headstudio.nn.level_widths import LevelWidths
from headstudio.nn.modulation import PictureSkip, StyledConv
from headstudio.nn.positional_encoding import positional_encoding


@dataclass(frozen=True)
class StyleConfig:
    """Size of the code and of the network that makes a style of it; the defaults are StyleAvatar's."""

    code_width: int = 64
    """Length of the latent code (StyleAvatar, section 3.3: 64)."""
    width: int = 64
    """Length of the style (authors' code: 64; StyleGAN2: 512)."""
    layers: int = 4
    """Layers of the mapping network (authors' code: 4; StyleGAN2: 8)."""
    rate: float = 0.01
    """Factor on the mapping network's learning rate (StyleGAN2: 0.01)."""


class StyledMaps(NamedTuple):
    """What a style network gives."""

    features: Float[Tensor, "batch channels side side"]
    """Features at the finest level."""
    picture: Float[Tensor, "batch painted side side"] | None
    """The painted picture, or its wavelet bands; None where nothing is painted."""


@dataclass(frozen=True)
class FeatureGeneratorConfig:
    """Size of a generator; the defaults are StyleAvatar's face and background planes."""

    side: int = 128
    """Side of the feature map: `first_side` times a power of two (StyleAvatar's code: 128)."""
    first_side: int = 4
    """Side of the coarsest map (StyleGAN2: 4)."""
    start: Literal["constant", "coordinates"] = "constant"
    """The coarsest map: learned numbers, or a convolution of the encoded places of its cells. The papers: constant."""
    widths: LevelWidths = field(default_factory=LevelWidths)
    """Channels by side."""
    out_channels: int | None = None
    """Channels of a linear layer at the end, for features of both signs (tri-planes: 96); None: the last maps."""
    painted_channels: int = 12
    """Channels of the picture painted beside the features: 12 for the bands of RGB, 3 for RGB, 0 for none."""
    wavelets: bool = True
    """The painted picture is given as Haar bands (SWAGAN)."""
    style: StyleConfig = field(default_factory=StyleConfig)
    """The code and its mapping network."""


class FeatureGenerator(nn.Module):
    """A code in, a feature map out."""

    def __init__(self, config: FeatureGeneratorConfig) -> None:
        super().__init__()
        self.config = config
        sides = level_sides(config.first_side, config.side)
        widths, style = [config.widths.at(side) for side in sides], config.style.width
        self.mapping = MappingNetwork(config.style.code_width, style, config.style.layers, config.style.rate)
        self.start = _Constant(widths[0], sides[0]) if config.start == "constant" else _Coordinates(widths[0], sides[0])
        self.levels = nn.ModuleList(
            GeneratorLevel(before, after, style, config.painted_channels, config.wavelets, up=index > 0)
            for index, (before, after) in enumerate(zip([widths[0], *widths[:-1]], widths, strict=True))
        )
        self.ending = EqualisedConv(widths[-1], config.out_channels, 1) if config.out_channels else nn.Identity()

    def forward(
        self, codes: Float[Tensor, "batch code_width"], noise: Sequence[Float[Tensor, "_ 1 _ _"]] = ()
    ) -> StyledMaps:
        """The maps of each code.

        Args:
            codes: latent codes of any length but zero.
            noise: one map a level of variance 1, for the finest `len(noise)` levels, coarsest first; or none.
        """
        style = self.mapping(codes)
        maps, picture = self.start(len(codes)), None
        for level, given in zip(self.levels, noise_of_levels(noise, len(self.levels)), strict=True):
            maps, picture = level(maps, style, given, picture)
        return StyledMaps(self.ending(maps), picture)


class GeneratorLevel(nn.Module):
    """The layers of one side: up (where asked) and in place, both styled, and what they paint."""

    def __init__(
        self, inputs: int, outputs: int, style_width: int, painted: int, wavelets: bool, up: bool, skip: int = 0
    ) -> None:
        """`skip`: channels of a map that is laid beside those of the level between its two convolutions."""
        super().__init__()
        self.first = StyledConv(inputs, outputs, style_width, up=up)
        self.second = StyledConv(outputs + skip, outputs, style_width)
        self.paint = PictureSkip(outputs, painted, style_width, wavelets) if painted else None

    def forward(
        self,
        maps: Float[Tensor, "batch inputs _ _"],
        style: Float[Tensor, "batch style_width"],
        noise: Float[Tensor, "_ 1 _ _"] | None,
        picture: Float[Tensor, "batch painted _ _"] | None,
        skip: Float[Tensor, "batch beside _ _"] | None = None,
    ) -> tuple[Float[Tensor, "batch outputs _ _"], Float[Tensor, "batch painted _ _"] | None]:
        """The level's maps and the picture so far."""
        maps = self.first(maps, style, noise)
        if skip is not None:
            maps = torch.cat([maps, skip], dim=1)
        maps = self.second(maps, style, noise)
        return maps, None if self.paint is None else self.paint(maps, style, picture)


def level_sides(first: int, last: int) -> tuple[int, ...]:
    """`first` doubled up to `last`.

    Raises:
        HeadstudioError: no power of two lies between them.
    """
    doublings = max(last // max(first, 1), 1).bit_length() - 1
    if first < 1 or first << doublings != last:
        raise HeadstudioError(
            f"maps of side {first} do not double to {last}", next_step="choose a power of two times the first side"
        )
    return tuple(first << k for k in range(doublings + 1))


def noise_of_levels(noise: Sequence[Tensor], levels: int) -> tuple[Tensor | None, ...]:
    """The noise of each level, None for the coarse ones that have none.

    Raises:
        HeadstudioError: more maps than levels.
    """
    if len(noise) > levels:
        raise HeadstudioError(
            f"{len(noise)} maps of noise for {levels} levels", next_step="give one for each of the finest levels"
        )
    return (*(None,) * (levels - len(noise)), *noise)


class _Constant(nn.Module):
    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.randn(1, channels, side, side))

    def forward(self, batch: int) -> Tensor:
        return self.values.expand(batch, -1, -1, -1)


class _Coordinates(nn.Module):
    encoded: Tensor

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        centres = (torch.arange(side) + 0.5) * 2 / side - 1
        places = torch.stack(torch.meshgrid(centres, centres, indexing="xy"), dim=-1)
        # The highest octave must not pass half a turn a cell.
        encoded = positional_encoding(places, max(side.bit_length() - 1, 1))
        self.register_buffer("encoded", encoded.permute(2, 0, 1)[None], persistent=False)
        self.convolution = EqualisedConv(self.encoded.shape[1], channels, 1)

    def forward(self, batch: int) -> Tensor:
        return self.convolution(self.encoded).expand(batch, -1, -1, -1)
