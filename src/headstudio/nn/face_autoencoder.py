"""Parts of paper 5's networks of faces: the encoder of aligned crops, the two halves of its Y-shape, the mapping MLP.

One encoder sees the crops of two subjects, each of whom has a decoder; what both share is an expression (section 4.1).
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from headstudio.errors import HeadstudioError

Normalisation: TypeAlias = Literal["variance", "deviation", "none"]
"""What a code, its mean subtracted, is divided by."""

_SMALLEST_SIDE = 8
_LEAST_SPREAD = 1e-6
_AT_ONCE = 16


@dataclass(frozen=True)
class FaceEncoderConfig:
    """Size of the encoder; the defaults are those of paper 5's code, 4 582 976 parameters."""

    side_px: int = 128
    """Side of the aligned crop (paper 5: 128); 8 times a power of two."""
    width: int = 32
    """Channels after the first halving, doubled with each further one (paper 5's code: 32)."""
    code: int = 256
    """Length of the code (paper 5's code: 256)."""
    normalisation: Normalisation = "variance"
    """Paper 5's code divides by the variance, which makes small codes large and large ones small; kept for likeness.
    `deviation` gives every code the same length; `none` leaves it alone."""


class FaceEncoder(nn.Module):
    """Aligned crops in, codes out. There is no noise and no divergence in it, though the code calls it variational."""

    def __init__(self, config: FaceEncoderConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or FaceEncoderConfig()
        halvings = _doublings(config.side_px)
        layers: list[nn.Module] = []
        for step in range(halvings):
            before = 3 if step == 0 else config.width << (step - 1)
            after = config.width << step
            layers += [nn.Conv2d(before, after, 3, 2, 1), nn.InstanceNorm2d(after), nn.LeakyReLU(0.01)]
        self.maps = nn.Sequential(*layers)
        self.output = nn.Linear((config.width << (halvings - 1)) * _SMALLEST_SIDE**2, config.code)

    def forward(self, crops: Float[Tensor, "batch 3 side side"]) -> Float[Tensor, "batch code"]:
        """Codes of crops with sRGB in [0, 1]."""
        code = self.output(self.maps(crops - 0.5).flatten(1))
        if self.config.normalisation == "none":
            return code
        code = code - code.mean(1, keepdim=True)
        variance = code.square().mean(1, keepdim=True)
        spread = variance if self.config.normalisation == "variance" else variance.sqrt()
        return code / (spread + _LEAST_SPREAD)

    @torch.no_grad()
    def spread(self, crops: Float[Tensor, "crops 3 side side"]) -> None:
        """Start so that each number of the codes of these crops has mean 0 and deviation 1.

        Aligned crops of one face are nearly equal, and so are their codes at a random start; a style made of them
        hardly changes anything. Initialisation by data, as Mishkin and Matas 2016 (section 3) do it for every layer.
        """
        found = torch.cat([self.output(self.maps(some - 0.5).flatten(1)) for some in crops.split(_AT_ONCE)])
        deviation = found.std(0).clamp_min(_LEAST_SPREAD)
        self.output.weight /= deviation[:, None]
        self.output.bias.sub_(found.mean(0)).div_(deviation)


@dataclass(frozen=True)
class FaceDecoderConfig:
    """Size of neck and decoder; the defaults are those of paper 5's code, 17 860 608 and 7 744 323 parameters."""

    code: int = 256
    """Length of the code (paper 5's code: 256)."""
    width: int = 512
    """Channels of the neck (paper 5's code: 512), halved with each doubling of the decoder."""
    side_px: int = 128
    """Side of the crop (paper 5: 128): 16 times a power of two."""


class FaceNeck(nn.Module):
    """What both decoders share: codes to maps of 16 x 16."""

    def __init__(self, config: FaceDecoderConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or FaceDecoderConfig()
        self.entry = nn.Linear(config.code, config.width * _SMALLEST_SIDE**2)
        self.doubling = _doubling(config.width, config.width, 0.01)

    def forward(self, code: Float[Tensor, "batch code"]) -> Float[Tensor, "batch width 16 16"]:
        """Maps of codes."""
        maps = self.entry(code).reshape(-1, self.config.width, _SMALLEST_SIDE, _SMALLEST_SIDE)
        return self.doubling(maps)


class FaceDecoder(nn.Module):
    """One subject's crops from the neck's maps."""

    def __init__(self, config: FaceDecoderConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or FaceDecoderConfig()
        doublings = _doublings(config.side_px) - 1
        if doublings < 1 or config.width % 2**doublings:
            raise HeadstudioError(
                f"a decoder {config.width} wide cannot reach a side of {config.side_px} px",
                where="face decoder",
                next_step="choose 16 times a power of two as side and a width that can be halved as often",
            )
        layers: list[nn.Module] = []
        for step in range(doublings):
            after = config.width >> (step + 1)
            layers.append(_doubling(config.width >> step, after, 0.2))
            for _ in range(2):
                layers += [nn.Conv2d(after, after, 3, 1, 1), nn.InstanceNorm2d(after), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(config.width >> doublings, 3, 1))

    def forward(self, maps: Float[Tensor, "batch width 16 16"]) -> Float[Tensor, "batch 3 side side"]:
        """Crops with sRGB in [0, 1]."""
        return torch.sigmoid(self.layers(maps))


class CodeMapping(nn.Sequential):
    """The mapping MLP of eq. 8: shared codes to the codes of one avatar (256-256-256-128: 164 480 parameters)."""

    def __init__(self, inputs: int = 256, outputs: int = 128, width: int = 256, hidden_layers: int = 2) -> None:
        widths = [inputs, *[width] * hidden_layers]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.LeakyReLU(0.01)]
        super().__init__(*layers, nn.Linear(widths[-1], outputs))


def _doubling(inputs: int, outputs: int, slope: float) -> nn.Sequential:
    """Twice the side by moving channels into place."""
    return nn.Sequential(
        nn.Conv2d(inputs, 4 * outputs, 3, 1, 1),
        nn.InstanceNorm2d(4 * outputs),
        nn.LeakyReLU(slope),
        nn.PixelShuffle(2),
    )


def _doublings(side_px: int) -> int:
    """How often the smallest side is doubled to reach the crop's."""
    times = round(math.log2(side_px / _SMALLEST_SIDE)) if side_px >= _SMALLEST_SIDE else 0
    if times < 1 or _SMALLEST_SIDE << times != side_px:
        raise HeadstudioError(
            f"a crop of {side_px} px cannot be halved down to {_SMALLEST_SIDE} px",
            next_step=f"choose {_SMALLEST_SIDE} times a power of two",
        )
    return times
