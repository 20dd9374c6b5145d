"""Live Link Face: packets as the format describes them, and what must be refused."""

import math
import struct

import pytest
import torch

from headstudio.motion.angles import rotvec_from_yaw_pitch_roll
from headstudio.motion.arkit import INDEX, NAMES
from headstudio.protocols.frame import MalformedPacketError
from headstudio.protocols.livelink import LiveLinkFace
from support.faces import UNREAL, livelink_packet, random_frame


@pytest.mark.parametrize("name", UNREAL[:52])
def test_every_weight_goes_where_its_name_says(name):
    frame = LiveLinkFace().decode(livelink_packet(**{name: 0.75}), 0.0)
    assert frame is not None
    told = {NAMES[column]: weight for column, weight in enumerate(frame.weights) if weight}
    assert told == {name[0].lower() + name[1:]: 0.75}


def test_angles_are_ours_and_the_clock_counts_frames():
    packet = livelink_packet(
        frame=7200, part=0.25, rate=(30000, 1001), HeadYaw=0.3, HeadPitch=-0.2, HeadRoll=0.1, RightEyeYaw=0.4
    )
    frame = LiveLinkFace().decode(packet, 0.0)
    assert frame is not None and frame.subject == "Face" and frame.head_position_m is None
    assert frame.time_s == pytest.approx(7200.25 * 1001 / 30000)
    wanted = rotvec_from_yaw_pitch_roll(torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64)).tolist()
    assert frame.head_rotation_rad == pytest.approx(wanted, abs=1e-6)
    assert frame.gaze_rad is not None
    assert frame.gaze_rad[0] == pytest.approx((0, 0, 0)) and frame.gaze_rad[1] == pytest.approx((0, 0.4, 0), abs=1e-6)


def test_names_are_utf8_and_weights_are_cut_to_their_range():
    frame = LiveLinkFace().decode(livelink_packet(subject="Jürgen 顔", JawOpen=1.25, TongueOut=-0.5), 0.0)
    assert frame is not None and frame.subject == "Jürgen 顔"
    assert frame.weights[INDEX["jawOpen"]] == 1.0 and frame.weights[INDEX["tongueOut"]] == 0.0


def test_without_a_face_there_is_no_frame():
    packet = livelink_packet(seen=False)
    assert LiveLinkFace().decode(packet, 0.0) is None and LiveLinkFace().decode(packet + b"\0", 0.0) is None


def test_what_is_encoded_is_laid_out_as_the_format_says():
    frame = random_frame(1, time_s=12.5)
    (packet,) = LiveLinkFace("phone").encode(frame)
    values = [frame.weights[INDEX[name[0].lower() + name[1:]]] for name in UNREAL[:52]]
    angles = struct.unpack("!9f", packet[-36:])
    assert packet == livelink_packet([*values, *angles], device="phone", frame=750, part=0.0)


@pytest.mark.parametrize("seed", range(5))
def test_a_frame_survives_the_way(seed):
    frame = random_frame(seed, time_s=1000 + seed / 7)
    (packet,) = LiveLinkFace().encode(frame)
    back = LiveLinkFace().decode(packet, 0.0)
    assert back is not None and back.gaze_rad is not None and frame.gaze_rad is not None
    assert back.subject == frame.subject and back.time_s == pytest.approx(frame.time_s, abs=1e-6)
    assert back.weights == pytest.approx(frame.weights, abs=1e-6)
    assert back.head_rotation_rad == pytest.approx(frame.head_rotation_rad, abs=1e-6)
    for eye, wanted in zip(back.gaze_rad, frame.gaze_rad, strict=True):
        assert eye == pytest.approx(wanted, abs=1e-6)


def test_looking_straight_down_keeps_the_rotation():
    frame = random_frame(0)
    for pitch in (math.pi / 2, -math.pi / 2):
        steep = type(frame)(1.0, "", frame.weights, (pitch, 0.0, 0.0))
        back = LiveLinkFace().decode(LiveLinkFace().encode(steep)[0], 0.0)
        assert back is not None and back.head_rotation_rad == pytest.approx(steep.head_rotation_rad, abs=1e-3)


GOOD = livelink_packet(JawOpen=0.5)
REFUSED = {
    "nothing": b"",
    "another version": livelink_packet(version=5),
    "one byte more": GOOD + b"\0",
    "one value less": livelink_packet([0.0] * 60),
    "one value more": livelink_packet([0.0] * 62),
    "a negative length": GOOD[:1] + b"\xff\xff\xff\xff" + GOOD[5:],
    "a huge length": GOOD[:1] + b"\x7f\xff\xff\xff" + GOOD[5:],
    "a name of 300 bytes": livelink_packet(subject="x" * 300),
    "a name that is no text": GOOD.replace(b"Face", b"\xff\xfe\xfd\xfc"),
    "no rate": livelink_packet(rate=(0, 1)),
    "a rate without denominator": livelink_packet(rate=(60, 0)),
    "a frame before midnight": livelink_packet(frame=-1),
    "a part that is no number": livelink_packet(part=math.nan),
    "a part beyond one": livelink_packet(part=7.0),
    "a weight that is no number": livelink_packet(JawOpen=math.nan),
    "an infinite weight": livelink_packet(JawOpen=math.inf),
    "an angle in degrees": livelink_packet(HeadYaw=25.0),
    "an angle that is no number": livelink_packet(LeftEyeRoll=math.nan),
}


@pytest.mark.parametrize("packet", REFUSED.values(), ids=REFUSED)
def test_what_is_malformed_is_refused(packet):
    with pytest.raises(MalformedPacketError):
        LiveLinkFace().decode(packet, 0.0)


def test_no_beginning_of_a_packet_is_taken_for_the_whole():
    without_face = len(livelink_packet(seen=False))
    for length in range(len(GOOD)):
        if length == without_face:
            assert LiveLinkFace().decode(GOOD[:length], 0.0) is None  # so the format has it
            continue
        with pytest.raises(MalformedPacketError):
            LiveLinkFace().decode(GOOD[:length], 0.0)
