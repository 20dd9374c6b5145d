"""Motions cut, closed to a loop, mixed, set to a rate, carried over; every result starts at time 0."""

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.errors import HeadstudioError
from headstudio.geometry.rigid import from_rotation, relative_orientation
from headstudio.heads.base import HeadModel
from headstudio.motion.neutral import find_neutral
from headstudio.motion.resample import crop, mixed, resample
from headstudio.motion.retarget import RetargetConfig, retarget
from headstudio.records.channels import HEAD_POSE, HEAD_ROTATION
from headstudio.records.motion import Motion

MOST_FRAMES = 10_000_000
"""Longer results are refused: 46 hours at 60 frames a second are a mistake in a number."""


def duration_s(motion: Motion) -> float:
    """From the first frame to the last."""
    return float(motion.times_s[-1] - motion.times_s[0])


def usual_step_s(motion: Motion) -> float:
    """The median time from frame to frame; a 60th of a second where there is one frame."""
    return float(motion.times_s.diff().median()) if len(motion) > 1 else 1 / 60


def from_zero(motion: Motion) -> Motion:
    """The same motion on a clock that starts at 0."""
    return Motion(motion.times_s.double() - motion.times_s[0].double(), motion.channels)


def trim(motion: Motion, start_s: float = 0.0, end_s: float | None = None) -> Motion:
    """The frames from `start_s` (included) to `end_s` (excluded; None: to the end), in seconds from the first frame."""
    motion = from_zero(motion)
    if start_s < 0 or (end_s is not None and end_s <= start_s):
        raise HeadstudioError(
            f"there is no time from {start_s:g} s to {end_s if end_s is None else f'{end_s:g}'} s",
            next_step="give a start that is not negative and an end after it",
        )
    return from_zero(crop(motion, start_s, float("inf") if end_s is None else end_s))


def loop(motion: Motion, seam_s: float, times: int = 1) -> Motion:
    """The motion so that it can be repeated without a jump, `times` times.

    Its last `seam_s` seconds are laid over its first and fade into them with zero speed at both ends of the seam, so
    that one round is shorter than the motion by `seam_s`, and neither value nor direction jumps where it starts anew.
    """
    motion = from_zero(motion)
    round_s = duration_s(motion) - seam_s
    if seam_s <= 0 or round_s <= seam_s:
        raise HeadstudioError(
            f"a seam of {seam_s:g} s does not fit a motion of {duration_s(motion):.3g} s",
            next_step="give a seam that is positive and shorter than half of the motion",
        )
    if times < 1 or times * len(motion) > MOST_FRAMES:
        raise HeadstudioError(f"{times} rounds are impossible", next_step="repeat at least once and not for days")
    once = motion.select(slice(0, int((motion.times_s < round_s - 1e-9).sum())))
    tail = resample(motion, round_s + once.times_s)
    share = _eased((once.times_s / seam_s).clamp(max=1))
    channels = {c: mixed(c, tail.channels[c], values, share) for c, values in once.channels.items()}
    rounds = torch.arange(times, dtype=torch.float64).repeat_interleave(len(once)) * round_s
    return Motion(
        rounds + once.times_s.repeat(times),
        {c: values.repeat(times, *[1] * (values.ndim - 1)) for c, values in channels.items()},
    )


def blend(first: Motion, second: Motion, share: float) -> Motion:
    """The first motion mixed with the second on the first's clock, in the channels that both have.

    Args:
        first: gives clock and length.
        second: starts together with the first; its last frame is held where it is shorter.
        share: of the second, in [0, 1].
    """
    if not 0 <= share <= 1:
        raise HeadstudioError(f"a share of {share:g} is impossible", next_step="give a share from 0 to 1")
    first = from_zero(first)
    second = resample(from_zero(second), first.times_s)
    common = [channel for channel in first.channels if channel in second.channels]
    if not common:
        raise HeadstudioError(
            "the motions have no channel in common", next_step="convert both to ARKit weights before they are mixed"
        )
    shares = torch.full((len(first),), share, dtype=torch.float64)
    return Motion(first.times_s, {c: mixed(c, first.channels[c], second.channels[c], shares) for c in common})


def at_rate(motion: Motion, fps: float) -> Motion:
    """The motion at a constant rate, from its first frame to its last."""
    motion = from_zero(motion)
    if not 0 < fps <= 1000 or duration_s(motion) * fps >= MOST_FRAMES:
        raise HeadstudioError(
            f"{fps:g} frames a second are impossible for {duration_s(motion):.3g} s", next_step="give a rate up to 1000"
        )
    count = int(duration_s(motion) * fps + 1e-6) + 1
    return resample(motion, torch.arange(count, dtype=torch.float64) / fps)


def onto(driver: Motion, target: Motion, head: HeadModel, config: RetargetConfig | None = None) -> Motion:
    """A performance carried over to another person, both known by a motion in which they are at rest at some time.

    Args:
        driver: the performance.
        target: of the other person; where it tells no place of the head, the result tells none either.
        head: bounds its own coefficients, if the motions have them.
        config: gains.
    """
    rest = dict(find_neutral(target).channels)
    has_place = HEAD_POSE in rest
    if not has_place:
        facing = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
        turn = roma.rotvec_to_rotmat(rest.get(HEAD_ROTATION, torch.zeros(3)).float())
        rest[HEAD_POSE] = from_rotation(facing @ turn, torch.zeros(3))
    carried = from_zero(retarget(driver, find_neutral(driver).channels, rest, head, config))
    if has_place or HEAD_POSE not in carried.channels:
        return carried
    channels = {c: values for c, values in carried.channels.items() if c != HEAD_POSE}
    return Motion(carried.times_s, {**channels, HEAD_ROTATION: relative_orientation(carried.channels[HEAD_POSE])})


def _eased(share: Float[Tensor, " frames"]) -> Float[Tensor, " frames"]:
    return share * share * (3 - 2 * share)
