"""ARKit CSV: what recorders write, what people do to it, and what must be told in a sentence."""

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from headstudio.errors import HeadstudioError
from headstudio.geometry.rigid import rigid
from headstudio.motion.arkit import INDEX, NAMES
from headstudio.motion.csv import COLUMNS, read_csv, timecode, write_csv
from headstudio.records.channels import ARKIT, GAZE, HEAD_POSE, HEAD_ROTATION
from headstudio.records.motion import Motion

HEADER = ["Timecode", "BlendShapeCount", *COLUMNS]


def _row(time: str, **values: float) -> list[str]:
    return [time, "61", *(f"{values.get(name, 0.0)}" for name in COLUMNS)]


def _file(
    path: Path, rows: list[list[str]], header: list[str] | None = None, ending: str = "\n", bom: bool = False
) -> Path:
    text = ending.join(",".join(row) for row in [header or HEADER, *rows])
    path.write_bytes(text.encode("utf-8-sig" if bom else "utf-8"))
    return path


def _motion(frames: int = 50) -> Motion:
    make = torch.Generator().manual_seed(5)
    return Motion(
        torch.arange(frames, dtype=torch.float64) / 29.97,
        {
            ARKIT: torch.rand(frames, 52, generator=make),
            HEAD_ROTATION: 0.4 * torch.randn(frames, 3, generator=make),
            GAZE: 0.2 * torch.randn(frames, 2, 3, generator=make),
        },
    )


def test_header_is_the_recorders():
    assert HEADER[:4] == ["Timecode", "BlendShapeCount", "EyeBlinkLeft", "EyeLookDownLeft"]
    assert HEADER[53:57] == ["TongueOut", "HeadYaw", "HeadPitch", "HeadRoll"] and len(COLUMNS) == 61


def test_round_trip_keeps_every_signal(tmp_path):
    motion = _motion()
    write_csv(tmp_path / "a.csv", motion)
    back = read_csv(tmp_path / "a.csv")
    torch.testing.assert_close(back.times_s, motion.times_s, atol=1e-5, rtol=0)
    for channel, values in motion.channels.items():
        torch.testing.assert_close(back.channels[channel], values, atol=1e-6, rtol=0)


def test_head_pose_is_written_as_the_camera_sees_it(tmp_path):
    half_turn = torch.tensor([[math.pi, 0.0, 0.0]])
    left = rigid(torch.tensor([[0.0, -0.3, 0.0]]), torch.zeros(1, 3)) @ rigid(
        half_turn, torch.tensor([[0.0, 0.0, 0.5]])
    )
    write_csv(tmp_path / "a.csv", Motion(torch.zeros(1), {ARKIT: torch.zeros(1, 52), HEAD_POSE: left}))
    back = read_csv(tmp_path / "a.csv").channels[HEAD_ROTATION]
    # The camera's y points down, so -0.3 about it moves the nose to the picture's right: the person's left.
    torch.testing.assert_close(back, torch.tensor([[0.0, 0.3, 0.0]]), atol=1e-6, rtol=0)


def test_columns_are_found_by_name_in_any_order_and_case(tmp_path):
    row = _row("01:02:03:04.000", JawOpen=0.5, HeadYaw=0.25, LeftEyePitch=-0.125)
    order = list(range(len(HEADER)))[::-1]
    path = _file(
        tmp_path / "a.csv", [[row[i] for i in order]], [HEADER[i].upper() for i in order], ending="\r\n", bom=True
    )
    motion = read_csv(path)
    assert motion.channels[ARKIT][0, INDEX["jawOpen"]] == 0.5 and motion.channels[ARKIT].sum() == 0.5
    torch.testing.assert_close(motion.channels[HEAD_ROTATION][0], torch.tensor([0.0, 0.25, 0.0]))
    torch.testing.assert_close(motion.channels[GAZE][0], torch.tensor([[-0.125, 0.0, 0.0], [0.0, 0.0, 0.0]]))


def test_without_angles_the_head_is_still_and_gaze_is_left_to_the_weights(tmp_path):
    path = _file(tmp_path / "a.csv", [_row("00:00:00:00.000")[:54]], HEADER[:54])
    motion = read_csv(path)
    assert set(motion.channels) == {ARKIT, HEAD_ROTATION} and not motion.channels[HEAD_ROTATION].any()


