"""Glasses, a hat and another hair, made of formulas to the head's measure; their shapes are CC0."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.interpolate import CubicSpline

from headstudio.export.measure import HeadMeasures

_WIRE_M = 0.0016
_RIM_OF_EYES = 0.4  # width of half a lens against the distance of the eyes
_RIM_SHARE = 0.82  # height of a rim against its width
_HAIR_M = 0.016  # how far hair stands off the head
_OVER_EARS_M = 0.006
_ROUND, _ALONG = 8, 48  # vertices around and along a wire
_LATHE = 64
_HAIR_ROWS, _HAIR_COLUMNS = 40, 244  # four columns a wave of hair
_STRANDS = 0.25  # how much lighter and darker than the hair its strands are


class Surface(NamedTuple):
    """One mesh of one material."""

    name: str
    vertices_m: np.ndarray
    """(vertices, 3) in the head frame."""
    triangles: np.ndarray
    """(triangles, 3), counter-clockwise seen from outside."""
    colour: tuple[float, float, float]
    """sRGB."""
    roughness: float = 0.5
    opacity: float = 1.0
    shade: np.ndarray | None = None
    """What the colour is multiplied by at each vertex, in sRGB; None: nothing."""


def accessories(size: HeadMeasures) -> dict[str, list[Surface]]:
    """What a head may wear, by name: the one table, which the web page and the Blender scene get as meshes."""
    return {"glasses": _glasses(size), "hat": _hat(size), "hair": [_hair(size)]}


def _glasses(size: HeadMeasures) -> list[Surface]:
    z = max(size.bridge + 0.003, float(size.eyes[:, 2].max()) + 0.02)
    y = size.eye_y - 0.002
    reach = _RIM_OF_EYES * abs(size.eyes[0, 0] - size.eyes[1, 0])
    wires, lenses, inner = [], [], []
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    for eye in size.eyes:
        side = 1.0 if eye[0] >= size.middle else -1.0
        shape = [eye[0] + reach * _squared(np.cos(angle)), y + reach * _RIM_SHARE * _squared(np.sin(angle))]
        rim = np.stack([*shape, np.full_like(angle, z)], axis=1)
        wires.append(_tube(rim, closed=True))
        lenses.append(_disc(rim, np.array([eye[0], y, z])))
        wires.append(_tube(_temple(size, eye[0] + side * reach, side, y, z)))
        inner.append(eye[0] - side * reach)
    bridge = [[inner[0], y + 0.003, z], [size.middle, y + 0.007, z + 0.001], [inner[1], y + 0.003, z]]
    wires.append(_tube(np.array(bridge)))
    return [
        Surface("frame", *_joined(wires), colour=(0.07, 0.06, 0.06), roughness=0.25),
        Surface("lenses", *_joined(lenses), colour=(0.55, 0.62, 0.66), roughness=0.02, opacity=0.12),
    ]


def _temple(size: HeadMeasures, outer: float, side: float, y: float, z: float) -> np.ndarray:
    """From the rim back over the ear."""
    beside = side * max(size.temples + 0.003, (outer - size.middle) * side + 0.006)
    return np.array(
        [
            [outer, y + 0.006, z],
            [outer + side * 0.007, y + 0.006, z - 0.004],
            [size.middle + beside, y + 0.006, z - 0.05],
            [size.middle + beside, y + 0.004, z - 0.1],
            [size.middle + beside - side * 0.002, y - 0.02, z - 0.12],
        ]
    )


def _hat(size: HeadMeasures) -> list[Surface]:
    brim_y = size.eye_y + 0.05
    height = max(size.top - brim_y + 0.025, 0.06)
    scale = np.array([size.half_width + 0.007, 1.0, (size.front - size.back) / 2 + 0.006])
    place = np.array([size.middle, brim_y, size.centre])
    tilt = -0.12  # a little to the back of the head
    turn = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    crown = [(1, 0), (0.99, 0.3), (0.93, 0.85), (0.8, 1.0), (0.4, 0.97), (1e-4, 0.95)]
    outlines = {
        "felt": [[(r, h * height) for r, h in crown]],
        "brim": [[(0.98, 0.001), (1.25, -0.006), (1.48, 0.004), (1.5, 0.007), (1.25, -0.002), (0.98, 0.005)][::-1]],
        "ribbon": [[(1.012, 0.004), (1.008, 0.022)]],
    }

    def turned(outline: list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
        vertices, triangles = _lathe(outline)
        return (vertices * scale) @ turn.T + place, triangles

    felt = _joined([turned(outline) for name in ("felt", "brim") for outline in outlines[name]])
    ribbon = _joined([turned(outline) for outline in outlines["ribbon"]])
    return [
        Surface("felt", *felt, colour=(0.16, 0.18, 0.24), roughness=0.9),
        Surface("ribbon", *ribbon, colour=(0.42, 0.12, 0.12), roughness=0.6),
    ]


def _hair(size: HeadMeasures) -> Surface:
    """A cap with waves for strands that hangs over the ears to the nape and leaves the face free."""
    crown = size.eye_y + 0.045
    radii = [size.half_width + _HAIR_M, size.top - crown + _HAIR_M, (size.front - size.back) / 2 + _HAIR_M]
    around = np.linspace(0, 2 * np.pi, _HAIR_COLUMNS, endpoint=False)[None]
    polar = 1e-3 + np.linspace(0, 1, _HAIR_ROWS)[:, None] * _hair_ends(around)
    x, y, z = _on_sphere(polar, around)
    strand = 0.5 * np.sin(61 * around) + 0.5 * np.sin(23 * around + 3 * y)
    swell = 1 + 0.012 * strand * np.sin(polar)
    fall = np.where(y < 0, 2.4, 1.0)  # below the crown the hair hangs down
    wider = max(size.ears + _OVER_EARS_M - radii[0], 0.0) * np.clip(-5 * y, 0, 1) / np.sin(polar)
    places = [
        size.middle + (radii[0] + wider) * x * swell,
        crown + radii[1] * y * fall,
        size.centre + radii[2] * z * swell,
    ]
    return Surface(
        "hair",
        np.stack(places, -1).reshape(-1, 3),
        _grid(_HAIR_ROWS, _HAIR_COLUMNS, closed=True),
        colour=(0.26, 0.15, 0.08),
        roughness=0.55,
        shade=(1 + _STRANDS * strand).reshape(-1),
    )


def _hair_ends(around: np.ndarray) -> np.ndarray:
    """The angle from the crown at which each column of hair ends: before the face, and at the nape."""
    polar = np.linspace(0, np.pi, 600)[:, None]
    x, y, z = _on_sphere(polar, around)
    hairline = np.where(z > 0.3, 0.3 - 0.12 * np.abs(x), -np.inf)
    outside = (y <= -0.75) | (y <= hairline)
    return polar[outside.argmax(axis=0), 0][None]


def _on_sphere(polar: np.ndarray, around: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.sin(polar) * np.sin(around), np.cos(polar) + 0 * around, np.sin(polar) * np.cos(around)


def _squared(value: np.ndarray) -> np.ndarray:
    """Between a circle and a square."""
    return np.sign(value) * np.abs(value) ** 0.8


def _tube(points: np.ndarray, closed: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """A wire through the points, open at its ends."""
    if closed:
        points = np.concatenate([points, points[:1]])
    way = np.linspace(0, 1, len(points))
    spline = CubicSpline(way, points, bc_type="periodic" if closed else "natural")
    along = np.linspace(0, 1, _ALONG, endpoint=not closed)
    centre, tangent = spline(along), spline(along, 1)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    # The axis that the wire never follows makes a frame that never flips.
    across = np.cross(tangent, np.eye(3)[np.abs(tangent).max(axis=0).argmin()])
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    beside = np.cross(tangent, across)
    angle = np.linspace(0, 2 * np.pi, _ROUND, endpoint=False)[None, :, None]
    rings = centre[:, None] + _WIRE_M * (np.cos(angle) * across[:, None] + np.sin(angle) * beside[:, None])
    triangles = _grid(_ALONG, _ROUND, closed=True, around_rows=closed)
    return rings.reshape(-1, 3), triangles[:, ::-1]


def _disc(rim: np.ndarray, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A fan about a centre; a rim that runs counter-clockwise faces the viewer."""
    row = np.arange(len(rim))
    triangles = np.stack([np.full_like(row, len(rim)), row, (row + 1) % len(rim)], axis=1)
    return np.concatenate([rim, centre[None]]), triangles


