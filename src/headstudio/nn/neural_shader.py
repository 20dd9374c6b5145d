"""The neural shader of Worchel et al. 2022, "Multi-View Mesh Reconstruction with Neural Deferred Shading", section 3.2.

Colour from place, normal and view direction: a network that stands for material, light and texture at once.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from headstudio.nn.positional_encoding import positional_encoding


@dataclass(frozen=True)
class NeuralShaderConfig:
    """Size of the shader; the defaults are those of the authors' code, 320 899 parameters."""

    octaves: int = 4
    """Frequencies of the positional encoding (authors' code: 4)."""
    width: int = 256
    """Width of the layers that see the place only (authors' code: 256)."""
    hidden_layers: int = 3
    """Layers of that width between the first and the last of them (authors' code: 3)."""
    view_width: int = 128
    """Width of the two layers that see normal and view direction too (authors' code: 128)."""


class NeuralShader(nn.Module):
    """Place, normal and view direction in, sRGB in [0, 1] out."""

    def __init__(self, config: NeuralShaderConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or NeuralShaderConfig()
        layers: list[nn.Module] = [nn.Linear(3 + 6 * config.octaves, config.width), nn.ReLU()]
        for _ in range(config.hidden_layers):
            layers += [nn.Linear(config.width, config.width), nn.ReLU()]
        self.of_place = nn.Sequential(*layers, nn.Linear(config.width, config.width))
        self.of_view = nn.Sequential(
            nn.Linear(config.width + 6, config.view_width),
            nn.ReLU(),
            nn.Linear(config.view_width, config.view_width),
            nn.ReLU(),
            nn.Linear(config.view_width, 3),
            nn.Sigmoid(),
        )

    def forward(
        self,
        points: Float[Tensor, "points 3"],
        normals: Float[Tensor, "points 3"],
        directions: Float[Tensor, "points 3"],
    ) -> Float[Tensor, "points 3"]:
        """Colours.

        Args:
            points: places on the surface, scaled to [-1, 1].
            normals: unit normals, in the axes of the points.
            directions: unit vectors from the camera to the points, in the same axes.
        """
        features = self.of_place(positional_encoding(points, self.config.octaves))
        return self.of_view(torch.cat([features, normals, directions], dim=1))
