"""iFacialMocap over UDP: one line of text a frame.

`name-value|...|=head#x,y,z,px,py,pz|rightEye#x,y,z|leftEye#x,y,z|`: blendshapes in hundredths, with `_L` and `_R` for
the person's left and right; Euler angles in degrees about x, y and z; the head's place in metres. Version 2 writes
`&` where version 1 writes `-`. A receiver first sends `START` to the phone's port.

The page does not say which way the axes point. Its examples fit ARKit's own: in them eyes with eyeLookDown have a
positive x, the right eye with eyeLookIn a positive y, the head stands at a negative z, and a head below the camera is
raised at a negative x. So angles are those of `headstudio.motion.angles` and places are in camera-facing axes. The
order of the three rotations is taken to be the same as well.

Source: https://www.ifacialmocap.com/for-developer/
"""

import math
from typing import ClassVar

from headstudio.motion.arkit import NAMES
from headstudio.protocols.codec import Codec
from headstudio.protocols.frame import FaceFrame, MalformedPacketError, Triple, check_angles, checked
from headstudio.protocols.rotations import from_yaw_pitch_roll, to_yaw_pitch_roll

START = b"iFacialMocap_sahuasouryya9218sauhuiayeta91555dy3719"
"""What a receiver sends to the phone, which then sends frames to the address that it came from."""

_MOST_BYTES = 8192
_TCP_ENDING = "___iFacialMocap"
_TRACKING = "trackingStatus"


def wire_name(name: str) -> str:
    """ARKit's name as the app spells it."""
    for side in ("Left", "Right"):
        if name.endswith(side) and name not in ("jawLeft", "jawRight", "mouthLeft", "mouthRight"):
            return f"{name.removesuffix(side)}_{side[0]}"
    return name


_COLUMNS = {spelling: column for column, name in enumerate(NAMES) for spelling in (name, wire_name(name))}


class IFacialMocap(Codec):
    """The protocol of the app of that name, and of all that imitates it."""

    name: ClassVar[str] = "ifacialmocap"
    port: ClassVar[int] = 49983

    def decode(self, datagram: bytes, received_s: float) -> FaceFrame | None:
        """The frame of a packet; None while the phone sees no face."""
        try:
            text = datagram.decode("ascii") if len(datagram) <= _MOST_BYTES else ""
        except UnicodeDecodeError:
            text = ""
        shapes, equals, transforms = text.removesuffix(_TCP_ENDING).partition("=")
        if not equals or not transforms.endswith("|"):
            raise MalformedPacketError("not a line of iFacialMocap")
        seen, weights = _weights(shapes)
        parts = {name: numbers for name, _, numbers in (part.partition("#") for part in transforms.split("|"))}
        head = _numbers(parts.get("head", ""), 6)
        gaze = None
        if "leftEye" in parts or "rightEye" in parts:
            left, right = (_rotation(_numbers(parts.get(f"{side}Eye", ""), 3)) for side in ("left", "right"))
            gaze = (left, right)
        position = (head[3], head[4], head[5])
        return checked(received_s, "", weights, _rotation(head[:3]), position, gaze) if seen else None

    def encode(self, frame: FaceFrame) -> tuple[bytes, ...]:
        """One packet of version 1, whose weights are whole hundredths; it has neither a name nor a time."""
        shapes = "|".join(f"{wire_name(n)}-{round(100 * w)}" for n, w in zip(NAMES, frame.weights, strict=True))
        rest = (0.0, 0.0, 0.0)
        left, right = frame.gaze_rad or (rest, rest)
        head, left, right = (_degrees(turn) for turn in to_yaw_pitch_roll([frame.head_rotation_rad, left, right]))
        place = _joined(frame.head_position_m or rest)
        line = f"{_TRACKING}-1|{shapes}|=head#{head},{place}|rightEye#{right}|leftEye#{left}|"
        return (line.encode("ascii"),)


def _weights(shapes: str) -> tuple[bool, list[float]]:
    """Whether a face is seen, and its weights; names that ARKit does not have are passed over."""
    weights, known, seen = [0.0] * len(NAMES), 0, True
    for item in shapes.split("|"):
        name, _, value = item.partition("&" if "&" in item else "-")
        if name in _COLUMNS:
            weights[_COLUMNS[name]] = _number(value) / 100
            known += 1
        elif name == _TRACKING:
            seen = _number(value) != 0
    if not known:
        raise MalformedPacketError("no blendshape")
    return seen, weights


def _numbers(text: str, count: int) -> list[float]:
    fields = text.split(",")
    if len(fields) != count:
        raise MalformedPacketError(f"not {count} numbers")
    return [_number(field) for field in fields]


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    # Python reads underscores, which no other language does.
    if not math.isfinite(value) or "_" in text:
        raise MalformedPacketError("not a number")
    return value


def _rotation(degrees: list[float]) -> Triple:
    x, y, z = map(math.radians, degrees)
    check_angles((x, y, z))
    return from_yaw_pitch_roll([(y, x, z)])[0]


def _degrees(angles_rad: Triple) -> str:
    yaw, pitch, roll = map(math.degrees, angles_rad)
    return _joined((pitch, yaw, roll))


def _joined(values: Triple) -> str:
    return ",".join(f"{value:.6f}" for value in values)
