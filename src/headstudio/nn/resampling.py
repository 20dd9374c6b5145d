"""Resampling of pictures and maps by finite impulse responses, pixel centres kept in place.

The filter is the binomial (1, 3, 3, 1) of Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN".
All of it is plain convolution, which differentiates twice (the R1 penalty needs it) and exports to ONNX.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

BINOMIAL = (1.0, 3.0, 3.0, 1.0)
"""Taps of the filter, before they are normalised."""


def fir_kernel(taps: tuple[float, ...] = BINOMIAL) -> Float[Tensor, "size size"]:
    """The outer product of the taps with themselves, summing to 1, turned over as torch's convolutions want it."""
    line = torch.tensor(taps).flip(0)
    line = line / line.sum()
    return torch.outer(line, line)


def fir_resample(
    maps: Float[Tensor, "batch channels rows columns"],
    kernel: Float[Tensor, "size size"],
    up: int = 1,
    down: int = 1,
    padding: tuple[int, int] = (0, 0),
) -> Float[Tensor, "batch channels new_rows new_columns"]:
    """Insert zeros between samples, pad with zeros, convolve with the kernel, keep every `down`-th sample.

    Args:
        maps: what is resampled, both axes alike.
        kernel: the impulse response, from `fir_kernel`.
        up: samples after for one before; the result is multiplied by `up` squared, so that a constant stays as it is.
        down: samples before for one after.
        padding: zeros before and after, on the finer grid; where `size - 1` of them are put in, `up` times the
            length comes out (divided by `down`).
    """
    channels = int(maps.shape[1])  # a number also while a graph is traced, which needs kernels of fixed shape
    if up > 1:
        rows, columns = maps.shape[2:]
        spread = F.pad(maps[:, :, :, None, :, None], (0, up - 1, 0, 0, 0, up - 1))
        maps = spread.reshape(maps.shape[0], channels, rows * up, columns * up)
    maps = F.pad(maps, (*padding, *padding))
    taps = kernel[None, None].repeat(channels, 1, 1, 1) * up**2
    # A depthwise convolution: on a CPU faster than one of a single channel, and than two of one axis each.
    return F.conv2d(maps, taps.to(maps), stride=down, groups=channels)


def upsample(
    maps: Float[Tensor, "batch channels rows columns"],
) -> Float[Tensor, "batch channels 2*rows 2*columns"]:
    """Twice the size. The binomial filter at factor 2 is bilinear interpolation; the border is continued, not zero."""
    return F.interpolate(maps, scale_factor=2.0, mode="bilinear", align_corners=False)


def downsample(
    maps: Float[Tensor, "batch channels rows columns"], kernel: Float[Tensor, "size size"]
) -> Float[Tensor, "batch channels rows//2 columns//2"]:
    """Half the size of maps of even size, through a kernel of four taps; the border is continued, not zero."""
    return fir_resample(F.pad(maps, (1, 1, 1, 1), mode="replicate"), kernel, down=2)
