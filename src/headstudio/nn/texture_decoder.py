"""The dynamic-texture network of "3D Engine-ready Photorealistic Avatars via Dynamic Textures", section 3.3.2, fig. 5.

A vector goes through a small MLP, is reshaped to small "images" of a few channels, expanded by a convolution, and
decoded by transposed convolutions into a texture.
"""

import itertools
import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from headstudio.errors import HeadstudioError


@dataclass(frozen=True)
class TextureDecoderConfig:
    """Size of the network. The paper gives the channels and 2 MB for the whole; the rest is ours."""

    hidden: int = 128
    """Width of the MLP's hidden layers (not in the paper)."""
    hidden_layers: int = 2
    """Number of the MLP's hidden layers (not in the paper)."""
    map_channels: int = 4
    """Channels of the small images the MLP's output is reshaped to (the paper's value, section 3.3.2)."""
    map_side: int = 8
    """Side of those images (not in the paper)."""
    width: int = 64
    """Channels after the expansion (the paper's value, section 3.3.2)."""
    narrowest: int = 16
    """Channels are halved at each doubling of the side, down to this many (not in the paper; with 64, which halves
    nothing, the network comes near the paper's 2 MB)."""
    side: int = 256
    """Side of the decoded picture: `map_side` times a power of two."""
    upsampling: int = 1
    """Factor of the final bilinear upsampling (the paper: "can be added to match the texture resolution")."""
    out_channels: int = 3
    """Channels of the result; 3 is RGB, as in the paper."""

    @property
    def doublings(self) -> int:
        """Number of transposed convolutions."""
        return round(math.log2(self.side / self.map_side))


class TextureDecoder(nn.Module):
    """A signal vector in, a texture out: raw values that are 0 before training, to be added or squashed by the caller.

    The network is convolutional after its MLP, so on a GPU and on a CPU `memory_format=torch.channels_last` pays.
    """

    def __init__(self, inputs: int, config: TextureDecoderConfig) -> None:
        """`inputs`: length of the signal vector (103 in the paper, for FLAME)."""
        super().__init__()
        if config.doublings < 1 or config.map_side << config.doublings != config.side:
            raise HeadstudioError(
                f"a texture of side {config.side} cannot be decoded from maps of side {config.map_side}",
                next_step="choose map_side times a power of two",
            )
        self.config = config
        self.encoder = nn.Sequential(*_mlp(inputs, config))
        self.expansion = nn.Conv2d(config.map_channels, config.width, 3, padding=1)
        widths = [max(config.width >> i, config.narrowest) for i in range(config.doublings + 1)]
        # Kernel 4 at stride 2 covers every output pixel equally often, which avoids checkerboards.
        self.doublings = nn.ModuleList(
            nn.ConvTranspose2d(before, after, 4, stride=2, padding=1) for before, after in itertools.pairwise(widths)
        )
        self.output = nn.Conv2d(widths[-1], config.out_channels, 3, padding=1)
        for parameter in self.output.parameters():
            nn.init.zeros_(parameter)

    def forward(self, signal: Float[Tensor, "batch inputs"]) -> Float[Tensor, "batch channels side side"]:
        """The texture of each signal, side `config.side * config.upsampling`."""
        config = self.config
        maps = self.encoder(signal).reshape(-1, config.map_channels, config.map_side, config.map_side)
        values = _activate(self.expansion(maps))
        for doubling in self.doublings:
            values = _activate(doubling(values))
        texture = self.output(values)
        if config.upsampling == 1:
            return texture
        return F.interpolate(texture, scale_factor=config.upsampling, mode="bilinear", align_corners=False)


def _mlp(inputs: int, config: TextureDecoderConfig) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for index in range(config.hidden_layers):
        layers += [nn.Linear(inputs if index == 0 else config.hidden, config.hidden), nn.LeakyReLU(0.2)]
    last = config.hidden if config.hidden_layers else inputs
    return [*layers, nn.Linear(last, config.map_channels * config.map_side**2)]


def _activate(values: Tensor) -> Tensor:
    return F.leaky_relu(values, 0.2)
