"""Scores of an animation: what is late is told to be late by as much, and what is perfect is perfect."""

import numpy as np
import pytest
import torch

from animation_scores import Animated, alike
from headstudio.heads import load_head
from headstudio.records.track import HeadIdentity

TIMES = np.arange(200) / 25
SPOKEN = np.sin(7 * TIMES) + 0.5 * np.sin(17 * TIMES + 1)


@pytest.mark.parametrize("frames", [-3, 0, 2])
def test_an_opening_that_comes_late_lags_by_as_many_frames(frames):
    found = alike(0.5 * np.roll(SPOKEN, frames)[10:-10] + 3, SPOKEN[10:-10], 25.0)
    assert found["lag_ms"] == pytest.approx(40 * frames)
    assert found["amplitude"] == pytest.approx(0.5, abs=0.03)
    assert (found["correlation"] > 0.999) == (frames == 0)


def test_what_does_not_move_follows_nothing():
    still = alike(np.ones(50), SPOKEN[:50], 25.0)
    assert still == {"correlation": 0.0, "lag_ms": 0.0, "amplitude": 0.0}


def test_the_true_animation_has_no_error_and_a_shaking_one_jitters():
    head = load_head("makehuman")
    animated = Animated(head, HeadIdentity("makehuman", torch.zeros(head.identities)))
    arkit = torch.zeros(30, 52)
    arkit[:, 17] = 0.3 + 0.3 * torch.sin(torch.arange(30) / 4)
    true = animated.channels_of(arkit)
    same = animated.score(true, true, 25.0)
    assert same["face_mm"] == same["velocity_mm_s"] == 0 and same["jitter"] == 1
    torch.manual_seed(0)
    shaking = animated.channels_of((arkit + 0.05 * torch.randn(30, 1) * (arkit > 0)).clamp(0, 1))
    found = animated.score(shaking, true, 25.0)
    assert found["face_mm"] > 0 and found["velocity_mm_s"] > 0 and found["jitter"] > 1.5
    assert found["lips_mm"] > found["eyelids_mm"]
