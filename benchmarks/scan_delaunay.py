"""A closed surface through seen points by a cut through their Delaunay tetrahedra (Labatut, Pons and Keriven 2009).

It is the method of COLMAP's mesher for sparse points, which neither pycolmap nor every build of `colmap` holds. Every
line of sight that would run through the inside costs, every point wants some inside behind it, and facets of long thin
tetrahedra cost, too; the cheapest division into inside and outside is a least cut of a graph.
"""

import itertools

import numpy as np
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow
from scipy.spatial import Delaunay, KDTree

from headstudio.records.scan import RawMesh

_QUALITY = 1.0
"""Weight of the facets' shape beside one line of sight."""
_STEP = 0.2
"""Between places that are looked up on a line of sight, in distances of neighbouring points."""
_FAR = 10.0
"""Half the box about the points, in their extent."""
_GRAINS, _NEVER = 1000, 1e6
"""The cut counts in whole grains; and what must not be cut."""
_BATCH = 2000

Edges = tuple[np.ndarray, np.ndarray, np.ndarray]
"""From, to, and the cost if the first is outside and the second inside; outside and inside are the last two nodes."""


def delaunay_surface(points: np.ndarray, eyes: np.ndarray, seen: np.ndarray) -> RawMesh:
    """The surface.

    Args:
        points: (points, 3).
        eyes: (sightings, 3), where a camera stood.
        seen: (sightings,), which point it saw.
    """
    cells = Delaunay(np.concatenate([points, _far_corners(points)]))
    spacing = float(np.median(KDTree(points).query(points, k=5)[0][:, 1:]))
    count = len(cells.simplices)
    entries = [*_sights(cells, points[seen], eyes, spacing), _quality(cells), _surely_outside(cells, len(points))]
    rows, columns, weights = (np.concatenate(parts) for parts in zip(*entries, strict=True))
    graph = csr_array((weights * _GRAINS, (rows, columns)), shape=(count + 2, count + 2))
    graph.data = np.ceil(graph.data)
    graph = csr_array(graph.astype(np.int32))
    left = csr_array(graph - maximum_flow(graph, count, count + 1).flow)
    left.data = np.where(left.data > 0, left.data, 0)
    left.eliminate_zeros()
    outside = np.zeros(count + 2, bool)
    outside[breadth_first_order(left, count, return_predecessors=False)] = True
    return _border(cells, outside[:count])


def _far_corners(points: np.ndarray) -> np.ndarray:
    low, high = points.min(0), points.max(0)
    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=3)))
    return (low + high) / 2 + signs * _FAR * (high - low).max()


def _sights(cells: Delaunay, points: np.ndarray, eyes: np.ndarray, spacing: float) -> list[Edges]:
    """What lines of sight cross, and what lies behind their points."""
    towards = (eyes - points) / np.linalg.norm(eyes - points, axis=1, keepdims=True)
    behind = cells.find_simplex(points - spacing * towards)
    inside = np.full(len(behind), len(cells.simplices) + 1)
    edges = [(behind[behind >= 0], inside[behind >= 0], np.ones((behind >= 0).sum()))]
    reach = np.linalg.norm(np.ptp(points, axis=0))
    away = np.arange(_STEP / 2, reach / spacing, _STEP)[::-1] * spacing
    strength = 1.0 - np.exp(-((away[1:] / spacing) ** 2) / 2)
    for start in range(0, len(points), _BATCH):
        part = slice(start, start + _BATCH)
        places = points[part, None] + away[:, None] * towards[part, None]
        met = cells.find_simplex(places.reshape(-1, 3)).reshape(places.shape[:2])
        a, b = met[:, :-1], met[:, 1:]
        passed = (a != b) & (a >= 0) & (b >= 0)
        edges.append((a[passed], b[passed], np.broadcast_to(strength, a.shape)[passed]))
    return edges


def _quality(cells: Delaunay) -> Edges:
    """One minus the lesser cosine between a facet and the circumspheres on either side."""
    corners = cells.points[cells.simplices]
    arms = corners[:, 1:] - corners[:, :1]
    half = (arms**2).sum(2) / 2
    sound = np.abs(np.linalg.det(arms)) > 1e-18
    offset = np.zeros((len(arms), 3))
    offset[sound] = np.linalg.solve(arms[sound], half[sound][..., None])[..., 0]
    centres, radius = corners[:, 0] + offset, np.linalg.norm(offset, axis=1) + 1e-12
    cosines = np.empty(cells.neighbors.shape)
    for k in range(4):
        a, b, c = (corners[:, j] for j in range(4) if j != k)
        normal = np.cross(b - a, c - a)
        normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-18
        normal *= -np.sign(((corners[:, k] - a) * normal).sum(1, keepdims=True))
        cosines[:, k] = ((a - centres) * normal).sum(1) / radius
    near, side = np.nonzero(cells.neighbors >= 0)
    far = cells.neighbors[near, side]
    back = (cells.neighbors[far] == near[:, None]).argmax(1)
    return near, far, _QUALITY * (1.0 - np.minimum(cosines[near, side], cosines[far, back])).clip(0, 2)


def _surely_outside(cells: Delaunay, count: int) -> Edges:
    """Tetrahedra that hang on the far box."""
    far = np.flatnonzero((cells.simplices >= count).any(1))
    return np.full(len(far), len(cells.simplices)), far, np.full(len(far), _NEVER)


def _border(cells: Delaunay, outside: np.ndarray) -> RawMesh:
    """Facets between inside and outside, counter-clockwise seen from outside."""
    inner, side = np.nonzero(~outside[:, None] & outside[cells.neighbors])
    others = np.array([[j for j in range(4) if j != k] for k in range(4)])
    triangles = np.take_along_axis(cells.simplices[inner], others[side], axis=1)
    a, b, c = (cells.points[triangles[:, j]] for j in range(3))
    apex = cells.points[cells.simplices[inner, side]]
    inward = ((apex - a) * np.cross(b - a, c - a)).sum(1) > 0
    triangles[inward] = triangles[inward][:, ::-1]
    return RawMesh(torch.from_numpy(cells.points).float(), torch.from_numpy(triangles).long())
