"""What the two networks are told of a frame."""

import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.geometry.rigid import relative_orientation
from headstudio.heads.base import Articulation
from headstudio.motion.articulation import camera_pose
from headstudio.records.channels import HEAD_POSE, Channels, View


def joint_signal(state: Articulation, channels: Channels) -> Float[Tensor, "batch 13"]:
    """G's condition: neck, jaw and eyes (sideways and up), and how the head is turned in the world.

    Trackers of a face alone leave the neck at rest; the head's own turn against a world in which the shoulders hardly
    move stands for it. It is no view of any camera: the shape must not change when the camera moves.
    """
    turned = relative_orientation(channels[HEAD_POSE].float())
    return torch.cat([state.neck_rad, state.jaw_rad, state.gaze_rad[..., :2].flatten(1), turned], dim=1)


JOINT_SIGNALS = 13
"""Length of `joint_signal`."""


def colour_signal(state: Articulation, channels: Channels, view: View) -> Float[Tensor, "batch signals"]:
    """T's condition: expression, jaw, gaze, neck, and the head's orientation against the camera that looks."""
    turned = relative_orientation(camera_pose(channels, view).float())
    gaze_rad = state.gaze_rad[..., :2].flatten(1)
    return torch.cat([state.expression, state.jaw_rad, gaze_rad, state.neck_rad, turned], dim=1)


def colour_signals(expressions: int) -> int:
    """Length of `colour_signal` for a head with so many expression units."""
    return expressions + JOINT_SIGNALS
