"""VMC (Virtual Motion Capture protocol): VRM blendshape proxies and bones in OSC messages over UDP.

A frame is spread over messages: `/VMC/Ext/Blend/Val name value` for each proxy, `/VMC/Ext/Blend/Apply` when all are
told, `/VMC/Ext/Bone/Pos name p q` for each bone with its local place and quaternion (x, y, z, w) in Unity's axes,
`/VMC/Ext/T` for the sender's clock and `/VMC/Ext/OK` for whether it tracks. Proxies named as ARKit's blendshapes
("perfect sync") are read in any case and written as Unity spells them; others are passed over. Messages of unknown
address, with too few arguments or with arguments of other types are ignored, as the specification asks.

Unity's axes are left-handed, y up, z forward; a VRM figure faces z, so x points to its right. Ours is the mirror
image.

Source: https://protocol.vmc.info/english and https://protocol.vmc.info/marionette-spec
"""

from typing import ClassVar

from headstudio.motion.arkit import NAMES
from headstudio.protocols import osc
from headstudio.protocols.codec import Codec
from headstudio.protocols.frame import FaceFrame, LatePacketError, checked
from headstudio.protocols.rotations import from_quaternions, to_quaternions

LONGEST_PACKET = 1400
"""Bytes of our own packets: below what Ethernet carries in one piece."""

_COLUMNS = {name.lower(): column for column, name in enumerate(NAMES)}
_SPELLED = tuple(name[0].upper() + name[1:] for name in NAMES)
_REST = (0.0, 0.0, 0.0, 1.0)
_BONES = ("Neck", "Head", "LeftEye", "RightEye")
_LATE_S = 1.0
"""A clock that steps back further than this was set anew."""
_STEP_S = 1e-6

Quaternion = tuple[float, float, float, float]


class Vmc(Codec):
    """The face of a VMC performer."""

    name: ClassVar[str] = "vmc"
    port: ClassVar[int] = 39539

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the sender: a face at rest."""
        self._weights = [0.0] * len(NAMES)
        self._bones: dict[str, Quaternion] = {}
        self._told_s: float | None = None
        self._last: tuple[float, float] | None = None
        self._tracked = True

    def decode(self, datagram: bytes, received_s: float) -> FaceFrame | None:
        """The frame that an Apply in the datagram completes."""
        messages = [m for m in osc.parse(datagram) if m.address.startswith("/VMC/Ext/")]
        self._refuse_if_late(messages)
        for message in messages:
            self._take(message)
        if not self._tracked or not any(m.address == "/VMC/Ext/Blend/Apply" for m in messages):
            return None
        time_s = self._time(received_s)
        self._last = (time_s, received_s)
        neck, head, left, right = (self._bones.get(bone, _REST) for bone in _BONES)
        seen = "LeftEye" in self._bones or "RightEye" in self._bones
        turn, left_eye, right_eye = from_quaternions([_product(neck, head), left, right])
        return checked(time_s, "", self._weights, turn, None, (left_eye, right_eye) if seen else None)

    def encode(self, frame: FaceFrame) -> tuple[bytes, ...]:
        """Bundles that end with Apply; bones have no place, as with other trackers of faces alone."""
        told = [osc.message("/VMC/Ext/OK", 1), osc.message("/VMC/Ext/T", float(frame.time_s))]
        turns = {"Head": frame.head_rotation_rad}
        if frame.gaze_rad is not None:
            turns |= dict(zip(("LeftEye", "RightEye"), frame.gaze_rad, strict=True))
        for bone, (x, y, z, w) in zip(turns, to_quaternions(list(turns.values())), strict=True):
            told.append(osc.message("/VMC/Ext/Bone/Pos", bone, 0.0, 0.0, 0.0, x, -y, -z, w))
        for name, weight in zip(_SPELLED, frame.weights, strict=True):
            told.append(osc.message("/VMC/Ext/Blend/Val", name, float(weight)))
        return osc.bundles([*told, osc.message("/VMC/Ext/Blend/Apply")], LONGEST_PACKET)

    def _refuse_if_late(self, messages: list[osc.Message]) -> None:
        """Nothing of a packet that was overtaken may be mixed into a later frame."""
        clocks = (_floats(m.arguments, 1) for m in messages if m.address == "/VMC/Ext/T")
        if self._told_s is not None and any(
            self._told_s - _LATE_S <= s < self._told_s for told in clocks for s in told
        ):
            raise LatePacketError

    def _take(self, message: osc.Message) -> None:
        address, arguments = message
        named = arguments[0] if arguments else None
        if address == "/VMC/Ext/Blend/Val" and (value := _floats(arguments[1:], 1)):
            column = _COLUMNS.get(named.lower()) if isinstance(named, str) else None
            if column is not None:
                self._weights[column] = min(max(value[0], 0.0), 1.0)
        elif address == "/VMC/Ext/Bone/Pos" and (pose := _floats(arguments[1:], 7)):
            x, y, z, w = pose[3:]
            if named in _BONES and 0.5 < x * x + y * y + z * z + w * w < 2:
                self._bones[str(named)] = (x, -y, -z, w)
        elif address == "/VMC/Ext/T" and (told := _floats(arguments, 1)):
            self._told_s = told[0]
        elif address == "/VMC/Ext/OK":
            # One number in the first version of the protocol; the fourth says whether tracking works.
            self._tracked = 0 not in (*arguments[:1], *arguments[3:4])

    def _time(self, received_s: float) -> float:
        """The sender's clock where it goes on, else ours: a clock may stand still or be too coarse for its rate."""
        if self._last is None:
            return received_s if self._told_s is None else self._told_s
        time_s, then_s = self._last
        if self._told_s is not None and not time_s - _LATE_S <= self._told_s <= time_s:
            return self._told_s
        return time_s + max(received_s - then_s, _STEP_S)


def _floats(arguments: tuple[osc.Argument, ...], count: int) -> tuple[float, ...]:
    """The first arguments if all of them are finite floats, else nothing."""
    found = tuple(a for a in arguments[:count] if isinstance(a, float) and abs(a) < 1e9)
    return found if len(found) == count else ()


def _product(first: Quaternion, second: Quaternion) -> Quaternion:
    (a, b, c, d), (e, f, g, h) = first, second
    return (
        d * e + a * h + b * g - c * f,
        d * f - a * g + b * h + c * e,
        d * g + a * f - b * e + c * h,
        d * h - a * e - b * f - c * g,
    )
