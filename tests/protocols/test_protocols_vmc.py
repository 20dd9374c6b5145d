"""VMC over OSC: bundles as the two specifications describe them."""

import math
import struct

import pytest

from headstudio.motion.arkit import INDEX, NAMES
from headstudio.protocols import osc
from headstudio.protocols.frame import LatePacketError, MalformedPacketError
from headstudio.protocols.vmc import LONGEST_PACKET, Vmc
from support.faces import osc_bundle, osc_message, osc_text, random_frame, vmc_packet


def about(axis, angle_rad):
    """Unity's quaternion of a turn about x, y or z."""
    turn = [0.0, 0.0, 0.0, math.cos(angle_rad / 2)]
    turn["xyz".index(axis)] = math.sin(angle_rad / 2)
    return tuple(turn)


def told(frame):
    return {NAMES[column]: weight for column, weight in enumerate(frame.weights) if weight}


def test_proxies_are_read_in_any_case_and_others_passed_over():
    frame = Vmc().decode(vmc_packet(3.5, JawOpen=0.5, browinnerup=0.25, tongueOut=2.0, Joy=1.0), 0.0)
    assert frame is not None and frame.time_s == 3.5 and frame.gaze_rad is None
    assert told(frame) == {"jawOpen": 0.5, "browInnerUp": 0.25, "tongueOut": 1.0}


def test_a_frame_spread_over_packets_ends_with_apply():
    vmc = Vmc()
    assert vmc.decode(osc_message("/VMC/Ext/Blend/Val", "sf", "JawOpen", 0.5), 0.0) is None
    assert vmc.decode(vmc_packet(apply=False, MouthClose=0.25), 0.0) is None
    frame = vmc.decode(osc_message("/VMC/Ext/Blend/Apply", ""), 1.0)
    assert frame is not None and told(frame) == {"jawOpen": 0.5, "mouthClose": 0.25} and frame.time_s == 1.0


def test_unitys_axes_are_mirrored():
    # In Unity, left-handed: a positive turn about y is to the figure's right, about x downwards.
    bones = {"Head": about("y", 0.3), "LeftEye": about("x", 0.2), "RightEye": about("z", 0.1)}
    frame = Vmc().decode(vmc_packet(0.0, bones=bones), 0.0)
    assert frame is not None and frame.gaze_rad is not None
    assert frame.head_rotation_rad == pytest.approx((0, -0.3, 0), abs=1e-6)
    assert frame.gaze_rad[0] == pytest.approx((0.2, 0, 0), abs=1e-6)
    assert frame.gaze_rad[1] == pytest.approx((0, 0, -0.1), abs=1e-6)


def test_the_neck_turns_the_head_with_it():
    frame = Vmc().decode(vmc_packet(0.0, bones={"Neck": about("y", 0.3), "Head": about("y", 0.1)}), 0.0)
    assert frame is not None and frame.head_rotation_rad == pytest.approx((0, -0.4, 0), abs=1e-6)
    frame = Vmc().decode(vmc_packet(0.0, bones={"Neck": about("y", math.pi / 2), "Head": about("x", 0.5)}), 0.0)
    assert frame is not None
    w = math.cos(0.25) * math.sqrt(0.5)  # of the product of both quaternions
    assert math.hypot(*frame.head_rotation_rad) == pytest.approx(2 * math.acos(w), abs=1e-6)


def test_what_the_specification_wants_ignored_is_ignored():
    vmc = Vmc()
    packet = osc_bundle(
        osc_message("/VMC/Ext/Blend/Val", "s", "JawOpen"),
        osc_message("/VMC/Ext/Blend/Val", "si", "JawOpen", 1),
        osc_message("/VMC/Ext/Blend/Val", "ff", 1.0, 1.0),
        osc_message("/VMC/Ext/Blend/Val", "sf", "JawOpen", math.nan),
        osc_message("/VMC/Ext/Bone/Pos", "sfff", "Head", 0.0, 0.0, 0.0),
        osc_message("/VMC/Ext/Bone/Pos", "sfffffff", "Head", *[0.0] * 7),
        osc_message("/VMC/Ext/Bone/Pos", "sfffffff", "LeftToes", *[0.0] * 6, 1.0),
        osc_message("/VMC/Ext/T", "s", "noon"),
        osc_message("/VMC/Ext/Key", "isi", 1, "A", 65),
        osc_message("/another/world", "f", 1.0),
        osc_message("/VMC/Ext/Blend/Apply", "s", "more"),
    )
    frame = vmc.decode(packet, 4.0)
    assert frame is not None and told(frame) == {} and frame.head_rotation_rad == (0, 0, 0) and frame.time_s == 4.0


def test_a_performer_that_does_not_track_gives_no_frame():
    vmc = Vmc()
    assert vmc.decode(vmc_packet(1.0, ok=(0,)), 0.0) is None
    assert vmc.decode(vmc_packet(1.1, ok=(1, 3, 0, 0)), 0.0) is None
    assert vmc.decode(vmc_packet(1.2, ok=(1, 3, 0, 1)), 0.0) is not None


