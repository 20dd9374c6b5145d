"""Lenses of single frames: what breathes is found, what does not stays."""

from dataclasses import replace

import pytest
import torch
from observed_actor import observations
from tracking_actor import Performance, perform

from headstudio.heads import load_head
from headstudio.heads.base import HeadModel
from headstudio.tracking.config import SolveConfig
from headstudio.tracking.lens import refine_lenses
from headstudio.tracking.points import landmark_model
from headstudio.tracking.solver import project

FRAMES = 6
LOOSE = SolveConfig(frame_focal_deviation=0.2, frame_principal_deviation=0.05)


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return load_head("makehuman")


@pytest.fixture(scope="module")
def truth(head: HeadModel) -> Performance:
    return perform(head, frames=FRAMES, seed=2)


def breathing(head: HeadModel, truth: Performance, zoom: torch.Tensor, shift_px: torch.Tensor) -> torch.Tensor:
    """Landmarks under a lens whose focal length and principal point differ from frame to frame."""
    model = landmark_model(head)
    camera_m = model.positions(truth.states, truth.identity) @ truth.states.rotation.mT
    K = truth.K_px.repeat(FRAMES, 1, 1)
    K[:, 0, 0] *= zoom
    K[:, 1, 1] *= zoom
    K[:, :2, 2] += shift_px
    return project(camera_m + truth.states.translation_m[:, None], K)


def test_what_is_right_is_left_alone(head: HeadModel, truth: Performance) -> None:
    model = landmark_model(head).personal(truth.identity)
    states, observed = refine_lenses(model, truth.states, observations(head, truth, independence=1.0), LOOSE)
    torch.testing.assert_close(observed.K_px, truth.K_px.expand(FRAMES, 3, 3), rtol=1e-4, atol=0.02)
    torch.testing.assert_close(states.translation_m, truth.states.translation_m, rtol=1e-4, atol=1e-5)


def test_a_zoom_is_told_from_a_step_forward(head: HeadModel, truth: Performance) -> None:
    """The head stays where it is as large in the picture as it was: only perspective tells the two apart."""
    zoom = torch.linspace(0.94, 1.06, FRAMES)
    nearer = truth.states._replace(
        translation_m=torch.cat(
            [truth.states.translation_m[:, :2], truth.states.translation_m[:, 2:] * zoom[:, None]], dim=1
        )
    )
    moved = replace(truth, states=nearer)
    pixels = breathing(head, moved, zoom, torch.zeros(FRAMES, 2))
    observed = observations(head, truth, noise_px=0.05, independence=1.0).with_pixels(pixels)
    model = landmark_model(head).personal(truth.identity)
    states, lensed = refine_lenses(model, truth.states, observed, LOOSE)
    found = lensed.K_px[:, 0, 0] / truth.K_px[0, 0]
    torch.testing.assert_close(found, zoom, rtol=0.0, atol=0.01)
    torch.testing.assert_close(states.translation_m[:, 2], nearer.translation_m[:, 2], rtol=0.01, atol=0.0)


def test_tight_priors_hold_the_clip_s_lens(head: HeadModel, truth: Performance) -> None:
    pixels = breathing(head, truth, torch.full((FRAMES,), 1.05), torch.tensor([4.0, -3.0]).expand(FRAMES, 2))
    observed = observations(head, truth).with_pixels(pixels)
    tight = SolveConfig(frame_focal_deviation=1e-5, frame_principal_deviation=1e-6)
    model = landmark_model(head).personal(truth.identity)
    _, lensed = refine_lenses(model, truth.states, observed, tight)
    torch.testing.assert_close(lensed.K_px, truth.K_px.expand(FRAMES, 3, 3), rtol=1e-3, atol=0.05)
