"""Films of one performance on one clock: by sound, by movement, and when there is nothing to go by."""

import numpy as np
import pytest
from rig_films import Camera, filmed

from headstudio.capture.clocks import Filmed, common_ticks, offset_between, offset_by_movement
from headstudio.capture.sounds import best_lag, offset_by_sound

FRONT = Camera(0.0, 0.1)
FRAME_S = 0.04


@pytest.mark.parametrize(
    "camera",
    [Camera(-35, 0.237), Camera(35, 0.019), Camera(35, 1.5), Camera(-30, 0.137, fps=30.0), Camera(20, 0.0, 50.0)],
)
def test_movement_tells_a_clock_to_a_fraction_of_a_frame(camera):
    found = offset_by_movement(filmed(FRONT), filmed(camera))
    assert found is not None and not found.mirrored
    assert found.seconds == pytest.approx(camera.starts_s - FRONT.starts_s, abs=0.4 * FRAME_S)


def test_frames_without_a_face_are_bridged():
    film = filmed(Camera(-35, 0.237))
    film.landmarks_px[40:60] = np.nan
    found = offset_by_movement(filmed(FRONT), film)
    assert found is not None and found.seconds == pytest.approx(0.137, abs=0.4 * FRAME_S)


def test_a_mirrored_film_is_told():
    found = offset_by_movement(filmed(FRONT), filmed(Camera(35, 0.019), mirrored=True))
    assert found is not None and found.mirrored


def test_a_film_without_any_face_has_no_clock():
    film = filmed(Camera(-35, 0.237))
    film.landmarks_px[:] = np.nan
    assert offset_by_movement(filmed(FRONT), film) is None


@pytest.mark.parametrize("seed", [5, 6, 7])
def test_another_performance_shares_no_moment(seed):
    assert offset_by_movement(filmed(FRONT), filmed(Camera(35, 0.019), seed=seed)) is None


def test_a_film_that_is_too_short_to_tell_has_no_clock():
    assert offset_by_movement(filmed(FRONT, seconds=1.0), filmed(Camera(-35, 0.2))) is None


def room(seconds: float, seed: int = 0, rate_hz: int = 8000) -> np.ndarray:
    """Bursts of noise, as speech is loud and silent."""
    draw = np.random.default_rng(seed)
    clock = np.arange(round(seconds * rate_hz)) / rate_hz
    loud = np.interp(
        clock, np.arange(0, seconds + 1, 0.15), draw.uniform(0, 1, len(np.arange(0, seconds + 1, 0.15))) ** 3
    )
    return draw.normal(0, 1, len(clock)) * loud


@pytest.mark.parametrize("offset_s", [0.137, -0.081, 1.2345, -2.0])
def test_sound_tells_a_clock_to_a_millisecond(offset_s):
    heard, start = room(14.0), 3.0
    first = heard[round(start * 8000) : round((start + 8) * 8000)]
    other = heard[round((start + offset_s) * 8000) : round((start + offset_s + 7) * 8000)]
    noise = np.random.default_rng(1)
    found = offset_by_sound(first + noise.normal(0, 0.05, len(first)), 0.2 * other + noise.normal(0, 0.01, len(other)))
    assert found is not None and found[0] == pytest.approx(offset_s, abs=1e-3)


@pytest.mark.parametrize("other", [room(8.0, seed=9), np.zeros(64000), np.full(64000, 0.3), room(1.0)])
def test_sounds_that_have_nothing_in_common_tell_nothing(other):
    assert offset_by_sound(room(8.0), other) is None


def test_where_sound_tells_nothing_movement_does():
    first, other = filmed(FRONT), filmed(Camera(-35, 0.237))
    deaf = Filmed(other.times_s, other.landmarks_px, room(8.0, seed=9))
    found = offset_between(Filmed(first.times_s, first.landmarks_px, room(8.0)), deaf)
    assert found is not None and found.by == "movement"


def test_lags_are_those_of_the_plain_definition():
    draw = np.random.default_rng(0)
    a, b = draw.normal(0, 1, (2, 60)), draw.normal(0, 1, (2, 45))
    naive = {}
    for lag in range(-44, 60):
        pairs = [(t, t - lag) for t in range(60) if 0 <= t - lag < 45]
        if len(pairs) >= 10:
            left, right = np.array(pairs).T
            naive[lag] = np.mean([np.corrcoef(a[c, left], b[c, right])[0, 1] for c in range(2)])
    best = max(naive, key=naive.__getitem__)
    found = best_lag(a, b, 10)
    assert found is not None
    assert abs(found[0] - best) <= 0.5 and found[1] == pytest.approx(naive[best], abs=1e-9)


def test_ticks_take_the_nearest_frame_of_each_film_and_none_twice():
    fine, coarse, late = np.arange(100) / 50, np.arange(50) / 25 + 0.011, np.arange(60) / 50 + 1.0
    first, second, third = common_ticks([fine, coarse, late])
    assert len(first) == len(second) == len(third) > 20
    assert (np.diff(second) > 0).all() and (np.diff(third) > 0).all()
    assert np.abs(fine[first] - coarse[second]).max() <= 0.0201
    assert fine[first].min() >= 0.98


def test_films_that_do_not_overlap_have_no_ticks():
    clocks = [np.arange(50) / 25, np.arange(50) / 25 + 10.0]
    assert all(len(chosen) == 0 for chosen in common_ticks(clocks))
