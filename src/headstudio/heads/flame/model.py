"""FLAME (Li et al. 2017, "Learning a model of facial shape and expression from 4D scans") as a `HeadModel`.

FLAME's pose correctives (`posedirs`) are left out: `HeadModel` is linear before skinning.
"""

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from headstudio.errors import HeadstudioError
from headstudio.heads.base import JOINTS, REGIONS, HeadData, HeadModel
from headstudio.heads.flame.arkit_map import arkit_maps
from headstudio.heads.flame.files import read_arrays
from headstudio.heads.flame.uv import cylindrical, read_uv
from headstudio.heads.landmarks import read_embedding

JAW_OPEN_RAD = 0.40
"""Jaw rotation taken for ARKit's jawOpen = 1: opens FLAME's mouth about as far as MakeHuman's jawOpen unit."""
_BODY, _NECK, _JAW, _EYES = 0, 1, 2, (3, 4)
"""FLAME's joints. What its root moves are the shoulders, and its neck joint turns the head on them."""
_MASKS = {
    "face": ("face",), "eyelids": ("eye_region",), "nose": ("nose",), "lips": ("lips",),
    "ears": ("left_ear", "right_ear"), "scalp": ("scalp",), "neck": ("neck", "boundary"),
}  # fmt: skip
"""Region: names in the masks file of FLAME's makers."""


def load(path: str | Path | None = None, uv: str | Path | None = None, masks: str | Path | None = None) -> HeadModel:
    """The FLAME head.

    Args:
        path: FLAME's .pkl, or an .npz with the same arrays; without it the environment variable HEADSTUDIO_FLAME
            names it.
        uv: .obj or .npz with FLAME's texture coordinates; without it a cylindrical unwrap.
        masks: FLAME's vertex masks; without them only eyeballs, neck and a rough face are known.
    """
    chosen = path or os.environ.get("HEADSTUDIO_FLAME")
    if not chosen:
        raise HeadstudioError("the FLAME head needs its file", next_step="pass its path or set HEADSTUDIO_FLAME to it")
    path = Path(chosen)
    arrays = read_arrays(path)
    try:
        data = _head_data(arrays, uv, masks)
    except (KeyError, IndexError, ValueError) as error:
        reason = f"the FLAME file is not laid out as expected: {error}"
        raise HeadstudioError(reason, where=path, next_step="use the original file from FLAME's makers") from None
    return HeadModel(data)


def _head_data(arrays: dict[str, np.ndarray], uv: str | Path | None, masks: str | Path | None) -> HeadData:
    points, triangles = arrays["v_template"].astype(np.float64), arrays["f"].astype(np.int64)
    regressor, weights = arrays["J_regressor"], arrays["weights"]
    shapes = np.moveaxis(arrays["shapedirs"], 2, 0)
    if regressor.shape != (len(JOINTS), len(points)) or weights.shape != (len(points), len(JOINTS)):
        raise ValueError("it has other joints than FLAME")
    # 400 directions are 300 of identity and 100 of expression; smaller files keep that ratio.
    identities = len(shapes) * 3 // 4
    joints = regressor @ points
    points = points - joints[list(_EYES)].mean(0)
    # The person's left is +x whatever the file's order.
    left, right = sorted(_EYES, key=lambda joint: -joints[joint, 0])
    order = [_BODY, _NECK, _JAW, left, right]
    atlas, uv_triangles = read_uv(Path(uv), triangles) if uv else cylindrical(points, triangles)
    expressions = tuple(f"expression_{number}" for number in range(len(shapes) - identities))
    basis = _float(shapes[identities:])
    embedding = read_embedding("flame", len(triangles))
    forth, back = arkit_maps(_float(points), torch.from_numpy(triangles), basis, embedding)
    return HeadData(
        name="flame",
        licence="the FLAME licence of the user's own file",
        template_m=_float(points),
        triangles=torch.from_numpy(triangles),
        uv=_float(atlas),
        uv_triangles=torch.from_numpy(uv_triangles),
        identity_basis_m=_float(shapes[:identities]),
        expression_names=expressions,
        expression_basis_m=basis,
        expression_to_arkit=forth,
        joint_weights=_float(_normalised(regressor[[_NECK, _NECK, _JAW, left, right]])),
        skin_weights=_float(_normalised(weights[:, order])),
        regions=_regions(points, weights, masks),
        landmarks=embedding,
        expression_range=(-3.0, 3.0),
        jaw_open_rad=JAW_OPEN_RAD,
        arkit_to_expression=back,
    )


def _float(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))


def _normalised(rows: np.ndarray) -> np.ndarray:
    return rows / rows.sum(1, keepdims=True)


def _regions(points: np.ndarray, weights: np.ndarray, masks: str | Path | None) -> dict[str, Tensor]:
    found = {name: np.zeros(len(points), dtype=bool) for name in REGIONS}
    found["eyeballs"] = weights[:, list(_EYES)].sum(1) > 0.5
    if masks is None:
        found["neck"] = weights[:, _BODY] > 0.5
        # Without masks, the face is what lies in front of the eyeballs' backs and above the neck.
        found["face"] = (points[:, 2] > -0.02) & ~found["neck"] & ~found["eyeballs"]
    else:
        given = read_arrays(Path(masks))
        for region, names in _MASKS.items():
            for name in names:
                found[region][given[name].astype(np.int64)] = True
        found["face"] &= ~found["eyeballs"]
        found["eyelids"] &= ~found["eyeballs"]
    return {name: torch.from_numpy(mask) for name, mask in found.items()}
