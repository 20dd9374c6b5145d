"""Closed triangle meshes: edges, what lies on either side of them, neighbours, and the checks that keep them closed."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from headstudio.errors import HeadstudioError


@dataclass(frozen=True)
class ClosedMesh:
    """The connections of a closed, consistently oriented mesh, in which every edge has exactly two triangles."""

    triangles: Int[Tensor, "triangles 3"]
    """Vertex indices, counter-clockwise seen from outside."""
    vertex_count: int
    ends: Int[Tensor, "edges 2"]
    """The two vertices of each edge, the lower index first, in ascending order."""
    sides: Int[Tensor, "edges 2"]
    """The two triangles of each edge; in the first the edge runs from its lower to its higher end."""
    opposite: Int[Tensor, "edges 2"]
    """The third vertex of either triangle."""

    @property
    def keys(self) -> Int[Tensor, " edges"]:
        """One ascending number an edge."""
        return self.ends[:, 0] * self.vertex_count + self.ends[:, 1]

    @cached_property
    def valence(self) -> Int[Tensor, " vertices"]:
        """Number of edges at each vertex."""
        return torch.bincount(self.ends.reshape(-1), minlength=self.vertex_count)

    @cached_property
    def neighbours(self) -> tuple[Int[Tensor, " starts"], Int[Tensor, " twice_edges"]]:
        """Neighbours of vertex v: `second[first[v]:first[v + 1]]`, ascending."""
        pairs = torch.cat([self.ends, self.ends.flip(1)])
        order = torch.argsort(pairs[:, 0] * self.vertex_count + pairs[:, 1])
        starts = torch.cat([self.valence.new_zeros(1), self.valence.cumsum(0)])
        return starts, pairs[order, 1]

    def has_edge(self, a: Int[Tensor, " pairs"], b: Int[Tensor, " pairs"]) -> Bool[Tensor, " pairs"]:
        """Whether two vertices are joined."""
        wanted = torch.minimum(a, b) * self.vertex_count + torch.maximum(a, b)
        keys = self.keys
        place = torch.searchsorted(keys, wanted).clamp_max(len(keys) - 1)
        return keys[place] == wanted


def connect(triangles: Int[Tensor, "triangles 3"], vertex_count: int) -> ClosedMesh:
    """The connections of a closed mesh.

    Raises:
        HeadstudioError: where an edge has not exactly two triangles that run through it in opposite directions.
    """
    triangles = triangles.long()
    start, end = triangles[:, [1, 2, 0]].reshape(-1), triangles[:, [2, 0, 1]].reshape(-1)
    forward = start < end
    sorted_sides = []
    for chosen, low, high in ((forward, start, end), (~forward, end, start)):
        side = torch.nonzero(chosen)[:, 0]
        key, order = torch.sort(low[side] * vertex_count + high[side])
        sorted_sides.append((key, side[order]))
    (key, ahead), (back_key, back) = sorted_sides
    degenerate = bool((start == end).any())
    if degenerate or len(key) != len(back_key) or not torch.equal(key, back_key) or bool((key[1:] == key[:-1]).any()):
        raise HeadstudioError(
            "the mesh is not closed, or its triangles are not oriented alike",
            next_step="pass a watertight mesh with two triangles an edge",
        )
    corners = triangles.reshape(-1)
    # Side i of the flat list lies opposite corner i.
    return ClosedMesh(
        triangles,
        vertex_count,
        torch.stack([key // vertex_count, key % vertex_count], 1),
        torch.stack([ahead // 3, back // 3], 1),
        torch.stack([corners[ahead], corners[back]], 1),
    )


def is_manifold(mesh: ClosedMesh) -> bool:
    """Whether the triangles round every vertex form one ring (that every edge has two, a `ClosedMesh` says already)."""
    corners = mesh.triangles.reshape(-1)
    pairs = []
    for end in (0, 1):
        vertex = mesh.ends[:, end, None]
        pairs.append(torch.stack([_corner_of(mesh.triangles, mesh.sides[:, [side]], vertex) for side in (0, 1)], 1))
    joined = torch.cat(pairs).cpu().numpy()
    rings, _ = _components(joined, len(corners))
    return rings == len(torch.unique(corners))


def _corner_of(triangles: Tensor, triangle: Tensor, vertex: Tensor) -> Tensor:
    return triangle[:, 0] * 3 + (triangles[triangle[:, 0]] == vertex).long().argmax(1)


def euler_characteristic(mesh: ClosedMesh) -> int:
    """Vertices in use minus edges plus triangles: 2 for a ball, 0 for a ring, summed over separate parts."""
    return len(torch.unique(mesh.triangles)) - len(mesh.ends) + len(mesh.triangles)


def volume(vertices: Float[Tensor, "vertices 3"], triangles: Int[Tensor, "triangles 3"]) -> Float[Tensor, ""]:
    """Volume inside a closed mesh, positive where its triangles are counter-clockwise seen from outside."""
    a, b, c = (vertices.index_select(0, triangles[:, corner]) for corner in range(3))
    return (a * torch.linalg.cross(b, c)).sum() / 6


def face_normals(
    vertices: Float[Tensor, "vertices 3"], triangles: Int[Tensor, "triangles 3"]
) -> Float[Tensor, "triangles 3"]:
    """Normals as long as twice the triangle's area."""
    # index_select, because the backward of indexing with a list takes several times as long on a CPU.
    a, b, c = (vertices.index_select(0, triangles[:, corner]) for corner in range(3))
    return torch.linalg.cross(b - a, c - a)