def _lathe(outline: Sequence[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    """An outline (radius, height), from below to above where it faces outwards, turned about y."""
    radius, height = np.array(outline, dtype=float).T
    angle = np.linspace(0, 2 * np.pi, _LATHE, endpoint=False)
    x, z = radius[:, None] * np.sin(angle), radius[:, None] * np.cos(angle)
    vertices = np.stack([x, np.broadcast_to(height[:, None], x.shape), z], axis=-1).reshape(-1, 3)
    return vertices, _grid(len(outline), _LATHE, closed=True)[:, ::-1]


def _grid(rows: int, columns: int, closed: bool, around_rows: bool = False) -> np.ndarray:
    """Two triangles a cell, counter-clockwise where rows run down and columns to the right."""
    row = np.arange(rows if around_rows else rows - 1)[:, None]
    column = np.arange(columns if closed else columns - 1)[None]
    below, right = (row + 1) % rows, (column + 1) % columns
    a, b, c, d = (r * columns + k for r, k in ((row, column), (below, column), (below, right), (row, right)))
    return np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])


def _joined(meshes: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    starts = np.cumsum([0, *(len(vertices) for vertices, _ in meshes)])
    triangles = [triangles + start for (_, triangles), start in zip(meshes, starts[:-1], strict=True)]
    return np.concatenate([vertices for vertices, _ in meshes]), np.concatenate(triangles)