def test_clock_counts_frames_passes_midnight_and_skips_repetitions(tmp_path):
    times = [
        "23:59:59:58.500",
        "23:59:59:58.500",
        "23:59:59:58.000",
        "23:59:59:59.500",
        "00:00:00:00.500",
        "00:00:01:30.500",
    ]
    motion = read_csv(_file(tmp_path / "a.csv", [_row(time) for time in times]))
    wanted = torch.tensor([0, 1 / 60, 2 / 60, 1.5 + 2 / 60], dtype=torch.float64)
    torch.testing.assert_close(motion.times_s, wanted, atol=1e-9, rtol=0)


def test_rows_without_a_face_are_left_out(tmp_path):
    rows = [_row("00:00:00:00"), ["00:00:00:01.000", "0"], [], _row("00:00:00:02.000", JawOpen=1.0)]
    motion = read_csv(_file(tmp_path / "a.csv", rows))
    assert motion.channels[ARKIT][:, INDEX["jawOpen"]].tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("time_s", "text"),
    [
        (0.0, "00:00:00:00.000"),
        (3723.5, "01:02:03:30.000"),
        (59.9999999, "00:01:00:00.000"),
        (86400.0, "00:00:00:00.000"),
    ],
)
def test_timecode(time_s, text):
    assert timecode(time_s) == text


def test_bad_values_are_told_with_their_row(tmp_path):
    good = _row("00:00:00:00.000")
    for bad, message in (
        (_row("00:00:00:01.000", JawOpen=float("nan")), "JawOpen is 'nan'.*row 3"),
        (_row("00:00:00:01.000", JawOpen=1.5), "JawOpen is 1.5, outside.*row 3"),
        (_row("00:00:00:01.000", HeadYaw=-25.0), "HeadYaw is -25, outside.*row 3.*radians"),
        (_row("later"), "'later' is no time code.*row 3"),
        (_row("00:61:00:00.000"), "no time of day.*row 3"),
        (_row("00:00:00:75.000"), "frame 75 does not exist.*row 3"),
        (_row("00:00:00:01.000")[:-1], "62 fields stand under 63 columns.*row 3.*decimal point"),
        ([field.replace(".", ",") for field in _row("00:00:00:01.000")], "fields stand under 63 columns.*row 3"),
    ):
        with pytest.raises(HeadstudioError, match=message):
            read_csv(_file(tmp_path / "a.csv", [good, bad]))
    with pytest.raises(HeadstudioError, match=r"jumps back.*row 3"):
        read_csv(_file(tmp_path / "a.csv", [_row("00:00:09:00"), _row("00:00:01:00")]))


def test_bad_files_are_told_as_such(tmp_path):
    with pytest.raises(HeadstudioError, match="cannot be read"):
        read_csv(tmp_path / "nowhere.csv")
    with pytest.raises(HeadstudioError, match="missing: EyeBlinkLeft, EyeLookDownLeft, EyeLookInLeft and 49 more"):
        read_csv(_file(tmp_path / "a.csv", [], ["Timecode"]))
    with pytest.raises(HeadstudioError, match="missing: JawOpen"):
        read_csv(_file(tmp_path / "a.csv", [], [name for name in HEADER if name != "JawOpen"]))
    with pytest.raises(HeadstudioError, match="twice"):
        read_csv(_file(tmp_path / "a.csv", [], [*HEADER, "jawopen"]))
    with pytest.raises(HeadstudioError, match="not separated by commas"):
        read_csv(_file(tmp_path / "a.csv", [], [";".join(HEADER)]))
    with pytest.raises(HeadstudioError, match="no frame with a face"):
        read_csv(_file(tmp_path / "a.csv", []))
    with pytest.raises(HeadstudioError, match="expression@arkit-52"):
        write_csv(tmp_path / "b.csv", Motion(torch.zeros(1), {}))


_FIELD = st.one_of(
    st.sampled_from(["0", "1", "0.5", "", "nan", "-1e999", "00:00:00:01", '"', "0\x00"]), st.text(max_size=5)
)


@settings(max_examples=150, deadline=None)
@given(content=st.one_of(st.text(), st.binary(), st.lists(st.lists(_FIELD, min_size=60, max_size=64), max_size=3)))
def test_no_content_crashes_the_reader(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("fuzz") / "a.csv"
    if isinstance(content, list):
        content = "\n".join(",".join(row) for row in [HEADER, *content])
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    try:
        motion = read_csv(path)
    except HeadstudioError:
        return
    assert (motion.times_s.diff() > 0).all() and motion.channels[ARKIT].shape == (len(motion), len(NAMES))
