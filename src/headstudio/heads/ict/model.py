"""ICT-FaceKit's light model as a `HeadModel`.

Li et al. 2020, "Learning Formation of Physically-Based Face Attributes": 100 identity components of unit variance and
53 shapes which are ARKit's but for tongueOut, with browInnerUp and cheekPuff split into left and right.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from headstudio.errors import HeadstudioError
from headstudio.heads.arkit import ARKIT_INDEX, ARKIT_NAMES
from headstudio.heads.base import JOINTS, REGIONS, HeadData, HeadModel
from headstudio.heads.ict import atlas, regions
from headstudio.heads.landmarks import read_embedding
from headstudio.heads.skeleton import HEAD_JOINT_M, JAW_JOINT_M, NECK_JOINT_M, affine_regressor, sphere_centre

_METRES_PER_CENTIMETRE = 0.01
_FIELDS = (
    "vertices", "uv", "triangles", "triangles_uv", "triangle_to_polygon", "region_names", "region_ranges",
    "identity_deltas_q", "expression_deltas_q", "expression_names", "delta_step", "landmarks68",
)  # fmt: skip
_KEPT = (
    "Face", "Head and Neck", "Mouth socket", "Eye socket left", "Eye socket right", "Gums and tongue", "Teeth",
    "Sclera left", "Sclera right", "Eyelashes left", "Eyelashes right",
)  # fmt: skip
"""Left out are the transparent shells over the eyes, and the irises, which lie inside the closed eyeballs."""


@dataclass(frozen=True)
class IctMesh:
    """The kept part of the file; lengths in metres from the middle between the eyeballs."""

    points_m: np.ndarray
    triangles: np.ndarray
    uv: np.ndarray
    uv_triangles: np.ndarray
    part: np.ndarray
    """(vertices,) index into `_KEPT`"""
    triangle_part: np.ndarray
    landmarks68: np.ndarray
    """(68,) vertices of the classical landmarks"""

    def is_part(self, *names: str) -> np.ndarray:
        """(vertices,) mask of named parts."""
        return np.isin(self.part, [_KEPT.index(name) for name in names])


def load(path: str | Path | None = None) -> HeadModel:
    """The ICT-FaceKit head.

    Args:
        path: npz file of the light model; without it the environment variable HEADSTUDIO_ICT names it.
    """
    chosen = path or os.environ.get("HEADSTUDIO_ICT")
    if not chosen:
        raise HeadstudioError(
            "the ICT-FaceKit head needs its file", next_step="pass its path or set HEADSTUDIO_ICT to it"
        )
    file = _read(Path(chosen))
    try:
        return HeadModel(_head_data(file))
    except (KeyError, IndexError, ValueError) as error:
        raise HeadstudioError(
            f"the ICT-FaceKit file is not laid out as expected: {error}", where=chosen, next_step="convert it again"
        ) from None


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [name for name in _FIELDS if name not in archive.files]
            if missing:
                reason = f"the ICT-FaceKit file lacks {', '.join(missing)}"
                raise HeadstudioError(reason, where=path, next_step="convert it again")
            return {name: archive[name] for name in _FIELDS}
    except (OSError, ValueError, EOFError, AttributeError) as error:
        reason = f"the ICT-FaceKit file cannot be read: {error}"
        raise HeadstudioError(reason, where=path, next_step="check the path") from None


def _head_data(file: dict[str, np.ndarray]) -> HeadData:
    mesh, kept = _mesh(file)
    step = float(file["delta_step"]) * _METRES_PER_CENTIMETRE
    expression_names = tuple(str(name) for name in file["expression_names"])
    expression = file["expression_deltas_q"][:, kept].astype(np.float32) * step
    masks = regions.build(mesh, dict(zip(expression_names, expression, strict=True)))
    forth, back = _arkit_maps(expression_names)
    return HeadData(
        name="ict",
        licence="MIT (ICT-FaceKit, University of Southern California)",
        template_m=_float(mesh.points_m),
        triangles=torch.from_numpy(mesh.triangles),
        uv=_float(atlas.build(mesh.uv, mesh.uv_triangles, np.array(_KEPT)[mesh.triangle_part])),
        uv_triangles=torch.from_numpy(mesh.uv_triangles),
        identity_basis_m=_float(file["identity_deltas_q"][:, kept].astype(np.float32) * step),
        expression_names=expression_names,
        expression_basis_m=_float(expression),
        expression_to_arkit=forth,
        joint_weights=_float(_joint_weights(mesh)),
        skin_weights=_float(_skin_weights(mesh, expression[expression_names.index("jawOpen")])),
        regions={name: torch.from_numpy(masks[name]) for name in REGIONS},
        landmarks=read_embedding("ict", len(mesh.triangles)),
        arkit_to_expression=back,
    )


def _float(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))


def _mesh(file: dict[str, np.ndarray]) -> tuple[IctMesh, np.ndarray]:
    """The kept mesh and the file's indices of its vertices."""
    ranges = dict(zip((str(name) for name in file["region_names"]), file["region_ranges"], strict=True))
    part = np.full(len(file["vertices"]), -1)
    triangle_part = np.full(len(file["triangles"]), -1)
    polygon = file["triangle_to_polygon"]
    for number, name in enumerate(_KEPT):
        first, last, first_polygon, last_polygon = ranges[name]
        part[first:last] = number
        triangle_part[(polygon >= first_polygon) & (polygon < last_polygon)] = number
    drawn = triangle_part >= 0
    kept, triangles = np.unique(file["triangles"][drawn], return_inverse=True)
    kept_uv, uv_triangles = np.unique(file["triangles_uv"][drawn], return_inverse=True)
    lookup = np.full(len(part), -1)
    lookup[kept] = np.arange(len(kept))
    points = file["vertices"][kept].astype(np.float64) * _METRES_PER_CENTIMETRE
    sclera = [part[kept] == _KEPT.index(f"Sclera {side}") for side in ("left", "right")]
    points -= np.mean([sphere_centre(points[mask]) for mask in sclera], axis=0)
    mesh = IctMesh(
        points, triangles.reshape(-1, 3), file["uv"][kept_uv].astype(np.float64), uv_triangles.reshape(-1, 3),
        part[kept], triangle_part[drawn], lookup[file["landmarks68"]],
    )  # fmt: skip
    return mesh, kept


