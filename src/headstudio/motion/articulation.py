"""From channels to a posed head before a camera."""

import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.errors import HeadstudioError
from headstudio.geometry.rigid import transform
from headstudio.heads.base import Articulation, HeadModel
from headstudio.records.channels import ARKIT, GAZE, HEAD_POSE, JAW, NECK, Channel, Channels, View, expression_of


def mesh_channels(head_name: str) -> tuple[frozenset[Channel], ...]:
    """The sets of channels that can move a head's mesh, the tracker's own first."""
    return (frozenset({expression_of(head_name), JAW, GAZE, HEAD_POSE}), frozenset({ARKIT, HEAD_POSE}))


def articulation(head: HeadModel, channels: Channels) -> Articulation:
    """The state channels ask for: the head's own coefficients, or else ARKit-52; the neck rests unless given."""
    own = expression_of(head.name)
    if own in channels:
        values = channels[own]
        rest = head.rest(len(values))
        state = Articulation(values, rest.neck_rad, channels.get(JAW, rest.jaw_rad), channels.get(GAZE, rest.gaze_rad))
    elif ARKIT in channels:
        state = head.from_arkit(channels[ARKIT])
        state = state._replace(gaze_rad=channels.get(GAZE, state.gaze_rad))
    else:
        raise HeadstudioError(
            f"nothing moves the head: neither {own} nor {ARKIT} is given",
            next_step="drive with a track or an ARKit file",
        )
    return state._replace(neck_rad=channels.get(NECK, state.neck_rad))


def camera_pose(channels: Channels, view: View) -> Float[Tensor, "batch 4 4"]:
    """T_camera_head of every frame for the viewing camera."""
    if HEAD_POSE not in channels:
        raise HeadstudioError(f"the head has no place: {HEAD_POSE} is missing", next_step="drive with a head pose")
    return view.T_camera_world @ channels[HEAD_POSE]


def vertices_in_camera(
    head: HeadModel, neutral_m: Float[Tensor, "#batch vertices 3"], channels: Channels, view: View
) -> Float[Tensor, "batch vertices 3"]:
    """The posed mesh in camera axes."""
    posed = head.pose(neutral_m, articulation(head, channels))
    return transform(camera_pose(channels, view).to(torch.float32), posed)
