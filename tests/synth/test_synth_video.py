"""Files: exact times, rotation tags, sound, and refusals."""

import av
import numpy as np
import pytest
import torch

from headstudio.errors import HeadstudioError
from headstudio.synth.actor import make_actor
from headstudio.synth.config import SynthConfig
from headstudio.synth.video import VideoFormat, quantised, write_video
from headstudio.synth.voice import RATE_HZ, babble


def flat_frames(count, width, height):
    """The left half is red; the brightness tells the frame's number."""
    for number in range(count):
        frame = torch.full((height, width, 3), 40 + 8 * number, dtype=torch.uint8)
        frame[:, : width // 2, 0] = 220
        yield frame


def decoded(path):
    with av.open(str(path)) as container:
        return [(float(frame.pts * frame.time_base), frame.rotation, frame.to_ndarray(format="rgb24"))
                for frame in container.decode(video=0)]  # fmt: skip


@pytest.mark.parametrize("times", [[0.0, 0.04, 0.08, 0.12], [0.0, 0.033, 0.081, 0.25]])
def test_presentation_times_are_exact(tmp_path, times):
    path = tmp_path / "clip.mp4"
    write_video(path, flat_frames(4, 64, 96), torch.tensor(times, dtype=torch.float64), VideoFormat(64, 96, 25.0))
    frames = decoded(path)
    assert [time for time, _, _ in frames] == pytest.approx(times, abs=1e-9)
    assert frames[0][2].shape == (96, 64, 3)
    levels = [picture[:, 40:, 1].mean() for _, _, picture in frames]
    assert levels == pytest.approx([40, 48, 56, 64], abs=4)


@pytest.mark.parametrize("clockwise", [90, 180, 270])
def test_rotated_files_are_upright_when_the_tag_is_obeyed(tmp_path, clockwise):
    path = tmp_path / "clip.mp4"
    times = torch.arange(3, dtype=torch.float64) / 25
    write_video(path, flat_frames(3, 64, 96), times, VideoFormat(64, 96, 25.0, rotation_deg=clockwise))
    _, rotation, stored = decoded(path)[0]
    assert stored.shape == ((64, 96, 3) if clockwise != 180 else (96, 64, 3))
    # PyAV tells the counter-clockwise angle in (-180, 180].
    assert (-rotation) % 360 == clockwise
    upright = np.rot90(stored, -clockwise // 90)
    assert upright.shape == (96, 64, 3)
    assert upright[:, :28, 0].mean() > 180 and upright[:, 36:, 0].mean() < 90


def test_quantised_times_keep_usual_rates():
    for fps in (12.5, 24.0, 25.0, 30.0, 30000 / 1001, 60.0):
        times = torch.arange(200, dtype=torch.float64) / fps
        assert (quantised(times) - times).abs().amax() < 1e-9


def test_voice_is_loud_where_the_jaw_is_open():
    times = np.arange(50) / 25
    jaw = np.where(times < 1.0, 0.0, 0.4)
    sound = babble(times, jaw, 2.0, seed=3)
    assert len(sound) == 2 * RATE_HZ and np.abs(sound).max() <= 0.5 + 1e-6
    assert np.abs(sound[: RATE_HZ - 2000]).max() < 1e-3 < np.abs(sound[RATE_HZ + 2000 :]).mean()


@pytest.mark.parametrize(
    "wrong", [{"width_px": 255}, {"height_px": 32}, {"rotation_deg": 45}, {"seconds": 0.01}, {"head": "nobody"}]
)
def test_impossible_wishes_are_refused_and_leave_nothing(tmp_path, wrong):
    from dataclasses import replace

    with pytest.raises(HeadstudioError):
        make_actor(tmp_path / "actor", replace(SynthConfig.tiny(), **wrong))
    assert not (tmp_path / "actor").exists()
