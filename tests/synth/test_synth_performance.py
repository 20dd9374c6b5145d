"""The script: legal weights, smooth curves, closures and blinks that exist, a held-out part inside what was shown."""

import numpy as np
import pytest
import torch
from scipy.signal import find_peaks

from headstudio.geometry.easing import ease
from headstudio.heads.arkit import ARKIT_INDEX
from headstudio.synth.curves import bump, through
from headstudio.synth.performance import HELD_OUT_SHARE, Performance
from headstudio.synth.speech import expand, speak

SEEDS = (1, 2, 7)
FINE_HZ = 2000.0


def column(performance: Performance, name: str) -> torch.Tensor:
    return performance.arkit[:, ARKIT_INDEX[name]].double()


def slopes(performance: Performance, rate_hz: float) -> torch.Tensor:
    return performance.arkit.double().diff(dim=0) * rate_hz


def test_ease_meets_its_ends_with_zero_slope():
    phase = torch.tensor([-1.0, 0.0, 0.5, 1.0, 2.0], dtype=torch.float64, requires_grad=True)
    ease(phase).sum().backward()
    assert ease(phase).tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]
    assert phase.grad.tolist() == [0.0, 0.0, 1.5, 0.0, 0.0]


def test_through_reaches_every_key_and_stays_between_neighbours():
    keys = torch.tensor([0.0, 0.4, 0.5, 2.0], dtype=torch.float64)
    values = torch.tensor([[0.0], [1.0], [-1.0], [0.5]], dtype=torch.float64)
    assert torch.allclose(through(keys, keys, values), values)
    between = through(torch.linspace(0.5, 2.0, 50, dtype=torch.float64), keys, values)
    assert (between.diff(dim=0) >= 0).all() and between.amin() == -1.0 and between.amax() == 0.5
    outside = through(torch.tensor([-3.0, 9.0], dtype=torch.float64), keys, values)
    assert outside.flatten().tolist() == [0.0, 0.5]


def test_bump_is_one_only_while_held():
    times = torch.tensor([0.9, 1.1, 1.2, 1.3, 1.5], dtype=torch.float64)
    values = bump(times, 1.0, 0.2, 0.1, 0.2)
    assert torch.allclose(values, torch.tensor([0.0, 0.5, 1.0, 1.0, 0.0], dtype=torch.float64))


@pytest.mark.parametrize("seed", SEEDS)
def test_weights_are_legal_and_continuous_with_their_slopes(seed):
    performance = Performance.sample(seed, 14.0, FINE_HZ)
    arkit = performance.arkit
    assert arkit.amin() >= 0.0 and arkit.amax() <= 1.0
    coarse, fine = slopes(performance, FINE_HZ), slopes(Performance.sample(seed, 14.0, 4 * FINE_HZ), 4 * FINE_HZ)
    assert fine.abs().amax() < 40.0, "no weight may jump: the fastest is a saccade of 50 ms"
    # Where the slope is continuous its steps shrink with the sampling; at a corner they would stay.
    assert fine.diff(dim=0).abs().amax() < 0.4 * coarse.diff(dim=0).abs().amax()


@pytest.mark.parametrize("seed", SEEDS)
def test_lips_close_fully_in_plosives_while_the_jaw_moves_around_them(seed):
    performance = Performance.sample(seed, 14.0, FINE_HZ)
    gap = column(performance, "jawOpen") - column(performance, "mouthClose")
    assert len(performance.closures_s) >= 5
    for moment in performance.closures_s:
        around = (performance.times_s - moment).abs() < 0.2
        at = (performance.times_s - moment).abs().argmin()
        assert gap[at].abs() < 0.01
        assert gap[around].amax() > 0.05, "before or after a closure the mouth opens"


def test_syllables_come_three_to_five_times_a_second():
    times = torch.arange(0.0, 20.0, 0.002, dtype=torch.float64)
    jaw = speak(times, 0.0, 20.0, np.random.default_rng(3)).curves["jawOpen"]
    peaks, _ = find_peaks(jaw.numpy(), prominence=0.02)
    assert 2.5 < len(peaks) / 20.0 < 5.0


@pytest.mark.parametrize("seed", SEEDS)
def test_blinks_close_fully_fall_faster_than_they_rise_and_come_every_few_seconds(seed):
    performance = Performance.sample(seed, 14.0, FINE_HZ)
    lid = column(performance, "eyeBlinkLeft")
    for moment in performance.blinks_s:
        assert lid[(performance.times_s - moment).abs().argmin()] > 0.99
    slope = lid.diff() * FINE_HZ
    assert slope.amax() > -1.3 * slope.amin()
    assert max(np.diff(performance.blinks_s)) < 6.5


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("seconds", "fps"), [(14.0, 25.0), (3.0, 12.5)])
def test_held_out_part_has_everything_inside_the_range_shown_before(seed, seconds, fps):
    performance = Performance.sample(seed, seconds, fps)
    held_out = performance.times_s >= HELD_OUT_SHARE * seconds
    for names in (("jawOpen",), ("eyeBlinkLeft",), ("mouthClose",), ("eyeLookOutLeft", "eyeLookInLeft")):
        assert max(column(performance, name)[held_out].amax() for name in names) > 0.03, names
    trained, asked = performance.arkit[~held_out], performance.arkit[held_out]
    beyond = asked.amax(0) - trained.amax(0)
    assert beyond.amax() < 0.16
    turned = performance.turn_rad[:, :2].abs()
    assert (turned[held_out].amax(0) <= turned[~held_out].amax(0) + 0.03).all()
    assert turned[held_out, 1].amax() > 0.05


def test_long_clips_turn_by_thirty_degrees_to_both_sides():
    yaw = Performance.sample(7, 14.0, 25.0).turn_rad[:, 1].rad2deg()
    assert 29.0 < yaw.amax() < 32.5 and -32.5 < yaw.amin() < -29.0


def test_clip_begins_neutral():
    performance = Performance.sample(7, 14.0, 25.0)
    first = performance.times_s < 0.4
    assert performance.turn_rad[first].abs().amax() < 0.03
    assert performance.arkit[first].amax() < 0.15


def test_seed_decides_and_only_the_seed():
    again, same, other = (Performance.sample(seed, 3.0, 12.5) for seed in (4, 4, 5))
    assert torch.equal(again.arkit, same.arkit) and torch.equal(again.turn_rad, same.turn_rad)
    assert not torch.equal(again.arkit, other.arkit)


def test_variable_rate_keeps_the_order_of_time_and_whole_milliseconds():
    steady, wandering = (Performance.sample(2, 3.0, 30.0, variable) for variable in (False, True))
    assert torch.allclose(steady.times_s.diff(), torch.full((89,), 1 / 30.0, dtype=torch.float64))
    steps = wandering.times_s.diff()
    assert steps.amin() > 0.02 and steps.std() > 0.002
    assert torch.allclose(wandering.times_s * 1000, (wandering.times_s * 1000).round(), atol=1e-6)


def test_asterisk_stands_for_both_sides():
    assert expand({"jawOpen": 0.5, "mouthSmile*": 0.2}) == {
        "jawOpen": 0.5,
        "mouthSmileLeft": 0.2,
        "mouthSmileRight": 0.2,
    }
