"""How two recordings of one room lie in time, by what their microphones heard."""

from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.signal import correlate

from headstudio.capture.audio import heard

_RATE_HZ = 8000
_LOUDNESS_HZ = 100
_FINE_S = 0.03
"""The loudness finds the place to within this, the waves then tell it exactly."""
_LEAST_COMMON_S = 2.0
_LEAST_ALIKE = 0.6
"""Correlation of the loudness below which two recordings are not of one room."""


def sound_of(video: Path, start_s: Fraction, end_s: Fraction) -> Float[np.ndarray, " samples"] | None:
    """The sound between two times of a file's clock at 8 kHz; None where there is none."""
    from av.error import FFmpegError

    try:
        samples = heard(video, start_s, end_s, _RATE_HZ)
    except (FFmpegError, ValueError, IndexError):
        return None
    return samples if len(samples) and float(np.abs(samples).max()) > 0 else None


def offset_by_sound(
    first: Float[np.ndarray, " samples"], other: Float[np.ndarray, " others"]
) -> tuple[float, float] | None:
    """Seconds to add to the other's clock to reach the first's, and how alike the loudness then is, up to 1; None where
    the two have nothing in common.

    The lag of the loudest agreement of loudness, then of the waves near it with their spectrum made flat (generalised
    cross-correlation with phase transform, Knapp and Carter 1976), which tells it to a fraction of a millisecond.
    """
    a, b = _loudness(first), _loudness(other)
    found = best_lag(a[None], b[None], round(_LEAST_COMMON_S * _LOUDNESS_HZ))
    if found is None or found[1] < _LEAST_ALIKE:
        return None
    coarse_s = found[0] / _LOUDNESS_HZ
    return _by_waves(first, other, coarse_s), found[1]


def best_lag(
    first: Float[np.ndarray, "channels samples"], other: Float[np.ndarray, "channels others"], least_common: int
) -> tuple[float, float] | None:
    """Samples by which the other has to be put later to agree best with the first, to a fraction, and the mean
    correlation of the channels there.

    Args:
        least_common: samples that must overlap.
    """
    lags, alike = agreement(first, other, least_common)
    if not len(lags):
        return None
    peak = int(alike.argmax())
    return float(lags[peak]) + summit(alike, peak), float(alike[peak])


def agreement(first: np.ndarray, other: np.ndarray, least_common: int) -> tuple[np.ndarray, np.ndarray]:
    """Lags with enough overlap, and the mean correlation of the channels at each."""
    lags = np.arange(-(other.shape[1] - 1), first.shape[1])
    common = np.minimum(first.shape[1], lags + other.shape[1]) - np.maximum(lags, 0)
    kept = common >= least_common
    total = np.zeros(len(lags))
    for a, b in zip(first, other, strict=True):
        total += _correlations(a, b, np.maximum(common, 1))
    return lags[kept], total[kept] / len(first)


def summit(values: np.ndarray, peak: int) -> float:
    """How far beside a sample the parabola through it and its neighbours has its summit, in samples."""
    if not 0 < peak < len(values) - 1:
        return 0.0
    before, here, after = values[peak - 1 : peak + 2]
    bend = before - 2 * here + after
    return 0.0 if bend >= 0 else float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5))


def _correlations(a: np.ndarray, b: np.ndarray, common: np.ndarray) -> np.ndarray:
    """Pearson correlation of the overlapping parts at every lag of `b` against `a`."""
    a, b = a - a.mean(), b - b.mean()
    ones_a, ones_b = np.ones_like(a), np.ones_like(b)
    product = correlate(a, b, method="fft")
    sum_a, sum_b = correlate(a, ones_b, method="fft"), correlate(ones_a, b, method="fft")
    square_a, square_b = correlate(a * a, ones_b, method="fft"), correlate(ones_a, b * b, method="fft")
    spread = (square_a - sum_a**2 / common) * (square_b - sum_b**2 / common)
    # Where one part is silent nothing correlates.
    floor = 1e-6 * float((a * a).sum() * (b * b).sum()) + 1e-30
    return np.where(spread > floor, (product - sum_a * sum_b / common) / np.sqrt(np.maximum(spread, floor)), 0.0)


def _loudness(sound: np.ndarray) -> np.ndarray:
    block = _RATE_HZ // _LOUDNESS_HZ
    blocks = sound[: len(sound) // block * block].reshape(-1, block)
    power = (blocks**2).mean(1)
    return np.log(power + 1e-4 * power.max() + 1e-12)


def _by_waves(first: np.ndarray, other: np.ndarray, coarse_s: float) -> float:
    size = 1 << (len(first) + len(other)).bit_length()
    spectrum = np.fft.rfft(first, size) * np.conj(np.fft.rfft(other, size))
    magnitude = np.abs(spectrum)
    flat = np.fft.irfft(spectrum / (magnitude + 1e-3 * magnitude.max() + 1e-30), size)
    reach = round(_FINE_S * _RATE_HZ)
    centre = round(coarse_s * _RATE_HZ)
    around = np.arange(centre - reach, centre + reach + 1)
    values = flat[around % size]
    peak = int(values.argmax())
    return float(around[peak] + summit(values, peak)) / _RATE_HZ
