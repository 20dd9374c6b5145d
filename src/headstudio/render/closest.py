"""Exact nearest points of a mesh, and where rays first meet it."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from headstudio.errors import HeadstudioError
from headstudio.render.checks import check_indices, check_shape
from headstudio.render.normals import vertex_normals


@dataclass(frozen=True)
class SurfacePlaces:
    """Places on the triangles of a mesh."""

    triangle: Int[Tensor, " points"]
    """-1 where nothing was found."""
    barycentric: Float[Tensor, "points 3"]
    """0 where nothing was found."""
    positions: Float[Tensor, "points 3"]
    """In the mesh's frame and unit; NaN where nothing was found."""

    @property
    def found(self) -> Tensor:
        """Which were found, (points,) booleans."""
        return self.triangle >= 0


class SurfaceIndex:
    """A still triangle mesh that is asked for its nearest points; exact up to 32-bit floats.

    The triangles are kept in Warp's bounding volume hierarchy, on the device of the vertices. Triangles without area
    are left out: they have no inside to be near to.

    Raises:
        HeadstudioError: where there is no triangle with an area, or a vertex in use is not a number.
    """

    def __init__(self, vertices: Float[Tensor, "vertices 3"], triangles: Int[Tensor, "triangles 3"]) -> None:
        check_shape(triangles, (None, 3), "triangles")
        check_indices(triangles, len(vertices), "triangles")
        self.vertices, self._middle = vertices.detach().float(), vertices.new_zeros(3).float()
        if len(triangles):
            used = self.vertices[triangles.long()]
            if not bool(torch.isfinite(used).all()):
                raise HeadstudioError("a vertex of the mesh is not a number", next_step="make the mesh again")
            self._middle = (used.amin((0, 1)) + used.amax((0, 1))) / 2
        # Away from the origin 32-bit floats are coarser, so the hierarchy stands around it.
        local = (self.vertices - self._middle).nan_to_num(0.0, 0.0, 0.0).contiguous()
        a, b, c = local[triangles.long()].unbind(1)
        crossed = torch.linalg.cross(b - a, c - a)
        self._kept = torch.nonzero(crossed.norm(dim=1) > 0)[:, 0]
        if not len(self._kept):
            raise HeadstudioError("the mesh has no surface", next_step="make the mesh again")
        self.triangles = triangles.long()
        self.normals: Float[Tensor, "triangles 3"] = normalize(crossed, dim=1)
        """Unit, of every triangle; 0 where it has no area."""
        self._reach = 4 * float(local.abs().max()) + 1e-3
        self._local = local
        self._corners = triangles[self._kept].to(torch.int32).flatten().contiguous()
        self._mesh = self._build()

    def nearest(self, points: Float[Tensor, "points 3"]) -> SurfacePlaces:
        """The nearest place of the surface to each point."""
        from headstudio.render.kernels.closest import nearest_points

        local = (points.detach().float() - self._middle).contiguous()
        far = float(local.norm(dim=1).nan_to_num(0.0).max()) if len(local) else 0.0
        return self._ask(nearest_points, local, reach=far + self._reach)

    def first_hit(self, origins: Float[Tensor, "rays 3"], directions: Float[Tensor, "rays 3"]) -> SurfacePlaces:
        """Where rays first meet the surface, from either side.

        Args:
            directions: of any length.
        """
        from headstudio.render.kernels.closest import first_hits

        local = (origins.detach().float() - self._middle).contiguous()
        far = float(local.norm(dim=1).nan_to_num(0.0).max()) if len(local) else 0.0
        heading = normalize(directions.detach().float(), dim=1).contiguous()
        return self._ask(first_hits, local, heading, reach=far + self._reach)

    def _build(self) -> Any:
        import warp as wp

        from headstudio.render.kernels.launching import initialise

        initialise()
        return wp.Mesh(wp.from_torch(self._local, dtype=wp.vec3), wp.from_torch(self._corners, dtype=wp.int32))

    def _ask(self, kernel: Any, *places: Tensor, reach: float) -> SurfacePlaces:
        from headstudio.render.kernels.launching import launch

        count, device = len(places[0]), places[0].device
        triangle = torch.full((count,), -1, dtype=torch.int32, device=device)
        barycentric = torch.zeros(count, 3, device=device)
        sane = torch.stack([torch.isfinite(place).all(1) for place in places]).all(0)
        asked = [torch.where(sane[:, None], place, 0.0).contiguous() for place in places]
        launch(kernel, count, self._mesh.id, *asked, reach, triangle, barycentric)
        found = (triangle >= 0) & sane
        original = torch.where(found, self._kept[triangle.clamp_min(0).long()], -1)
        barycentric = barycentric * found[:, None]
        corners = self.vertices[self.triangles[original.clamp_min(0)]]
        positions = (corners * barycentric[..., None]).sum(1)
        return SurfacePlaces(original, barycentric, torch.where(found[:, None], positions, torch.nan))


@dataclass(frozen=True)
class SignedDistance:
    """How far points are from a surface."""

    distance: Float[Tensor, " points"]
    """Negative behind it."""
    normal: Float[Tensor, "points 3"]
    """Of the nearest place, between those of its corners; not of unit length."""
    places: SurfacePlaces
    """The nearest places."""


def signed_distance(points: Float[Tensor, "points 3"], index: SurfaceIndex) -> SignedDistance:
    """Distance from a surface; which side is told by the normals of the corners, since normals of triangles disagree
    beyond an edge."""
    places = index.nearest(points)
    corners = index.triangles[places.triangle.clamp_min(0)]
    normals = vertex_normals(index.vertices[None], index.triangles)[0]
    normal = (normals[corners] * places.barycentric[..., None]).sum(1)
    away = points - places.positions
    return SignedDistance(away.norm(dim=-1) * torch.sign((away * normal).sum(-1)), normal, places)
