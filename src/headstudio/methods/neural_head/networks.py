"""The two networks: G moves the vertices of the canonical head, T colours the points of its surface."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from headstudio.methods.neural_head.config import OffsetConfig, TextureConfig
from headstudio.nn.siren import Film, FilmMapping, SirenBody, start_sine_layer

NORMAL_FREQUENCY = 1.0
"""Of the normal encoder's sines: unit normals need no more (the published code has a random code of 100 numbers choose
frequencies here; constant input to a mapping network, it amounts to learned ones)."""


class OffsetNetwork(nn.Module):
    """G: how far the vertices of the canonical head move, zero before training."""

    canonical: Tensor

    def __init__(self, canonical: Float[Tensor, "vertices 3"], condition: int, config: OffsetConfig) -> None:
        """`canonical`: places of the vertices that may move, scaled to [-1, 1]."""
        super().__init__()
        self.register_buffer("canonical", canonical, persistent=False)
        self.features = nn.Parameter(0.02 * torch.randn(len(canonical), config.features))
        self.body = SirenBody(3 + config.features, config.width, config.layers)
        self.mapping = FilmMapping(condition, self.body.units, config.mapping_width)
        self.output = nn.Linear(config.width, 3)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)
        self.unit_m, self.largest_m = config.unit_m, config.largest_m

    def forward(
        self, condition: Float[Tensor, "batch condition"], chosen: Tensor | None = None
    ) -> Float[Tensor, "batch moved 3"]:
        """Offsets of all, or of the chosen vertices, in metres."""
        points = torch.cat([self.canonical, self.features], 1)
        points = points if chosen is None else points[chosen]
        values = self.body(points.expand(len(condition), -1, -1), self.mapping(condition))
        moved_m = self.unit_m * self.output(values).float()
        return self.largest_m * torch.tanh(moved_m / self.largest_m)


class NormalEncoder(nn.Module):
    """A patch of rendered normals about every pixel (7 x 7: three convolutions of 3 x 3) becomes features."""

    def __init__(self, width: int, features: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, width, 3, padding=1, padding_mode="replicate")
        self.second = nn.Conv2d(width, width, 3, padding=1, padding_mode="replicate")
        self.output = nn.Conv2d(width, features, 3, padding=1, padding_mode="replicate")

    def forward(self, normals: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch features height width"]:
        """Features of every pixel; normals in camera axes, 0 off the head."""
        values = torch.sin(NORMAL_FREQUENCY * self.first(normals))
        return self.output(torch.sin(NORMAL_FREQUENCY * self.second(values)))


class TextureNetwork(nn.Module):
    """T: the colour of a surface point before its tanh, zero before training."""

    def __init__(self, condition: int, config: TextureConfig) -> None:
        super().__init__()
        self.features = nn.Parameter(0.01 * torch.randn(1, config.features, config.features_px, config.features_px))
        self.normals = NormalEncoder(config.normal_width, config.normal_features)
        self.body = SirenBody(3 + config.features, config.width, config.layers)
        self.mapping = FilmMapping(condition, self.body.units + config.dynamic_width, config.mapping_width)
        self.static_output = nn.Linear(config.width, 3)
        self.dynamic_hidden = nn.Linear(config.width + config.normal_features, config.dynamic_width)
        start_sine_layer(self.dynamic_hidden, first=False)
        self.dynamic_output = nn.Linear(config.dynamic_width, 3)
        for layer in (self.static_output, self.dynamic_output):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self,
        points: Float[Tensor, "batch points inputs"],
        normal_features: Float[Tensor, "batch points features"],
        film: Film,
    ) -> Float[Tensor, "batch points 3"]:
        """Colours; the dynamic part sees the normals, both see what the film says.

        Args:
            points: canonical place in [-1, 1] and explicit features.
            normal_features: what `NormalEncoder` found about the point's pixel.
            film: frequencies and phases of all layers and of the dynamic one.
        """
        inner = self.body.units
        film, last = (Film(*(part[..., chosen] for part in film)) for chosen in (slice(inner), slice(inner, None)))
        values = self.body(points, film)
        sums = self.dynamic_hidden(torch.cat([values, normal_features.to(values)], -1))
        dynamic = torch.sin(torch.addcmul(last.phase, last.frequency, sums))
        return (self.static_output(values) + self.dynamic_output(dynamic)).float()
