"""The head's colours: T over the buffers, with the signals it is told and the colour map it starts from."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from headstudio.methods.neural_head.buffers import Buffers
from headstudio.methods.neural_head.config import TextureConfig
from headstudio.methods.neural_head.networks import TextureNetwork
from headstudio.nn.signal_range import SignalRange
from headstudio.nn.siren import Film
from headstudio.render.texture import sample_texture


class Colour(nn.Module):
    """Pixels of the visible surface in, sRGB out."""

    def __init__(self, signals: int, config: TextureConfig) -> None:
        super().__init__()
        self.config = config
        self.signals = SignalRange(signals)
        self.network = TextureNetwork(signals, config)
        self.base = nn.Parameter(torch.zeros(1, 3, max(config.base_px, 1), max(config.base_px, 1)))

    @torch.no_grad()
    def start_from(self, texture: Float[Tensor, "3 size size"]) -> None:
        """Begin with a texture, sRGB in [0, 1], on the atlas."""
        self.base.copy_(torch.atanh((2 * texture - 1).clamp(-_STEEPEST, _STEEPEST))[None])

    def standard(self, signal: Float[Tensor, "batch signals"], noise: float = 0.0) -> Float[Tensor, "batch signals"]:
        """The signal as the network takes it."""
        if self.config.inputs == "static":
            return torch.zeros_like(signal)
        return self.signals(signal, noise)

    def lookups(self, buffers: Buffers) -> Float[Tensor, "batch channels height width"]:
        """What stands in the learned maps at the places seen: explicit features, then the colour begun with."""
        # The finest level alone: the maps are about as fine as the pictures that taught them.
        features = sample_texture(self.network.features, buffers.uv, buffers.mask, mip=False)
        base = sample_texture(self.base, buffers.uv, buffers.mask, mip=False)
        return torch.cat([features, base], 1)

    def forward(
        self, buffers: Buffers, standard: Float[Tensor, "batch signals"]
    ) -> Float[Tensor, "batch 3 height width"]:
        """Colours where there is a surface, 0 elsewhere; what is not seen is not computed."""
        encoded = self.encoded(buffers.normals)
        maps = torch.cat([buffers.canonical, self.lookups(buffers), encoded, buffers.mouth], 1).flatten(2)
        painted = torch.zeros_like(maps[:, :3])
        for index, seen in enumerate(buffers.mask.flatten(1) > 0):
            pixels = torch.nonzero(seen)[:, 0]
            rows = maps[index].index_select(1, pixels).T[None]
            colours = self.painted(rows, standard[index : index + 1])
            painted[index] = painted[index].index_copy(1, pixels, colours[0].T)
        return painted.unflatten(2, buffers.mask.shape[2:])

    def encoded(self, normals: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch features height width"]:
        """Features of the normals about every pixel."""
        if self.config.inputs == "static":
            normals = torch.zeros_like(normals)
        return self.network.normals(normals).float()

    def painted(
        self, rows: Float[Tensor, "batch points channels"], standard: Float[Tensor, "batch signals"]
    ) -> Float[Tensor, "batch points 3"]:
        """Colours of points from canonical place, features, base, encoded normals and mouth weight."""
        config = self.config
        sizes = [3 + config.features, 3, config.normal_features, 1]
        inputs, base, encoded, mouth = rows.split(sizes, -1)
        colours = base + self.network(inputs, encoded, self.film(standard, mouth))
        return (1 + torch.tanh(colours)) / 2

    def film(self, standard: Float[Tensor, "batch signals"], mouth: Float[Tensor, "batch points 1"]) -> Film:
        """Frequencies and phases; the published code lets the signal act in the mouth alone."""
        told = self.network.mapping(standard)
        if self.config.inputs != "published":
            return told
        return told.mixed(self.network.mapping(torch.zeros_like(standard)), mouth)


_STEEPEST = 0.99
