"""Yaw, pitch and roll of heads and eyes.

One convention for both, in the y-up axes of the skull or of the camera-facing frame: R = R_y(yaw) R_x(pitch) R_z(roll),
right-handed. Positive yaw turns the face (or eye) to the person's left, positive pitch lowers it, positive roll tilts
the head to the person's right shoulder.
"""

import roma
import torch
from jaxtyping import Float
from torch import Tensor


def rotvec_from_yaw_pitch_roll(angles_rad: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """Rotation vectors of (yaw, pitch, roll)."""
    yaw, pitch, roll = angles_rad.unbind(-1)
    zero = torch.zeros_like(yaw)
    turn, nod, tilt = (
        roma.rotvec_to_rotmat(torch.stack(axis, dim=-1))
        for axis in ((zero, yaw, zero), (pitch, zero, zero), (zero, zero, roll))
    )
    return roma.rotmat_to_rotvec(turn @ nod @ tilt)


def yaw_pitch_roll(rotvec_rad: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """(yaw, pitch, roll) of rotation vectors; pitch in [-pi/2, pi/2]."""
    rotation = roma.rotvec_to_rotmat(rotvec_rad)
    # Last column of R_y R_x R_z: (sin y cos p, -sin p, cos y cos p). Middle row: (cos p sin r, cos p cos r, -sin p).
    yaw = torch.atan2(rotation[..., 0, 2], rotation[..., 2, 2])
    pitch = torch.asin((-rotation[..., 1, 2]).clamp(-1, 1))
    roll = torch.atan2(rotation[..., 1, 0], rotation[..., 1, 1])
    return torch.stack([yaw, pitch, roll], dim=-1)


def carried_over(
    driver_rad: Float[Tensor, "*batch 3"],
    driver_neutral_rad: Float[Tensor, "*#batch 3"],
    target_neutral_rad: Float[Tensor, "*#batch 3"],
    gain: float,
) -> Float[Tensor, "*batch 3"]:
    """The driver's rotation away from its neutral, scaled, applied to the target's neutral; axes are the parent's."""
    away = roma.rotvec_composition([driver_rad, -driver_neutral_rad.expand_as(driver_rad)])
    return roma.rotvec_composition([gain * away, target_neutral_rad.expand_as(driver_rad)])
