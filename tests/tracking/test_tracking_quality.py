"""Which frames are trusted."""

from dataclasses import replace

import pytest
import roma
import torch
from tracking_actor import FACING

from headstudio.records.capture import CaptureView, Crop, Source
from headstudio.tracking.config import QualityConfig
from headstudio.tracking.points import FrameState
from headstudio.tracking.quality import judge, yaw_rad

FRAMES = 6
ERROR_M = torch.full((FRAMES,), 0.001)
SEEN = torch.ones(FRAMES, dtype=torch.bool)


def turned(yaw_deg: list[float]) -> FrameState:
    angles = torch.deg2rad(torch.tensor(yaw_deg))[:, None] * torch.tensor([[0.0, 1.0, 0.0]])
    zeros = torch.zeros(len(yaw_deg), 3)
    return FrameState(FACING @ roma.rotvec_to_rotmat(angles), zeros, zeros, zeros[:, None, :2].repeat(1, 2, 1), zeros)


def view(**quality: list[float]) -> CaptureView:
    measures = {name: torch.tensor(values) for name, values in quality.items()}
    return CaptureView(
        "main", Source("a.mp4", "0", 8, 8, 0, 0.0, "", False), Crop(0, 0, 8), torch.arange(FRAMES).double(),
        torch.zeros(FRAMES, 478, 3), torch.ones(8, 8, dtype=torch.bool), measures,
    )  # fmt: skip


@pytest.mark.parametrize("yaw_deg", [-70.0, -20.0, 0.0, 45.0, 80.0])
def test_yaw_is_the_angle_to_the_camera(yaw_deg: float) -> None:
    found = torch.rad2deg(yaw_rad(turned([yaw_deg]).rotation))[0]
    assert abs(float(found)) == pytest.approx(abs(yaw_deg), abs=1e-3)


def test_turned_away_frames_are_not_usable() -> None:
    confidence, usable = judge(view(), turned([0, 30, 59, 61, -61, -100]), ERROR_M, SEEN, QualityConfig())
    assert usable.tolist() == [True, True, True, False, False, False]
    assert confidence[0] == confidence[1] > confidence[2] > confidence[3]


def test_outliers_lose_confidence() -> None:
    error = ERROR_M * torch.tensor([1.0, 0.5, 1.0, 3.0, 8.0, 20.0])
    confidence, usable = judge(view(), turned([0.0] * FRAMES), error, SEEN, QualityConfig())
    assert (confidence[2:].diff() < 0).all()
    assert usable.tolist() == [True, True, True, True, False, False]


def test_a_clip_that_never_fits_is_not_saved_by_its_median() -> None:
    _, usable = judge(view(), turned([0.0] * FRAMES), torch.full((FRAMES,), 0.02), SEEN, QualityConfig())
    assert not usable.any()


def test_measures_of_the_capture_count() -> None:
    quality = view(
        sharpness=[100, 100, 100, 5, 100, float("nan")],
        confidence=[1, 0.1, 1, 1, 1, 1],
        occlusion=[0, 0, 0.5, 0, 0, 0],
    )
    confidence, usable = judge(quality, turned([0.0] * FRAMES), ERROR_M, SEEN, QualityConfig())
    assert usable.tolist() == [True, False, False, False, True, False]
    assert bool(torch.isfinite(confidence).all())


def test_frames_without_a_face_have_no_confidence_and_do_not_shift_the_median() -> None:
    seen = torch.tensor([True, True, True, False, False, False])
    error = torch.tensor([0.001, 0.001, 0.001, 1.0, 1.0, 1.0])
    confidence, usable = judge(view(), turned([0.0] * FRAMES), error, seen, QualityConfig())
    assert torch.equal(usable, seen) and torch.equal(confidence > 0, seen)


def test_limits_are_those_of_the_config() -> None:
    config = replace(QualityConfig(), largest_yaw_deg=20.0)
    _, usable = judge(view(), turned([0, 10, 25, 0, 0, 0]), ERROR_M, SEEN, config)
    assert usable.tolist() == [True, True, False, True, True, True]
