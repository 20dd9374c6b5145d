"""Meshes that move as one piece: hair with the skull, clothes with the shoulders."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class RigidMesh:
    """A mesh with normals of its own (ribbons have none that follow from their triangles)."""

    points_m: Float[Tensor, "points 3"]
    triangles: Int[Tensor, "triangles 3"]
    normals: Float[Tensor, "points 3"]
    uv: Float[Tensor, "points 2"]
    """Hair: shade of the strand and way from root to tip; cloth: way around and way down. In [0, 1]."""

    @classmethod
    def joined(cls, *meshes: "RigidMesh") -> "RigidMesh":
        """Several meshes as one."""
        first, triangles = 0, []
        for mesh in meshes:
            triangles.append(mesh.triangles + first)
            first += len(mesh.points_m)
        return cls(
            torch.cat([mesh.points_m for mesh in meshes]),
            torch.cat(triangles),
            torch.cat([mesh.normals for mesh in meshes]),
            torch.cat([mesh.uv for mesh in meshes]),
        )
