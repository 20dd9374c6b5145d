"""Cutting, closing, mixing: exact on motions whose values in between are known."""

import math

import pytest
import torch

from headstudio.errors import HeadstudioError
from headstudio.geometry.rigid import relative_orientation, rigid
from headstudio.heads import load_head
from headstudio.motion.arkit import INDEX
from headstudio.motion.editing import at_rate, blend, duration_s, loop, onto, trim
from headstudio.motion.retarget import RetargetConfig
from headstudio.records.channels import ARKIT, GAZE, HEAD_POSE, HEAD_ROTATION
from headstudio.records.motion import Motion


def moving(times_s: torch.Tensor, speed: float = 0.1, offset: float = 0.0) -> Motion:
    """Weights and rotations that grow with time; the clock may start anywhere."""
    elapsed = (times_s - times_s[0]).double()
    angle = offset + speed * elapsed
    turn = angle[:, None] * torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    return Motion(
        times_s.double(),
        {
            ARKIT: angle[:, None].expand(-1, 52).clone(),
            HEAD_ROTATION: turn,
            GAZE: torch.stack([turn, -turn], dim=1),
            HEAD_POSE: rigid(turn, turn),
        },
    )


def clock(count: int, fps: float = 30.0, start_s: float = 0.0) -> torch.Tensor:
    return start_s + torch.arange(count, dtype=torch.float64) / fps


def test_trimming_counts_from_the_first_frame_and_starts_at_zero():
    cut = trim(moving(clock(90, start_s=100.0)), 1.0, 2.0)
    assert len(cut) == 30 and cut.times_s[0] == 0
    torch.testing.assert_close(cut.times_s, clock(30))
    assert cut.channels[ARKIT][0, 0] == pytest.approx(0.1)
    whole = trim(moving(clock(90, start_s=100.0)))
    assert len(whole) == 90 and whole.times_s[0] == 0


@pytest.mark.parametrize(("start_s", "end_s"), [(-1.0, 2.0), (2.0, 2.0), (2.0, 1.0), (50.0, None)])
def test_there_must_be_something_left(start_s, end_s):
    with pytest.raises(HeadstudioError):
        trim(moving(clock(90)), start_s, end_s)


def test_a_loop_has_no_jump_where_it_starts_anew():
    motion, step_s = moving(clock(121), speed=0.5), 1 / 30
    rounds = loop(motion, 1.0, times=3)
    assert len(rounds) == 3 * 90 and duration_s(rounds) == pytest.approx(9 - step_s)
    assert rounds.times_s.diff().min() == pytest.approx(step_s) and rounds.times_s.diff().max() == pytest.approx(step_s)
    # The seam takes back what 3 s at 0.5/s gained, within 1 s: smoothstep is at most 1.5 times as fast as a line.
    steps = rounds.channels[ARKIT][:, 0].diff().abs()
    assert steps.max() < (1.5 * 1.5 + 0.5) * step_s * 1.01
    turns = rounds.channels[HEAD_ROTATION][:, 1].diff().abs()
    assert turns.max() < (1.5 * 1.5 + 0.5) * step_s * 1.01
    # Across the joint value and speed go on as if nothing were: the tail's own.
    assert rounds.channels[ARKIT][90, 0] - rounds.channels[ARKIT][89, 0] == pytest.approx(0.5 * step_s, abs=1e-6)


def test_outside_the_seam_a_loop_is_the_motion_itself():
    motion = moving(clock(121), speed=0.2)
    once = loop(motion, 0.5)
    inside = once.times_s >= 0.5
    for channel, values in once.channels.items():
        torch.testing.assert_close(values[inside], motion.channels[channel][: len(once)][inside], atol=1e-9, rtol=0)
    assert loop(motion, 0.5, 2).channels[ARKIT][len(once) :].equal(once.channels[ARKIT])


@pytest.mark.parametrize(("seam_s", "times"), [(0.0, 1), (-1.0, 1), (2.0, 1), (9.0, 1), (0.5, 0), (0.5, 10**9)])
def test_an_impossible_seam_is_told(seam_s, times):
    with pytest.raises(HeadstudioError, match=r"seam|rounds"):
        loop(moving(clock(121)), seam_s, times)


