"""The light of a room: an environment as spherical harmonics, a key light that casts shadows, and a fill."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from headstudio.render.light import spherical_harmonics

_Y00, _Y1 = 0.28209479177387814, 0.4886025119029199

WRAP = torch.tensor([0.38, 0.2, 0.14])
"""How far light creeps round the edge of its shadow in each colour: a stand-in for scattering in skin."""


@dataclass(frozen=True)
class Light:
    """All light in camera axes (y down), linear."""

    environment_sh: Float[Tensor, "9 3"]
    """Irradiance of the surroundings."""
    towards_key: Float[Tensor, "3"]
    """Unit direction from the person to the key light."""
    key_rgb: Float[Tensor, "3"]
    """Irradiance of the key light on a surface that faces it."""
    towards_fill: Float[Tensor, "3"]
    fill_rgb: Float[Tensor, "3"]

    @classmethod
    def sample(cls, seed: int) -> "Light":
        """The light of a seed: a window or lamp to one side, a ceiling, a faint fill from the other side."""
        generator = np.random.default_rng([seed, 2])
        side = float(generator.choice([-1.0, 1.0]))
        warmth = float(generator.uniform(-1.0, 1.0))
        white = torch.tensor([1.0 + 0.06 * warmth, 1.0, 1.0 - 0.07 * warmth])
        key = torch.tensor([side * generator.uniform(0.35, 0.9), -generator.uniform(0.3, 0.7), -1.0])
        fill = torch.tensor([-side * 0.9, -0.2, -0.7])
        strength = float(generator.uniform(0.45, 0.62))
        return cls(
            environment_sh=_environment(white, generator),
            towards_key=normalize(key.float(), dim=0),
            key_rgb=white * strength,
            towards_fill=normalize(fill, dim=0),
            fill_rgb=torch.tensor([0.92, 0.97, 1.05]) * 0.1,
        )

    def irradiance(
        self, normals: Float[Tensor, "3 points"], key_visibility: Float[Tensor, " points"]
    ) -> Float[Tensor, "3 points"]:
        """Diffuse light of key and fill (without the environment) on surfaces with unit normals."""
        key = self.key_rgb[:, None] * _wrapped(self.towards_key @ normals) * key_visibility
        return key + self.fill_rgb[:, None] * _wrapped(self.towards_fill @ normals)

    def harmonics(self) -> Float[Tensor, "9 3"]:
        """All light as one irradiance in spherical harmonics, by least squares over directions and without shadows."""
        normals = normalize(torch.randn(2000, 3, generator=torch.Generator().manual_seed(0)), dim=-1)
        basis = spherical_harmonics(normals)
        total = basis @ self.environment_sh + self.irradiance(normals.T, torch.ones(len(normals))).T
        return torch.linalg.lstsq(basis, total).solution


def _wrapped(cosine: Tensor) -> Tensor:
    return ((cosine + WRAP[:, None]) / (1.0 + WRAP[:, None])).clamp_min(0.0)


def _environment(white: Tensor, generator: np.random.Generator) -> Tensor:
    sh = torch.zeros(9, 3)
    sh[0] = 0.42 * white / _Y00
    # Brighter from above (minus y) and from the camera's side (minus z).
    sh[1], sh[2] = -0.1 * white / _Y1, -0.1 * white / _Y1
    sh[3] = float(generator.uniform(-0.05, 0.05)) / _Y1
    sh[4:] = torch.from_numpy(generator.normal(0.0, 0.012, (5, 1))).float()
    return sh
