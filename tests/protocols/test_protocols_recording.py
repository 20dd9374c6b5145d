"""Packets in files: what a receiver would have had, and damaged recordings."""

import json
import struct

import pytest
import torch

from headstudio.errors import HeadstudioError
from headstudio.geometry.rigid import rigid
from headstudio.motion.angles import yaw_pitch_roll
from headstudio.protocols.codec import PROTOCOLS, codec
from headstudio.protocols.files import FORMATS, read_motion, write_motion
from headstudio.protocols.frame import FaceFrame
from headstudio.protocols.motions import to_frames, to_motion
from headstudio.protocols.recording import Recording, read_packets, write_packets, write_recording
from headstudio.records.channels import ARKIT, GAZE, HEAD_POSE, HEAD_ROTATION
from headstudio.records.motion import Motion
from support.faces import livelink_packet, random_frame

HEADER = b'{"schema": "headstudio.packets", "schema_version": 1, "protocol": "vmc"}\n'


def performance(frames: int = 20) -> Motion:
    make = torch.Generator().manual_seed(3)
    turn = 0.3 * torch.randn(frames, 3, generator=make)
    away = 0.1 * torch.randn(frames, 3, generator=make) + torch.tensor([0.0, 0.0, 0.6])
    facing = rigid(torch.tensor([torch.pi, 0.0, 0.0]), torch.zeros(3))
    return Motion(
        torch.arange(frames, dtype=torch.float64) / 50,
        {
            ARKIT: torch.rand(frames, 52, generator=make),
            HEAD_POSE: rigid(turn, away) @ facing,
            GAZE: 0.2 * torch.randn(frames, 2, 3, generator=make),
        },
    )


def test_frames_and_motion_are_two_forms_of_one_thing():
    motion = performance()
    back = to_motion(list(to_frames(motion)))
    assert set(back.channels) == set(motion.channels)
    torch.testing.assert_close(back.times_s, motion.times_s)
    for channel, values in motion.channels.items():
        torch.testing.assert_close(back.channels[channel], values, atol=1e-5, rtol=0)


