"""The small network behind a tri-plane: density and values from a point's features (paper 5, section 3.2)."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from headstudio.errors import HeadstudioError
from headstudio.nn.positional_encoding import positional_encoding


@dataclass(frozen=True)
class VolumeFieldConfig:
    """Size of the network; the defaults are those of paper 5's code."""

    features: int = 32
    """Channels of a point's features (paper 5: 32)."""
    width: int = 128
    """Width of the one hidden layer of each branch (paper 5's code: 128)."""
    values: int = 32
    """Channels of what is rendered; the first three are the low-resolution colour (paper 5's code: 32)."""
    view_octaves: int = 4
    """Frequencies of the view direction's encoding (paper 5's code: 4); -1 keeps the direction from the network."""
    density: Literal["softplus", "relu"] = "softplus"
    """What makes the density positive. Paper 5's code has relu, which has no gradient where it is empty, so that a head
    may vanish at the start and never return; softplus always has one."""
    density_per_m: float = 100.0
    """Density in 1/m where the network says 1 (paper 5's code multiplies steps in its own unit by 100)."""
    start: float = -1.0
    """First bias of the density: below 0, so that space is thin at first and gradients reach the back of the box
    (ours; paper 5's code has 0)."""


class VolumeField(nn.Module):
    """Features and view direction in, density in 1/m and values without an activation out."""

    def __init__(self, config: VolumeFieldConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or VolumeFieldConfig()
        if min(config.features, config.width) < 1 or config.values < 3 or config.density_per_m <= 0:
            raise HeadstudioError(
                f"a field of {config.features} features, {config.width} wide, with {config.values} values",
                where="volume field",
                next_step="take positive sizes and at least three values, the colour",
            )
        seen = 3 + 6 * config.view_octaves if config.view_octaves >= 0 else 0
        self.of_density = _branch(config.features, config.width, 1)
        self.of_values = _branch(config.features + seen, config.width, config.values)
        last = self.of_density[-1]
        assert isinstance(last, nn.Linear)
        nn.init.constant_(last.bias, config.start)

    def forward(
        self,
        features: Float[Tensor, "samples features"],
        directions: Float[Tensor, "samples 3"],
        offset: Float[Tensor, " samples"] | None = None,
    ) -> tuple[Float[Tensor, " samples"], Float[Tensor, "samples values"]]:
        """Density and values of samples.

        Args:
            features: of the points.
            directions: unit vectors of view.
            offset: added to the density before its activation, as noise while training (paper 5's code: standard
                deviation 0.01).
        """
        density = self.density(features, offset)
        if self.config.view_octaves >= 0:
            features = torch.cat([features, positional_encoding(directions, self.config.view_octaves)], dim=1)
        return density, self.of_values(features)

    def density(
        self, features: Float[Tensor, "samples features"], offset: Float[Tensor, " samples"] | None = None
    ) -> Float[Tensor, " samples"]:
        """Density alone, 1/m, as `forward` gives it."""
        raw = self.of_density(features)[:, 0]
        raw = raw if offset is None else raw + offset
        positive = F.softplus(raw) if self.config.density == "softplus" else F.relu(raw)
        return positive * self.config.density_per_m


def _branch(inputs: int, width: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, outputs))
