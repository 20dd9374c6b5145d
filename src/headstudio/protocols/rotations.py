"""Rotation vectors from the forms in which protocols write rotations, and back.

Angles follow `headstudio.motion.angles`: R = R_y(yaw) R_x(pitch) R_z(roll), right-handed.
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from headstudio.protocols.frame import MalformedPacketError, Triple

_GIMBAL = 1 - 1e-9
"""Sine of the pitch beyond which yaw and roll are one rotation; all of it is then called yaw."""


def from_yaw_pitch_roll(angles_rad: Sequence[Sequence[float]]) -> list[Triple]:
    """Rotation vectors of rows of (yaw, pitch, roll)."""
    return _triples(Rotation.from_euler("YXZ", np.asarray(angles_rad, dtype=np.float64)).as_rotvec())


def to_yaw_pitch_roll(rotvecs_rad: Sequence[Triple]) -> list[Triple]:
    """(yaw, pitch, roll) of rotation vectors; pitch in [-pi/2, pi/2]."""
    return [_angles(matrix) for matrix in Rotation.from_rotvec(np.asarray(rotvecs_rad)).as_matrix().tolist()]


def from_quaternions(xyzw: Sequence[Sequence[float]]) -> list[Triple]:
    """Rotation vectors of quaternions (x, y, z, w) of any length but none.

    Raises:
        MalformedPacketError: a quaternion has no direction.
    """
    values = np.asarray(xyzw, dtype=np.float64)
    lengths = np.linalg.norm(values, axis=-1)
    if not np.all((lengths > 1e-3) & (lengths < 1e3)):
        raise MalformedPacketError("a quaternion without direction")
    return _triples(Rotation.from_quat(values).as_rotvec())


def to_quaternions(rotvecs_rad: Sequence[Triple]) -> list[tuple[float, float, float, float]]:
    """Unit quaternions (x, y, z, w) of rotation vectors, w not negative."""
    quaternions = Rotation.from_rotvec(np.asarray(rotvecs_rad)).as_quat()
    return [(x, y, z, w) for x, y, z, w in np.where(quaternions[:, 3:] < 0, -quaternions, quaternions).tolist()]


def _triples(rows: np.ndarray) -> list[Triple]:
    return [(x, y, z) for x, y, z in rows.tolist()]


def _angles(matrix: list[list[float]]) -> Triple:
    # Last column of R_y R_x R_z: (sin y cos p, -sin p, cos y cos p). Middle row: (cos p sin r, cos p cos r, -sin p).
    sine = min(max(-matrix[1][2], -1.0), 1.0)
    if abs(sine) > _GIMBAL:
        return math.atan2(-matrix[2][0], matrix[0][0]), math.asin(sine), 0.0
    yaw, roll = math.atan2(matrix[0][2], matrix[2][2]), math.atan2(matrix[1][0], matrix[1][1])
    return yaw, math.asin(sine), roll
