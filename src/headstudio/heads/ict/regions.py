"""Regions of ICT-FaceKit: its own parts, refined by what its shapes move and by the classical 68 landmarks."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from headstudio.heads.ict.model import IctMesh

_NARROW_FACE = 6706
"""The file numbers the vertices of its "Narrow face area", the front without ears, first."""
_LIP_OUTLINE = slice(48, 60)
_NOSE_TOP, _NOSE_BASE, _NOSE_WINGS = 27, 33, (31, 35)
_JAW_EARS = (0, 16)


def build(mesh: "IctMesh", units: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """(vertices,) masks by region name; `units` are the expression shapes by their file's names."""
    skin = mesh.is_part("Face")
    front = skin & (np.arange(len(skin)) < _NARROW_FACE)
    points, marks = mesh.points_m, mesh.points_m[mesh.landmarks68]
    low = points[:, 1] < marks[8, 1]
    sockets = mesh.is_part("Eye socket left", "Eye socket right")
    lids = front & np.any([_moved(units[name]) > 0.12 for name in ("eyeBlink_L", "eyeBlink_R")], axis=0)
    inside_lips = _in_polygon(points[:, :2], marks[_LIP_OUTLINE, :2]) & (points[:, 2] > marks[48, 2] - 0.01)
    gums = mesh.is_part("Gums and tongue")
    tongue = _tongue(mesh)
    ears = skin & ~front & ~low & (np.abs(points[:, 0]) > np.abs(marks[list(_JAW_EARS), 0]).max())
    shell = skin | mesh.is_part("Head and Neck")
    face = front & ~low
    return {
        "face": face,
        "eyelids": lids | sockets,
        "eyeballs": mesh.is_part("Sclera left", "Sclera right"),
        "eyelashes": mesh.is_part("Eyelashes left", "Eyelashes right"),
        "nose": front & _nose(points, marks),
        "lips": front & inside_lips,
        "mouth_cavity": mesh.is_part("Mouth socket") | (gums & ~tongue),
        "teeth": mesh.is_part("Teeth"),
        "tongue": tongue,
        "ears": ears,
        "scalp": shell & ~face & ~ears & ~low,
        "neck": shell & low,
    }


def _moved(unit: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(unit, axis=1)
    return length / length.max()


def _nose(points: np.ndarray, marks: np.ndarray) -> np.ndarray:
    half_width = 1.25 * np.abs(marks[list(_NOSE_WINGS), 0]).max()
    inside = (points[:, 1] < marks[_NOSE_TOP, 1]) & (points[:, 1] > marks[_NOSE_BASE, 1] - 0.004)
    # Narrow at the bridge, full at the wings.
    share = np.clip((marks[_NOSE_TOP, 1] - points[:, 1]) / (marks[_NOSE_TOP, 1] - marks[_NOSE_BASE, 1]), 0.35, 1)
    return inside & (np.abs(points[:, 0]) < half_width * share)


def _tongue(mesh: "IctMesh") -> np.ndarray:
    """Gums and tongue are one surface; the tongue's charts are the narrow ones that reach forward between the teeth."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    ends = np.concatenate([mesh.uv_triangles[:, [0, 1]], mesh.uv_triangles[:, [1, 2]]])
    graph = coo_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(len(mesh.uv),) * 2)
    chart = connected_components(graph, directed=False)[1][mesh.uv_triangles[:, 0]]
    gums = mesh.is_part("Gums and tongue")
    half_width, middle = np.abs(mesh.points_m[gums, 0]).max(), mesh.points_m[gums, 2].mean()
    tongue = np.zeros(len(gums), dtype=bool)
    for number in np.unique(chart[gums[mesh.triangles].all(1)]):
        vertices = np.unique(mesh.triangles[chart == number])
        place = mesh.points_m[vertices]
        crosses = place[:, 0].min() < -0.3 * half_width and place[:, 0].max() > 0.3 * half_width
        if crosses and np.abs(place[:, 0]).max() < 0.7 * half_width and place[:, 2].max() > middle:
            tongue[vertices] = True
    return tongue


def _in_polygon(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Even-odd rule."""
    inside = np.zeros(len(points), dtype=bool)
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        crosses = (start[1] > points[:, 1]) != (end[1] > points[:, 1])
        rise = end[1] - start[1]
        at = start[0] + (points[:, 1] - start[1]) * (end[0] - start[0]) / (rise if rise else 1.0)
        inside ^= crosses & (points[:, 0] < at)
    return inside
