"""A capture of one view is tracked to the last bit as before there could be several: every part that knows of further
views is held against what it was without them."""

from pathlib import Path

import pytest
import torch
from filmed_actor import film
from tracking_actor import Performance, perform

from headstudio.heads import load_head
from headstudio.heads.base import HeadModel
from headstudio.records.capture import Capture
from headstudio.tracking.config import FreeformConfig, TrackingConfig
from headstudio.tracking.observations import closed_form_pose, landmark_weights, observe
from headstudio.tracking.pattern import learn_pattern
from headstudio.tracking.photometric import compare, contrasts, learn, misfit_m, sum_of
from headstudio.tracking.points import FrameState
from headstudio.tracking.quality import landmark_error_m
from headstudio.tracking.rig_person import begin_anywhere
from headstudio.tracking.scene import Scenery, set_the_scene
from headstudio.tracking.silhouette import outside
from headstudio.tracking.surface import load_frames, local_contrast, look, sample
from headstudio.tracking.tracker import in_motion

FRAMES, SIZE_PX = 4, 96
EVERYONE = torch.arange(FRAMES)


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> tuple[HeadModel, Performance, Capture, Scenery]:
    """A short film of one view and its scene."""
    head = load_head("makehuman")
    truth = perform(head, frames=FRAMES)
    capture = film(Path(tmp_path_factory.mktemp("film")) / "capture", head, truth)
    config = TrackingConfig(freeform=FreeformConfig(fields=0))
    K_px = truth.K_px.expand(FRAMES, 3, 3)
    observed = observe(capture.views[0].landmarks_px, landmark_weights(head, config.solve), K_px, config.solve)
    return head, truth, capture, set_the_scene(head, truth.identity, observed, capture.size_px, config)


def test_the_pattern_and_the_comparison_are_those_of_the_one_view(filmed) -> None:
    head, truth, capture, scene = filmed
    (contrast,) = contrasts(capture, scene, EVERYONE, SIZE_PX)
    assert torch.equal(contrast, local_contrast(load_frames(capture, EVERYONE, SIZE_PX)))
    surface = look(head, scene.neutral_m, scene.points, truth.states, scene.camera)
    pixels = scene.camera.project(surface.camera_m)[0] * (SIZE_PX / scene.camera.width_px)
    wanted = learn_pattern(sample(contrast, pixels), surface.weight * scene.observed.seen[:, None])
    found = learn(scene, [contrast], truth.states, EVERYONE)
    for name in ("mean", "deviation", "seen"):
        assert torch.equal(getattr(found, name), getattr(wanted, name)), name
    share = surface.weight * wanted.seen * scene.observed.seen[:, None] * scene.config.photometric.independence
    assert torch.equal(compare(scene, found, contrast, truth.states, EVERYONE).share, share)


def test_errors_starts_and_weights_are_those_of_the_one_view(filmed) -> None:
    _, truth, capture, scene = filmed
    error_m = landmark_error_m(scene.landmarks, truth.states, scene.observed)
    assert torch.equal(misfit_m(scene, truth.states, EVERYONE), error_m)
    begin, _ = closed_form_pose(scene.landmarks, scene.observed)
    assert begin_anywhere(scene, begin) is begin
    assert in_motion(scene, capture, truth.states, capture.views[0].times_s) is scene
    assert scene.seen is scene.observed.seen
    assert len(scene.frame_terms(EVERYONE)) == 3 and len(scene.outlooks()) == 1
    trusting = scene.trusting_landmarks(0.07).observed
    assert trusting.independence == scene.observed.trusted_by(0.07).independence
    assert torch.equal(trusting.pixels, scene.observed.pixels)


def test_a_cost_of_the_one_view_is_not_carried_anywhere(filmed) -> None:
    _, truth, capture, scene = filmed
    (outlook,) = scene.outlooks()

    def term(states: FrameState, frames: torch.Tensor, derivatives: bool) -> None:
        raise AssertionError

    assert outlook.term(term, EVERYONE) is term
    assert outlook.states(truth.states, EVERYONE) is truth.states
    assert sum_of([scene.observed.noise_px]) is scene.observed.noise_px
    assert outside(capture, scene, EVERYONE) is None, "this film has no mattes"
