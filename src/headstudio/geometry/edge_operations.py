"""Splitting, collapsing and flipping the edges of a closed mesh, everywhere at once where places do not touch.

Each function returns the changed mesh, or None where there was nothing to do.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from headstudio.geometry.topology import ClosedMesh, connect, edge_lengths, face_normals, without_unused

Points = Float[Tensor, "vertices 3"]
Triangles = Int[Tensor, "triangles 3"]

_SHARPEST_TURN = 0.2
"""Least cosine between a triangle's normals before and after an operation."""
_FLATTEST = 0.8
"""Least cosine between the normals of two triangles whose edge is flipped for valence: not across a crease."""
_SLIVER = 0.05
"""Triangles lower than this share of the wanted edge length are slivers."""


def split_edges(points: Points, triangles: Triangles, longest: float) -> tuple[Tensor, Tensor] | None:
    """Every edge that is longer gets a vertex in its middle; its triangles become two to four."""
    mesh = connect(triangles, len(points))
    long = edge_lengths(points, mesh.ends) > longest
    if not bool(long.any()):
        return None
    middle = torch.full((len(long),), -1)
    middle[long] = torch.arange(int(long.sum())) + len(points)
    added = points[mesh.ends[long]].mean(1)
    between = middle[_edges_of_triangles(mesh)]
    all_points = torch.cat([points, added])
    return all_points, torch.cat(list(_divided(mesh.triangles, between, all_points)))


def _edges_of_triangles(mesh: ClosedMesh) -> Tensor:
    """The edge opposite each corner, (triangles, 3)."""
    start, end = mesh.triangles[:, [1, 2, 0]], mesh.triangles[:, [2, 0, 1]]
    return torch.searchsorted(mesh.keys, torch.minimum(start, end) * mesh.vertex_count + torch.maximum(start, end))


def _divided(triangles: Tensor, between: Tensor, points: Tensor) -> list[Tensor]:
    """`between` has the new vertex opposite each corner, or -1."""
    cut = between >= 0
    count = cut.sum(1)
    # Turned so that the one edge that is cut, or the one that is not, lies opposite corner 0.
    first = torch.where(count == 2, (~cut).long().argmax(1), cut.long().argmax(1))
    turn = (first[:, None] + torch.arange(3)) % 3
    corners, middles = triangles.gather(1, turn), between.gather(1, turn)
    parts = [corners[count == 0]]
    (a, b, c), (m, _, _) = corners[count == 1].unbind(1), middles[count == 1].unbind(1)
    parts += [torch.stack([a, b, m], 1), torch.stack([a, m, c], 1)]
    (a, b, c), (_, n, o) = corners[count == 2].unbind(1), middles[count == 2].unbind(1)
    # b c n o is a quadrangle, with n on c a and o on a b: cut along its shorter diagonal.
    short = (points[b] - points[n]).norm(dim=1) <= (points[c] - points[o]).norm(dim=1)
    parts.append(torch.stack([a, o, n], 1))
    parts.append(torch.where(short[:, None], torch.stack([o, b, n], 1), torch.stack([o, b, c], 1)))
    parts.append(torch.where(short[:, None], torch.stack([b, c, n], 1), torch.stack([o, c, n], 1)))
    (a, b, c), (m, n, o) = corners[count == 3].unbind(1), middles[count == 3].unbind(1)
    parts += [torch.stack(part, 1) for part in ((a, o, n), (b, m, o), (c, n, m), (m, n, o))]
    return parts


def collapse_edges(
    points: Points, triangles: Triangles, shortest: float, longest: float
) -> tuple[Tensor, Tensor] | None:
    """Edges that are shorter shrink to their middle, unless that would change the topology, turn a triangle over or
    make an edge that is too long."""
    mesh = connect(triangles, len(points))
    if len(mesh.triangles) <= 4:
        return None
    lengths = edge_lengths(points, mesh.ends)
    candidates = torch.nonzero(lengths < shortest)[:, 0]
    candidates = candidates[_keeps_topology(mesh, candidates)]
    candidates = candidates[_keeps_shape(points, mesh, candidates, longest)]
    chosen = _apart(mesh, candidates, lengths)
    if len(chosen) == 0:
        return None
    kept, gone = mesh.ends[chosen].unbind(1)
    moved = points.clone()
    moved[kept] = (points[kept] + points[gone]) / 2
    renamed = torch.arange(len(points))
    renamed[gone] = kept
    remaining = torch.ones(len(mesh.triangles), dtype=torch.bool)
    remaining[mesh.sides[chosen].reshape(-1)] = False
    return without_unused(moved, renamed[mesh.triangles[remaining]])


