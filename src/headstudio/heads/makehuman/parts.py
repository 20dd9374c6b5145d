"""Which part of MakeHuman's body is the head: the cut, its triangles, skinning, joints and regions."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from headstudio.heads.base import JOINTS
from headstudio.heads.makehuman import files
from headstudio.heads.skeleton import affine_regressor

_NECK_BONES = ("neck01", "neck02", "neck03")
_HEAD_BONES = (
    "head",
    "jaw",
    "levator",
    "oculi",
    "orbicularis",
    "oris",
    "risorius",
    "special",
    "temporalis",
    "tongue",
    "eye.",
)
_CUT_WEIGHT = 0.12
"""A quad belongs to the head where head and neck bones hold at least this share of each of its corners."""

PARTS = {
    "eye_left": ("helper-l-eye",),
    "eye_right": ("helper-r-eye",),
    "lashes": ("helper-l-eyelashes-1", "helper-l-eyelashes-2", "helper-r-eyelashes-1", "helper-r-eyelashes-2"),
    "teeth_lower": ("helper-lower-teeth",),
    "teeth_upper": ("helper-upper-teeth",),
    "tongue": ("helper-tongue",),
}
"""The head's own names of the helper groups that belong to it."""


@dataclass(frozen=True)
class HeadCut:
    """The head as a part of the base mesh; indices are the head's own unless said otherwise."""

    kept: np.ndarray
    """(vertices,) index in the base mesh of every vertex of the head"""
    mirror: np.ndarray
    """(vertices,) index of the mirror image of every vertex"""
    vertices_dm: np.ndarray
    """(vertices, 3) of the base mesh"""
    triangles: np.ndarray
    uv_triangles: np.ndarray
    base_uv: np.ndarray
    """(uvs, 2) in MakeHuman's own layout, origin at the bottom left"""
    chart: np.ndarray
    """(triangles,) number of the UV chart"""
    parts: dict[str, np.ndarray]
    """(vertices,) masks: the names of `PARTS`, and skin"""

    @property
    def uv_vertex(self) -> np.ndarray:
        """(uvs,) the vertex of every UV corner."""
        owner = np.zeros(len(self.base_uv), dtype=np.int64)
        owner[self.uv_triangles.ravel()] = self.triangles.ravel()
        return owner


def cut_head(mesh: files.BaseMesh) -> HeadCut:
    """Cut head and neck with eyeballs, lashes, teeth and tongue out of the body."""
    share = _bone_share(mesh, _NECK_BONES + _HEAD_BONES)
    wanted = [group for groups in PARTS.values() for group in groups]
    inside = (mesh.groups == "body") & (share[mesh.quads] > _CUT_WEIGHT).all(1)
    faces = inside | np.isin(mesh.groups, wanted)
    kept, quads = _compact(mesh.quads[faces])
    kept_uv, uv_quads = _compact(mesh.uv_quads[faces])
    lookup = np.full(len(mesh.vertices_dm), -1)
    lookup[kept] = np.arange(len(kept))
    mirror = lookup[files.mirror()[kept]]
    triangles, uv_triangles = _triangulate(quads, uv_quads, mesh.vertices_dm[kept], mirror)
    groups = mesh.groups[faces].repeat(2)
    parts = {name: _touched(triangles[np.isin(groups, names)], len(kept)) for name, names in PARTS.items()}
    parts["skin"] = _touched(triangles[groups == "body"], len(kept))
    chart = _charts(uv_triangles, len(kept_uv))
    return HeadCut(
        kept, mirror, mesh.vertices_dm[kept], triangles, uv_triangles, mesh.uv[kept_uv], chart, parts
    )  # fmt: skip


