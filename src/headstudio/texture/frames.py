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
    capture: Capture, track: Track, head: HeadModel, neutral_m: Float[Tensor, "1 vertices 3"], frame: int, view: int = 0
) -> Observation:
    """One frame: its picture, trusted where it shows the person, the posed head, and the tracker's confidence.

    Args:
        frame: of the track.
        view: of the capture; the picture is the one nearest in time.
    """
    seen, picture = capture.views[view], frame if view == 0 else _nearest_picture(capture, track, frame, view)
    looking = track.view(torch.tensor([frame]), seen.name)
    trust = seen.valid[None].float()
    if Annotation.MATTE in capture.annotations:
        trust = trust * (capture.matte(picture, view).float() / 255)
    vertices_m = vertices_in_camera(head, neutral_m, track.motion().at([frame]), looking)[0]
    return Observation(
        capture.image(picture, view).float() / 255, trust, vertices_m, looking.camera, float(track.confidence[frame])
    )


def observe_all(
    capture: Capture, track: Track, head: HeadModel, neutral_m: Float[Tensor, "1 vertices 3"], frame: int
) -> list[Observation]:
    """One frame in all views that are tracked and were filming then, the first view first."""
    shown = [0]
    for view, seen in enumerate(capture.views[1:], 1):
        away_s = (seen.times_s - track.times_s[frame]).abs().min()
        if seen.name in track.views and float(away_s) <= _longest_wait_s(seen.times_s):
            shown.append(view)
    return [observe(capture, track, head, neutral_m, frame, view) for view in shown]


def _nearest_picture(capture: Capture, track: Track, frame: int, view: int) -> int:
    return int((capture.views[view].times_s - track.times_s[frame]).abs().argmin())


def _longest_wait_s(times_s: Tensor) -> float:
    """From a frame of this clock to the next one, so that whatever it filmed has a picture."""
    return float(times_s.diff().median()) if len(times_s) > 1 else 0.0
