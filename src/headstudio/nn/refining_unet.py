"""A U-Net from picture to picture (Ronneberger et al. 2015): paper 3's re-rendering network.

Convolutions halve the picture, convolutions double it again, and what was seen at each size on the way down is laid
beside what comes up.
"""

import itertools
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from headstudio.errors import HeadstudioError


@dataclass(frozen=True)
class RefiningUNetConfig:
    """Size of the network; the paper gives the channels of input and output alone."""

    inputs: int = 3
    """Channels of the input (paper 3: the colours of the rendered mesh)."""
    outputs: int = 6
    """Channels of the output (paper 3: colour and three weights)."""
    widths: tuple[int, ...] = (16, 32, 64, 96, 128, 128)
    """Channels at each size, the finest first."""
    convolutions: int = 1
    """Convolutions at each size on either way; Ronneberger et al. have 2."""


class RefiningUNet(nn.Module):
    """Raw values of the same size as the input, 0 before training."""

    def __init__(self, config: RefiningUNetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or RefiningUNetConfig()
        if min(config.widths, default=0) < 1 or config.convolutions < 1:
            raise HeadstudioError(
                "a U-Net needs a width above 0 at each size", where="U-Net", next_step="choose other widths"
            )
        widths, more = config.widths, config.convolutions - 1
        self.entry = _several(config.inputs, widths[0], more + 1)
        self.down = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 4, 2, 1), nn.LeakyReLU(0.2), *_several(b, b, more))
            for a, b in itertools.pairwise(widths)
        )
        self.up = nn.ModuleList(_several(a + b, b, more + 1) for a, b in itertools.pairwise(widths[::-1]))
        self.output = nn.Conv2d(widths[0], config.outputs, 3, padding=1)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)  # type: ignore[arg-type]

    def forward(self, pictures: Float[Tensor, "batch inputs height width"]) -> Float[Tensor, "batch outputs _ _"]:
        """Raw values; sides are multiples of 2 to the power of the halvings."""
        seen = [self.entry(pictures)]
        for down in self.down:
            seen.append(down(seen[-1]))
        found = seen.pop()
        for up in self.up:
            wider = F.interpolate(found, scale_factor=2.0, mode="bilinear", align_corners=False)
            found = up(torch.cat([wider, seen.pop()], dim=1))
        return self.output(found)


def _several(inputs: int, outputs: int, count: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for step in range(count):
        layers += [nn.Conv2d(inputs if step == 0 else outputs, outputs, 3, padding=1), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers)