def skin_weights(cut: HeadCut, mesh: files.BaseMesh) -> np.ndarray:
    """(vertices, joints) weights in the order of `JOINTS`.

    Eyeballs belong to their eye alone and lids to the skull: lids are moved by expression units. All below the skull
    belongs to the neck, which is the root here.
    """
    weights = np.zeros((len(cut.kept), len(JOINTS)))
    weights[:, JOINTS.index("jaw")] = _bone_share(mesh, ("jaw", "tongue"))[cut.kept]
    weights[:, JOINTS.index("head")] = _bone_share(mesh, _HEAD_BONES)[cut.kept]
    weights[:, JOINTS.index("head")] -= weights[:, JOINTS.index("jaw")]
    weights[:, JOINTS.index("neck")] = 1 - weights.sum(1)
    weights[cut.parts["lashes"]] = np.eye(len(JOINTS))[JOINTS.index("head")]
    for side in ("eye_left", "eye_right"):
        weights[cut.parts[side]] = np.eye(len(JOINTS))[JOINTS.index(side)]
    weights = (weights + weights[cut.mirror][:, [0, 1, 2, 4, 3]]) / 2
    return weights.clip(0) / weights.clip(0).sum(1, keepdims=True)


def joint_weights(cut: HeadCut, mesh: files.BaseMesh) -> np.ndarray:
    """(joints, vertices) regressors: each joint is an affine combination of vertices at its height."""
    markers = files.vertex_groups()
    rows = np.zeros((len(JOINTS), len(cut.kept)))
    for joint, marker in (("neck", "joint-neck"), ("head", "joint-head"), ("jaw", "joint-mouth")):
        rows[JOINTS.index(joint)] = _regressor(cut, mesh.vertices_dm[markers[marker]].mean(0))
    for side in ("eye_left", "eye_right"):
        rows[JOINTS.index(side)] = cut.parts[side] / cut.parts[side].sum()
    return rows


def regions(cut: HeadCut, mesh: files.BaseMesh) -> dict[str, np.ndarray]:
    """(vertices,) masks by region name, from the painted masks, the bones and the nose's own morph targets."""
    painted = {name: _painted(cut, name) for name in ("face", "lips", "ears", "eyelids", "inside-mouth")}
    skin = cut.parts["skin"]
    behind_lids = sockets(cut)
    mouth_cavity = skin & painted["inside-mouth"]
    ears = skin & painted["ears"]
    front = skin & (painted["face"] | painted["lips"] | painted["eyelids"])
    face = front & ~(mouth_cavity & ~painted["lips"]) & ~ears & ~behind_lids
    rest = skin & ~face & ~ears & ~mouth_cavity & ~behind_lids
    # What is left below the ear lobes is neck, throat and shoulders; above them it is under the hair.
    low = cut.vertices_dm[:, 1] < cut.vertices_dm[ears, 1].min()
    return {
        "face": face,
        "eyelids": skin & (painted["eyelids"] | behind_lids),
        "eyeballs": cut.parts["eye_left"] | cut.parts["eye_right"],
        "eyelashes": cut.parts["lashes"],
        "nose": face & _nose(cut, len(mesh.vertices_dm)),
        "lips": skin & painted["lips"],
        "mouth_cavity": mouth_cavity,
        "teeth": cut.parts["teeth_lower"] | cut.parts["teeth_upper"],
        "tongue": cut.parts["tongue"],
        "ears": ears,
        "scalp": rest & ~low,
        "neck": rest & low,
    }


