"""Decoding: orientation, exact times, odd formats and damage, on generated patterns."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from headstudio.capture.decode import Damage, nearest_in_time, open_video, orientation
from headstudio.errors import HeadstudioError
from support.videos import grey_frames, write_video

CORNERS = np.zeros((48, 64, 3), np.uint8)
CORNERS[:24, :32], CORNERS[:24, 32:], CORNERS[24:, :32] = (250, 20, 20), (20, 250, 20), (20, 20, 250)


def _corners(image: np.ndarray) -> str:
    """Which colour each quarter has, row by row."""
    height, width = image.shape[:2]
    quarters = [image[y, x] for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]
    return "".join("k" if q.max() < 80 else "rgb"[int(np.argmax(q))] for q in quarters)


@pytest.mark.parametrize(
    ("matrix", "rotation_deg", "mirrored", "expected"),
    [
        ((1, 0, 0, 1), 0, False, "rgbk"),
        ((0, 1, -1, 0), 90, False, "brkg"),
        ((-1, 0, 0, -1), 180, False, "kbgr"),
        ((0, -1, 1, 0), 270, False, "gkrb"),
        ((-1, 0, 0, 1), 0, True, "grkb"),
        ((1, 0, 0, -1), 180, True, "bkrg"),
    ],
)
def test_pictures_stand_upright_as_the_display_matrix_says(tmp_path, matrix, rotation_deg, mirrored, expected):
    path = write_video(tmp_path / "turned.mp4", [CORNERS] * 3, matrix=matrix)
    video = open_video(path)
    assert (video.rotation_deg, video.mirrored) == (rotation_deg, mirrored)
    image = next(video.frames()).image
    assert image.shape == (video.height_px, video.width_px, 3)
    assert (video.width_px < video.height_px) == (rotation_deg % 180 == 90)
    assert _corners(image) == expected


@pytest.mark.parametrize("rotation_deg", [0, 90, 180, 270])
@pytest.mark.parametrize("mirrored", [False, True])
def test_orientation_inverts_the_matrix_it_is_given(rotation_deg, mirrored):
    angle = np.radians(rotation_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])  # clockwise with y down
    linear = turn @ np.diag([-1.0 if mirrored else 1.0, 1.0])
    a, c, b, d = np.round(linear * 65536).astype(np.int32).ravel()
    assert orientation(np.array([a, b, 0, c, d, 0, 0, 0, 1 << 30], np.int32).tobytes()) == (rotation_deg, mirrored)


def test_variable_rate_keeps_its_exact_times(tmp_path):
    times_ms = [0, 40, 55, 130, 131, 400]
    path = write_video(tmp_path / "vfr.mp4", grey_frames(6), times_ms, options={"crf": "5", "bf": "2"})
    frames = list(open_video(path).frames())
    assert [f.time_s - frames[0].time_s for f in frames] == [Fraction(t, 1000) for t in times_ms]
    levels = [float(f.image.mean()) for f in frames]
    np.testing.assert_allclose(levels, [30 + 5 * i for i in range(6)], atol=3)


def test_a_late_start_is_the_zero_of_start_and_end(tmp_path):
    path = write_video(tmp_path / "late.mp4", grey_frames(10), [500 + 40 * i for i in range(10)])
    video = open_video(path)
    kept = [f.time_s - video.start_s for f in video.frames(start_s=0.08, end_s=0.2)]
    assert kept == [Fraction(2, 25), Fraction(3, 25), Fraction(4, 25)]


def test_seeking_gives_the_same_pictures_as_reading_through(tmp_path):
    options = {"crf": "5", "g": "5", "bf": "2"}
    video = open_video(write_video(tmp_path / "gop.mp4", grey_frames(30), options=options))
    through = {f.time_s: f.image for f in video.frames()}
    sought = list(video.frames(start_s=0.52))
    assert [f.time_s for f in sought] == [t for t in through if t - video.start_s >= Fraction(13, 25)]
    for frame in sought:
        np.testing.assert_array_equal(frame.image, through[frame.time_s])


@pytest.mark.parametrize(
    ("codec", "pixel_format", "suffix"),
    [("libx265", "yuv420p10le", "mp4"), ("libx264", "yuv444p", "mkv"), ("libvpx-vp9", "yuv420p", "webm")],
)
def test_other_codecs_and_depths_give_eight_bit_pictures(tmp_path, codec, pixel_format, suffix):
    if codec not in av.codecs_available:
        pytest.skip(f"this FFmpeg has no {codec}")
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {"crf": "5"}
    path = write_video(
        tmp_path / f"clip.{suffix}", grey_frames(4), codec=codec, pixel_format=pixel_format, options=options
    )
    images = [f.image for f in open_video(path).frames()]
    assert images[0].dtype == np.uint8
    np.testing.assert_allclose([i.mean() for i in images], [30, 35, 40, 45], atol=3)


def test_odd_sizes_survive(tmp_path):
    path = write_video(tmp_path / "odd.mkv", grey_frames(3, 63, 47), codec="ffv1", pixel_format="bgr0", options={})
    video = open_video(path)
    assert (video.width_px, video.height_px) == (63, 47)
    assert next(video.frames()).image.shape == (47, 63, 3)


def test_pixels_become_square(tmp_path):
    path = write_video(tmp_path / "wide.mp4", [CORNERS] * 3, aspect=Fraction(4, 3), matrix=(0, 1, -1, 0))
    video = open_video(path)
    assert (video.width_px, video.height_px) == (48, 85)
    assert _corners(next(video.frames()).image) == "brkg"


def test_a_rate_picks_the_frame_nearest_to_each_tick(tmp_path):
    times_ms = [0, 85, 110, 180, 340, 350, 420]
    video = open_video(write_video(tmp_path / "vfr.mp4", grey_frames(7), times_ms))
    kept = [round((f.time_s - video.start_s) * 1000) for f in nearest_in_time(video.frames(), 10)]
    naive = []
    for tick in range(0, 471, 100):
        nearest = min(times_ms, key=lambda t: abs(t - tick))
        if nearest not in naive:
            naive.append(nearest)
    assert kept == naive


def test_a_rate_above_the_video_s_keeps_every_frame_once(tmp_path):
    video = open_video(write_video(tmp_path / "clip.mp4", grey_frames(7)))
    assert len(list(nearest_in_time(video.frames(), 1000))) == 7


def test_damage_in_the_middle_costs_only_what_is_damaged(tmp_path):
    rng = np.random.default_rng(0)
    noisy = [rng.integers(0, 255, (96, 128, 3), np.uint8) for _ in range(60)]
    path = write_video(tmp_path / "whole.mp4", noisy, options={"crf": "20", "g": "10", "preset": "ultrafast"})
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = rng.integers(0, 255, 3000, np.uint8).tobytes()
    path.write_bytes(bytes(content))
    damage = Damage()
    frames = list(open_video(path).frames(damage=damage))
    assert damage.times_s and min(damage.times_s) > 0.5
    assert 40 <= len(frames) == damage.decoded < 60
    times = [f.time_s for f in frames]
    assert times == sorted(set(times))


def test_a_file_that_ends_early_gives_what_is_there(tmp_path):
    rng = np.random.default_rng(0)
    noisy = [rng.integers(0, 255, (96, 128, 3), np.uint8) for _ in range(50)]
    path = write_video(tmp_path / "whole.mkv", noisy)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert 15 < len(list(open_video(path).frames(damage=Damage()))) < 35


def _text(path: Path) -> Path:
    path.write_text("no video " * 100)
    return path


def _sound_only(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux([*stream.encode(frame), *stream.encode(None)])
    return path


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (_text, "not a video"),
        (lambda path: path, "cannot be opened"),
        (_folder, "this is a folder"),
        (_sound_only, "no video stream"),
    ],
)
def test_what_is_no_video_is_told_in_one_sentence(tmp_path, make, what):
    with pytest.raises(HeadstudioError, match=what) as caught:
        open_video(make(tmp_path / "thing.mp4"))
    assert "\n" not in str(caught.value) and caught.value.next_step
