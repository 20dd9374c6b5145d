"""Isotropic remeshing of closed meshes: edges near one length, triangles near equilateral.

After Botsch and Kobbelt 2004, "A Remeshing Approach to Multiresolution Modeling": split long edges, collapse short
ones, flip for valence six, move vertices along the surface. Each operation is done at once wherever two places do not
touch; the mesh stays closed and manifold, and its topology does not change.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from headstudio.errors import HeadstudioError
from headstudio.geometry.edge_operations import collapse_edges, flip_edges, flip_slivers, split_edges
from headstudio.geometry.topology import connect, face_normals, uniform_laplacian, without_unused

_LONGEST, _SHORTEST = 4 / 3, 4 / 5
"""Of the wanted length: beyond these an edge is nearer to it when split, or collapsed (the paper's values)."""
_MOST_VERTICES = 2_000_000
_SPLITS, _COLLAPSES, _FLIPS = 20, 8, 4
"""Most passes of each operation in one round; fewer, once nothing is left to do."""

Mesh = tuple[Tensor, Tensor]


def remesh(
    vertices: Float[Tensor, "vertices 3"],
    triangles: Int[Tensor, "triangles 3"],
    edge_length: float,
    rounds: int = 4,
    smoothing: float = 0.5,
) -> tuple[Float[Tensor, "remeshed 3"], Int[Tensor, "new_triangles 3"]]:
    """The same surface with all edges near one length.

    Deterministic; works on the CPU and returns to the device of `vertices`.

    Args:
        vertices: points; all must be finite.
        triangles: a closed, manifold mesh, counter-clockwise seen from outside.
        edge_length: wanted length, in the unit of the vertices.
        rounds: how often all four operations are done.
        smoothing: share of the way along the surface to the mean of the neighbours, each round.

    Raises:
        HeadstudioError: for an open mesh, points not finite, a length not positive or so short that the mesh would have
            millions of vertices.
    """
    device, dtype = vertices.device, vertices.dtype
    points, corners = vertices.detach().double().cpu(), triangles.detach().long().cpu()
    _check(points, corners, edge_length)
    mesh = without_unused(points, corners)
    for _ in range(rounds):
        mesh = _repeat(mesh, lambda p, t: split_edges(p, t, _LONGEST * edge_length), _SPLITS)
        mesh = _repeat(
            mesh, lambda p, t: collapse_edges(p, t, _SHORTEST * edge_length, _LONGEST * edge_length), _COLLAPSES
        )
        mesh = _repeat(mesh, flip_edges, _FLIPS)
        mesh = _repeat(mesh, lambda p, t: flip_slivers(p, t, edge_length), _FLIPS)
        mesh = _slide(*mesh, smoothing), mesh[1]
    return mesh[0].to(device, dtype), mesh[1].to(device)


def _check(points: Tensor, triangles: Tensor, edge_length: float) -> None:
    if not bool(points.isfinite().all()):
        raise HeadstudioError("the mesh has vertices that are not finite", next_step="optimise with a lower rate")
    if not (edge_length > 0 and edge_length < float("inf")):
        raise HeadstudioError(f"an edge length of {edge_length} is not positive", next_step="choose a length above 0")
    if len(triangles) < 4:
        raise HeadstudioError(f"{len(triangles)} triangles enclose nothing", next_step="pass a closed mesh")
    area = float(face_normals(points, triangles).norm(dim=1).sum()) / 2
    # An equilateral triangle has the area 0.433 of its squared side, and a mesh half as many vertices as triangles.
    expected = area / (0.433 * edge_length**2) / 2
    if expected > _MOST_VERTICES:
        raise HeadstudioError(
            f"edges of {edge_length:.3g} would need about {expected:.0f} vertices", next_step="choose longer edges"
        )


def _repeat(mesh: Mesh, operation: Callable[[Tensor, Tensor], Mesh | None], most: int) -> Mesh:
    for _ in range(most):
        changed = operation(*mesh)
        if changed is None:
            break
        mesh = changed
    return mesh


def _slide(points: Tensor, triangles: Tensor, share: float) -> Tensor:
    """Each vertex moved towards the mean of its neighbours, within its tangent plane."""
    mesh = connect(triangles, len(points))
    normals = torch.zeros_like(points)
    across = face_normals(points, triangles)
    for corner in range(3):
        normals.index_add_(0, triangles[:, corner], across)
    normals = torch.nn.functional.normalize(normals, dim=1, eps=1e-300)
    step = share * uniform_laplacian(points, mesh)
    moved = points + step - (step * normals).sum(1, keepdim=True) * normals
    turned = (face_normals(moved, triangles) * across).sum(1) < 0
    # Where a triangle would turn over, its corners stay.
    stay = torch.zeros(len(points), dtype=torch.bool)
    stay[triangles[turned].reshape(-1)] = True
    return torch.where(stay[:, None], points, moved)