def level_rim(cut: HeadCut, vertices_dm: np.ndarray, neck: np.ndarray) -> np.ndarray:
    """The vertices with an even lower rim: the cut follows whole quads, which leaves a notch in front.

    The rim alone is smoothed, along itself and without shrinking (Taubin 1995).
    """
    edges = np.sort(cut.triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    edges, uses = np.unique(edges, axis=0, return_counts=True)
    rim = edges[(uses == 1) & neck[edges].all(1)]
    ends = np.concatenate([rim, rim[:, ::-1]])
    count = np.bincount(ends[:, 0], minlength=len(vertices_dm))[:, None].clip(1)
    moved = vertices_dm.copy()
    for step in _RIM_STEPS:
        around = np.zeros_like(moved)
        np.add.at(around, ends[:, 0], moved[ends[:, 1]] - moved[ends[:, 0]])
        moved += step * around / count
    return moved


_RIM_STEPS = (0.5, -0.51) * 60
"""Smoothing and its undoing of what is longer than about half the rim."""


def sockets(cut: HeadCut) -> np.ndarray:
    """(vertices,) the inner sides of the lids: small skin charts of their own behind the eye openings."""
    centres = [cut.vertices_dm[cut.parts[side]].mean(0) for side in ("eye_left", "eye_right")]
    inner = np.zeros(len(cut.kept), dtype=bool)
    for number in np.unique(cut.chart):
        vertices = np.unique(cut.triangles[cut.chart == number])
        distance = min(np.linalg.norm(cut.vertices_dm[vertices] - centre, axis=1).max() for centre in centres)
        if cut.parts["skin"][vertices].all() and distance < 0.4:
            inner[vertices] = True
    return inner


def _compact(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    kept, renumbered = np.unique(corners, return_inverse=True)
    return kept, renumbered.reshape(corners.shape)


def _touched(triangles: np.ndarray, vertices: int) -> np.ndarray:
    return np.isin(np.arange(vertices), triangles)


def _bone_share(mesh: files.BaseMesh, bones: tuple[str, ...]) -> np.ndarray:
    share = np.zeros(len(mesh.vertices_dm))
    for bone, rows in files.bone_weights().items():
        if bone.startswith(bones):
            np.add.at(share, rows[:, 0].astype(np.int64), rows[:, 1])
    return share


def _triangulate(
    quads: np.ndarray, uv_quads: np.ndarray, vertices: np.ndarray, mirror: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Split each quad along its shorter diagonal, the same way on both sides of the face."""
    corners = vertices[quads]
    lengths = np.linalg.norm(corners[:, :2] - corners[:, 2:], axis=-1).round(4)
    # Where both are equally long, the vertex number of the side that comes first in the mesh decides for both.
    twin = np.minimum(quads, mirror[quads])
    tie = twin[:, [0, 2]].min(1) > twin[:, [1, 3]].min(1)
    second = (lengths[:, 1] < lengths[:, 0]) | ((lengths[:, 1] == lengths[:, 0]) & tie)
    order = np.where(second[:, None], [[1, 2, 3, 1, 3, 0]], [[0, 1, 2, 0, 2, 3]])
    split = [np.take_along_axis(corner, order, 1).reshape(-1, 3) for corner in (quads, uv_quads)]
    return split[0], split[1]


def _charts(uv_triangles: np.ndarray, uvs: int) -> np.ndarray:
    ends = np.concatenate([uv_triangles[:, [0, 1]], uv_triangles[:, [1, 2]]])
    graph = coo_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(uvs, uvs))
    return connected_components(graph, directed=False)[1][uv_triangles[:, 0]]


def _painted(cut: HeadCut, name: str) -> np.ndarray:
    mask = files.region_mask(name)
    height, width = mask.shape
    column = (cut.base_uv[:, 0] * width).astype(np.int64).clip(0, width - 1)
    row = ((1 - cut.base_uv[:, 1]) * height).astype(np.int64).clip(0, height - 1)
    chosen = np.zeros(len(cut.kept), dtype=bool)
    chosen[cut.uv_vertex[mask[row, column] > 0.5]] = True
    # The masks are painted by hand; a face that is the same on both sides needs regions that are.
    return chosen | chosen[cut.mirror]


def _nose(cut: HeadCut, vertices: int) -> np.ndarray:
    moved = np.zeros(vertices)
    for name in ("nose-volume-incr", "nose-point-up", "nose-scale-depth-incr", "nose-curve-convex"):
        length = np.linalg.norm(files.target(f"mpfb2/targets/nose/{name}.target.gz", vertices), axis=1)
        moved = np.maximum(moved, length / length.max())
    return moved[cut.kept] > 0.25


def _regressor(cut: HeadCut, place_dm: np.ndarray) -> np.ndarray:
    row = affine_regressor(cut.vertices_dm / 10, cut.parts["skin"], place_dm / 10)
    return (row + row[cut.mirror]) / 2
