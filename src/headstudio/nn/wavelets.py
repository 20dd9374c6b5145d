"""The two-dimensional Haar transform of one level, and pictures resampled while they stay in it.

SWAGAN (Gal et al. 2021) lets generator and discriminator work on the four bands of a picture instead of on its pixels:
half the side, four times the channels. The transform is orthonormal, so it keeps lengths, and its inverse is its
transpose.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from headstudio.errors import HeadstudioError
from headstudio.nn.resampling import downsample, upsample


def analyse(
    picture: Float[Tensor, "batch channels rows columns"],
) -> Float[Tensor, "batch 4*channels rows//2 columns//2"]:
    """The bands of a picture of even size: all channels of the mean band, then of the differences.

    The mean band (LL) is twice the mean of each 2x2 block. The other bands are the left minus the right column (LH),
    the upper minus the lower row (HL), one diagonal minus the other (HH), each over 2.

    Raises:
        HeadstudioError: an odd number of rows or columns.
    """
    batch, channels, rows, columns = picture.shape
    if rows % 2 or columns % 2:
        raise HeadstudioError(
            f"a picture of {rows} x {columns} pixels has no Haar transform", next_step="give it an even size"
        )
    corners = F.pixel_unshuffle(picture, 2).reshape(batch, channels, 4, rows // 2, columns // 2)
    return torch.cat(_butterfly(*corners.unbind(2)), dim=1)


def synthesise(
    bands: Float[Tensor, "batch four_channels rows columns"],
) -> Float[Tensor, "batch four_channels//4 2*rows 2*columns"]:
    """The picture of these bands: the inverse of `analyse`.

    Raises:
        HeadstudioError: the number of channels is no multiple of four.
    """
    batch, channels, rows, columns = bands.shape
    if channels % 4:
        raise HeadstudioError(f"{channels} channels are not four bands", next_step="give a multiple of four")
    # The matrix of the four sums is symmetric and its own inverse.
    corners = torch.stack(_butterfly(*bands.chunk(4, dim=1)), dim=2)
    return F.pixel_shuffle(corners.reshape(batch, channels, rows, columns), 2)


def upsample_bands(
    bands: Float[Tensor, "batch channels rows columns"],
) -> Float[Tensor, "batch channels 2*rows 2*columns"]:
    """The bands of the picture of twice the size (SWAGAN: out of the wavelet space, up, and into it again)."""
    return analyse(upsample(synthesise(bands)))


def downsample_bands(
    bands: Float[Tensor, "batch channels rows columns"], kernel: Float[Tensor, "size size"]
) -> Float[Tensor, "batch channels rows//2 columns//2"]:
    """The bands of the picture of half the size, through the kernel of `resampling.downsample`."""
    return analyse(downsample(synthesise(bands), kernel))


def _butterfly(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    upper, lower, upper_difference, lower_difference = a + b, c + d, a - b, c - d
    return (
        0.5 * (upper + lower),
        0.5 * (upper_difference + lower_difference),
        0.5 * (upper - lower),
        0.5 * (upper_difference - lower_difference),
    )