def test_the_axes_of_a_place_are_those_of_the_picture():
    # Right of the picture, above its middle, in front of the camera; turned to the person's left.
    frame = FaceFrame(0.0, "", (0.0,) * 52, (0.0, 0.3, 0.0), (0.1, 0.2, -0.6))
    pose = to_motion([frame]).channels[HEAD_POSE][0]
    torch.testing.assert_close(pose[:3, 3], torch.tensor([0.1, -0.2, 0.6]))  # the camera's y is down, its z forward
    torch.testing.assert_close(pose[:3, 2], torch.tensor([0.29552, 0.0, -0.95534]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_motion_survives_recorded_packets(tmp_path, protocol):
    motion = performance()
    count = write_recording(tmp_path / "a.bin", motion, protocol)
    recording = read_packets(tmp_path / "a.bin")
    assert recording.protocol == protocol and len(recording.packets) == count >= len(motion)
    back, counts = recording.motion()
    assert counts.frames == len(motion) and counts.frames + counts.partial == counts.received
    torch.testing.assert_close(back.times_s, motion.times_s, atol=1e-6, rtol=0)
    torch.testing.assert_close(
        back.channels[ARKIT], motion.channels[ARKIT], atol=6e-3 if protocol == "ifacialmocap" else 1e-6, rtol=0
    )
    torch.testing.assert_close(back.channels[GAZE], motion.channels[GAZE], atol=1e-5, rtol=0)
    if protocol == "ifacialmocap":
        torch.testing.assert_close(back.channels[HEAD_POSE], motion.channels[HEAD_POSE], atol=1e-5, rtol=0)
    else:
        wanted = torch.tensor([frame.head_rotation_rad for frame in to_frames(motion)])
        torch.testing.assert_close(back.channels[HEAD_ROTATION], wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_written_and_read_by_name(tmp_path, kind):
    motion = performance()
    assert write_motion(tmp_path / "a.csv" if kind == "csv" else tmp_path / "a", motion, kind) == kind
    found = read_motion(tmp_path / "a.csv" if kind == "csv" else tmp_path / "a")
    assert found.format == kind and len(found.motion) == len(motion)
    torch.testing.assert_close(found.motion.channels[ARKIT], motion.channels[ARKIT], atol=6e-3, rtol=0)


def test_damaged_packets_of_a_recording_are_told(tmp_path):
    good = [(i / 60, livelink_packet(frame=i, part=0.0, JawOpen=i / 10)) for i in range(6)]
    packets = [*good[:2], (0.04, b"noise"), good[3], good[2], good[3], (0.06, b"x" * 20000), *good[4:]]
    write_packets(tmp_path / "a.livelink", "livelink", packets)
    found = read_motion(tmp_path / "a.livelink")
    assert len(found.motion) == 5 and found.motion.channels[ARKIT][:, 17].tolist() == pytest.approx(
        [0, 0.1, 0.3, 0.4, 0.5]
    )
    assert found.notes == ("9 packets, 5 frames", "1 malformed, 1 oversized, 2 late packets were dropped")


def test_the_clock_passes_midnight_and_survives_a_restart():
    weights = (0.0,) * 52
    day_s = 86400.0
    times = [day_s - 0.04, day_s - 0.02, 0.0, 0.02, 500.0, 500.02, 3.0, 3.02]
    motion = to_motion([FaceFrame(time_s, "", weights) for time_s in times])
    steps = motion.times_s.diff().tolist()
    assert steps == pytest.approx([0.02, 0.02, 0.02, 499.98, 0.02, 0.02, 0.02], abs=1e-6)


def test_what_not_every_frame_tells_is_left_out():
    told, silent = random_frame(1, 0.0), FaceFrame(0.1, "", (0.0,) * 52)
    assert set(to_motion([told]).channels) == {ARKIT, HEAD_POSE, GAZE}
    assert set(to_motion([told, silent]).channels) == {ARKIT, HEAD_ROTATION}
    with pytest.raises(HeadstudioError, match="no frame"):
        to_motion([])
    with pytest.raises(HeadstudioError, match="arkit-52"):
        list(to_frames(Motion(torch.zeros(1), {})))
    frames = list(to_frames(Motion(torch.zeros(1), {ARKIT: torch.full((1, 52), 1.5)})))
    assert frames[0].weights == (1.0,) * 52 and frames[0].gaze_rad is None and frames[0].head_position_m is None


def test_one_subject_of_several_is_followed():
    packets = tuple((i / 60, livelink_packet(frame=i, subject="ab"[i % 2], JawOpen=i % 2 / 2)) for i in range(10))
    for subject, jaw in ((None, 0.0), ("a", 0.0), ("b", 0.5)):
        frames, counts = Recording("livelink", packets).frames(subject)
        assert {frame.weights[17] for frame in frames} == {jaw} and counts.frames == 5 and counts.foreign == 5
    with pytest.raises(HeadstudioError, match="none of the 10 packets"):
        Recording("livelink", packets).motion("c")


DAMAGED = {
    "nothing": (b"", "not a recording"),
    "no line": (HEADER[:-10], "not a recording"),
    "another file": (b"\x89PNG\r\n", "not a recording"),
    "a flood of brackets": (b"[" * 100000, "not a recording"),
    "of the future": (HEADER.replace(b"1,", b"99,"), "update headstudio"),
    "another protocol": (HEADER.replace(b"vmc", b"morse"), "unknown protocol"),
    "a list for a protocol": (HEADER.replace(b'"vmc"', b'["vmc"]'), "unknown protocol"),
    "half a head": (HEADER + b"\0\0\0", "cut off"),
    "half a datagram": (HEADER + struct.pack("!dI", 0.0, 8) + b"half", "cut off"),
    "a huge datagram": (HEADER + struct.pack("!dI", 0.0, 0xFFFFFFFF), "cut off"),
    "no time": (HEADER + struct.pack("!dI", float("nan"), 0), "cut off"),
}


@pytest.mark.parametrize(("content", "message"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_recording_is_told(tmp_path, content, message):
    (tmp_path / "a.vmc").write_bytes(content)
    with pytest.raises(HeadstudioError, match=message):
        read_packets(tmp_path / "a.vmc")


def test_what_cannot_be_read_or_written_is_told(tmp_path):
    for path, message in ((tmp_path / "absent", "nothing here"), (tmp_path, "no motion")):
        with pytest.raises(HeadstudioError, match=message):
            read_motion(path)
    with pytest.raises(HeadstudioError, match="cannot be read"):
        read_packets(tmp_path)
    write_packets(tmp_path / "empty.vmc", "vmc", [])
    with pytest.raises(HeadstudioError, match="none of the 0 packets"):
        read_motion(tmp_path / "empty.vmc")
    motion = performance()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "letter.txt").write_text("dear")
    for path, kind, message in (
        (tmp_path / "a.mp4", None, "says nothing"),
        (tmp_path / "a", "hologram", "no format"),
        (tmp_path / "folder", None, "something else"),
        (tmp_path / "folder", "take", "something else"),
        (tmp_path / "folder" / "letter.txt", "headstudio", "something else"),
    ):
        with pytest.raises(HeadstudioError, match=message):
            write_motion(path, motion, kind)
    with pytest.raises(HeadstudioError, match="arkit-52"):
        write_motion(tmp_path / "b.vmc", Motion(torch.zeros(1), {}))
    with pytest.raises(HeadstudioError, match="choose one of"):
        codec("morse")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.vmc", "folder"]
    assert json.loads((tmp_path / "empty.vmc").read_bytes()) == {
        "schema": "headstudio.packets",
        "schema_version": 1,
        "protocol": "vmc",
    }


def test_angles_of_a_recording_are_those_of_the_table(tmp_path):
    """The two forms of Live Link Face's data, file and packets, agree."""
    motion = performance()
    write_motion(tmp_path / "a.csv", motion)
    write_motion(tmp_path / "a.livelink", motion)
    table, packets = (read_motion(tmp_path / name).motion for name in ("a.csv", "a.livelink"))
    for channel in (ARKIT, HEAD_ROTATION, GAZE):
        torch.testing.assert_close(table.channels[channel], packets.channels[channel], atol=1e-5, rtol=0)
    assert yaw_pitch_roll(table.channels[HEAD_ROTATION]).abs().max() > 0.1
