"""Rigid transforms as 4x4 matrices: `T_a_b` maps points of frame b to frame a, so `T_a_c = T_a_b @ T_b_c`."""

import roma
import torch
from jaxtyping import Float
from torch import Tensor


def rigid(
    rotvec_rad: Float[Tensor, "*batch 3"], translation_m: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch 4 4"]:
    """The transform that rotates by a rotation vector and then translates."""
    return from_rotation(roma.rotvec_to_rotmat(rotvec_rad), translation_m)


def from_rotation(
    rotation: Float[Tensor, "*batch 3 3"], translation_m: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch 4 4"]:
    """The transform of a rotation matrix followed by a translation."""
    top = torch.cat([rotation, translation_m[..., None]], dim=-1)
    bottom = top.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(*top.shape[:-2], 1, 4)
    return torch.cat([top, bottom], dim=-2)


def invert(T_a_b: Float[Tensor, "*batch 4 4"]) -> Float[Tensor, "*batch 4 4"]:
    """`T_b_a` of a rigid `T_a_b`."""
    rotation = T_a_b[..., :3, :3].transpose(-1, -2)
    return from_rotation(rotation, -(rotation @ T_a_b[..., :3, 3:])[..., 0])


def transform(
    T_a_b: Float[Tensor, "*batch 4 4"], points_b: Float[Tensor, "*batch points 3"]
) -> Float[Tensor, "*batch points 3"]:
    """Points of frame b expressed in frame a."""
    return points_b @ T_a_b[..., :3, :3].transpose(-1, -2) + T_a_b[..., None, :3, 3]


def relative_orientation(T_camera_head: Float[Tensor, "*batch 4 4"]) -> Float[Tensor, "*batch 3"]:
    """Head orientation relative to the viewing camera as a rotation vector; zero when the face looks into the camera.

    The head's axes are glTF's (y up, face to +z), the camera's OpenCV's (y down, z forward), so a head that looks
    straight into the camera is turned by half a turn about x; that constant is removed.
    """
    facing = torch.diag(T_camera_head.new_tensor([1.0, -1.0, -1.0]))
    return roma.rotmat_to_rotvec(facing @ T_camera_head[..., :3, :3])
