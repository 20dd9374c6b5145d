"""The landmark solve against performances whose truth is known, through the head's own landmarks."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tracking_actor import MOVED, SIZE_PX, degrees_between, noisy, perform, write_capture

from headstudio.errors import HeadstudioError
from headstudio.heads import load_head
from headstudio.heads.base import HeadModel
from headstudio.progress import Silent
from headstudio.records.capture import Capture
from headstudio.records.track import Track
from headstudio.tracking.config import FreeformConfig, PhotometricConfig, SmoothingConfig, SolveConfig, TrackingConfig
from headstudio.tracking.tracker import track, track_with

FOCAL_PX = 500.0
LANDMARKS = TrackingConfig(
    focal_px=FOCAL_PX, photometric=PhotometricConfig(enabled=False), smoothing=SmoothingConfig(enabled=False)
)
TRUSTING = replace(
    LANDMARKS,
    solve=SolveConfig(noise_m=0.0002, independence=1.0, sparsity=0.05, expression_prior=0.05),
    freeform=FreeformConfig(fields=0),
)
"""For detectors without noise and people of the basis: the priors step back."""


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return load_head("makehuman")


def follow(head: HeadModel, capture: Capture, config: TrackingConfig = LANDMARKS) -> Track:
    return track_with(head, capture, config, Silent())


def correlations(head: HeadModel, found: Track, truth: torch.Tensor) -> dict[str, float]:
    columns = {name: head.data.expression_names.index(name) for name in MOVED}
    pairs = {name: torch.stack([found.expression[:, i], truth[:, i]]) for name, i in columns.items()}
    return {name: float(torch.corrcoef(pair)[0, 1]) for name, pair in pairs.items()}


def test_exact_landmarks_give_back_the_truth(head: HeadModel, tmp_path: Path) -> None:
    truth = perform(head)
    found = follow(head, write_capture(tmp_path / "c", truth.landmarks_px), TRUSTING)
    assert float(degrees_between(found.T_world_head[:, :3, :3], truth.states.rotation).quantile(0.95)) < 0.5
    assert min(correlations(head, found, truth.states.expression).values()) > 0.98
    neutral = head.neutral(found.identity.coefficients[None]) - head.neutral(truth.identity[None])
    face = neutral[0, head.data.regions["face"]]
    assert float((face - face.mean(0)).norm(dim=1).mean()) < 0.0015
    gaze_error = (found.gaze_rad[..., :2] - truth.states.gaze_rad).abs().mean()
    assert float(torch.rad2deg(gaze_error)) < 1.0
    assert float((found.T_world_head[:, 2, 3] / truth.states.translation_m[:, 2] - 1).abs().max()) < 0.04


def test_noisy_landmarks_come_near_the_truth(head: HeadModel, tmp_path: Path) -> None:
    truth = noisy(perform(head), 0.7)
    found = follow(head, write_capture(tmp_path / "c", truth.landmarks_px))
    assert float(degrees_between(found.T_world_head[:, :3, :3], truth.states.rotation).median()) < 1.0
    agreement = correlations(head, found, truth.states.expression)
    assert agreement["jawOpen"] > 0.95 and agreement["eyeBlinkLeft"] > 0.9 and agreement["mouthSmileLeft"] > 0.85
    at_rest = truth.states.expression.sum(1) < 0.1
    assert not at_rest.any() or float(found.expression[at_rest].mean()) < 0.08


@pytest.mark.parametrize("focal_px", [220.0, 900.0])
def test_focal_length_is_recovered_from_perspective(head: HeadModel, tmp_path: Path, focal_px: float) -> None:
    truth = perform(head, focal_px=focal_px)
    config = replace(TRUSTING, focal_px=None)
    found = follow(head, write_capture(tmp_path / "c", truth.landmarks_px), config)
    guess = config.solve.focal_prior * SIZE_PX
    assert abs(float(found.views["main"].K_px[0, 0, 0]) / focal_px - 1) < 0.05 < abs(guess / focal_px - 1)


def test_known_focal_length_is_kept(head: HeadModel, tmp_path: Path) -> None:
    found = follow(head, write_capture(tmp_path / "c", perform(head, frames=10, focal_px=700.0).landmarks_px))
    torch.testing.assert_close(found.views["main"].K_px[:, 0, 0], torch.full((10,), FOCAL_PX))


def test_frames_without_a_face_are_bridged_and_not_usable(head: HeadModel, tmp_path: Path) -> None:
    truth = perform(head, frames=40)
    landmarks = truth.landmarks_px.clone()
    landmarks[[0, 1, 11, 12, 39]] = torch.nan
    landmarks[20, 5, 0] = torch.nan
    for config in (LANDMARKS, replace(LANDMARKS, smoothing=SmoothingConfig())):
        found = follow(head, write_capture(tmp_path / "c", landmarks), config)
        lost = torch.zeros(40, dtype=torch.bool)
        lost[[0, 1, 11, 12, 20, 39]] = True
        assert found.frames == 40
        assert torch.equal(found.usable, ~lost) and torch.equal(found.confidence == 0, lost)
        tensors = (found.expression, found.arkit, found.gaze_rad, found.T_world_head, found.light_sh)
        assert all(bool(torch.isfinite(tensor).all()) for tensor in tensors)
        bridged = degrees_between(found.T_world_head[:, :3, :3], truth.states.rotation)
        assert float(bridged[[11, 12, 20]].max()) < 3.0


def test_a_single_frame_is_enough(head: HeadModel, tmp_path: Path) -> None:
    truth = perform(head, frames=1)
    for smoothing in (True, False):
        config = replace(LANDMARKS, smoothing=SmoothingConfig(enabled=smoothing))
        found = follow(head, write_capture(tmp_path / "c", truth.landmarks_px), config)
        assert found.frames == 1 and bool(found.usable[0])
        assert float(degrees_between(found.T_world_head[:, :3, :3], truth.states.rotation)[0]) < 4.0


def test_the_same_capture_gives_the_same_track(head: HeadModel, tmp_path: Path) -> None:
    capture = write_capture(tmp_path / "c", noisy(perform(head, frames=20), 0.5).landmarks_px)
    first, second = follow(head, capture), follow(head, capture)
    assert torch.equal(first.expression, second.expression)
    assert torch.equal(first.T_world_head, second.T_world_head)
    assert torch.equal(first.identity.coefficients, second.identity.coefficients)


@pytest.mark.parametrize("smoothing", [True, False])
def test_held_out_frames_teach_nothing(head: HeadModel, tmp_path: Path, smoothing: bool) -> None:
    truth = noisy(perform(head, frames=40), 0.5)
    changed = truth.landmarks_px.clone()
    changed[32:] = noisy(perform(head, frames=40, seed=5), 0.5).landmarks_px[32:]
    photometric = PhotometricConfig(sizes_px=(48, 64), samples=200)
    config = TrackingConfig(photometric=photometric, smoothing=SmoothingConfig(enabled=smoothing))
    one = follow(head, write_capture(tmp_path / "a", truth.landmarks_px), config)
    pictures = torch.full((40, 3, SIZE_PX, SIZE_PX), 128, dtype=torch.uint8)
    pictures[32:] = 30
    other = follow(head, write_capture(tmp_path / "b", changed, pictures), config)
    assert torch.equal(one.identity.coefficients, other.identity.coefficients)
    assert torch.equal(one.views["main"].K_px, other.views["main"].K_px)
    assert one.texture is not None and other.texture is not None and torch.equal(one.texture, other.texture)
    assert torch.equal(one.light_sh[:32], other.light_sh[:32])
    assert not torch.equal(one.expression[32:], other.expression[32:])
    assert torch.equal(one.expression[:32], other.expression[:32])


def test_expression_stays_in_its_range(head: HeadModel, tmp_path: Path) -> None:
    shaken = noisy(perform(head, frames=20), 6.0)
    for smoothing in (True, False):
        config = replace(LANDMARKS, smoothing=SmoothingConfig(enabled=smoothing))
        found = follow(head, write_capture(tmp_path / "c", shaken.landmarks_px), config)
        assert float(found.expression.min()) >= 0 and float(found.expression.max()) <= 1


def test_track_survives_the_disk(head: HeadModel, tmp_path: Path) -> None:
    capture = write_capture(tmp_path / "c", perform(head, frames=12).landmarks_px)
    found = track(capture, LANDMARKS)
    found.save(tmp_path / "t")
    again = Track.load(tmp_path / "t")
    assert again.capture_identifier == capture.identifier and again.identity.head == "makehuman"
    torch.testing.assert_close(again.expression, found.expression)
    times = capture.views[0].times_s
    assert again.training_clock == (float(times[0]), float(times[capture.split.train_end - 1]))


def test_a_capture_without_a_face_is_refused(head: HeadModel, tmp_path: Path) -> None:
    landmarks = torch.full((10, 478, 3), torch.nan)
    with pytest.raises(HeadstudioError, match="no face was found in the training part"):
        follow(head, write_capture(tmp_path / "c", landmarks))
    landmarks[9] = perform(head, frames=1).landmarks_px[0]
    with pytest.raises(HeadstudioError, match="no face was found in the training part"):
        follow(head, write_capture(tmp_path / "d", landmarks))


def test_several_views_without_cameras_are_refused(head: HeadModel, tmp_path: Path) -> None:
    capture = write_capture(tmp_path / "c", perform(head, frames=3).landmarks_px)
    with pytest.raises(HeadstudioError, match="several views whose cameras are not known"):
        follow(head, replace(capture, views=capture.views * 2))


def test_an_unknown_head_is_refused_before_any_work(tmp_path: Path) -> None:
    capture = write_capture(tmp_path / "c", torch.zeros(2, 478, 3))
    with pytest.raises(HeadstudioError, match="no head named nobody"):
        track(capture, replace(LANDMARKS, head="nobody"))


def test_a_head_without_landmarks_is_refused(head: HeadModel, tmp_path: Path) -> None:
    nowhere = replace(head.data.landmarks, weight=torch.zeros(478))
    blind = HeadModel(replace(head.data, landmarks=nowhere))
    with pytest.raises(HeadstudioError, match="landmark"):
        follow(blind, write_capture(tmp_path / "c", perform(head, frames=3).landmarks_px))
