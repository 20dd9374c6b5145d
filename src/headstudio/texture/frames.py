"""Tracked frames as a texture sees them, and which of them to look at."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.heads.base import HeadModel
from headstudio.motion.articulation import vertices_in_camera
from headstudio.records.capture import Annotation, Capture
from headstudio.records.track import Track
from headstudio.texture.unproject import Observation


def spread_over_turns(track: Track, frames: Sequence[int], quality: Float[Tensor, " frames"], count: int) -> list[int]:
    """Frames from all quantiles of the sideways turn, the best of each.

    Args:
        track: whose poses tell the turns.
        frames: those to choose from.
        quality: of every frame of the track; more is better.
        count: at most so many are chosen.
    """
    order = torch.argsort(track.T_world_head[frames][:, 0, 2])
    bins = torch.tensor_split(order, min(count, len(frames)))
    of_frames = quality[frames]
    return [frames[int(part[of_frames[part].argmax()])] for part in bins]


def observe(
    capture: Capture, track: Track, head: HeadModel, neutral_m: Float[Tensor, "1 vertices 3"], frame: int
) -> Observation:
    """One frame: its picture, trusted where it shows the person, the posed head, and the tracker's confidence."""
    view = track.view(torch.tensor([frame]))
    trust = capture.views[0].valid[None].float()
    if Annotation.MATTE in capture.annotations:
        trust = trust * (capture.matte(frame).float() / 255)
    vertices_m = vertices_in_camera(head, neutral_m, track.motion().at([frame]), view)[0]
    return Observation(
        capture.image(frame).float() / 255, trust, vertices_m, view.camera, float(track.confidence[frame])
    )
