"""Frames as a motion, and a motion as frames."""

import itertools
from collections.abc import Iterator, Sequence

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.errors import HeadstudioError
from headstudio.geometry.rigid import from_rotation, relative_orientation
from headstudio.protocols.frame import FaceFrame, Triple
from headstudio.records.channels import ARKIT, GAZE, HEAD_POSE, HEAD_ROTATION, Channel
from headstudio.records.motion import Motion

_DAY_S = 86400.0
_NEAR_S = 60.0
"""How near to a whole day back a clock has passed midnight, and was not set anew."""


def to_motion(frames: Sequence[FaceFrame]) -> Motion:
    """The motion of frames in order; its clock starts at 0.

    A clock that passes midnight goes on; one that was set anew goes on one usual step after its last time. The head
    has a place if every frame tells one, and the eyes turn if every frame tells how.
    """
    if not frames:
        raise HeadstudioError("there is no frame", next_step="give a recording in which a face is seen")
    channels: dict[Channel, Tensor] = {ARKIT: torch.tensor([frame.weights for frame in frames])}
    turn = torch.tensor([frame.head_rotation_rad for frame in frames])
    places = [frame.head_position_m for frame in frames if frame.head_position_m is not None]
    if len(places) == len(frames):
        channels[HEAD_POSE] = _pose(turn, torch.tensor(places))
    else:
        channels[HEAD_ROTATION] = turn
    eyes = [frame.gaze_rad for frame in frames if frame.gaze_rad is not None]
    if len(eyes) == len(frames):
        channels[GAZE] = torch.tensor(eyes)
    return Motion(torch.tensor(_going_on([frame.time_s for frame in frames]), dtype=torch.float64), channels)


def to_frames(motion: Motion, subject: str = "") -> Iterator[FaceFrame]:
    """The frames of a motion with ARKit weights; what it lacks beside them is at rest or left out."""
    if ARKIT not in motion.channels:
        raise HeadstudioError(f"the motion has no {ARKIT}", next_step="give a motion with ARKit weights")
    weights = motion.channels[ARKIT].double().clamp(0, 1).tolist()
    turns, places = _head(motion)
    eyes = motion.channels[GAZE].double().tolist() if GAZE in motion.channels else None
    for index, time_s in enumerate(motion.times_s.tolist()):
        gaze = None if eyes is None else (_triple(eyes[index][0]), _triple(eyes[index][1]))
        place = None if places is None else _triple(places[index])
        yield FaceFrame(time_s, subject, tuple(weights[index]), _triple(turns[index]), place, gaze)


def _head(motion: Motion) -> tuple[list[list[float]], list[list[float]] | None]:
    if HEAD_POSE in motion.channels:
        pose = motion.channels[HEAD_POSE].double()
        return relative_orientation(pose).tolist(), (pose[:, :3, 3] * pose.new_tensor([1.0, -1.0, -1.0])).tolist()
    if HEAD_ROTATION in motion.channels:
        return motion.channels[HEAD_ROTATION].double().tolist(), None
    return [[0.0, 0.0, 0.0]] * len(motion), None


def _pose(turn_rad: Float[Tensor, "frames 3"], place_m: Float[Tensor, "frames 3"]) -> Float[Tensor, "frames 4 4"]:
    """T_world_head from camera-facing axes, whose y and z are the camera's turned round."""
    facing = torch.diag(turn_rad.new_tensor([1.0, -1.0, -1.0]))
    return from_rotation(facing @ roma.rotvec_to_rotmat(turn_rad), place_m @ facing)


def _going_on(times_s: list[float]) -> list[float]:
    steps = sorted(after - before for before, after in itertools.pairwise(times_s) if after > before)
    usual_s = steps[len(steps) // 2] if steps else 1 / 60
    going, now_s = [0.0], 0.0
    for before, after in itertools.pairwise(times_s):
        step_s = after - before
        if step_s <= 0 and abs(step_s + _DAY_S) < _NEAR_S:
            step_s += _DAY_S
        now_s += step_s if step_s > 0 else usual_s
        going.append(now_s)
    return going


def _triple(values: Sequence[float]) -> Triple:
    x, y, z = values
    return x, y, z
