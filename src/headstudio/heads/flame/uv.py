"""Texture coordinates of a FLAME head: from the file that FLAME's makers offer, or a plain unwrap round the head."""

from pathlib import Path

import numpy as np

from headstudio.errors import HeadstudioError
from headstudio.heads.flame.files import read_arrays


def read_uv(path: Path, triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """UV, origin at the top left, and UV triangles from an .obj, or from an .npz or .pkl with `vt` and `ft`."""
    if path.suffix == ".obj":
        uv, faces = _read_obj(path)
    else:
        arrays = read_arrays(path)
        if not {"vt", "ft"} <= arrays.keys():
            raise HeadstudioError("the UV file lacks vt or ft", where=path, next_step="check the path")
        uv, faces = arrays["vt"], arrays["ft"].astype(np.int64)
    if faces.shape != triangles.shape or faces.min() < 0 or faces.max() >= len(uv):
        raise HeadstudioError("the UV file belongs to another mesh", where=path, next_step="check the path")
    return uv[:, :2] * [1, -1] + [0, 1], faces


def cylindrical(points_m: np.ndarray, triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Angle about the upright axis and height; triangles across the back get corners of their own."""
    middle = (points_m.min(0) + points_m.max(0)) / 2
    around = np.arctan2(points_m[:, 0] - middle[0], points_m[:, 2] - middle[2]) / (2 * np.pi) + 0.5
    down = (points_m[:, 1].max() - points_m[:, 1]) / np.ptp(points_m[:, 1])
    corner = around[triangles]
    wraps = np.ptp(corner, axis=1) > 0.5
    shifted = wraps[:, None] & (corner < 0.5)
    # The seam's corners are repeated one turn further on, and the whole is squeezed to fit again.
    uv = np.concatenate([np.stack([around, down], 1), np.stack([around + 1, down], 1)])
    used, uv_triangles = np.unique(triangles + shifted * len(points_m), return_inverse=True)
    uv = uv[used]
    uv[:, 0] /= max(1.0, uv[:, 0].max())
    return uv, uv_triangles.reshape(-1, 3)


def _read_obj(path: Path) -> tuple[np.ndarray, np.ndarray]:
    uv, faces = [], []
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            words = line.split()
            if words[:1] == ["vt"]:
                uv.append([float(word) for word in words[1:3]])
            elif words[:1] == ["f"]:
                faces.append([int(word.split("/")[1]) - 1 for word in words[1:4]])
        return np.array(uv, dtype=np.float64).reshape(-1, 2), np.array(faces, dtype=np.int64).reshape(-1, 3)
    except (OSError, UnicodeDecodeError, ValueError, IndexError) as error:
        raise HeadstudioError(f"the UV file cannot be read: {error}", where=path, next_step="check the path") from None