def _joint_weights(mesh: IctMesh) -> np.ndarray:
    skin = mesh.is_part("Face", "Head and Neck")
    rows = [affine_regressor(mesh.points_m, skin, np.array(p)) for p in (NECK_JOINT_M, HEAD_JOINT_M, JAW_JOINT_M)]
    for side in ("left", "right"):
        ball = mesh.is_part(f"Sclera {side}")
        rows.append(affine_regressor(mesh.points_m, ball, sphere_centre(mesh.points_m[ball])))
    return np.stack(rows)


def _skin_weights(mesh: IctMesh, jaw_open: np.ndarray) -> np.ndarray:
    """The file has no skeleton: the jaw's share is that of jawOpen's motion, the neck's grows below the chin."""
    weights = np.zeros((len(mesh.points_m), len(JOINTS)))
    height, chin = mesh.points_m[:, 1], mesh.points_m[mesh.landmarks68[8], 1]
    neck = np.clip((chin - height) / 0.05, 0, 1) * mesh.is_part("Face", "Head and Neck")
    moved = np.linalg.norm(jaw_open, axis=1)
    jaw = np.clip(moved / np.quantile(moved, 0.99), 0, 1) * (1 - neck)
    weights[:, JOINTS.index("neck")], weights[:, JOINTS.index("jaw")] = neck, jaw
    weights[:, JOINTS.index("head")] = 1 - neck - jaw
    for side in ("left", "right"):
        weights[mesh.is_part(f"Sclera {side}")] = np.eye(len(JOINTS))[JOINTS.index(f"eye_{side}")]
    return weights


def _arkit_maps(names: tuple[str, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """(52, expressions) and (expressions, 52): split shapes count half each one way and fully the other."""
    forth, back = torch.zeros(len(ARKIT_NAMES), len(names)), torch.zeros(len(names), len(ARKIT_NAMES))
    for column, name in enumerate(names):
        spelled = name.replace("_L", "Left").replace("_R", "Right")
        whole = name.rsplit("_", 1)[0]
        row = ARKIT_INDEX[spelled] if spelled in ARKIT_INDEX else ARKIT_INDEX[whole]
        back[column, row] = 1
        if not spelled.startswith("eyeLook"):
            forth[row, column] = 1 if spelled in ARKIT_INDEX else 0.5
    return forth, back
