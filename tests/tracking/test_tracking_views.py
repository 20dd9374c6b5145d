"""Several views of one head: costs and derivatives carried over, cameras solved for, and what three views are worth."""

from dataclasses import replace
from pathlib import Path

import pytest
import roma
import torch
from observed_actor import observations
from rig_actor import cameras, landmarks_before, rig_capture, stored
from tracking_actor import Performance, degrees_between, perform

from headstudio.errors import HeadstudioError
from headstudio.geometry.rigid import from_rotation, invert, rigid
from headstudio.heads import load_head
from headstudio.heads.base import HeadModel
from headstudio.progress import Silent
from headstudio.records.capture import Capture
from headstudio.records.track import Track
from headstudio.tracking.config import FreeformConfig, PhotometricConfig, SmoothingConfig, SolveConfig, TrackingConfig
from headstudio.tracking.identity import shared_landmark_term
from headstudio.tracking.observations import landmark_term
from headstudio.tracking.points import FrameState, landmark_model
from headstudio.tracking.rig import Rig, RigPrior, rig_term
from headstudio.tracking.sights import at_moments, before, in_view, moved_between
from headstudio.tracking.tracker import track_with

LANDMARKS = TrackingConfig(
    photometric=PhotometricConfig(enabled=False),
    smoothing=SmoothingConfig(enabled=False),
    freeform=FreeformConfig(fields=0),
)


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return load_head("makehuman")


@pytest.fixture(scope="module")
def truth(head: HeadModel) -> Performance:
    return perform(head, frames=20)


def follow(head: HeadModel, capture: Capture, config: TrackingConfig = LANDMARKS) -> Track:
    return track_with(head, capture, config, Silent())


def seen_by(head: HeadModel, truth: Performance, view: int):
    """Observations of a few frames through one of the cameras, with the true lens."""
    pixels = landmarks_before(head, truth, cameras()[view], 0.7, view)
    return observations(head, truth).with_pixels(pixels[..., :2]).at(torch.arange(3))


def some(truth: Performance) -> FrameState:
    """A little beside the truth, so that every derivative is at work."""
    states = truth.states.at(torch.arange(3))
    return states._replace(translation_m=states.translation_m + 0.004, expression=states.expression * 0.8 + 0.02)


def test_heads_before_another_camera_are_where_the_transform_puts_them(truth: Performance) -> None:
    T = cameras()[1].expand(20, 4, 4)
    moved, states = before(truth.states, T), truth.states
    expected = T @ from_rotation(states.rotation, states.translation_m)
    torch.testing.assert_close(from_rotation(moved.rotation, moved.translation_m), expected)