def _keeps_topology(mesh: ClosedMesh, edges: Tensor) -> Bool[Tensor, " edges"]:
    """The link condition: the ends share the two opposite vertices as neighbours and no others."""
    low, high = mesh.ends[edges].unbind(1)
    row, neighbour = _ring(mesh, low)
    shared = torch.zeros(len(edges), dtype=torch.long)
    shared.index_add_(0, row, mesh.has_edge(neighbour, high[row]).long())
    return shared == 2


def _ring(mesh: ClosedMesh, vertices: Tensor) -> tuple[Tensor, Tensor]:
    """All neighbours of some vertices: the place in the list, and the neighbour."""
    starts, others = mesh.neighbours
    counts = mesh.valence[vertices]
    row = torch.repeat_interleave(torch.arange(len(vertices)), counts)
    offset = torch.arange(len(row)) - (counts.cumsum(0) - counts)[row]
    return row, others[starts[vertices][row] + offset]


def _keeps_shape(points: Tensor, mesh: ClosedMesh, edges: Tensor, longest: float) -> Bool[Tensor, " edges"]:
    """Whether no triangle turns over, or gets an edge that is too long, when an edge shrinks to its middle."""
    middle = points[mesh.ends[edges]].mean(1)
    order = torch.argsort(mesh.triangles.reshape(-1), stable=True)
    used = torch.bincount(mesh.triangles.reshape(-1), minlength=mesh.vertex_count)
    starts = used.cumsum(0) - used
    fine = torch.ones(len(edges), dtype=torch.bool)
    for end in (0, 1):
        vertex, other = mesh.ends[edges, end], mesh.ends[edges, 1 - end]
        counts = used[vertex]
        row = torch.repeat_interleave(torch.arange(len(edges)), counts)
        offset = torch.arange(len(row)) - (counts.cumsum(0) - counts)[row]
        corners = mesh.triangles[order[starts[vertex][row] + offset] // 3]
        survives = (corners != other[row][:, None]).all(1)
        row, corners = row[survives], corners[survives]
        is_end = corners == vertex[row][:, None]
        before = points[corners]
        after = torch.where(is_end[..., None], middle[row][:, None], before)
        reach = ((after - middle[row][:, None]).norm(dim=2)).amax(1)
        fine[row[_turned(before, after) | (reach > longest)]] = False
    return fine


def _turned(before: Tensor, after: Tensor) -> Tensor:
    """Whether triangles (triangles, corners, 3) turn over or collapse; one without area may turn as it likes."""
    old, new = (torch.linalg.cross(c[:, 1] - c[:, 0], c[:, 2] - c[:, 0]) for c in (before, after))
    sizes = old.norm(dim=1) * new.norm(dim=1)
    longest = (before - before.roll(1, 1)).square().sum(2).amax(1)
    had_area = old.norm(dim=1) > 1e-6 * longest
    return had_area & ((old * new).sum(1) < _SHARPEST_TURN * sizes)


def _apart(mesh: ClosedMesh, edges: Tensor, lengths: Tensor) -> Tensor:
    """Of these edges the shortest ones, no two of which are joined by an edge."""
    # Ranks instead of lengths, because they differ from each other.
    rank = torch.argsort(torch.argsort(lengths[edges], stable=True))
    least = torch.full((mesh.vertex_count,), len(edges))
    for end in (0, 1):
        least.scatter_reduce_(0, mesh.ends[edges, end], rank, "amin")
    around = least.clone()
    for end in (0, 1):
        around.scatter_reduce_(0, mesh.ends[:, end], least[mesh.ends[:, 1 - end]], "amin")
    return edges[(around[mesh.ends[edges]] == rank[:, None]).all(1)]


def flip_edges(points: Points, triangles: Triangles) -> tuple[Tensor, Tensor] | None:
    """Turn edges inside their two triangles where that brings the valences nearer to six, on flat enough ground."""
    mesh = connect(triangles, len(points))
    off = mesh.valence - 6
    loss = (off[mesh.ends].square() - (off[mesh.ends] - 1).square()).sum(1)
    loss += (off[mesh.opposite].square() - (off[mesh.opposite] + 1).square()).sum(1)
    normals = face_normals(points, mesh.triangles)
    normals = torch.nn.functional.normalize(normals, dim=1, eps=1e-300)
    flat = (normals[mesh.sides[:, 0]] * normals[mesh.sides[:, 1]]).sum(1) > _FLATTEST
    candidates = torch.nonzero((loss > 0) & flat)[:, 0]
    return _flip(points, mesh, candidates, -loss[candidates].double())


def flip_slivers(points: Points, triangles: Triangles, edge_length: float) -> tuple[Tensor, Tensor] | None:
    """Turn the longest edge of every triangle that is nearly a line without having a short edge."""
    mesh = connect(triangles, len(points))
    lengths = edge_lengths(points, mesh.ends)
    edges = _edges_of_triangles(mesh)
    longest, place = lengths[edges].max(1)
    height = face_normals(points, mesh.triangles).norm(dim=1) / longest.clamp_min(1e-300)
    flat = height < _SLIVER * edge_length
    candidates = torch.unique(edges.gather(1, place[:, None])[flat, 0])
    return _flip(points, mesh, candidates, lengths[candidates])


def _flip(points: Tensor, mesh: ClosedMesh, candidates: Tensor, order: Tensor) -> tuple[Tensor, Tensor] | None:
    a, b = mesh.ends[candidates].unbind(1)
    c, d = mesh.opposite[candidates].unbind(1)
    valid = ~mesh.has_edge(c, d) & (c != d) & (mesh.valence[a] > 3) & (mesh.valence[b] > 3)
    # The first triangle is a b c, the second b a d; they become c a d and d b c.
    new = torch.stack([torch.stack([c, a, d], 1), torch.stack([d, b, c], 1)], 1)
    before, after = face_normals(points, mesh.triangles)[mesh.sides[candidates]], _normals(points, new)
    total = torch.nn.functional.normalize(before.sum(1), dim=1, eps=1e-300)[:, None]
    # Both new triangles face as the two old ones did on the whole, and neither is thinner than the thinnest was.
    area = (after * total).sum(2)
    valid &= (area > _SHARPEST_TURN * after.norm(dim=2)).all(1)
    valid &= _thinness(points, new).amin(1) > 0.5 * _thinness(points, mesh.triangles[mesh.sides[candidates]]).amin(1)
    candidates, new = candidates[valid], new[valid]
    quads = torch.cat([mesh.ends[candidates], mesh.opposite[candidates]], 1)
    rank = torch.argsort(torch.argsort(order[valid], stable=True))
    least = torch.full((mesh.vertex_count,), len(candidates))
    least.scatter_reduce_(0, quads.reshape(-1), rank.repeat_interleave(4), "amin")
    chosen = (least[quads] == rank[:, None]).all(1)
    if not bool(chosen.any()):
        return None
    turned = mesh.triangles.clone()
    turned[mesh.sides[candidates[chosen]]] = new[chosen]
    return points, turned


def _normals(points: Tensor, triangles: Tensor) -> Tensor:
    return face_normals(points, triangles.reshape(-1, 3)).reshape(triangles.shape)


def _thinness(points: Tensor, triangles: Tensor) -> Tensor:
    """Area over squared longest edge."""
    corners = points[triangles]
    longest = (corners - corners.roll(1, -2)).square().sum(-1).amax(-1)
    return _normals(points, triangles).norm(dim=-1) / longest.clamp_min(1e-300)
