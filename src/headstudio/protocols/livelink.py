"""Live Link Face over UDP, packet version 6.

Big-endian throughout: version (uint8); device id and subject, each an int32 length and so many bytes; the frame time
as frame number (int32), part of a frame (float32), rate as numerator and denominator (int32 each); and, while the
phone sees a face, a count (uint8) of 61 and so many float32: the blendshapes in the order of Unreal's enumeration
`EARFaceBlendShape`, then yaw, pitch and roll in radians of head, left eye and right eye. Apple's left and right of
jaw and mouth stand there in the other order than in the recorder's CSV.

Source: `AppleARKitLiveLinkSource.cpp` and `ARTypes.h` of Unreal Engine, as described in the readme of think-biq/LLV
and in `doc/proto.md` of tbxMb/GodotLiveLinkFace.
"""

import struct
from typing import ClassVar

from headstudio.motion.arkit import INDEX, NAMES
from headstudio.protocols.codec import Codec
from headstudio.protocols.frame import FaceFrame, MalformedPacketError, check_angles, checked
from headstudio.protocols.rotations import from_yaw_pitch_roll, to_yaw_pitch_roll

VERSION = 6
LONGEST_NAME = 256
"""Bytes; Unreal reserves so many characters."""
RATE = 60
"""Frames a second in which our own packets count time."""

_SWAPPED = {"jawRight": "jawLeft", "jawLeft": "jawRight", "mouthRight": "mouthLeft", "mouthLeft": "mouthRight"}
WIRE = tuple(INDEX[_SWAPPED.get(name, name)] for name in NAMES)
"""Our column of each blendshape on the wire."""

_DAY_S = 86400.0
_LENGTH, _TIME, _VALUES = struct.Struct("!i"), struct.Struct("!ifii"), struct.Struct("!61f")


class LiveLinkFace(Codec):
    """The protocol of Epic's app, and of all that imitates it."""

    name: ClassVar[str] = "livelink"
    port: ClassVar[int] = 11111

    def __init__(self, device: str = "headstudio") -> None:
        self.device = device

    def decode(self, datagram: bytes, received_s: float) -> FaceFrame | None:
        """The frame of a packet; None while the phone sees no face."""
        if not datagram or datagram[0] != VERSION:
            raise MalformedPacketError("not packet version 6")
        _, at = _text(datagram, 1)
        subject, at = _text(datagram, at)
        if len(datagram) < at + _TIME.size:
            raise MalformedPacketError("truncated before the frame time")
        time_s, at = _seconds(*_TIME.unpack_from(datagram, at)), at + _TIME.size
        rest = datagram[at:]
        if rest in (b"", b"\0"):
            return None
        if len(rest) != 1 + _VALUES.size or rest[0] != 61:
            raise MalformedPacketError("not 61 values")
        values = _VALUES.unpack_from(rest, 1)
        angles = values[52:]
        check_angles(angles)
        weights = [0.0] * 52
        for column, value in zip(WIRE, values, strict=False):
            weights[column] = value
        head, left, right = from_yaw_pitch_roll([angles[0:3], angles[3:6], angles[6:9]])
        return checked(time_s, subject, weights, head, None, (left, right))

    def encode(self, frame: FaceFrame) -> tuple[bytes, ...]:
        """One packet; the protocol has no place for the head's position, and its clock passes midnight."""
        ticks = frame.time_s % _DAY_S * RATE
        rest = (0.0, 0.0, 0.0)
        angles = to_yaw_pitch_roll([frame.head_rotation_rad, *(frame.gaze_rad or (rest, rest))])
        values = [*(frame.weights[column] for column in WIRE), *(value for row in angles for value in row)]
        time = _TIME.pack(int(ticks), ticks - int(ticks), RATE, 1)
        names = b"".join(_named(text) for text in (self.device, frame.subject))
        return (bytes([VERSION]) + names + time + b"\x3d" + _VALUES.pack(*values),)


def _text(datagram: bytes, at: int) -> tuple[str, int]:
    """The string that starts at `at`, and where it ends."""
    start = at + _LENGTH.size
    if len(datagram) < start:
        raise MalformedPacketError("truncated before a name")
    (length,) = _LENGTH.unpack_from(datagram, at)
    if not 0 <= length <= LONGEST_NAME or len(datagram) < start + length:
        raise MalformedPacketError("a name longer than the packet")
    try:
        return datagram[start : start + length].decode("utf-8"), start + length
    except UnicodeDecodeError:
        raise MalformedPacketError("a name that is no text") from None


def _named(text: str) -> bytes:
    data = text.encode("utf-8", "replace")[:LONGEST_NAME].decode("utf-8", "ignore").encode("utf-8")
    return _LENGTH.pack(len(data)) + data


def _seconds(frame: int, part: float, numerator: int, denominator: int) -> float:
    if frame < 0 or not 0 <= part <= 1 or numerator <= 0 or denominator <= 0:
        raise MalformedPacketError("a frame time that is none")
    return (frame + part) * denominator / numerator