def test_a_blend_is_between_both_and_keeps_the_first_clock():
    first, second = moving(clock(60, 30, 5.0), 0.1), moving(clock(50, 24, 80.0), 0.1, offset=0.4)
    for share in (0.0, 0.25, 1.0):
        mixed = blend(first, second, share)
        torch.testing.assert_close(mixed.times_s, clock(60))
        wanted = 0.1 * clock(60) + 0.4 * share
        torch.testing.assert_close(mixed.channels[ARKIT][:, 0], wanted, atol=1e-9, rtol=0)
        torch.testing.assert_close(mixed.channels[HEAD_ROTATION][:, 1], wanted, atol=1e-9, rtol=0)
        torch.testing.assert_close(mixed.channels[HEAD_POSE], moving(clock(60), 0.1, 0.4 * share).channels[HEAD_POSE])


def test_a_blend_takes_the_channels_that_both_have():
    first, second = moving(clock(10)), moving(clock(10))
    second = Motion(second.times_s, {ARKIT: second.channels[ARKIT]})
    assert set(blend(first, second, 0.5).channels) == {ARKIT}
    with pytest.raises(HeadstudioError, match="in common"):
        blend(Motion(clock(10), {GAZE: torch.zeros(10, 2, 3)}), second, 0.5)
    for share in (-0.1, 1.1, math.nan):
        with pytest.raises(HeadstudioError, match="share"):
            blend(first, second, share)


def test_a_rate_is_constant_from_the_first_frame_to_the_last():
    uneven = moving(torch.tensor([3.0, 3.1, 3.15, 3.7, 4.0], dtype=torch.float64))
    even = at_rate(uneven, 20)
    torch.testing.assert_close(even.times_s, clock(21, 20))
    torch.testing.assert_close(even.channels[ARKIT][:, 0], 0.1 * clock(21, 20), atol=1e-9, rtol=0)
    for fps in (0.0, -5.0, math.nan, math.inf, 1e6):
        with pytest.raises(HeadstudioError, match="frames a second"):
            at_rate(uneven, fps)
    assert len(at_rate(moving(clock(1)), 60)) == 1


def at_rest_then(move: float, rest_weight: float, rest_turn: float) -> Motion:
    """A second of rest, then a raised brow and a turned head."""
    weights, turn = torch.full((60, 52), rest_weight), torch.zeros(60, 3)
    turn[:, 1] = rest_turn
    weights[30:, INDEX["browInnerUp"]] += move
    turn[30:, 1] += move
    return Motion(clock(60), {ARKIT: weights, HEAD_ROTATION: turn})


def test_carrying_over_moves_away_from_the_others_rest():
    driver, target = at_rest_then(0.4, 0.05, 0.1), at_rest_then(0.0, 0.2, -0.3)
    head = load_head("makehuman")
    for gain in (1.0, 0.5):
        carried = onto(driver, target, head, RetargetConfig(expression_gain=gain, head_rotation_gain=gain))
        assert set(carried.channels) == {ARKIT, HEAD_ROTATION}
        wanted = at_rest_then(0.4 * gain, 0.2, -0.3)
        for channel, values in wanted.channels.items():
            torch.testing.assert_close(carried.channels[channel], values, atol=1e-5, rtol=0)
    # Where the other's head has a place, the result has one as well.
    pose = rigid(torch.tensor([[torch.pi, 0.0, 0.0]]), torch.tensor([[0.0, 0.0, 0.5]])).expand(60, 4, 4)
    placed = onto(driver, Motion(target.times_s, {ARKIT: target.channels[ARKIT], HEAD_POSE: pose}), head)
    assert set(placed.channels) == {ARKIT, HEAD_POSE}
    torch.testing.assert_close(placed.channels[HEAD_POSE][:, :3, 3], torch.tensor([0.0, 0.0, 0.5]).expand(60, 3))
    turned = relative_orientation(placed.channels[HEAD_POSE])[45]
    torch.testing.assert_close(turned, torch.tensor([0.0, 0.4, 0.0]), atol=1e-5, rtol=0)
