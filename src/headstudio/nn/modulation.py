"""Convolutions whose weights a style scales, and the layers made of them (Karras et al. 2020, StyleGAN2, section 2.2).

For a style s per input channel, the weights are w'_oik = s_i w_oik and, demodulated, w''_oik = d_o w'_oik with
d_o = (sum_ik w'_oik^2 + eps)^(-1/2). As the convolution is linear, s may as well scale the maps that go in and d those
that come out; both forms are here.
"""

import math
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from headstudio.nn.equalised import EqualisedLinear, leaky
from headstudio.nn.resampling import fir_kernel, fir_resample, upsample
from headstudio.nn.wavelets import upsample_bands

Form: TypeAlias = Literal["weights", "maps"]
"""What is scaled: the weights, one set a sample in a grouped convolution, or the maps before and after."""


class ModulatedConv(nn.Module):
    """A convolution of odd size, modulated by a style; `up` doubles the side, blurred after."""

    blur: Tensor

    def __init__(
        self, inputs: int, outputs: int, style_width: int, size: int = 3, up: bool = False, demodulate: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, size, size))
        self.style = EqualisedLinear(style_width, inputs, bias_start=1.0)
        self.gain = 1.0 / math.sqrt(inputs * size**2)
        self.up, self.size, self.demodulate = up, size, demodulate
        self.register_buffer("blur", fir_kernel(), persistent=False)

    def forward(
        self,
        maps: Float[Tensor, "batch inputs rows columns"],
        style: Float[Tensor, "batch style_width"],
        form: Form | None = None,
    ) -> Float[Tensor, "batch outputs new_rows new_columns"]:
        """The convolution; both forms give the same up to rounding, and by default the faster on a CPU is taken."""
        scale, weight = self.style(style), self.weight * self.gain
        after = self._demodulation(scale, weight) if self.demodulate else None
        form = form or self._faster(maps)
        if form == "maps":
            result = self._convolve(maps * scale[:, :, None, None], weight, 1)
            return result if after is None else result * after[:, :, None, None]
        weights = weight * scale[:, None, :, None, None]
        if after is not None:
            weights = weights * after[:, :, None, None, None]
        batch = len(maps)
        result = self._convolve(maps.flatten(0, 1)[None], weights.flatten(0, 1), batch)
        return result.reshape(batch, -1, *result.shape[2:])

    def _faster(self, maps: Tensor) -> Form:
        # Measured: weights win where they are fewer products than maps. Groups and the transposed convolution make the
        # library rearrange weights that are new in every call, which costs more than the products do.
        outputs, inputs = self.weight.shape[:2]
        products = (outputs + inputs) * maps.shape[2] * maps.shape[3]
        return "weights" if len(maps) == 1 and not self.up and self.weight.numel() < products else "maps"

    def _demodulation(self, scale: Tensor, weight: Tensor) -> Tensor:
        return torch.rsqrt(scale.square() @ weight.square().sum((2, 3)).T + 1e-8)

    def _convolve(self, maps: Tensor, weight: Tensor, groups: int) -> Tensor:
        if not self.up:
            return F.conv2d(maps, weight, padding=self.size // 2, groups=groups)
        # The transposed convolution wants inputs first, group by group.
        turned = weight.reshape(groups, -1, *weight.shape[1:]).transpose(1, 2).flatten(0, 1)
        grown = F.conv_transpose2d(maps, turned, stride=2, groups=groups)
        inset = self.size // 2
        return fir_resample(grown, 4.0 * self.blur, padding=(2 - inset, 2 - inset))


class NoiseInjection(nn.Module):
    """Adds a given map of noise to every channel, with one learned strength that starts at 0."""

    def __init__(self) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.zeros(()))

    def forward(
        self, maps: Float[Tensor, "batch channels rows columns"], noise: Float[Tensor, "#batch 1 rows columns"]
    ) -> Float[Tensor, "batch channels rows columns"]:
        """The maps with noise."""
        return maps + self.strength * noise


class StyledConv(nn.Module):
    """Modulated convolution, noise where it is given, bias and activation."""

    def __init__(self, inputs: int, outputs: int, style_width: int, up: bool = False) -> None:
        super().__init__()
        self.convolution = ModulatedConv(inputs, outputs, style_width, up=up)
        self.noise = NoiseInjection()
        self.bias = nn.Parameter(torch.zeros(1, outputs, 1, 1))

    def forward(
        self,
        maps: Float[Tensor, "batch inputs rows columns"],
        style: Float[Tensor, "batch style_width"],
        noise: Float[Tensor, "#batch 1 new_rows new_columns"] | None = None,
    ) -> Float[Tensor, "batch outputs new_rows new_columns"]:
        """The activated maps."""
        values = self.convolution(maps, style)
        return leaky((values if noise is None else self.noise(values, noise)) + self.bias)


class PictureSkip(nn.Module):
    """Adds what a level paints to the picture of the coarser level, brought to its size (StyleGAN2, section 4.1)."""

    def __init__(self, inputs: int, channels: int, style_width: int, wavelets: bool) -> None:
        """`channels` of the painted map, in wavelet space four times those of the picture."""
        super().__init__()
        self.convolution = ModulatedConv(inputs, channels, style_width, size=1, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.wavelets = wavelets

    def forward(
        self,
        maps: Float[Tensor, "batch inputs rows columns"],
        style: Float[Tensor, "batch style_width"],
        coarser: Float[Tensor, "batch channels rows//2 columns//2"] | None,
    ) -> Float[Tensor, "batch channels rows columns"]:
        """The picture, or its bands, at the side of the maps."""
        painted = self.convolution(maps, style) + self.bias
        if coarser is None:
            return painted
        return painted + (upsample_bands(coarser) if self.wavelets else upsample(coarser))
