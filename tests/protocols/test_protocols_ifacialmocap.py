"""iFacialMocap: the line as its page describes it."""

import math

import pytest
import torch

from headstudio.motion.angles import rotvec_from_yaw_pitch_roll
from headstudio.motion.arkit import INDEX, NAMES
from headstudio.protocols.frame import MalformedPacketError
from headstudio.protocols.ifacialmocap import IFacialMocap
from support.faces import random_frame

LINE = (
    "mouthSmile_R-20|eyeLookDown_L-17|jawLeft-3|mouthClose-8|eyeLookIn_R-6|jawOpen-12|hapihapi-0"
    "|=head#-21.5,-6.0,0,-0.03,-0.10,-0.66|rightEye#6.0,2.4,0|leftEye#6.0,-1.7,0|"
)


def decoded(line):
    return IFacialMocap().decode(line.encode(), 7.0)


def rotvec(yaw_deg, pitch_deg, roll_deg=0.0):
    angles = torch.tensor([yaw_deg, pitch_deg, roll_deg], dtype=torch.float64)
    return rotvec_from_yaw_pitch_roll(angles * math.pi / 180).tolist()


def test_a_line_is_read():
    frame = decoded(LINE)
    assert frame is not None and frame.time_s == 7.0 and frame.subject == ""
    told = {NAMES[column]: weight for column, weight in enumerate(frame.weights) if weight}
    assert told == pytest.approx(
        {
            "mouthSmileRight": 0.2,
            "eyeLookDownLeft": 0.17,
            "jawLeft": 0.03,
            "mouthClose": 0.08,
            "eyeLookInRight": 0.06,
            "jawOpen": 0.12,
        }
    )
    assert frame.head_rotation_rad == pytest.approx(rotvec(-6.0, -21.5), abs=1e-9)
    assert frame.head_position_m == (-0.03, -0.10, -0.66)
    assert frame.gaze_rad is not None
    assert frame.gaze_rad[0] == pytest.approx(rotvec(-1.7, 6.0), abs=1e-9)
    assert frame.gaze_rad[1] == pytest.approx(rotvec(2.4, 6.0), abs=1e-9)


def test_the_second_version_and_the_ending_of_tcp_are_read_too():
    shapes, _, transforms = LINE.partition("=")
    assert decoded(shapes.replace("-", "&") + "=" + transforms) == decoded(LINE)
    assert decoded(LINE + "___iFacialMocap") == decoded(LINE)


def test_without_eyes_there_is_no_gaze_and_without_a_face_no_frame():
    frame = decoded(LINE.partition("rightEye")[0])
    assert frame is not None and frame.gaze_rad is None
    assert decoded("trackingStatus-0|" + LINE) is None and decoded("trackingStatus-1|" + LINE) == decoded(LINE)


def test_what_is_encoded_is_the_line_of_the_page():
    frame = random_frame(3)
    (packet,) = IFacialMocap().encode(frame)
    shapes, transforms = packet.decode("ascii").split("=")
    values = dict(item.split("-") for item in shapes.split("|")[1:-1])
    assert len(values) == 52 and all(value == str(int(value)) for value in values.values())
    assert values["mouthSmile_L"] == str(round(100 * frame.weights[INDEX["mouthSmileLeft"]]))
    assert values["jawRight"] == str(round(100 * frame.weights[INDEX["jawRight"]]))
    assert [part.split("#")[0] for part in transforms.split("|")] == ["head", "rightEye", "leftEye", ""]
    assert [len(part.split(",")) for part in transforms.split("|")[:3]] == [6, 3, 3]


@pytest.mark.parametrize("seed", range(5))
def test_a_frame_survives_the_way_up_to_hundredths(seed):
    frame = random_frame(seed)
    back = IFacialMocap().decode(IFacialMocap().encode(frame)[0], 1.0)
    assert back is not None and back.gaze_rad is not None and frame.gaze_rad is not None
    assert back.weights == pytest.approx(frame.weights, abs=0.005 + 1e-9)
    assert back.head_rotation_rad == pytest.approx(frame.head_rotation_rad, abs=1e-6)
    assert back.head_position_m == pytest.approx(frame.head_position_m, abs=1e-6)
    for eye, wanted in zip(back.gaze_rad, frame.gaze_rad, strict=True):
        assert eye == pytest.approx(wanted, abs=1e-6)


REFUSED = {
    "nothing": "",
    "no transforms": LINE.partition("=")[0],
    "no head": LINE.replace("head", "hand"),
    "no shapes": LINE[LINE.index("=") :],
    "only unknown shapes": "smile-3|" + LINE[LINE.index("=") :],
    "a weight that is a word": LINE.replace("jawOpen-12", "jawOpen-wide"),
    "a weight that is no number": LINE.replace("jawOpen-12", "jawOpen-nan"),
    "a weight of Python's": LINE.replace("jawOpen-12", "jawOpen-1_2"),
    "no weight": LINE.replace("jawOpen-12", "jawOpen"),
    "five numbers of a head": LINE.replace(",-0.66", ""),
    "a head at infinity": LINE.replace("-0.66", "1e999"),
    "a head a mile away": LINE.replace("-0.66", "-1609"),
    "a head turned twice": LINE.replace("-21.5", "721.5"),
    "one eye": LINE.replace("leftEye", "thirdEye"),
    "an eye without roll": LINE.replace("2.4,0|", "2.4|"),
    "no text": LINE.replace("jawOpen", "jawÖpen"),
    "a flood": LINE + "x-1|" * 4000,
}


@pytest.mark.parametrize("line", REFUSED.values(), ids=REFUSED)
def test_what_is_malformed_is_refused(line):
    with pytest.raises(MalformedPacketError):
        decoded(line)


def test_a_cut_line_is_refused_or_ends_at_a_whole_part():
    for length in range(len(LINE)):
        cut = LINE[:length]
        if "=head#" in cut and cut.endswith("|") and "Eye" not in cut:
            assert decoded(cut) is not None
            continue
        with pytest.raises(MalformedPacketError):
            decoded(cut)
