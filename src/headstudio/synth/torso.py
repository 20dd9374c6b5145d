"""Shoulders in a shirt: a loft of ellipses from the neck down, so that the picture shows a person and not a bust."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.heads.base import HeadModel
from headstudio.render.normals import vertex_normals
from headstudio.synth.noise import smooth_noise
from headstudio.synth.rigid import RigidMesh

AROUND = 72
"""Columns of the loft, an even number."""

_COLLAR_M, _SLICE_M, _LOOSE_M = 0.05, 0.008, 0.004
"""Height of the collar above the end of the neck's skin, thickness of the slice measured there, air under the shirt."""

# Rings from the collar down: distance below the neck joint, half width, half depth and shift to the back, in
# metres; sizes of an average adult (Gordon et al. 1989, "Anthropometric Survey of U.S. Army Personnel").
_RINGS = (
    (-0.018, 0.0, 0.0, 0.0),
    (-0.004, 0.004, 0.004, 0.0),
    (0.012, 0.010, 0.009, 0.0),
    (0.024, 0.040, 0.022, 0.004),
    (0.040, 0.085, 0.040, 0.008),
    (0.060, 0.125, 0.055, 0.012),
    (0.085, 0.150, 0.064, 0.012),
    (0.130, 0.165, 0.070, 0.010),
    (0.200, 0.165, 0.078, 0.004),
    (0.420, 0.155, 0.085, 0.0),
)


def dress(
    head: HeadModel, neutral_m: Float[Tensor, "vertices 3"], seed: int, collar_y_m: float | None = None
) -> RigidMesh:
    """The shirt, in the head frame with the neck at rest.

    Args:
        collar_y_m: height of the collar; by default a little above where the neck's skin ends.
    """
    centre, collar_y, profile = _neck(head, neutral_m, collar_y_m)
    angle = torch.arange(AROUND + 1) * (2 * math.pi / AROUND)
    collar = profile(collar_y)
    rings, uvs = [], []
    for row, (down, wider, deeper, back) in enumerate(_RINGS):
        # Wide enough for a shirt, and nowhere tighter than the skin under it.
        skin = profile(collar_y - down)
        half_width = torch.maximum(skin[0] + _LOOSE_M, collar[0] + wider)
        half_depth = torch.maximum(skin[1] + _LOOSE_M, collar[1] + deeper)
        # A collar is lower in front than behind.
        y = collar_y - down - 0.014 * torch.cos(angle) * (1.0 if row < 4 else 0.4)
        x, z = centre[0] + half_width * torch.sin(angle), centre[1] + half_depth * torch.cos(angle) - back
        rings.append(torch.stack([x, y, z], dim=-1))
        uvs.append(torch.stack([angle / (2 * math.pi), torch.full_like(angle, row / (len(_RINGS) - 1))], dim=-1))
    points = _folded(torch.stack(rings), seed)
    triangles = _grid(len(_RINGS), AROUND + 1)
    normals = vertex_normals(points[None], triangles)[0]
    # The first and the last column lie on one another; a shared normal hides the seam.
    normals = normals.reshape(len(_RINGS), AROUND + 1, 3)
    normals[:, 0] = normals[:, -1] = torch.nn.functional.normalize(normals[:, 0] + normals[:, -1], dim=-1)
    return RigidMesh(points, triangles, normals.reshape(-1, 3), torch.cat(uvs))


def _neck(
    head: HeadModel, neutral_m: Tensor, collar_y_m: float | None
) -> tuple[Tensor, float, Callable[[float], tuple[Tensor, Tensor]]]:
    """Centre (x, z) and collar height of the neck, and its half width and half depth at any height."""
    neck = neutral_m[head.region("neck")]
    collar_y = float(neck[:, 1].amin()) + _COLLAR_M if collar_y_m is None else collar_y_m
    ring = neck[(neck[:, 1] - collar_y).abs() < _SLICE_M]
    middle = (ring.amax(0) + ring.amin(0)) / 2

    def profile(y: float) -> tuple[Tensor, Tensor]:
        nearest = neck[(neck[:, 1] - y).abs().argsort()[:24]]
        away = (nearest - middle).abs().amax(0)
        return away[0], away[2]

    return middle[[0, 2]], collar_y, profile


def _folded(rings: Tensor, seed: int) -> Tensor:
    points = rings.reshape(-1, 3)
    depth = torch.linspace(0.0, 1.0, len(rings)).repeat_interleave(rings.shape[1])
    return points + (0.004 * depth * smooth_noise(points * torch.tensor([1.0, 0.35, 1.0]), 0.03, seed + 51))[:, None]


def _grid(rows: int, columns: int) -> Tensor:
    index = torch.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    return torch.cat([torch.stack([a, c, b], -1).reshape(-1, 3), torch.stack([b, c, d], -1).reshape(-1, 3)]).int()
