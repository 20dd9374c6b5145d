"""The neutral frame: planted in performances where one term alone would choose wrongly."""

import math

import pytest
import torch

from headstudio.errors import HeadstudioError
from headstudio.geometry.rigid import rigid
from headstudio.motion.arkit import INDEX, LOOK
from headstudio.motion.neutral import find_neutral
from headstudio.records.channels import ARKIT, GAZE, HEAD_POSE, expression_of
from headstudio.records.motion import Motion


def _talk(frames: int = 120) -> torch.Tensor:
    """Expression everywhere except in [40, 60) and, eyes closed, in [80, 100)."""
    make = torch.Generator().manual_seed(2)
    arkit = 0.3 * torch.rand(frames, 52, generator=make)
    arkit[:, list(LOOK)] = 0
    for start, end in ((40, 60), (80, 100)):
        arkit[start:end] *= 0.05
    for name in ("eyeBlinkLeft", "eyeBlinkRight"):
        arkit[80:100, INDEX[name]] = 0.9
    return arkit


def _motion(arkit: torch.Tensor, **more) -> Motion:
    return Motion(torch.arange(len(arkit), dtype=torch.float64) / 30, {ARKIT: arkit, **more})


def test_rest_with_open_eyes_wins_over_rest_with_closed_eyes():
    assert 42 <= find_neutral(_motion(_talk())).frame < 58


def test_a_single_quiet_frame_is_not_trusted():
    arkit = _talk()
    arkit[10] = 0
    assert 42 <= find_neutral(_motion(arkit)).frame < 58


def test_what_the_tracker_always_reads_is_not_activity():
    arkit = _talk()
    arkit[:, INDEX["mouthFrownLeft"]] += 0.6
    arkit[:30, INDEX["mouthFrownLeft"]] -= 0.02
    assert 42 <= find_neutral(_motion(arkit)).frame < 58


def test_usual_gaze_and_head_direction_decide_among_quiet_frames():
    arkit = torch.zeros(100, 52)
    gaze, turn = torch.zeros(100, 2, 3), torch.zeros(100, 3)
    gaze[:20, :, 1], turn[60:, 1] = 0.5, 0.4
    turn[:, 0] = math.pi
    pose = rigid(turn, torch.zeros(100, 3))
    channels = {ARKIT: arkit, GAZE: gaze, HEAD_POSE: pose}
    assert 22 <= find_neutral(Motion(torch.arange(100).double(), channels)).frame < 58


def test_only_the_given_frames_are_looked_at_and_the_index_is_the_motions():
    motion = _motion(_talk())
    found = find_neutral(motion, range(70, 120))
    assert 70 <= found.frame < 120
    assert torch.equal(found.channels[ARKIT], motion.channels[ARKIT][found.frame])


def test_coefficients_of_a_rig_do_when_there_are_no_arkit_weights():
    values = torch.randn(60, 5, generator=torch.Generator().manual_seed(0))
    values[30:40] = -3.0  # below what the rig usually shows; rest is where units are at their base
    values[10:20] = values.quantile(0.1, dim=0)
    motion = Motion(torch.arange(60).double(), {expression_of("rig"): values})
    assert 12 <= find_neutral(motion).frame < 18


def test_nothing_to_look_at_is_an_error():
    with pytest.raises(HeadstudioError, match="no frame"):
        find_neutral(_motion(_talk()), [])
    with pytest.raises(HeadstudioError, match="no expression"):
        find_neutral(Motion(torch.zeros(1), {GAZE: torch.zeros(1, 2, 3)}))


def test_a_single_frame_is_its_own_neutral():
    assert find_neutral(_motion(torch.rand(1, 52))).frame == 0
