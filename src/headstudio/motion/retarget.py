"""One person's performance on another's head: differences from neutral are carried over, not the values themselves."""

from collections.abc import Callable
from dataclasses import dataclass

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.errors import HeadstudioError
from headstudio.geometry.rigid import from_rotation, relative_orientation
from headstudio.heads.base import Articulation, HeadModel
from headstudio.motion.angles import carried_over
from headstudio.records.channels import (
    ARKIT,
    GAZE,
    HEAD_POSE,
    HEAD_ROTATION,
    JAW,
    NECK,
    Channel,
    Channels,
    expression_of,
)
from headstudio.records.motion import Motion


@dataclass(frozen=True)
class RetargetConfig:
    """How strongly the driver's movements are carried over; 1 keeps their size."""

    expression_gain: float = 1.0
    """Factor on expression weights."""
    head_rotation_gain: float = 1.0
    """Factor on the head's turning away from neutral."""
    head_translation_gain: float = 1.0
    """Factor on the head's displacement; 0 keeps it in place."""
    gaze_gain: float = 1.0
    """Factor on the eyes' turning."""


def retarget(
    driver: Motion,
    driver_neutral: Channels,
    target_neutral: Channels,
    head: HeadModel,
    config: RetargetConfig | None = None,
    size_ratio: float = 1.0,
) -> Motion:
    """The driver's performance around the target's neutral state.

    Args:
        driver: the performance to carry over.
        driver_neutral: the driver's neutral signals without a frame dimension (`find_neutral`).
        target_neutral: the same of the target; a driver channel that it lacks is dropped as not comparable.
        head: the target's head model; bounds its own coefficients.
        config: gains.
        size_ratio: size of the target's head over the driver's; scales displacements (`head_size_ratio`).
    """
    config = config or RetargetConfig()
    channels: dict[Channel, Tensor] = {}
    for channel, values in driver.channels.items():
        if channel == HEAD_ROTATION:
            away = carried_over(values, driver_neutral[channel], torch.zeros(3).to(values), config.head_rotation_gain)
            channels.setdefault(HEAD_POSE, _turned(away, target_neutral.get(HEAD_POSE)))
        elif channel == HEAD_POSE and channel in target_neutral:
            channels[channel] = _moved(values, driver_neutral[channel], target_neutral[channel], config, size_ratio)
        elif channel in target_neutral:
            neutrals = (driver_neutral[channel].to(values), target_neutral[channel].to(values))
            channels[channel] = _difference(channel, head, config)(values, *neutrals)
    return Motion(driver.times_s, channels)


def adapt(motion: Motion, driven_by: tuple[frozenset[Channel], ...], head: HeadModel) -> Motion:
    """The motion in the first of the alternative channel sets that can be made from it.

    Expression of the avatar's own head model, jaw and gaze can come from ARKit weights and the other way round; a
    neck that nobody measured rests. The error names what is missing.
    """
    for wanted in driven_by:
        made = {channel: _made(channel, motion, head) for channel in wanted}
        if all(values is not None for values in made.values()):
            return Motion(motion.times_s, {channel: values for channel, values in made.items() if values is not None})
    missing = sorted({str(c) for wanted in driven_by[:1] for c in wanted if _made(c, motion, head) is None})
    raise HeadstudioError(
        f"the motion cannot drive this avatar: it lacks {', '.join(missing) or 'every channel'}",
        where=", ".join(sorted(str(c) for c in motion.channels)) or "no channel",
        next_step="drive with a video, a track or a motion that has it",
    )


def head_size_ratio(target_face_m: Float[Tensor, "vertices 3"], driver_face_m: Float[Tensor, "points 3"]) -> float:
    """Size of one neutral face over another's: root mean square distances from the centres (Procrustes' scale)."""
    target, driver = ((face - face.mean(0)).square().sum(-1).mean().sqrt() for face in (target_face_m, driver_face_m))
    return float(target / driver)


def _difference(
    channel: Channel, head: HeadModel, config: RetargetConfig
) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """How a channel's value is carried over, given the driver's and the target's neutral values."""
    if channel in (GAZE, NECK, JAW):
        gain = {GAZE: config.gaze_gain, NECK: config.head_rotation_gain, JAW: config.expression_gain}[channel]
        return lambda values, start, rest: carried_over(values, start, rest, gain)
    bounds = {ARKIT: (0.0, 1.0), expression_of(head.name): head.data.expression_range}.get(channel)
    if bounds is None:
        return lambda values, start, rest: values
    return lambda values, start, rest: (rest + config.expression_gain * (values - start)).clamp(*bounds)


def _turned(
    away_rad: Float[Tensor, "frames 3"], T_world_head_neutral: Float[Tensor, "4 4"] | None
) -> Float[Tensor, "frames 4 4"]:
    """The neutral pose turned in place by rotations in camera-facing axes."""
    if T_world_head_neutral is None:
        raise HeadstudioError(f"the avatar has no neutral {HEAD_POSE}", next_step="train the avatar again")
    facing = torch.diag(T_world_head_neutral.new_tensor([1.0, -1.0, -1.0]))
    turn = facing @ roma.rotvec_to_rotmat(away_rad.to(T_world_head_neutral)) @ facing
    return from_rotation(turn @ T_world_head_neutral[:3, :3], T_world_head_neutral[:3, 3].expand(len(away_rad), 3))


def _moved(
    poses: Float[Tensor, "frames 4 4"],
    driver_neutral: Float[Tensor, "4 4"],
    target_neutral: Float[Tensor, "4 4"],
    config: RetargetConfig,
    size_ratio: float,
) -> Float[Tensor, "frames 4 4"]:
    turn, start = relative_orientation(poses), relative_orientation(driver_neutral.to(poses))
    away = carried_over(turn, start, torch.zeros_like(start), config.head_rotation_gain)
    turned = _turned(away, target_neutral.to(poses))
    displacement = poses[:, :3, 3] - driver_neutral[:3, 3].to(poses)
    translation = turned[:, :3, 3] + config.head_translation_gain * size_ratio * displacement
    return from_rotation(turned[:, :3, :3], translation)


def _made(channel: Channel, motion: Motion, head: HeadModel) -> Tensor | None:
    """A channel of the motion, or what the head model can derive from others."""
    if channel in motion.channels:
        return motion.channels[channel]
    own, rest = expression_of(head.name), head.rest(len(motion))
    if channel == NECK:
        return rest.neck_rad
    if channel == ARKIT and own in motion.channels:
        jaw, gaze = motion.channels.get(JAW, rest.jaw_rad), motion.channels.get(GAZE, rest.gaze_rad)
        return head.to_arkit(Articulation(motion.channels[own], rest.neck_rad, jaw, gaze))
    if channel in (own, JAW, GAZE) and ARKIT in motion.channels:
        state = head.from_arkit(motion.channels[ARKIT])
        return {own: state.expression, JAW: state.jaw_rad, GAZE: state.gaze_rad}[channel]
    return None
