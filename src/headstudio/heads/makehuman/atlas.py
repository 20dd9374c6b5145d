"""A texture atlas of the head alone: the front large and upright, every chart in its own box of the unit square.

MakeHuman lays the head sideways into a corner of the body's texture and squeezes eyes and lips. Here the skin of face
and scalp is unwrapped anew into a rectangle by fast stretch minimisation (Yoshizawa, Belyaev, Seidel 2004, "A fast and
simple stretch-minimizing mesh parameterization", section 3), the metric weighted so that the face gets more texels.
"""

import numpy as np
from scipy.sparse import coo_matrix, identity
from scipy.sparse.linalg import spsolve

from headstudio.heads.makehuman.parts import HeadCut

FACE_BOX = (0.0, 0.0, 1.0, 0.74)
"""Left, top, width, height in the atlas of the chart of face and scalp."""
_BOXES = {
    "neck": (0.00, 0.74, 0.30, 0.26),
    "eye_left_front": (0.44, 0.74, 0.14, 0.14),
    "eye_right_front": (0.30, 0.74, 0.14, 0.14),
    "socket_left": (0.40, 0.88, 0.10, 0.12),
    "socket_right": (0.30, 0.88, 0.10, 0.12),
    "eye_left_back": (0.50, 0.88, 0.08, 0.06),
    "eye_right_back": (0.50, 0.94, 0.08, 0.06),
    "mouth": (0.58, 0.74, 0.24, 0.18),
    "teeth_upper": (0.58, 0.92, 0.12, 0.08),
    "teeth_lower": (0.70, 0.92, 0.12, 0.08),
    "tongue": (0.82, 0.74, 0.10, 0.26),
    "lashes_left_upper": (0.92, 0.74, 0.08, 0.065),
    "lashes_left_lower": (0.92, 0.805, 0.08, 0.065),
    "lashes_right_upper": (0.92, 0.87, 0.08, 0.065),
    "lashes_right_lower": (0.92, 0.935, 0.08, 0.065),
}
_DENSITY = {"face": 2.0, "nose": 2.2, "eyelids": 3.5, "lips": 3.5, "scalp": 0.6, "neck": 0.6, "ears": 0.7}
"""Texels for a length on each region of the face's chart, relative to each other."""
_DENSITY_SMOOTHING = 6
_HOLE_DENSITY = 0.1
"""The same for the empty eye and mouth openings, which deserve no texels."""
_ROUNDNESS = 8
"""Exponent of the superellipse that frames the face's chart: the higher, the nearer to a rectangle."""
_PADDING = 0.004
"""Free border of a box: two texels of a 512 texture, so that neighbours do not bleed into each other."""
_ROUNDS = 12
"""Reweighting steps; the stretch is least after about six."""


def build(cut: HeadCut, template_dm: np.ndarray, regions: dict[str, np.ndarray]) -> np.ndarray:
    """(uvs, 2) in [0, 1], origin at the top left.

    Args:
        cut: the head and its original charts.
        template_dm: (vertices, 3).
        regions: vertex masks by name.
    """
    uv = np.zeros_like(cut.base_uv)
    density = _density(cut, regions)
    for number in np.unique(cut.chart):
        triangles = np.flatnonzero(cut.chart == number)
        corners = np.unique(cut.uv_triangles[triangles])
        name = _chart_name(cut, triangles)
        if name == "face":
            place = _unwrap(cut, triangles, template_dm, density)[corners]
            uv[corners] = _into_box(place, FACE_BOX)
        else:
            place = cut.base_uv[corners] * [1, -1]
            place = (place - place.min(0)) / np.ptp(place, axis=0)
            uv[corners] = _into_box(place, _BOXES[name])
    return uv


def _density(cut: HeadCut, regions: dict[str, np.ndarray]) -> np.ndarray:
    """(vertices,) how many texels a length should get, smoothed over neighbours so that the atlas has no creases."""
    wish = np.ones(len(cut.kept))
    for name, value in _DENSITY.items():
        wish[regions[name]] = value
    edges = np.concatenate([cut.triangles[:, pair] for pair in ([0, 1], [1, 2], [2, 0])])
    count = np.bincount(edges.ravel(), minlength=len(wish)).clip(1)
    for _ in range(_DENSITY_SMOOTHING):
        total = np.bincount(edges[:, 0], wish[edges[:, 1]], len(wish)) + np.bincount(
            edges[:, 1], wish[edges[:, 0]], len(wish)
        )
        wish = (wish + total / count) / 2
    return wish


