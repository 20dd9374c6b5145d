"""MP4 files: exact times, even sizes, and nothing half written."""

from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from headstudio.errors import HeadstudioError
from headstudio.video import to_picture, write_video


def pictures(count, height=48, width=64):
    for index in range(count):
        picture = np.full((height, width, 3), 40 + 20 * index, np.uint8)
        picture[:, : width // 2] = (200, 30, 30)
        yield picture


def read(path):
    with av.open(str(path)) as file:
        return [(float(f.pts * f.time_base), f.to_ndarray(format="rgb24")) for f in file.decode(video=0)]


def test_times_are_kept_to_the_tick_whatever_their_rate(tmp_path):
    times = [5.0, 5.04, 5.0733, 5.2, 5.9]
    assert write_video(tmp_path / "a.mp4", pictures(5), times) == 5
    found = read(tmp_path / "a.mp4")
    assert [time for time, _ in found] == pytest.approx([t - 5.0 for t in times], abs=1 / 90_000)


def test_pictures_come_back_alike_and_in_order(tmp_path):
    write_video(tmp_path / "a.mp4", pictures(4), [0, 0.1, 0.2, 0.3], crf=10)
    for (_, found), wanted in zip(read(tmp_path / "a.mp4"), pictures(4), strict=True):
        assert np.abs(found.astype(int) - wanted)[:, 40:].max() < 12
        assert np.abs(found.astype(int) - wanted)[:, :24].mean() < 6


def test_odd_sizes_lose_one_row_or_column(tmp_path):
    write_video(tmp_path / "a.mp4", pictures(2, 49, 65), [0, 1])
    assert read(tmp_path / "a.mp4")[0][1].shape == (48, 64, 3)


def test_a_failure_leaves_the_old_file(tmp_path):
    where = tmp_path / "a.mp4"
    write_video(where, pictures(2), [0, 1])
    before = where.read_bytes()

    def failing():
        yield from pictures(1)
        raise RuntimeError("the renderer broke")

    with pytest.raises(RuntimeError):
        write_video(where, failing(), [0, 1])
    with pytest.raises(ValueError, match="zip"):
        write_video(where, pictures(3), [0, 1])
    with pytest.raises(HeadstudioError, match="no frame"):
        write_video(where, iter(()), [])
    assert where.read_bytes() == before and list(tmp_path.iterdir()) == [where]


def test_tensors_become_bytes():
    rgb = torch.tensor([-1.0, 0.0, 0.5, 2.0]).view(1, 2, 2).expand(3, 2, 2)
    assert to_picture(rgb)[..., 0].tolist() == [[0, 0], [128, 255]]


def tone(path, seconds):
    with av.open(str(path), "w", format="ipod") as file:
        stream = file.add_stream("aac", rate=16_000, layout="mono")
        samples = np.sin(np.arange(int(16_000 * seconds)) * 0.2).astype(np.float32)
        for start in range(0, len(samples), 1024):
            frame = av.AudioFrame.from_ndarray(samples[None, start : start + 1024], format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 16_000, start, Fraction(1, 16_000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


@pytest.mark.parametrize(("sound_s", "wanted_s"), [(3.0, 1.0), (0.5, 0.5)])
def test_the_sound_lasts_as_long_as_the_pictures(tmp_path, sound_s, wanted_s):
    tone(tmp_path / "tone.m4a", sound_s)
    write_video(tmp_path / "a.mp4", pictures(5), [0, 0.25, 0.5, 0.75, 1.0], sound=tmp_path / "tone.m4a")
    with av.open(str(tmp_path / "a.mp4")) as file:
        samples = np.concatenate([frame.to_ndarray()[0] for frame in file.decode(audio=0)])
    assert len(samples) / 16_000 == pytest.approx(wanted_s, abs=0.15)
    assert np.abs(samples[2048:-4096]).max() > 0.5
    assert len(read(tmp_path / "a.mp4")) == 5