def test_derivatives_of_another_view_are_those_of_finite_differences(head: HeadModel, truth: Performance) -> None:
    person = landmark_model(head).personal(truth.identity)
    model = replace(
        person,
        mean_m=person.mean_m.double(), identity_m=person.identity_m.double(), expression_m=person.expression_m.double(),
        joints=tuple(
            replace(j, mean_m=j.mean_m.double(), identity_m=j.identity_m.double(), expression_m=j.expression_m.double())
            for j in person.joints
        ),
    )  # fmt: skip
    observed = seen_by(head, truth, 1)
    observed = replace(observed, pixels=observed.pixels.double(), K_px=observed.K_px.double(), robust=100.0)
    states = FrameState(*(part.double() for part in some(truth)))
    states = states._replace(rotation=roma.special_gramschmidt(states.rotation))
    term = in_view(landmark_term(model, observed), cameras()[1].double().expand(3, 4, 4))
    everyone, small = torch.arange(3), 1e-6
    told = term(states, everyone, True)
    for index in (0, 1, 2, 3, 4, 5, 9, 20, -1):
        step = torch.zeros(3, told.descent.shape[1], dtype=torch.float64)
        step[:, index] = small
        up, down = (term(states.moved(s), everyone, False).cost for s in (step, -step))
        torch.testing.assert_close(-told.descent[:, index], (up - down) / (2 * small), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("view", [0, 1, 2])
def test_derivatives_by_cameras_are_those_of_finite_differences(head: HeadModel, truth: Performance, view: int) -> None:
    T = rigid(torch.tensor([[0.0, 0, 0], [0.02, -0.01, 0.01], [0.0, 0.02, 0.01]]), 0.004 * torch.ones(3, 3)) @ cameras()
    T[0] = torch.eye(4)
    focal = truth.K_px[0, 0].log() + torch.tensor([0.05, -0.03, 0.02])
    rig = Rig(truth.identity, focal, torch.tensor([[128.0, 128], [120.0, 131], [133.0, 126]]), T)
    observed = replace(seen_by(head, truth, view), robust=100.0)
    movement = None if view == 0 else rigid(0.01 * torch.ones(3, 3), 0.002 * torch.ones(3, 3))
    term = rig_term(shared_landmark_term(landmark_model(head), observed), view, movement)
    states = some(truth)
    told = term(states, rig)
    size = len(told.shared_descent)
    for index in (0, 7, *range(len(truth.identity), size)):
        small = 0.05 if len(truth.identity) <= index < size - 12 and (index - len(truth.identity)) % 3 else 2e-3
        step = torch.zeros(size)
        step[index] = small
        costs = []
        for move in (step, -step):
            moved_rig, moved = rig.stepped(states, move)
            costs.append(term(moved, moved_rig).frames.cost.double().sum())
        numeric = (costs[0] - costs[1]) / (2 * small)
        scale = float(told.shared_hessian[index, index].sqrt()) + 1.0
        assert abs(float(-told.shared_descent[index] - numeric)) < 0.03 * abs(float(numeric)) + 0.3 * scale, index


def test_what_is_believed_of_cameras_vanishes_at_the_start(truth: Performance) -> None:
    start = Rig(torch.zeros(4), torch.zeros(3), torch.zeros(3, 2), cameras())
    prior = RigPrior(start, 2.0, 0.1, 3.0, 0.05, 0.1)
    hessian, descent, cost = prior.quadratic(start)
    assert float(cost) < 1e-9 and float(descent.abs().max()) < 1e-3 and bool((hessian.diagonal() > 0).all())
    moved = start._replace(
        T_camera_world=torch.cat(
            [start.T_camera_world[:1], rigid(torch.full((2, 3), 0.1), torch.zeros(2, 3)) @ start.T_camera_world[1:]]
        )
    )
    assert float(prior.quadratic(moved)[2]) > 1.0
    assert not prior.known(4).any() and bool(RigPrior(start, 2.0, 0.0, 0.0, 0.0, 0.0).known(4)[4:].all())


def test_landmarks_between_pictures_lie_on_the_way() -> None:
    times_s = torch.arange(5, dtype=torch.float64) / 25 + 0.013
    marks = torch.arange(5.0)[:, None, None].expand(5, 478, 3).clone()
    found = at_moments(marks, times_s, torch.arange(5, dtype=torch.float64) / 25)
    torch.testing.assert_close(found[1:, 0, 0], torch.arange(1, 5) - 0.013 * 25, atol=1e-5, rtol=0)
    marks[2] = torch.nan
    assert torch.isnan(at_moments(marks, times_s, times_s - 0.013)[[2, 3]]).all()
    assert at_moments(marks, times_s, times_s) is marks


@pytest.mark.parametrize("late_s", [0.017, -0.012, 0.0])
def test_a_head_that_moves_steadily_is_where_it_is_between_frames(truth: Performance, late_s: float) -> None:
    clock = torch.arange(20, dtype=torch.float64) / 25

    def poses(times_s: torch.Tensor) -> FrameState:
        turn = roma.rotvec_to_rotmat(times_s.float()[:, None] * torch.tensor([0.3, 1.2, -0.2]))
        place = torch.tensor([0.1, 0.0, 0.6]) + times_s.float()[:, None] * torch.tensor([0.2, 0.1, -0.3])
        return truth.states._replace(rotation=turn, translation_m=place)

    now, then = poses(clock), poses(clock + late_s)
    moved = before(now, moved_between(now, clock, clock + late_s))
    torch.testing.assert_close(moved.rotation, then.rotation, atol=1e-5, rtol=0)
    torch.testing.assert_close(moved.translation_m, then.translation_m, atol=1e-5, rtol=0)


def test_three_views_say_where_the_head_is(head: HeadModel, truth: Performance, tmp_path: Path) -> None:
    wanted_m = truth.states.translation_m
    errors, turns = {}, {}
    for views in (1, 3):
        found = follow(head, rig_capture(tmp_path / f"{views}", head, truth, noise_px=1.0, views=views))
        place_m = found.T_world_head[:, :3, 3]
        scale = (wanted_m * place_m).sum() / place_m.square().sum()
        errors[views] = float((scale * place_m - wanted_m)[:, 2].square().mean().sqrt())
        turns[views] = float(degrees_between(found.T_world_head[:, :3, :3], truth.states.rotation).median())
    assert errors[3] < 0.5 * errors[1], errors
    assert turns[3] < turns[1], turns


def test_cameras_are_kept_where_they_are_known(head: HeadModel, truth: Performance, tmp_path: Path) -> None:
    capture = rig_capture(tmp_path / "c", head, truth)
    found = follow(head, capture)
    assert list(found.views) == ["view0", "view1", "view2"]
    for index, (name, view) in enumerate(found.views.items()):
        torch.testing.assert_close(view.T_camera_world, cameras()[index].expand(20, 4, 4))
        torch.testing.assert_close(view.K_px, truth.K_px.expand(20, 3, 3))
        torch.testing.assert_close(found.view(torch.tensor([3]), name).T_camera_world[0], cameras()[index])


def test_a_frame_that_one_view_sees_is_tracked(head: HeadModel, truth: Performance, tmp_path: Path) -> None:
    capture = rig_capture(tmp_path / "c", head, truth)
    first = capture.views[0].landmarks_px.clone()
    first[8:12] = torch.nan
    views = (replace(capture.views[0], landmarks_px=first), *capture.views[1:])
    found = follow(head, stored(tmp_path / "d", replace(capture, views=views)))
    place_error_m = (found.T_world_head[8:12, :3, 3] - truth.states.translation_m[8:12]).norm(dim=1)
    assert float(place_error_m.max()) < 0.03
    assert float(degrees_between(found.T_world_head[8:12, :3, :3], truth.states.rotation[8:12]).max()) < 3.0


def test_views_without_cameras_are_refused(head: HeadModel, truth: Performance, tmp_path: Path) -> None:
    capture = rig_capture(tmp_path / "c", head, truth)
    blind = replace(capture, views=(capture.views[0], replace(capture.views[1], T_camera_world=None)))
    with pytest.raises(HeadstudioError, match="cameras are not known"):
        follow(head, blind)


@pytest.mark.parametrize(
    "config",
    [
        replace(LANDMARKS, focal_px=500.0),
        replace(LANDMARKS, principal_px=(1.0, 2.0)),
        replace(LANDMARKS, solve=SolveConfig(lens_per_frame=True)),
    ],
)
def test_a_lens_is_not_told_twice(head: HeadModel, truth: Performance, tmp_path: Path, config: TrackingConfig) -> None:
    with pytest.raises(HeadstudioError, match="calibrated at ingest"):
        follow(head, rig_capture(tmp_path / "c", head, truth), config)


def test_a_capture_keeps_its_cameras_on_disk(head: HeadModel, truth: Performance, tmp_path: Path) -> None:
    loaded = rig_capture(tmp_path / "c", head, truth, estimated=True)
    for view, T in zip(loaded.views, cameras(), strict=True):
        assert view.T_camera_world is not None and view.lens_estimated
        torch.testing.assert_close(view.T_camera_world, T)
    torch.testing.assert_close(invert(cameras()) @ cameras(), torch.eye(4).expand(3, 4, 4), atol=1e-6, rtol=0)
