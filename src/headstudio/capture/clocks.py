"""One clock for several films of one performance: by sound where all have it, else by how the face moves."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from headstudio.capture.face_measures import head_angles_deg, openings, weak_pose
from headstudio.capture.sounds import agreement, offset_by_sound, summit

_RATE_HZ = 100
_LEAST_COMMON_S = 2.0
_LEAST_COMMON = 0.25
"""Share of the shorter film."""
_LEAST_ALIKE = 0.43
"""Mean correlation of the movements below which films do not show one performance."""
_MIRRORED_ALIKE = 0.1
"""How much better a film agrees with another when it is mirrored, for it to be called mirrored."""
_EVEN = ("mouth_open", "brow_raise", "pitch_deg")
_ODD = ("yaw_deg",)
"""What changes its sign in a mirror."""
_SIDED = (("eye_open_left", "eye_open_right"),)
_SMOOTHED_S = 0.03
_ROBUST = 3.0


@dataclass(frozen=True)
class Offset:
    """How a film's clock lies to another's."""

    seconds: float
    """Added to the film's clock to reach the other's."""
    by: Literal["sound", "movement", "file"]
    alike: float
    """Correlation that told it, up to 1."""
    mirrored: bool = False
    """The film agrees only with the other's mirror image."""


def offset_between(first: "Filmed", other: "Filmed", by_sound: bool = True) -> Offset | None:
    """How the other film's clock lies to the first's; None where they share no time.

    Args:
        by_sound: whether the sound may tell.
    """
    moved = offset_by_movement(first, other)
    if by_sound and first.sound is not None and other.sound is not None:
        found = offset_by_sound(first.sound, other.sound)
        if found is not None:
            return Offset(found[0], "sound", found[1], moved is not None and moved.mirrored)
    return moved


@dataclass(frozen=True)
class Filmed:
    """What one camera saw and heard, on its own clock."""

    times_s: Float[np.ndarray, " frames"]
    landmarks_px: Float[np.ndarray, "frames 478 3"]
    sound: Float[np.ndarray, " samples"] | None = None
    """At the rate of `sounds.sound_of`, beginning at 0 s."""

    @property
    def yaw_deg(self) -> float:
        """How far the face is turned away from the camera, most of the time."""
        yaw = head_angles_deg(weak_pose(self.landmarks_px).rotation())["yaw_deg"]
        return float(np.nanmedian(yaw))


def offset_by_movement(first: Filmed, other: Filmed) -> Offset | None:
    """The lag at which lips, lids, brows and the turning head move alike; speeds agree from all sides, not places."""
    a, b = _speeds(first), _speeds(other)
    shorter = min(a.shape[1], b.shape[1])
    least = max(round(_LEAST_COMMON_S * _RATE_HZ), round(_LEAST_COMMON * shorter))
    lags, alike = agreement(a, b, least)
    if not len(lags):
        return None
    mirrored = agreement(a, _mirrored(b), least)[1]
    peak, mirror_peak = int(alike.argmax()), int(mirrored.argmax())
    is_mirrored = bool(mirrored[mirror_peak] > alike[peak] + _MIRRORED_ALIKE)
    best, peak = (mirrored, mirror_peak) if is_mirrored else (alike, peak)
    if best[peak] < _LEAST_ALIKE:
        return None
    shift = float(first.times_s[0] - other.times_s[0]) + (lags[peak] + summit(best, peak)) / _RATE_HZ
    return Offset(float(shift), "movement", float(best[peak]), is_mirrored)


def common_ticks(
    clocks_s: list[Float[np.ndarray, " _"]],
) -> list[Int[np.ndarray, " ticks"]]:
    """Frames of every film that belong together: those of the first, and of each other the nearest in time.

    A frame is used once and is no further away than half of the time to its neighbours, so films of other rates
    thin the first one out.

    Args:
        clocks_s: of all films on one clock.
    """
    nearest = [_nearest(clocks_s[0], clock) for clock in clocks_s]
    fits = np.all(
        [np.abs(clock[near] - clocks_s[0]) <= _half(clock) for clock, near in zip(clocks_s, nearest, strict=True)], 0
    )
    chosen: list[int] = []
    for tick in np.nonzero(fits)[0]:
        if not chosen or all(near[tick] > near[chosen[-1]] for near in nearest):
            chosen.append(int(tick))
    return [near[chosen] for near in nearest]


def _nearest(times_s: np.ndarray, clock_s: np.ndarray) -> np.ndarray:
    right = np.searchsorted(clock_s, times_s).clip(1, len(clock_s) - 1)
    return right - (times_s - clock_s[right - 1] < clock_s[right] - times_s)


def _half(clock_s: np.ndarray) -> float:
    return 0.501 * float(np.median(np.diff(clock_s)))


def _speeds(film: Filmed) -> Float[np.ndarray, "channels samples"]:
    """Changes of what the face does, on an even clock from the film's first moment on, each in units of its spread."""
    known = np.isfinite(film.landmarks_px).all((1, 2))
    angles = head_angles_deg(weak_pose(film.landmarks_px).rotation())
    measures = {**openings(film.landmarks_px), **angles}
    clock_s = np.arange(film.times_s[0], film.times_s[-1], 1 / _RATE_HZ)
    rows = []
    for name in (*_EVEN, *_ODD, *(side for pair in _SIDED for side in pair)):
        values = np.interp(clock_s, film.times_s[known], measures[name][known]) if known.any() else 0.0 * clock_s
        speed = np.gradient(_smoothed(values))
        usual = np.median(np.abs(speed)) + 1e-9
        rows.append(np.clip(speed / usual, -10 * _ROBUST, 10 * _ROBUST))
    return np.stack(rows)


def _smoothed(values: np.ndarray) -> np.ndarray:
    from scipy.ndimage import gaussian_filter1d

    return gaussian_filter1d(values, _SMOOTHED_S * _RATE_HZ, mode="nearest")


def _mirrored(speeds: np.ndarray) -> np.ndarray:
    """The same face in a mirror."""
    even, odd = len(_EVEN), len(_ODD)
    turned = speeds.copy()
    turned[even : even + odd] *= -1
    sided = turned[even + odd :].reshape(-1, 2, speeds.shape[1])[:, ::-1]
    turned[even + odd :] = sided.reshape(-1, speeds.shape[1])
    return turned
