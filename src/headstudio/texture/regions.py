"""Soft region masks in the atlas, from the head's vertex regions."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from headstudio.geometry.easing import ease
from headstudio.texture.texels import TexelMap


def soft_mask(
    texels: TexelMap,
    inside: Bool[Tensor, " vertices"],
    vertices_m: Float[Tensor, "vertices 3"],
    triangles: Int[Tensor, "triangles 3"],
    margin_m: float,
) -> Float[Tensor, "1 size size"]:
    """1 on the region, falling smoothly to 0 over `margin_m` of surface around it."""
    distance_m = _surface_distance(inside, vertices_m, triangles, limit_m=margin_m)
    return texels.spread(ease(1 - distance_m / margin_m)[:, None])


def _surface_distance(inside: Tensor, vertices_m: Tensor, triangles: Tensor, limit_m: float) -> Tensor:
    """Distance along edges to the region (Bellman-Ford, which ends within the limit after a few sweeps)."""
    edges = torch.cat([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]).long()
    edges = torch.cat([edges, edges.flip(1)])
    length_m = (vertices_m[edges[:, 0]] - vertices_m[edges[:, 1]]).norm(dim=1)
    distance = torch.where(inside, 0.0, torch.inf).to(vertices_m)
    while True:
        reached = distance[edges[:, 0]] + length_m
        reached = torch.where(reached <= limit_m, reached, torch.inf)
        shorter = distance.scatter_reduce(0, edges[:, 1], reached, "amin")
        if torch.equal(shorter, distance):
            return distance.clamp_max(limit_m)
        distance = shorter
