"""What moves the mesh of a frame, as one vector: expression, jaw and gaze (the paper's b)."""

import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.geometry.rigid import relative_orientation
from headstudio.heads.base import Articulation, HeadModel
from headstudio.motion.articulation import articulation, camera_pose
from headstudio.records.channels import NECK, Channels, View

_BESIDE_EXPRESSION = 3 + 4
"""Jaw; gaze of both eyes, sideways and up."""
_ORIENTATION = 3


def weights_of(head: HeadModel, channels: Channels) -> Float[Tensor, "batch weights"]:
    """The vector that channels ask for."""
    state = articulation(head, channels)
    return torch.cat([state.expression, state.jaw_rad, state.gaze_rad[..., :2].flatten(1)], dim=1)


def weights_in(head: HeadModel) -> int:
    """How many numbers that are."""
    return head.expressions + _BESIDE_EXPRESSION


def articulated(head: HeadModel, weights: Float[Tensor, "batch weights"], channels: Channels) -> Articulation:
    """The state that a vector stands for, within the range of the head's units; the neck rests unless given."""
    expression, jaw_rad, gaze = weights.split([head.expressions, 3, 4], dim=1)
    gaze_rad = torch.cat([gaze.unflatten(1, (2, 2)), gaze.new_zeros(len(gaze), 2, 1)], dim=2)
    neck_rad = channels.get(NECK, jaw_rad.new_zeros(len(weights), 3))
    return Articulation(expression.clamp(*head.data.expression_range), neck_rad, jaw_rad, gaze_rad)


def tracked_signals(head: HeadModel, channels: Channels, view: View) -> Float[Tensor, "batch signals"]:
    """What the tracker says that a code may depend on: the vector, and the head's orientation against this view."""
    orientation = relative_orientation(camera_pose(channels, view).float())
    return torch.cat([weights_of(head, channels), orientation], dim=1)


def signals_in(head: HeadModel) -> int:
    """How many numbers that are."""
    return weights_in(head) + _ORIENTATION