def uniform_laplacian(vertices: Float[Tensor, "vertices 3"], mesh: ClosedMesh) -> Float[Tensor, "vertices 3"]:
    """From each vertex to the mean of its neighbours."""
    low, high = mesh.ends.unbind(1)
    sums = torch.zeros_like(vertices)
    sums = sums.index_add(0, low, vertices.index_select(0, high)).index_add(0, high, vertices.index_select(0, low))
    # A vertex that nothing uses stays where it is.
    used = mesh.valence[:, None] > 0
    return torch.where(used, sums / mesh.valence.clamp_min(1)[:, None] - vertices, 0.0)


def edge_lengths(vertices: Float[Tensor, "vertices 3"], ends: Int[Tensor, "edges 2"]) -> Float[Tensor, " edges"]:
    """Length of each edge."""
    return (vertices.index_select(0, ends[:, 0]) - vertices.index_select(0, ends[:, 1])).norm(dim=1)


def without_unused(
    vertices: Float[Tensor, "vertices 3"], triangles: Int[Tensor, "triangles 3"]
) -> tuple[Float[Tensor, "used 3"], Int[Tensor, "triangles 3"]]:
    """The same mesh, numbered anew without the vertices that no triangle uses."""
    used, index = torch.unique(triangles, return_inverse=True)
    return vertices[used], index.reshape(-1, 3)


def largest_part(
    vertices: Float[Tensor, "vertices 3"], triangles: Int[Tensor, "triangles 3"]
) -> tuple[Float[Tensor, "used 3"], Int[Tensor, "kept 3"]]:
    """The connected part of the greatest volume; hollows inside, which have a negative one, fall away with the rest."""
    pairs = torch.cat([triangles[:, [0, 1]], triangles[:, [1, 2]]]).cpu().numpy()
    count, part = _components(pairs, len(vertices))
    of_triangle = torch.from_numpy(part).to(triangles.device).long()[triangles[:, 0].long()]
    a, b, c = vertices[triangles.long()].double().unbind(1)
    volumes = torch.zeros(count, dtype=torch.float64, device=triangles.device)
    volumes.index_add_(0, of_triangle, (a * torch.linalg.cross(b, c)).sum(1))
    return without_unused(vertices, triangles[of_triangle == volumes.argmax()])


def _components(pairs: np.ndarray, count: int) -> tuple[int, np.ndarray]:
    graph = coo_matrix((np.ones(len(pairs), dtype=np.int8), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return connected_components(graph, directed=False)
