"""Hair as one closed surface with a volume of its own: a short cap, a bun, long hair.

What a reconstruction can be measured against, which ribbons are not. A volume is told by a field that is positive
inside, in the head frame, and its surface is marched out of a grid; it reaches a little under the skin, so that no gap
opens between the two.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from headstudio.geometry.marching import marching_tetrahedra
from headstudio.heads.base import HeadModel
from headstudio.render.closest import SurfaceIndex, signed_distance
from headstudio.render.normals import vertex_normals
from headstudio.synth.fields import Anatomy, blend_between
from headstudio.synth.head_map import Ears, hairline, outer_skin
from headstudio.synth.noise import smooth_noise
from headstudio.synth.rigid import RigidMesh

_UNDER_SKIN_M = 0.004
"""How far the volume reaches into the skull."""
_FAR_M = 0.05
"""Nothing but a bun or long hair is further from the skin."""
_LOCK_M = 0.0012
"""Height of the waves that locks make."""


@dataclass(frozen=True)
class Skull:
    """What a volume of hair is built round: the skin, with how thick hair could lie on it."""

    anatomy: Anatomy
    points_m: Float[Tensor, "points 3"]
    distance_m: Float[Tensor, " points"]
    """From the skin, negative inside."""
    scalp: Float[Tensor, " points"]
    """How much of a scalp the nearest skin is."""
    ears: Ears
    back_z_m: float


Volume = Callable[[Skull], Float[Tensor, " points"]]
"""A field that is positive inside, in about metres."""


def grow_shell(
    head: HeadModel,
    neutral_m: Float[Tensor, "vertices 3"],
    anatomy: Anatomy,
    style: str,
    seed: int,
    cell_m: float = 0.003,
) -> RigidMesh | None:
    """The hair of a neutral head as one closed mesh, or None for a bald one.

    Args:
        style: one of `STYLES`, or bald.
        cell_m: side of the cells that the surface is marched through.
    """
    if style == "bald":
        return None
    grid_m, shape = _grid(neutral_m, cell_m)
    skull = _skull(head, neutral_m, anatomy, grid_m, seed)
    field = STYLES[style](skull) + _LOCK_M * smooth_noise(_combed(skull.points_m, anatomy, style), 0.009, seed + 45)
    inside = torch.full((len(grid_m),), -cell_m)
    near = skull.distance_m.isfinite()
    inside[near] = torch.minimum(field, skull.distance_m + _UNDER_SKIN_M)[near]
    volume = inside.reshape(shape)
    border = torch.ones(shape, dtype=torch.bool)
    border[1:-1, 1:-1, 1:-1] = False
    points, triangles = marching_tetrahedra(volume.masked_fill(border, -cell_m))
    points = points * cell_m + grid_m[0]
    return _dressed(points, triangles, anatomy, style, seed)


def _grid(neutral_m: Tensor, cell_m: float) -> tuple[Tensor, tuple[int, int, int]]:
    low, high = neutral_m.amin(0) - 0.02, neutral_m.amax(0) + 0.02
    # Hair neither reaches the chest nor lies before the face; a bun stands off the back.
    low[0], high[0] = low[0].clamp_min(-0.15), high[0].clamp_max(0.15)
    low[1], high[1] = low[1].clamp_min(-0.2), high[1] + 0.06
    low[2] = low[2] - 0.07
    shape = tuple(int(n) for n in ((high - low) / cell_m).ceil() + 1)
    axes = [low[axis] + cell_m * torch.arange(shape[axis]) for axis in range(3)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(-1, 3), shape  # type: ignore[return-value]


def _skull(head: HeadModel, neutral_m: Tensor, anatomy: Anatomy, grid_m: Tensor, seed: int) -> Skull:
    triangles = head.triangles[outer_skin(head)].long()
    near = signed_distance(grid_m, SurfaceIndex(neutral_m, triangles))
    distance, corners, weights = near.distance, triangles[near.places.triangle], near.places.barycentric
    ears = Ears.of(head, neutral_m)
    scalp = (hairline(head, neutral_m, ears, seed)[corners] * weights).sum(1)
    return Skull(anatomy, grid_m, distance, scalp, ears, float(neutral_m[head.region("scalp")][:, 2].amin()))


def _cap(skull: Skull, thickness_m: Float[Tensor, " points"]) -> Tensor:
    # Below the hairline the cap dives under the skin: its border is where it meets the face.
    lift = thickness_m * blend_between(skull.scalp, 0.2, 1.0) - _UNDER_SKIN_M * blend_between(skull.scalp, 0.4, 0.1)
    near = torch.minimum(lift - skull.distance_m, _FAR_M - skull.distance_m)
    return torch.where(skull.scalp > 0.02, near, -_FAR_M)


def _short(skull: Skull) -> Tensor:
    """Thick on top, thin at the sides, standing up over the forehead."""
    height = blend_between(skull.points_m[:, 1], float(skull.ears.high_m[1]), skull.anatomy.crown_y_m)
    front = height * blend_between(skull.points_m[:, 2], 0.0, 0.05)
    return _cap(skull, 0.006 + 0.009 * height + 0.006 * front)


def _bun(skull: Skull) -> Tensor:
    """Combed tightly to a knot at the upper back of the head."""
    crown_m = torch.tensor([0.0, skull.anatomy.crown_y_m - 0.005, 0.62 * skull.back_z_m])
    radius_m = 0.04
    arm = (skull.points_m - crown_m - torch.tensor([0.0, 0.018, -0.018])) * torch.tensor([1.0, 1.1, 1.0])
    return _joined(_cap(skull, torch.full_like(skull.scalp, 0.007)), radius_m - arm.norm(dim=-1), 0.008)


def _long(skull: Skull) -> Tensor:
    """Parted in the middle, falling over the ears to below the chin."""
    points, ear = skull.points_m, (skull.ears.low_m + skull.ears.high_m) / 2
    parting = 0.004 * torch.exp(-((points[:, 0] / 0.004) ** 2)) * (points[:, 1] > ear[1])
    cap = _cap(skull, 0.013 - parting)
    below = blend_between(points[:, 1], float(ear[1]) + 0.05, skull.anatomy.chin_y_m)
    half_x = ear[0] + 0.022 * below
    half_z = (ear[2] + 0.02 - skull.back_z_m) / 2 + 0.016 * below
    middle_z = (ear[2] + 0.02 + skull.back_z_m) / 2
    reach = torch.stack([points[:, 0] / half_x, (points[:, 2] - middle_z) / half_z], dim=-1).norm(dim=-1)
    outside = (1.0 - reach) * half_x
    curtain = torch.minimum(outside, 0.024 - outside)
    curtain = torch.minimum(curtain, ear[1] + 0.05 - points[:, 1])
    curtain = torch.minimum(curtain, points[:, 1] - (skull.anatomy.chin_y_m - 0.02))
    curtain = torch.minimum(curtain, ear[2] + 0.02 + 0.01 * below - points[:, 2])
    return _joined(cap, curtain, 0.02)


def _joined(first: Tensor, second: Tensor, soft_m: float) -> Tensor:
    """Union of two volumes with a rounded seam (the polynomial smooth minimum of Inigo Quilez, turned round)."""
    share = (0.5 + 0.5 * (first - second) / soft_m).clamp(0.0, 1.0)
    return torch.lerp(second, first, share) + soft_m * share * (1.0 - share)


STYLES: MappingProxyType[str, Volume] = MappingProxyType({"short": _short, "bun": _bun, "long": _long})
"""Volumes by name; `bald` has none."""


def _centre(anatomy: Anatomy, style: str) -> Tensor:
    """Where the hair is combed from, or to in a bun."""
    high = torch.tensor([0.0, anatomy.crown_y_m, -0.075])
    return high + torch.tensor([0.0, 0.02, -0.05]) if style == "bun" else high


def _combed(points_m: Tensor, anatomy: Anatomy, style: str) -> Tensor:
    """Coordinates in which a lock is long and narrow: along the way from the centre, and round it."""
    arm = points_m - _centre(anatomy, style)
    around = torch.atan2(arm[:, 0], arm[:, 2])
    away = arm.norm(dim=-1)
    return torch.stack([0.09 * torch.sin(around), 0.09 * torch.cos(around), 0.12 * away], dim=-1)


def _dressed(points: Tensor, triangles: Tensor, anatomy: Anatomy, style: str, seed: int) -> RigidMesh:
    normals = vertex_normals(points[None], triangles)[0]
    places = _combed(points, anatomy, style)
    shade = 0.5 + 0.22 * smooth_noise(places, 0.0016, seed + 46) + 0.12 * smooth_noise(places, 0.006, seed + 47)
    shade = shade.clamp(0.05, 0.95)
    across = normalize(torch.linalg.cross(points - _centre(anatomy, style), normals), dim=-1)
    # As with ribbons, neighbouring strands lean to different sides and get different light.
    leaning = normalize(normals + 0.7 * (shade - 0.5)[:, None] * across, dim=-1)
    return RigidMesh(points, triangles.int(), leaning, torch.stack([shade, torch.full_like(shade, 0.45)], dim=-1))
