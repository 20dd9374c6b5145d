"""One moment of a face as a tracker on the network tells it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from headstudio.motion.arkit import NAMES

Triple: TypeAlias = tuple[float, float, float]

LARGEST_ANGLE_RAD = 2 * math.pi
LARGEST_POSITION_M = 100.0


@dataclass(frozen=True, slots=True)
class FaceFrame:
    """What every protocol can say. Numbers are finite; `checked` makes one of numbers that nobody vouches for."""

    time_s: float
    """On the sender's clock where the protocol has one, else on the receiver's."""
    subject: str
    """Who, as the sender calls them; empty where the protocol has no name."""
    weights: tuple[float, ...]
    """52 weights in [0, 1], Apple's order (`headstudio.motion.arkit.NAMES`)."""
    head_rotation_rad: Triple = (0.0, 0.0, 0.0)
    """Rotation vector in camera-facing axes: x to the right of the picture, y up, z out of it."""
    head_position_m: Triple | None = None
    """Where the head is from the camera, in the same axes (so z is negative); None where the protocol has no place."""
    gaze_rad: tuple[Triple, Triple] | None = None
    """Rotation vectors of the left and the right eyeball in the skull's axes; None where nobody measured them."""


class MalformedPacketError(Exception):
    """A datagram that does not follow its protocol."""


class LatePacketError(Exception):
    """A datagram that was overtaken by a later one."""


def checked(
    time_s: float,
    subject: str,
    weights: Sequence[float],
    head_rotation_rad: Triple,
    head_position_m: Triple | None = None,
    gaze_rad: tuple[Triple, Triple] | None = None,
) -> FaceFrame:
    """A frame of foreign numbers: weights are cut to [0, 1], anything without bounds is refused.

    Raises:
        MalformedPacketError: a number is infinite or none, or a place is out of any room.
    """
    if len(weights) != len(NAMES):
        raise MalformedPacketError(f"{len(weights)} weights")
    rotations = (*head_rotation_rad, *(value for eye in gaze_rad or () for value in eye))
    if not all(map(math.isfinite, (time_s, *weights, *rotations))):
        raise MalformedPacketError("a value that is no number")
    if head_position_m is not None and not all(abs(value) <= LARGEST_POSITION_M for value in head_position_m):
        raise MalformedPacketError("a place out of reach")
    bounded = tuple(min(max(value, 0.0), 1.0) for value in weights)
    return FaceFrame(time_s, subject, bounded, head_rotation_rad, head_position_m, gaze_rad)


def check_angles(angles_rad: Sequence[float]) -> None:
    """Refuse angles beyond a full turn, which are in another unit or made up; what is no number is refused too."""
    if not all(abs(angle) <= LARGEST_ANGLE_RAD for angle in angles_rad):
        raise MalformedPacketError("an angle beyond a full turn")
