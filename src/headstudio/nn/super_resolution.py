"""A small U-Net that makes a large picture of rendered features (paper 5, section 3.2).

The shape is that of paper 5's code: one step down, one step up with a skip, then more steps up; InstanceNorm, no bias.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from headstudio.errors import HeadstudioError


@dataclass(frozen=True)
class SuperResolutionConfig:
    """Size of the network; the defaults are those of paper 5's code, 2 092 131 parameters."""

    inputs: int = 32
    """Channels of the rendered picture, its three of colour among them (paper 5's code: 32)."""
    width: int = 128
    """Channels at the resolution of the input (paper 5's code: 128); twice as many below."""
    doublings: int = 2
    """How often the side is doubled (paper 5: 2, from 128 to 512 px); the channels are halved each time."""
    outputs: int = 3
    """Channels of the picture (paper 5: 3, the colour; ours may add a fourth, the mask)."""
    residual: bool = False
    """Add to the first `outputs` channels of the input, enlarged, instead of making the picture anew, and start from
    nothing to add. What the volume has learned then shows at once, in a training of minutes. Paper 5: False."""

    @classmethod
    def small(cls, inputs: int = 16, doublings: int = 1) -> "SuperResolutionConfig":
        """A network for a CPU: 64 to 128 px with some 1/16 of the parameters."""
        return cls(inputs, 32, doublings)


class SuperResolution(nn.Module):
    """Colour and features in, sRGB out, `2 ** doublings` times as large; in [0, 1], or about so where residual."""

    def __init__(self, config: SuperResolutionConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or SuperResolutionConfig()
        if config.inputs < 1 or config.doublings < 0 or config.width < 1 or config.width % 2**config.doublings:
            raise HeadstudioError(
                f"a network {config.width} wide cannot be halved {config.doublings} times",
                where="super resolution",
                next_step="choose a width that is a multiple of 2 to the power of the doublings",
            )
        width = config.width
        self.entry = DoubleConvolution(config.inputs, width, width)
        self.below = DoubleConvolution(width, 2 * width, 2 * width)
        self.joined = DoubleConvolution(3 * width, 3 * width // 2, width)
        widths = [width >> step for step in range(config.doublings + 1)]
        self.doublings = nn.ModuleList(
            DoubleConvolution(before, before // 2, after) for before, after in pairwise(widths)
        )
        self.output = nn.Conv2d(widths[-1], config.outputs, 1)
        if config.residual:
            nn.init.zeros_(self.output.weight)
            nn.init.zeros_(self.output.bias)  # type: ignore[arg-type]

    def forward(
        self, rendered: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch outputs rows columns"]:
        """The picture; sides of the input are even."""
        here = self.entry(rendered)
        below = self.below(F.max_pool2d(here, 2))
        values = self.joined(torch.cat([here, _doubled(below)], dim=1))
        for doubling in self.doublings:
            values = doubling(_doubled(values))
        painted = torch.sigmoid(self.output(values))
        if not self.config.residual:
            return painted
        base = rendered[:, : self.config.outputs]
        for _ in self.doublings:
            base = _doubled(base)
        return base + 2 * painted - 1


class DoubleConvolution(nn.Sequential):
    """Twice: convolution without bias, InstanceNorm, ReLU."""

    def __init__(self, inputs: int, between: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, between, 3, padding=1, bias=False),
            nn.InstanceNorm2d(between),
            nn.ReLU(),
            nn.Conv2d(between, outputs, 3, padding=1, bias=False),
            nn.InstanceNorm2d(outputs),
            nn.ReLU(),
        )


def _doubled(values: Tensor) -> Tensor:
    # `align_corners` as in paper 5's code would shift features against the skip by up to half a pixel.
    return F.interpolate(values, scale_factor=2, mode="bilinear", align_corners=False)
