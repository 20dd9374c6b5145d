"""Layers with an equalised learning rate, and the activation that keeps the variance.

Weights are stored with standard deviation 1 and scaled when they are used, so that an optimiser that normalises its
steps moves every layer alike (Karras et al. 2018, "Progressive Growing of GANs", section 4.1).
"""

import itertools
import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from headstudio.nn.resampling import fir_kernel, fir_resample

_SLOPE, _GAIN = 0.2, math.sqrt(2.0)


def leaky(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Leaky ReLU of slope 0.2 times sqrt(2), which nearly keeps the second moment (StyleGAN2, authors' choice)."""
    return F.leaky_relu(values, _SLOPE) * _GAIN


def pixel_norm(codes: Float[Tensor, "batch width"]) -> Float[Tensor, "batch width"]:
    """Each code scaled to a mean square of 1."""
    return codes * torch.rsqrt(codes.square().mean(1, keepdim=True) + 1e-8)


class EqualisedLinear(nn.Module):
    """A linear layer with an equalised learning rate."""

    def __init__(self, inputs: int, outputs: int, bias_start: float = 0.0, rate: float = 1.0) -> None:
        """`rate` multiplies the learning rate of weights and bias; the function at the start does not depend on it."""
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), bias_start / rate))
        self.gain, self.rate = rate / math.sqrt(inputs), rate

    def forward(self, values: Float[Tensor, "batch inputs"]) -> Float[Tensor, "batch outputs"]:
        """The affine map."""
        return F.linear(values, self.weight * self.gain, self.bias * self.rate)


class EqualisedConv(nn.Module):
    """A convolution of odd size with an equalised learning rate; `down` halves the side, blurred before."""

    blur: Tensor

    def __init__(self, inputs: int, outputs: int, size: int = 3, down: bool = False, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, size, size))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.gain, self.down, self.size = 1.0 / math.sqrt(inputs * size**2), down, size
        self.register_buffer("blur", fir_kernel(), persistent=False)

    def forward(
        self, maps: Float[Tensor, "batch inputs rows columns"]
    ) -> Float[Tensor, "batch outputs new_rows new_columns"]:
        """The convolution, zero beyond the border."""
        weight = self.weight * self.gain
        if not self.down:
            return F.conv2d(maps, weight, self.bias, padding=self.size // 2)
        # Zeros by which the blurred map and the stride leave coarse pixel centres amid the four fine ones.
        blurred = fir_resample(maps, self.blur, padding=(self.size // 2 + 1, self.size // 2 + 1))
        return F.conv2d(blurred, weight, self.bias, stride=2)


class MappingNetwork(nn.Module):
    """A normalised code through fully connected layers to a style (StyleGAN, Karras et al. 2019)."""

    def __init__(self, inputs: int, width: int, layers: int, rate: float) -> None:
        super().__init__()
        widths = [inputs] + [width] * layers
        self.layers = nn.ModuleList(EqualisedLinear(a, b, rate=rate) for a, b in itertools.pairwise(widths))

    def forward(self, codes: Float[Tensor, "batch inputs"]) -> Float[Tensor, "batch width"]:
        """The style of each code."""
        values = pixel_norm(codes)
        for layer in self.layers:
            values = leaky(layer(values))
        return values
