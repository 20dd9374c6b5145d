"""Intrinsics that came with the pictures are the tracker's, unless the user says otherwise."""

import math
from dataclasses import replace

import pytest
import torch

from headstudio.records.capture import Crop
from headstudio.tracking.config import TrackingConfig
from headstudio.tracking.person import shared_prior
from support.tiny import tiny_capture


def view_of(capture, K=None):
    """A view whose crop shows a window of 40 px of the source picture in 16 px."""
    view = replace(capture.views[0], crop=Crop(7.0, -3.0, 40.0))
    return view if K is None else replace(view, K_px=torch.tensor(K).expand(capture.frames, 3, 3))


def test_given_intrinsics_are_known_ones(tmp_path):
    capture = tiny_capture(tmp_path / "capture")
    view = view_of(capture, [[30.0, 0.0, 6.5], [0.0, 31.0, 9.25], [0.0, 0.0, 1.0]])
    prior = shared_prior(capture, view, TrackingConfig())
    assert prior.log_focal == pytest.approx(math.log(math.sqrt(30 * 31)), abs=1e-6)
    assert prior.principal_px == pytest.approx((6.5, 9.25), abs=1e-5)
    assert prior.log_focal_deviation == 0 and prior.principal_deviation_px == 0


def test_what_the_user_says_counts_more(tmp_path):
    capture = tiny_capture(tmp_path / "capture")
    view = view_of(capture, [[30.0, 0.0, 6.5], [0.0, 31.0, 9.25], [0.0, 0.0, 1.0]])
    prior = shared_prior(capture, view, TrackingConfig(focal_px=50.0, principal_px=(27.0, 17.0)))
    assert prior.log_focal == pytest.approx(math.log(50 * 16 / 40))
    assert prior.principal_px == pytest.approx((20 * 16 / 40, 20 * 16 / 40))


def test_without_them_the_lens_is_sought(tmp_path):
    capture = tiny_capture(tmp_path / "capture")
    prior = shared_prior(capture, view_of(capture), TrackingConfig())
    assert prior.log_focal_deviation > 0 and prior.principal_deviation_px > 0
