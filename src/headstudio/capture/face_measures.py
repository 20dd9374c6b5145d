"""What 478 landmarks say without any head model: head angles, openings of mouth and eyes, the extent of the head.

Angles and extents come from the weak-perspective map that takes stable points of MediaPipe's canonical face to the
landmarks of a frame: a linear least-squares problem, one closed-form answer a frame.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

# Points that expressions hardly move: forehead, temples, nose bridge and eye corners. Coordinates in centimetres, y up,
# face to +z, as measured in MediaPipe's canonical face model (Apache-2.0); x < 0 is the person's right.
STABLE_CM = {
    10: (0.00, 8.26, 4.48),
    151: (0.00, 6.55, 5.03),
    9: (0.00, 4.89, 5.39),
    8: (0.00, 4.02, 5.28),
    168: (0.00, 3.27, 5.24),
    6: (0.00, 2.47, 5.79),
    197: (0.00, 1.73, 6.32),
    195: (0.00, 1.06, 6.77),
    5: (0.00, 0.37, 7.24),
    4: (0.00, -0.46, 7.59),
    109: (-1.89, 8.24, 4.27),
    338: (1.89, 8.24, 4.27),
    67: (-3.52, 8.01, 3.73),
    297: (3.52, 8.01, 3.73),
    103: (-5.13, 7.49, 2.66),
    332: (5.13, 7.49, 2.66),
    54: (-6.28, 6.62, 1.43),
    284: (6.28, 6.62, 1.43),
    21: (-7.09, 5.43, 0.10),
    251: (7.09, 5.43, 0.10),
    162: (-7.56, 4.11, -0.99),
    389: (7.56, 4.11, -0.99),
    127: (-7.74, 2.36, -2.01),
    356: (7.74, 2.36, -2.01),
    33: (-4.45, 2.66, 3.17),
    263: (4.45, 2.66, 3.17),
    133: (-1.86, 2.59, 3.76),
    362: (1.86, 2.59, 3.76),
}
_INDICES = list(STABLE_CM)
_POINTS_CM = np.array(list(STABLE_CM.values()))

_HEAD_BOX_CM = ((-9.5, 9.5), (-14.0, 14.5), (-12.5, 7.5))
"""Ears to ears, upper neck to the top of full hair, back of the head to the nose."""

# MediaPipe's vertex numbers; the person's right eye lies left in the picture.
_EYE_CORNERS = (33, 263)
_MOUTH_CORNERS = (61, 291)
_INNER_LIPS = (13, 14)
_LIDS = {"eye_open_right": (159, 145, 33, 133), "eye_open_left": (386, 374, 362, 263)}
_BROWS = ((105, 33, 133), (334, 362, 263))


@dataclass(frozen=True)
class WeakPose:
    """The weak-perspective map of every frame: pixel = offset + linear @ point in centimetres."""

    linear: Float[np.ndarray, "frames 2 3"]
    offset_px: Float[np.ndarray, "frames 2"]
    residual: Float[np.ndarray, " frames"]
    """Root mean square distance of the stable points from the map, in fractions of the face's size."""

    def rotation(self) -> Float[np.ndarray, "frames 3 3"]:
        """The nearest rotation of head axes (y up, face +z) into camera axes (y down, z forward)."""
        rotations = np.full((len(self.linear), 3, 3), np.nan)
        good = np.isfinite(self.linear).all((1, 2))
        left, _, right = np.linalg.svd(self.linear[good], full_matrices=False)
        rows = left @ right
        rotations[good] = np.concatenate([rows, np.cross(rows[:, 0], rows[:, 1])[:, None]], 1)
        return rotations

    def head_box_px(self) -> Float[np.ndarray, "frames 4"]:
        """Left, top, right and bottom of the whole head with hair and upper neck."""
        corners = np.stack(np.meshgrid(*_HEAD_BOX_CM, indexing="ij"), -1).reshape(-1, 3)
        pixels = np.einsum("fij,cj->fci", self.linear, corners) + self.offset_px[:, None]
        return np.concatenate([pixels.min(1), pixels.max(1)], 1)


def weak_pose(landmarks_px: Float[np.ndarray, "frames 478 3"]) -> WeakPose:
    """Fit the canonical face's stable points to x and y of the landmarks; NaN where no face was found."""
    target = landmarks_px[:, _INDICES, :2].astype(np.float64)
    design = np.concatenate([_POINTS_CM, np.ones((len(_POINTS_CM), 1))], 1)
    solution = np.einsum("kp,fpi->fik", np.linalg.pinv(design), target)
    errors = np.linalg.norm(target - np.einsum("pk,fik->fpi", design, solution), axis=-1)
    size = np.ptp(target, axis=1).max(1)
    return WeakPose(solution[..., :3], solution[..., 3], np.sqrt((errors**2).mean(1)) / size)


def head_angles_deg(rotation: Float[np.ndarray, "frames 3 3"]) -> dict[str, Float[np.ndarray, " frames"]]:
    """Yaw (positive: turned to the person's left), pitch (positive: up), roll (positive: clockwise in the picture)."""
    facing = rotation[..., 2]  # where the face's +z points in camera axes
    yaw = np.arctan2(facing[..., 0], -facing[..., 2])
    pitch = np.arctan2(-facing[..., 1], np.hypot(facing[..., 0], facing[..., 2]))
    level = np.stack([np.cos(yaw), np.zeros_like(yaw), np.sin(yaw)], -1)  # the ear-to-ear axis without roll
    downward = np.cross(level, facing)
    across = rotation[..., 0]
    roll = np.arctan2((across * downward).sum(-1), (across * level).sum(-1))
    return {"yaw_deg": np.degrees(yaw), "pitch_deg": np.degrees(pitch), "roll_deg": np.degrees(roll)}


def openings(landmarks_px: Float[np.ndarray, "frames 478 3"]) -> dict[str, Float[np.ndarray, " frames"]]:
    """Openings of mouth and eyes, mouth width and brow height.

    Distances are taken in three dimensions, so that a turned head does not shrink them. Mouth and brows are fractions
    of the distance between the outer eye corners; eyes are height over width of the lid opening.
    """
    unit = _distance(landmarks_px, *_EYE_CORNERS)
    measures = {
        "mouth_open": _distance(landmarks_px, *_INNER_LIPS) / unit,
        "mouth_width": _distance(landmarks_px, *_MOUTH_CORNERS) / unit,
        "brow_raise": np.mean([_brow(landmarks_px, *points) for points in _BROWS], 0) / unit,
    }
    for name, (upper, lower, outer, inner) in _LIDS.items():
        measures[name] = _distance(landmarks_px, upper, lower) / _distance(landmarks_px, outer, inner)
    return measures


def _distance(points: np.ndarray, first: int, second: int) -> np.ndarray:
    return np.linalg.norm(points[:, first] - points[:, second], axis=-1)


def _brow(points: np.ndarray, brow: int, first: int, second: int) -> np.ndarray:
    """Height of a brow over the line between the corners of its eye, which blinks leave alone."""
    return np.linalg.norm(points[:, brow] - (points[:, first] + points[:, second]) / 2, axis=-1)
