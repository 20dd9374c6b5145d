"""A motion as a clip of a mesh: weights of the morph targets, poses of neck and head."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.errors import HeadstudioError
from headstudio.geometry.rigid import from_rotation, rigid
from headstudio.motion.arkit import NAMES
from headstudio.records.channels import ARKIT, HEAD_POSE, HEAD_ROTATION, NECK
from headstudio.records.mesh import MeshAsset, MeshClip
from headstudio.records.motion import Motion

RATE_FPS = 30
"""Of what has no clock of its own."""
_WHOLE_FPS = 0.005  # a rate nearer than this to a whole number is that number


def frame_rate(motion: Motion) -> float:
    """Frames a second by the median distance of frames: whole where it is nearly, at least 1."""
    if len(motion) < 2:
        return RATE_FPS
    rate = max(1.0 / float(motion.times_s.diff().median()), 1.0)
    return float(round(rate)) if abs(rate - round(rate)) < _WHOLE_FPS else rate


def with_clip(asset: MeshAsset, motion: Motion, name: str = "performance") -> MeshAsset:
    """The asset with a motion's clip in place of its own."""
    return replace(asset, clip=mesh_clip(asset, motion, name))


def mesh_clip(asset: MeshAsset, motion: Motion, name: str = "performance") -> MeshClip:
    """The clip of a motion with ARKit weights and, if it has them, head pose or rotation and neck rotation.

    Eyes and jaw move by morph targets, so their joints rest. Skull and shoulders move as in `HeadModel.pose`: the
    root joint carries the shoulders, the head joint turns the skull about the neck. The head turns as the camera sees
    it and moves about the origin of the scene, with the clip's median place taken off.
    """
    if ARKIT not in motion.channels:
        raise HeadstudioError(f"the motion has no {ARKIT}", next_step="give a motion with ARKit weights")
    if not len(motion):
        raise HeadstudioError("the motion has no frame", next_step="give a longer performance")
    pivot = asset.joint_positions_m[0].double()
    turn = motion.channels.get(NECK, torch.zeros(len(motion), 3)).double().cpu()
    neck = rigid(turn, torch.zeros_like(turn))
    around = _shift(pivot) @ neck @ _shift(-pivot)
    skull = _scene_pose(motion)
    bodies = [skull @ torch.linalg.inv(around) if joint == 0 else skull for joint in range(len(asset.joint_names))]
    T_scene_joint = torch.stack(
        [body @ _shift(position) for body, position in zip(bodies, asset.joint_positions_m.double(), strict=True)],
        dim=1,
    )
    local = [
        T_scene_joint[:, joint] if parent < 0 else torch.linalg.inv(T_scene_joint[:, parent]) @ T_scene_joint[:, joint]
        for joint, parent in enumerate(asset.joint_parents)
    ]
    times_s = motion.times_s.double() - motion.times_s[0]
    return MeshClip(name, times_s, _target_weights(asset, motion), torch.stack(local, dim=1))


def _target_weights(asset: MeshAsset, motion: Motion) -> Float[Tensor, "frames targets"]:
    """The ARKit weights in the order of the asset's targets; targets that ARKit does not name rest."""
    arkit = motion.channels[ARKIT]
    columns = [
        arkit[:, NAMES.index(name)] if name in NAMES else torch.zeros(len(motion)) for name in asset.target_names
    ]
    return torch.stack([column.cpu() for column in columns], dim=1)


def _scene_pose(motion: Motion) -> Float[Tensor, "frames 4 4"]:
    """T_scene_head: the camera's world turned to glTF axes, its origin at the head's median place."""
    if HEAD_POSE in motion.channels:
        facing = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))
        pose = motion.channels[HEAD_POSE].double().cpu()
        place = pose[:, :3, 3] - pose[:, :3, 3].median(dim=0).values
        return from_rotation(facing @ pose[:, :3, :3], place @ facing)
    turn = motion.channels.get(HEAD_ROTATION, torch.zeros(len(motion), 3)).double().cpu()
    return rigid(turn, torch.zeros_like(turn))


def _shift(position_m: Float[Tensor, "3"]) -> Float[Tensor, "4 4"]:
    return rigid(torch.zeros(3, dtype=position_m.dtype), position_m)
