"""How much light reaches each vertex: depth maps seen from the light, compared softly."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import grid_sample, normalize

from headstudio.geometry.camera import Camera
from headstudio.render.rasterise import rasterise

_DISTANCE_M, _FIELD_M = 6.0, 0.7
"""A light far away sees nearly parallel; the field holds head and shoulders."""


def visibility(
    points_m: Float[Tensor, "points 3"],
    normals: Float[Tensor, "points 3"],
    triangles: Int[Tensor, "triangles 3"],
    towards_light: Float[Tensor, "3"],
    size_px: int = 320,
    bias_m: float = 0.003,
) -> Float[Tensor, " points"]:
    """Part of a distant soft light that each point sees, in [0, 1]."""
    seen = _seen_from(points_m, towards_light)
    camera = Camera.from_focal(size_px * _DISTANCE_M / _FIELD_M, size_px, size_px)
    fragments = rasterise(seen[None], triangles, camera)
    depth = torch.where(fragments.triangle >= 0, fragments.depth_m, torch.full_like(fragments.depth_m, 2 * _DISTANCE_M))
    lifted = _seen_from(points_m + normals * bias_m, towards_light)
    place_px, own_m = camera.project(lifted)
    place = place_px / size_px * 2.0 - 1.0
    return _compared(depth, place, own_m - bias_m)


def ambient(
    points_m: Float[Tensor, "points 3"],
    normals: Float[Tensor, "points 3"],
    triangles: Int[Tensor, "triangles 3"],
    directions: int = 28,
) -> Float[Tensor, " points"]:
    """Cosine-weighted part of the surroundings that each point sees, in [0, 1]."""
    light, most = torch.zeros(len(points_m)), torch.full((len(points_m),), 1e-6)
    for direction in sphere_directions(directions):
        cosine = (normals @ direction).clamp_min(0.0)
        light += cosine * visibility(points_m, normals, triangles, direction, 256)
        most += cosine
    return light / most


def _compared(depth: Tensor, place: Tensor, own_m: Tensor) -> Tensor:
    # Percentage-closer filtering (Reeves et al. 1987): compare first, average after.
    total = torch.zeros_like(own_m)
    step = 2.4 / depth.shape[-1]
    for dx in (-1.0, 0.0, 1.0):
        for dy in (-1.0, 0.0, 1.0):
            grid = (place + torch.tensor([dx, dy]) * step)[None, None]
            nearest = grid_sample(depth[None], grid, mode="nearest", align_corners=False, padding_mode="border")
            total += (nearest.flatten() > own_m).float()
    return total / 9.0


def _seen_from(points_m: Tensor, towards_light: Tensor) -> Tensor:
    forward = -normalize(towards_light, dim=0)
    helper = torch.tensor([0.0, 1.0, 0.0]) if abs(float(forward[1])) < 0.9 else torch.tensor([1.0, 0.0, 0.0])
    right = normalize(torch.linalg.cross(helper, forward), dim=0)
    axes = torch.stack([right, torch.linalg.cross(forward, right), forward])
    centre = points_m.new_tensor([0.0, 0.0, 0.0]) if len(points_m) == 0 else (points_m.amax(0) + points_m.amin(0)) / 2
    return (points_m - centre) @ axes.T + torch.tensor([0.0, 0.0, _DISTANCE_M])


def sphere_directions(count: int) -> Float[Tensor, "count 3"]:
    """Evenly spread directions (a Fibonacci lattice)."""
    index = torch.arange(count) + 0.5
    height = 1.0 - 2.0 * index / count
    angle = index * math.pi * (3.0 - math.sqrt(5.0))
    radius = (1.0 - height**2).sqrt()
    return torch.stack([radius * torch.cos(angle), height, radius * torch.sin(angle)], dim=-1)
