"""Who is in front of a live camera: taken from a track, or met in a few seconds."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tracking_actor import SIZE_PX, degrees_between, noisy, perform, write_capture

from headstudio.errors import HeadstudioError
from headstudio.heads import load_head
from headstudio.heads.base import HeadModel
from headstudio.progress import Silent
from headstudio.records.capture import Capture
from headstudio.tracking.config import FreeformConfig, PhotometricConfig, TrackingConfig
from headstudio.tracking.live import CausalTracker
from headstudio.tracking.sitter import Sitter, calibrate, sitter_of
from headstudio.tracking.tracker import track_with

FRAMES = 40
LANDMARKS = TrackingConfig(
    focal_px=500.0, photometric=PhotometricConfig(enabled=False), freeform=FreeformConfig(fields=0)
)
TIMES_S = torch.arange(FRAMES, dtype=torch.float64) / 25
PLAYED_S = torch.linspace(0, 6, FRAMES, dtype=torch.float64)
"""The clock by which `perform` plays: filters that see glances four times as fast lag behind them."""


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return load_head("makehuman")


@pytest.fixture(scope="module")
def slid(tmp_path_factory: pytest.TempPathFactory, head: HeadModel) -> tuple[Capture, Sitter, Sitter]:
    """A person whose mouth corners the detector always puts 6 px too high, with the error unknown and known."""
    truth = perform(head, frames=FRAMES)
    landmarks = truth.landmarks_px.clone()
    landmarks[:, [61, 291], 1] -= 6.0
    capture = write_capture(tmp_path_factory.mktemp("slid") / "c", landmarks)
    right = write_capture(tmp_path_factory.mktemp("right") / "c", truth.landmarks_px)
    track = track_with(head, right, LANDMARKS, Silent())
    return capture, sitter_of(track), sitter_of(track, capture)


def test_a_sitter_is_the_person_of_the_track(tmp_path: Path, head: HeadModel) -> None:
    capture = write_capture(tmp_path / "c", noisy(perform(head, frames=20), 0.5).landmarks_px)
    track = track_with(head, capture, LANDMARKS, Silent())
    sitter = sitter_of(track)
    assert sitter.identity is track.identity and sitter.size_px == SIZE_PX and sitter.bias is None
    assert track.quality is not None and sitter.usual_error_m == track.quality.usual_error_m
    torch.testing.assert_close(sitter.K_px, track.views["main"].K_px[0])
    assert sitter_of(replace(track, quality=None)).usual_error_m > 0


def test_a_live_head_moves_as_in_the_track(tmp_path: Path, head: HeadModel) -> None:
    landmarks = perform(head, frames=FRAMES).landmarks_px
    track = track_with(head, write_capture(tmp_path / "c", landmarks), LANDMARKS, Silent())
    live = CausalTracker(sitter_of(track), head=head).follow(landmarks, PLAYED_S)
    apart = degrees_between(live.T_world_head[:, :3, :3], track.T_world_head[:, :3, :3])
    assert float(apart.median()) < 1.0
    assert float((live.expression - track.expression).abs().mean()) < 0.03


def test_what_the_detector_always_gets_wrong_is_no_expression(slid: tuple[Capture, Sitter, Sitter]) -> None:
    capture, plain, knowing = slid
    assert knowing.bias is not None
    lifted = knowing.bias[[61, 291], 1, 0]
    assert float(lifted.min()) > 0.0005 and float(knowing.bias[:, :, 0].abs().median()) < 0.0005
    shown = capture.views[0].landmarks_px[:12]
    smile = [load_head("makehuman").data.expression_names.index(f"mouthSmile{side}") for side in ("Left", "Right")]
    before, after = (CausalTracker(s).follow(shown, TIMES_S[:12]).expression[:, smile].mean() for s in (plain, knowing))
    assert float(after) < float(before)


def test_a_person_is_met_in_a_few_seconds(head: HeadModel) -> None:
    truth = perform(head, frames=FRAMES)
    gone = truth.landmarks_px.clone()
    gone[5:8] = torch.nan
    sitter = calibrate(gone, SIZE_PX, SIZE_PX, LANDMARKS, head)
    assert float(sitter.K_px[0, 0]) == pytest.approx(500.0, rel=1e-4) and sitter.size_px == SIZE_PX
    assert 0 < sitter.usual_error_m < 0.002
    live = CausalTracker(sitter, head=head).follow(truth.landmarks_px[:15], TIMES_S[:15])
    assert float(degrees_between(live.T_world_head[:, :3, :3], truth.states.rotation[:15]).median()) < 2.0


def test_the_lens_points_at_the_middle_of_pictures_that_are_not_square(head: HeadModel) -> None:
    landmarks = perform(head, frames=12).landmarks_px + torch.tensor([100.0, -20.0, 0.0])
    sitter = calibrate(landmarks, 456, 216, LANDMARKS, head)
    assert sitter.size_px == 456
    assert sitter.K_px[:2, 2].tolist() == pytest.approx([228.0, 108.0], abs=30)


def test_nobody_cannot_be_met(head: HeadModel) -> None:
    with pytest.raises(HeadstudioError, match="no face was found while getting to know"):
        calibrate(torch.full((10, 478, 3), torch.nan), SIZE_PX, SIZE_PX, LANDMARKS, head)
