"""Bundle adjustment against landmarks that slide over the skin, with pictures that do not."""

from pathlib import Path

import pytest
import roma
import torch
from filmed_actor import film
from observed_actor import observations
from tracking_actor import FACING, SIZE_PX, Performance, degrees_between, perform

from headstudio.heads import load_head
from headstudio.heads.base import HeadModel
from headstudio.progress import Silent
from headstudio.tracking.bundle import adjust
from headstudio.tracking.config import PhotometricConfig, SolveConfig, TrackingConfig
from headstudio.tracking.identity import Person, SharedPrior, shared_landmark_term, solve_person
from headstudio.tracking.observations import closed_form_pose
from headstudio.tracking.points import landmark_model
from headstudio.tracking.scene import set_the_scene
from headstudio.tracking.solver import project

FRAMES = 10
SLIDE = 0.12
"""Share of every turn that the landmarks do not follow, as detectors do."""


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return load_head("makehuman")


def lagging_px(head: HeadModel, truth: Performance) -> torch.Tensor:
    """Landmarks where they would be had the head turned less, about the middle of the face."""
    model = landmark_model(head)
    local_m = model.positions(truth.states, truth.identity)
    turn = roma.rotmat_to_rotvec(FACING.T @ truth.states.rotation)
    lagging = FACING @ roma.rotvec_to_rotmat((1.0 - SLIDE) * turn)
    middle_m = local_m.mean(1, keepdim=True)
    seen_m = (local_m - middle_m) @ lagging.mT + middle_m @ truth.states.rotation.mT
    camera_m = seen_m + truth.states.translation_m[:, None]
    return project(camera_m, truth.K_px.expand(FRAMES, 3, 3))


@pytest.mark.slow
def test_pictures_give_back_the_turn_that_sliding_landmarks_lose(head: HeadModel, tmp_path: Path) -> None:
    truth = perform(head, frames=FRAMES, seed=5)
    head_turn = degrees_between(truth.states.rotation, truth.states.rotation[:1].expand(FRAMES, 3, 3))
    assert float(head_turn.max()) > 15.0
    slid = truth.landmarks_px.clone()
    slid[..., :2] = lagging_px(head, truth)
    capture = film(tmp_path / "c", head, truth, landmarks_px=slid, held_out=0.0)
    config = TrackingConfig(
        solve=SolveConfig(),
        photometric=PhotometricConfig(bundle_sizes_px=(96, 160), bundle_rounds=2, samples=800),
    )
    observed = observations(head, truth).with_pixels(slid[..., :2])
    keys = torch.arange(FRAMES)
    prior = SharedPrior(float(truth.K_px[0, 0].log()), 0.0, (SIZE_PX / 2, SIZE_PX / 2), 0.0, 2.0)
    scene = set_the_scene(head, torch.zeros(head.identities), observed, SIZE_PX, config)
    model = landmark_model(head)
    begin = Person(torch.zeros(head.identities), truth.K_px[0, 0].log(), torch.full((2,), SIZE_PX / 2))
    start, _ = closed_form_pose(model, observed)
    person, states = solve_person(
        [shared_landmark_term(model, observed)], scene.prior, start, begin, prior, scene.bounds, 20
    )
    adjusted, moved = adjust(scene, capture, keys, states, person, prior, Silent())

    def lost(rotation: torch.Tensor) -> float:
        """Turns from the mean pose, found against true."""
        relative = rotation @ rotation[:1].mT
        true = truth.states.rotation @ truth.states.rotation[:1].mT
        return float(degrees_between(relative, true)[1:].mean())

    assert lost(states.rotation) > 1.0
    assert lost(moved.rotation) < 0.5 * lost(states.rotation)
    assert adjusted.log_focal == person.log_focal, "a known lens stays"
