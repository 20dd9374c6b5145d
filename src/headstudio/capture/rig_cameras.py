"""The cameras of several views, and the file that tells them.

```json
{"schema": "headstudio.cameras", "schema_version": 1, "cameras": [
  {"width_px": 1920, "height_px": 1080, "K_px": [[1500, 0, 960], [0, 1500, 540], [0, 0, 1]],
   "T_camera_world": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], "clock_offset_s": 0.0}, ...]}
```

One entry a film, in their order; metres; pixels of the upright film, without distortion. World is any frame that all
cameras share. `clock_offset_s`, seconds from a film's first frame to the first frame of the first film, may be left
out and is then found.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from jaxtyping import Float

from headstudio import storage
from headstudio.errors import HeadstudioError

SCHEMA, VERSION = "headstudio.cameras", 1
FILE_NAME = "cameras.json"

_RIGID = 1e-3
"""How far a rotation matrix may be from one, as files that people write are rounded."""
_DISTORTING = ("distortion", "dist", "D", "k1", "distortion_coefficients")


@dataclass(frozen=True)
class RigCamera:
    """One still camera."""

    width_px: int
    height_px: int
    K_px: Float[np.ndarray, "3 3"]
    """In pixels of the upright film."""
    T_camera_world: Float[np.ndarray, "4 4"]
    clock_offset_s: float | None = None
    """Added to the film's time since its first frame to reach that of the first film; None where it is not known."""


def read_cameras(path: Path, films: int) -> tuple[RigCamera, ...]:
    """Read a file of cameras for so many films; whatever is wrong with it is told in one sentence."""
    content = storage.read_json(path, SCHEMA, VERSION)
    entries = content.get("cameras")
    if not isinstance(entries, list) or len(entries) != films:
        count = len(entries) if isinstance(entries, list) else "no"
        _refuse(f"the file has {count} cameras for {films} films", path)
    return tuple(_camera(entry, f"camera {index + 1}", path) for index, entry in enumerate(entries))


def write_cameras(path: Path, cameras: Sequence[RigCamera]) -> None:
    """Write what `read_cameras` reads."""
    entries = [
        {
            "width_px": camera.width_px,
            "height_px": camera.height_px,
            "K_px": camera.K_px.tolist(),
            "T_camera_world": camera.T_camera_world.tolist(),
            **({} if camera.clock_offset_s is None else {"clock_offset_s": camera.clock_offset_s}),
        }
        for camera in cameras
    ]
    storage.write_json(path, SCHEMA, VERSION, {"cameras": entries})


def from_first(cameras: Sequence[RigCamera], first: int) -> Float[np.ndarray, "cameras 4 4"]:
    """`T_camera_world` of all cameras where the world is that of one of them."""
    to_world = np.linalg.inv(cameras[first].T_camera_world)
    return np.stack([camera.T_camera_world @ to_world for camera in cameras])


def _camera(entry: Any, who: str, path: Path) -> RigCamera:
    if not isinstance(entry, dict):
        _refuse(f"{who} is no object", path)
    if any(np.any(np.asarray(entry.get(name) or 0.0, dtype=object) != 0) for name in _DISTORTING):
        _refuse(f"{who} has lens distortion, which is not modelled", path, "undistort the films first")
    width_px, height_px = entry.get("width_px"), entry.get("height_px")
    if not (isinstance(width_px, int) and isinstance(height_px, int) and min(width_px, height_px) > 0):
        _refuse(f"{who} has no width_px and height_px", path)
    offset = entry.get("clock_offset_s")
    if offset is not None and not (isinstance(offset, int | float) and abs(offset) < 1e6):
        _refuse(f"the clock_offset_s of {who} is no number of seconds", path)
    K_px, T = _matrix(entry, "K_px", 3, who, path), _matrix(entry, "T_camera_world", 4, who, path)
    if not (K_px[0, 0] > 0 and K_px[1, 1] > 0 and np.allclose([K_px[1, 0], *K_px[2]], [0, 0, 0, 1])):
        _refuse(f"the K_px of {who} is no matrix of intrinsics", path)
    rotation = T[:3, :3]
    if not np.allclose(T[3], [0, 0, 0, 1]) or np.abs(rotation @ rotation.T - np.eye(3)).max() > _RIGID:
        _refuse(f"the T_camera_world of {who} is not rigid", path)
    if np.linalg.det(rotation) < 0:
        _refuse(f"the T_camera_world of {who} mirrors", path)
    left, _, right = np.linalg.svd(rotation)
    T[:3, :3] = left @ right
    return RigCamera(width_px, height_px, K_px, T, None if offset is None else float(offset))


def _matrix(entry: dict, name: str, side: int, who: str, path: Path) -> np.ndarray:
    try:
        matrix = np.array(entry.get(name), np.float64)
    except (TypeError, ValueError):
        matrix = np.zeros(0)
    if matrix.shape != (side, side) or not np.isfinite(matrix).all():
        _refuse(f"the {name} of {who} is not a {side} x {side} matrix of numbers", path)
    return matrix


def _refuse(what: str, path: Path, next_step: str = "correct the file of cameras, or leave it out") -> NoReturn:
    raise HeadstudioError(what, where=path, next_step=next_step)