def test_an_overtaken_packet_changes_nothing():
    vmc = Vmc()
    vmc.decode(vmc_packet(2.0, JawOpen=0.5), 0.0)
    with pytest.raises(LatePacketError):
        vmc.decode(vmc_packet(1.9, JawOpen=0.9), 0.1)
    frame = vmc.decode(vmc_packet(2.1), 0.2)
    assert frame is not None and told(frame) == {"jawOpen": 0.5}
    again = vmc.decode(vmc_packet(0.0), 0.3)  # the performer was started anew
    assert again is not None and again.time_s == 0.0


def test_a_clock_that_stands_still_is_carried_on_by_ours():
    vmc = Vmc()
    times = [
        vmc.decode(vmc_packet(told_s), received).time_s for told_s, received in ((5.0, 0.0), (5.0, 0.02), (5.0, 0.04))
    ]
    assert times == pytest.approx([5.0, 5.02, 5.04])


def test_what_is_encoded_is_read_by_the_specification():
    frame = random_frame(2, time_s=2.5)
    packets = Vmc().encode(frame)
    assert len(packets) > 1 and all(len(packet) <= LONGEST_PACKET for packet in packets)
    messages = [message for packet in packets for message in osc.parse(packet)]
    assert [m.address for m in messages[:2]] == ["/VMC/Ext/OK", "/VMC/Ext/T"]
    assert messages[-1] == ("/VMC/Ext/Blend/Apply", ())
    proxies = dict(m.arguments for m in messages if m.address == "/VMC/Ext/Blend/Val")
    assert len(proxies) == 52
    assert proxies["BrowInnerUp"] == pytest.approx(frame.weights[INDEX["browInnerUp"]], abs=1e-6)
    bones = {m.arguments[0]: m.arguments[4:] for m in messages if m.address == "/VMC/Ext/Bone/Pos"}
    assert set(bones) == {"Head", "LeftEye", "RightEye"}
    assert all(sum(value * value for value in turn) == pytest.approx(1, abs=1e-6) for turn in bones.values())


@pytest.mark.parametrize("seed", range(5))
def test_a_frame_survives_the_way(seed):
    frame, vmc = random_frame(seed, time_s=float(seed)), Vmc()
    results = [vmc.decode(packet, 9.0) for packet in Vmc().encode(frame)]
    assert all(result is None for result in results[:-1])
    back = results[-1]
    assert back is not None and back.gaze_rad is not None and frame.gaze_rad is not None
    assert back.time_s == frame.time_s and back.weights == pytest.approx(frame.weights, abs=1e-6)
    assert back.head_rotation_rad == pytest.approx(frame.head_rotation_rad, abs=1e-6)
    for eye, wanted in zip(back.gaze_rad, frame.gaze_rad, strict=True):
        assert eye == pytest.approx(wanted, abs=1e-6)


def nested(depth):
    packet = osc_message("/a", "")
    for _ in range(depth):
        packet = osc_bundle(packet)
    return packet


def test_osc_reads_every_type_and_bundles_in_bundles():
    packet = osc_text("/a") + osc_text(",ifshdtbTFN") + struct.pack("!if", -1, 0.5) + osc_text("text")
    packet += struct.pack("!qdQ", -(1 << 40), 0.25, 1) + struct.pack("!i", 3) + b"abc\0"
    (message,) = osc.parse(osc_bundle(osc_bundle(packet)))
    assert message == ("/a", (-1, 0.5, "text", -(1 << 40), 0.25, 1, b"abc", True, False, None))
    assert osc.parse(osc_bundle()) == []


REFUSED = {
    "nothing": b"",
    "no address": osc_text("VMC") + osc_text(","),
    "no end": b"/VMC",
    "no types": osc_text("/VMC"),
    "types without a comma": osc_text("/VMC") + osc_text("f") + bytes(4),
    "an unknown type": osc_text("/VMC") + osc_text(",q") + bytes(4),
    "less data than types": osc_text("/VMC") + osc_text(",ff") + bytes(4),
    "more data than types": osc_text("/VMC") + osc_text(",f") + bytes(8),
    "no text": osc_text("/VMC") + osc_text(",s") + b"\xff\xfe\0\0",
    "a blob beyond the end": osc_text("/VMC") + osc_text(",b") + struct.pack("!i", 1 << 30),
    "a blob of negative length": osc_text("/VMC") + osc_text(",b") + struct.pack("!i", -4),
    "not a multiple of four": osc_message("/VMC", "f", 1.0) + b"\0",
    "a bundle without time": b"#bundle\0",
    "an element beyond the end": osc_bundle(osc_message("/a", ""))[:-4],
    "an element of negative length": osc_bundle() + struct.pack("!i", -4),
    "an element of no length": osc_bundle() + bytes(4),
    "bundles without end": nested(1000),
    "one broken element": osc_bundle(osc_message("/VMC/Ext/Blend/Val", "sf", "JawOpen", 1.0), b"/abc"),
}


@pytest.mark.parametrize("packet", REFUSED.values(), ids=REFUSED)
def test_what_is_malformed_is_refused_whole(packet):
    vmc = Vmc()
    with pytest.raises(MalformedPacketError):
        vmc.decode(packet, 0.0)
    frame = vmc.decode(vmc_packet(0.0), 0.0)
    assert frame is not None and told(frame) == {}
