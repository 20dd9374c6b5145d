"""Frames, and packets that are built from the descriptions of the formats and from nothing of the package's."""

import math
import random
import struct

from headstudio.motion.arkit import NAMES
from headstudio.protocols.frame import FaceFrame

UNREAL = (
    "EyeBlinkLeft", "EyeLookDownLeft", "EyeLookInLeft", "EyeLookOutLeft", "EyeLookUpLeft", "EyeSquintLeft",
    "EyeWideLeft", "EyeBlinkRight", "EyeLookDownRight", "EyeLookInRight", "EyeLookOutRight", "EyeLookUpRight",
    "EyeSquintRight", "EyeWideRight", "JawForward", "JawLeft", "JawRight", "JawOpen", "MouthClose", "MouthFunnel",
    "MouthPucker", "MouthLeft", "MouthRight", "MouthSmileLeft", "MouthSmileRight", "MouthFrownLeft",
    "MouthFrownRight", "MouthDimpleLeft", "MouthDimpleRight", "MouthStretchLeft", "MouthStretchRight",
    "MouthRollLower", "MouthRollUpper", "MouthShrugLower", "MouthShrugUpper", "MouthPressLeft", "MouthPressRight",
    "MouthLowerDownLeft", "MouthLowerDownRight", "MouthUpperUpLeft", "MouthUpperUpRight", "BrowDownLeft",
    "BrowDownRight", "BrowInnerUp", "BrowOuterUpLeft", "BrowOuterUpRight", "CheekPuff", "CheekSquintLeft",
    "CheekSquintRight", "NoseSneerLeft", "NoseSneerRight", "TongueOut", "HeadYaw", "HeadPitch", "HeadRoll",
    "LeftEyeYaw", "LeftEyePitch", "LeftEyeRoll", "RightEyeYaw", "RightEyePitch", "RightEyeRoll",
)  # fmt: skip
"""The 61 values in the order of Unreal's enumeration."""


def livelink_packet(
    values=None, subject="Face", device="4A1C", frame=3600, part=0.5, rate=(60, 1), version=6, seen=True, **named
):
    """A packet of Live Link Face; `named` are values by Unreal's names."""
    packet = struct.pack("!B", version)
    for text in (device, subject):
        data = text.encode()
        packet += struct.pack("!i", len(data)) + data
    packet += struct.pack("!ifii", frame, part, *rate)
    if not seen:
        return packet
    values = [named.get(name, 0.0) for name in UNREAL] if values is None else values
    return packet + struct.pack("!B", len(values)) + struct.pack(f"!{len(values)}f", *values)


def osc_text(text):
    """A string of OSC: closed by zeros to a multiple of four."""
    data = text.encode() + b"\0"
    while len(data) % 4:
        data += b"\0"
    return data


def osc_message(address, tags, *arguments):
    """A message of OSC."""
    packet = osc_text(address) + osc_text("," + tags)
    for tag, argument in zip(tags, arguments, strict=True):
        packet += osc_text(argument) if tag == "s" else struct.pack(f"!{tag}", argument)
    return packet


def osc_bundle(*packets):
    """A bundle of OSC."""
    return b"#bundle\0" + bytes(7) + b"\1" + b"".join(struct.pack("!i", len(packet)) + packet for packet in packets)


def vmc_packet(time_s=None, apply=True, bones=None, ok=None, **weights):
    """One bundle of a VMC performer; `bones` are quaternions (x, y, z, w) by name."""
    told = [osc_message("/VMC/Ext/OK", "i" * len(ok), *ok)] if ok else []
    told += [] if time_s is None else [osc_message("/VMC/Ext/T", "f", time_s)]
    told += [
        osc_message("/VMC/Ext/Bone/Pos", "sfffffff", bone, 0.0, 0.1, 0.0, *turn) for bone, turn in (bones or {}).items()
    ]
    told += [osc_message("/VMC/Ext/Blend/Val", "sf", name, weight) for name, weight in weights.items()]
    return osc_bundle(*told, *([osc_message("/VMC/Ext/Blend/Apply", "")] if apply else []))


def random_frame(seed, time_s=1.0, subject="Face"):
    """A frame with every part told."""
    draw = random.Random(seed)
    turn = [tuple(draw.uniform(-0.6, 0.6) for _ in range(3)) for _ in range(3)]
    place = (draw.uniform(-0.2, 0.2), draw.uniform(-0.2, 0.2), draw.uniform(-0.9, -0.3))
    weights = tuple(draw.random() for _ in NAMES)
    return FaceFrame(time_s, subject, weights, turn[0], place, (turn[1], turn[2]))


def damaged(packet, draw):
    """A packet after what networks and enemies do to it."""
    data = bytearray(packet)
    kind = draw.randrange(5)
    if kind == 0:
        return bytes(data[: draw.randrange(len(data))])
    if kind == 1:
        data[draw.randrange(len(data))] = draw.randrange(256)
    elif kind == 2:
        at = draw.randrange(len(data))
        data[at : at + 4] = struct.pack("!I", draw.choice([0, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000, 0x7FC00000]))
    elif kind == 3:
        at = draw.randrange(len(data))
        data[at:at] = draw.randbytes(draw.randrange(1, 9))
    else:
        at, end = sorted(draw.randrange(len(data)) for _ in range(2))
        data[at:end] = data[at:end][::-1]
    return bytes(data)


def sound(frame):
    """Whether a frame is what it promises to be."""
    rotations = [*frame.head_rotation_rad, *(value for eye in frame.gaze_rad or () for value in eye)]
    numbers = [frame.time_s, *frame.weights, *rotations, *(frame.head_position_m or ())]
    return (
        len(frame.weights) == len(NAMES)
        and all(0 <= weight <= 1 for weight in frame.weights)
        and all(map(math.isfinite, numbers))
        and all(abs(value) <= math.pi + 1e-6 for value in rotations)
    )