def _into_box(place: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
    left, top, width, height = box
    return place * [width - 2 * _PADDING, height - 2 * _PADDING] + [left + _PADDING, top + _PADDING]


def _chart_name(cut: HeadCut, triangles: np.ndarray) -> str:
    vertices = np.unique(cut.triangles[triangles])
    centre = cut.vertices_dm[vertices].mean(0)
    side = "left" if centre[0] > 0 else "right"
    part = next(name for name, mask in cut.parts.items() if mask[vertices].all())
    if part.startswith("eye_"):
        return f"{part}_{'front' if centre[2] > cut.vertices_dm[cut.parts[part]].mean(0)[2] else 'back'}"
    if part == "lashes":
        eye_height = cut.vertices_dm[cut.parts["eye_left"]].mean(0)[1]
        return f"lashes_{side}_{'upper' if centre[1] > eye_height else 'lower'}"
    if part != "skin":
        return part
    if len(vertices) > 2000:
        return "face"
    if abs(centre[0]) > 0.1:
        return f"socket_{side}"
    return "mouth" if centre[1] > 6.4 else "neck"


def _unwrap(cut: HeadCut, chosen: np.ndarray, template_dm: np.ndarray, density: np.ndarray) -> np.ndarray:
    """(uvs, 2) place in the unit square of the corners of a symmetric chart; zero for all other corners."""
    owner = cut.uv_vertex
    image = _mirror_corners(cut, chosen)
    outline, *holes = _boundaries(cut.uv_triangles[chosen], template_dm[owner])
    triangles, points, scale = _filled(cut.uv_triangles[chosen], holes, template_dm[owner], density[owner])
    image = np.append(image, np.arange(len(image), len(points)))
    fixed = _frame(outline, points)
    edges = np.concatenate([triangles[:, pair] for pair in ([0, 1], [1, 2], [2, 0])])
    edges = np.unique(np.concatenate([edges, edges[:, ::-1]]), axis=0)
    weight, rounds = np.ones(len(edges)), []
    for _ in range(_ROUNDS):
        place = _embed(edges, weight, fixed, len(points))
        stretch, whole = _vertex_stretch(triangles, place, points, scale)
        rounds.append((whole, place))
        stretch = np.where(image < len(cut.base_uv), (stretch + stretch[image]) / 2, stretch)
        # The square root damps the paper's step, which overshoots on the many small triangles of the ears.
        weight = weight / np.sqrt(stretch[edges[:, 1]])
    place = min(rounds, key=lambda stretched: stretched[0])[1]
    # Averaging with the mirror image removes what the solver's rounding leaves of asymmetry.
    place = place[: len(cut.base_uv)]
    mirrored = place[image[: len(place)]] * [-1, 1] + [1, 0]
    return (place + mirrored) / 2


def _mirror_corners(cut: HeadCut, chosen: np.ndarray) -> np.ndarray:
    """(uvs,) the mirror image of every UV corner of some triangles, found through mirrored triangles."""
    image = np.arange(len(cut.base_uv))
    by_vertices = {frozenset(cut.triangles[t].tolist()): t for t in chosen}
    for t in chosen:
        mirrored = cut.mirror[cut.triangles[t]]
        twin = by_vertices[frozenset(mirrored.tolist())]
        position = (cut.triangles[twin][None] == mirrored[:, None]).argmax(1)
        image[cut.uv_triangles[t]] = cut.uv_triangles[twin][position]
    return image


def _boundaries(triangles: np.ndarray, points: np.ndarray) -> list[np.ndarray]:
    """Closed loops of boundary corners, the longest in space first."""
    edges = np.concatenate([triangles[:, pair] for pair in ([0, 1], [1, 2], [2, 0])])
    inner = {(b, a) for a, b in edges.tolist()}
    after = {a: b for a, b in edges.tolist() if (a, b) not in inner}
    loops = []
    while after:
        start = next(iter(after))
        loop, corner = [start], after.pop(start)
        while corner != start:
            loop.append(corner)
            corner = after.pop(corner)
        loops.append(np.array(loop))
    return sorted(loops, key=lambda loop: -_lengths(points[loop]).sum())


def _lengths(loop_points: np.ndarray) -> np.ndarray:
    return np.linalg.norm(np.roll(loop_points, -1, axis=0) - loop_points, axis=1)


def _filled(
    triangles: np.ndarray, holes: list[np.ndarray], points: np.ndarray, density: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Close each hole with a fan about a new point: the embedding is only sure not to fold without holes."""
    fans, centres, densities = [triangles], [points], [density]
    for number, loop in enumerate(holes):
        centre = np.full(len(loop), len(points) + number)
        fans.append(np.stack([np.roll(loop, -1), loop, centre], axis=1))
        centres.append(points[loop].mean(0, keepdims=True))
        densities.append(np.array([_HOLE_DENSITY]))
    return np.concatenate(fans), np.concatenate(centres), np.concatenate(densities)


def _frame(outline: np.ndarray, points: np.ndarray) -> dict[int, np.ndarray]:
    """Put the outline on a rounded square by its length in space: the chin mid bottom, the crown mid top."""
    middle = np.flatnonzero(np.abs(points[outline, 0]) < 1e-6)
    chin = middle[points[outline[middle], 2].argmax()]
    outline = np.roll(outline, -chin)
    reached = np.concatenate([[0], np.cumsum(_lengths(points[outline]))])
    walked = reached[:-1] / reached[-1]
    if points[outline[len(outline) // 4], 0] < 0:
        walked = 1 - walked
    aspect = FACE_BOX[3] / FACE_BOX[2]
    knots = np.cumsum([0, 0.5, aspect, 1, aspect, 0.5]) / (2 + 2 * aspect)
    across = np.interp(walked, knots, [0, 1, 1, -1, -1, 0])
    down = np.interp(walked, knots, [1, 1, -1, -1, 1, 1])
    # On straight sides a triangle between three outline points would have no area; this curve is round all along.
    shrink = (np.abs(across) ** _ROUNDNESS + np.abs(down) ** _ROUNDNESS) ** (-1 / _ROUNDNESS)
    across, down = (1 + across * shrink) / 2, (1 + down * shrink) / 2
    return {int(corner): np.array(place) for corner, *place in zip(outline, across, down, strict=True)}


def _embed(edges: np.ndarray, weight: np.ndarray, fixed: dict[int, np.ndarray], points: int) -> np.ndarray:
    """Every free corner at the weighted mean of its neighbours (Tutte)."""
    graph = coo_matrix((weight, (edges[:, 0], edges[:, 1])), shape=(points, points)).tocsr()
    total = np.asarray(graph.sum(1))[:, 0]
    place = np.zeros((points, 2))
    place[list(fixed)] = list(fixed.values())
    free = np.setdiff1d(np.flatnonzero(total > 0), list(fixed))
    scaled = coo_matrix((weight / total[edges[:, 0]], (edges[:, 0], edges[:, 1])), shape=(points, points)).tocsr()
    system = identity(len(free), format="csr") - scaled[free][:, free]
    place[free] = np.asarray(spsolve(system.tocsc(), scaled[free] @ place))
    return place


def _vertex_stretch(
    triangles: np.ndarray, place: np.ndarray, points: np.ndarray, density: np.ndarray
) -> tuple[np.ndarray, float]:
    """What a unit of the atlas covers on the surface (Sander's L2 stretch) around every corner, and squared in all."""
    sides = points[triangles[:, 1:]] - points[triangles[:, :1]]
    flat = (place[triangles[:, 1:]] - place[triangles[:, :1]]) * [1, FACE_BOX[3] / FACE_BOX[2]]
    area = np.linalg.norm(np.cross(sides[:, 0], sides[:, 1]), axis=1) / 2
    determinant = flat[:, 0, 0] * flat[:, 1, 1] - flat[:, 0, 1] * flat[:, 1, 0]
    determinant = np.where(np.abs(determinant) < 1e-14, 1e-14, determinant)
    inverse = np.stack([flat[:, 1, 1], -flat[:, 0, 1], -flat[:, 1, 0], flat[:, 0, 0]], 1).reshape(-1, 2, 2)
    jacobian = (inverse / determinant[:, None, None]) @ sides
    squared = (jacobian**2).sum((1, 2)) / 2 * density[triangles].mean(1) ** 2
    total, mass = np.zeros(len(points)), np.zeros(len(points))
    for corner in triangles.T:
        np.add.at(total, corner, area * squared)
        np.add.at(mass, corner, area)
    stretch = np.sqrt(total / np.maximum(mass, 1e-12))
    return np.where(mass > 0, stretch / stretch[mass > 0].mean(), 1.0), float((area * squared).sum() / area.sum())
