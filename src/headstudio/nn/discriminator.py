"""The judge of an adversarial training: SWAGAN's discriminator (Gal et al. 2021), told what the picture should show.

The picture is halved again and again, and the Haar bands of each size enter at the level of their side, so that high
frequencies are judged as such. What conditions the picture is laid beside it (StyleAvatar, section 3.3, lays the
texture rendering there), and so is a mask of the pixels that mean something.
"""

import itertools
import math
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from headstudio.nn.equalised import EqualisedConv, EqualisedLinear, leaky
from headstudio.nn.feature_generator import level_sides
from headstudio.nn.level_widths import LevelWidths
from headstudio.nn.resampling import downsample, fir_kernel
from headstudio.nn.wavelets import analyse


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Size of the discriminator; the defaults are StyleAvatar's."""

    side: int = 1024
    """Side of the pictures in pixels: 8 times a power of two."""
    conditions: int = 3
    """Channels of the conditioning picture, 0 for none (StyleAvatar: 3, the texture rendering)."""
    widths: LevelWidths = field(default_factory=LevelWidths)
    """Channels by side."""
    residual: bool = True
    """Levels carry their input past their convolutions (StyleGAN2); StyleAvatar's code has plain levels."""
    group: int = 4
    """Samples whose deviation is told to the last layers (StyleGAN2: 4)."""


class Discriminator(nn.Module):
    """A score for each picture: high means real."""

    halving: Tensor

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        sides = level_sides(4, config.side // 2)[::-1]
        widths = [config.widths.at(side) for side in sides]
        bands = 4 * (3 + config.conditions + 1)
        self.entries = nn.ModuleList(EqualisedConv(bands, width, 1) for width in widths)
        self.levels = nn.ModuleList(
            _Level(before, after, config.residual) for before, after in itertools.pairwise(widths)
        )
        self.last_maps = EqualisedConv(widths[-1] + 1, widths[-1])
        self.last_vector = EqualisedLinear(widths[-1] * 16, widths[-1])
        self.score = EqualisedLinear(widths[-1], 1)
        self.register_buffer("halving", fir_kernel(), persistent=False)

    def forward(
        self,
        pictures: Float[Tensor, "batch 3 side side"],
        conditions: Float[Tensor, "batch conditions side side"],
        valid: Float[Tensor, "batch 1 side side"],
    ) -> Float[Tensor, " batch"]:
        """The scores.

        Args:
            pictures: real or made, about in [-1, 1].
            conditions: what the pictures should show, pixel on pixel, in the same range.
            valid: 1 where a pixel was filmed, 0 where it was padded; padded pixels cannot change the score.
        """
        shown = torch.cat([pictures * valid, conditions * valid, valid], dim=1)
        maps = leaky(self.entries[0](analyse(shown)))
        for level, entry in zip(self.levels, self.entries[1:], strict=True):  # pyright: ignore[reportArgumentType]
            shown = downsample(shown, self.halving)
            maps = level(maps) + leaky(entry(analyse(shown)))
        maps = torch.cat([maps, batch_deviation(maps, self.config.group)], dim=1)
        return self.score(leaky(self.last_vector(leaky(self.last_maps(maps)).flatten(1)))).squeeze(1)


def batch_deviation(
    maps: Float[Tensor, "batch channels rows columns"], group: int
) -> Float[Tensor, "batch 1 rows columns"]:
    """How much the samples of a group differ, the same number in every cell (Karras et al. 2018, section 3).

    The standard deviation over the group, averaged over channels and cells. Sample i belongs to group
    `i % (batch / group)`, where the group is the largest that fits: it divides the batch.
    """
    batch, size = len(maps), math.gcd(group, len(maps))
    grouped = maps.reshape(size, batch // size, -1)
    deviation = (grouped.var(0, unbiased=False) + 1e-8).sqrt().mean(1)
    return deviation.repeat(size)[:, None, None, None].expand(-1, 1, *maps.shape[2:])


class _Level(nn.Module):
    def __init__(self, inputs: int, outputs: int, residual: bool) -> None:
        super().__init__()
        self.here = EqualisedConv(inputs, inputs)
        self.down = EqualisedConv(inputs, outputs, down=True)
        self.past = EqualisedConv(inputs, outputs, 1, down=True, bias=False) if residual else None

    def forward(self, maps: Tensor) -> Tensor:
        through = leaky(self.down(leaky(self.here(maps))))
        return through if self.past is None else (through + self.past(maps)) / math.sqrt(2.0)
