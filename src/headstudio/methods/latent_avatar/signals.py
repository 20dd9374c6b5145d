"""All that the tracker estimates of a frame, as one vector: the code of the baseline, and what transfer starts from."""

import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.geometry.rigid import relative_orientation
from headstudio.heads.base import HeadModel
from headstudio.motion.articulation import articulation, camera_pose
from headstudio.records.channels import Channels, View

_BESIDE_EXPRESSION = 3 + 4 + 3 + 3
"""Jaw; gaze of both eyes, sideways and up; neck; orientation of the head."""


def tracked_signals(head: HeadModel, channels: Channels, view: View) -> Float[Tensor, "batch signals"]:
    """Expression, jaw, gaze, neck, and the head's orientation against this view's camera."""
    state = articulation(head, channels)
    orientation = relative_orientation(camera_pose(channels, view).float())
    gaze = state.gaze_rad[..., :2].flatten(1)
    return torch.cat([state.expression, state.jaw_rad, gaze, state.neck_rad, orientation], dim=1)


def signals_of(head: HeadModel) -> int:
    """How many there are."""
    return head.expressions + _BESIDE_EXPRESSION
