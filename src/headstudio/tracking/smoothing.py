"""Offline smoothing without lag that leaves fast movements alone.

A penalised least-squares smoother (Whittaker 1923) on second differences, whose penalty saturates (Geman and McClure
1987) for changes that are too large to be jitter, so that blinks, plosives and saccades keep their height. It begins
from the convex problem (Blake and Zisserman 1987), because in the raw series jitter and movement look alike.

Without the saturation this is the Rauch-Tung-Striebel smoother of a point that drifts at a nearly constant velocity,
which has one answer to everything: soft enough for blinks it lets half of the jitter pass. A One Euro filter forth and
back eats lip closures before it has calmed a still face, and the mean of a forward and a backward one keeps the jitter.
`benchmarks/tracking_smoothing.py` puts them side by side.
"""

import numpy as np
import roma
import torch
from jaxtyping import Float
from scipy.linalg import solveh_banded
from torch import Tensor

_ROUNDS = 6
_START = 2.0
"""Cut-off of the convex start over the one that is asked for."""
_LEAST_WEIGHT = 1e-3
_JUMP_STEP_S = 0.04
"""Step of the frames at which jumps are told."""
_JUMP_GROWTH = 1.5
"""Power of the step by which a jump grows: a kink grows in proportion, a steady acceleration with the square."""


def smooth(
    values: Float[Tensor, "frames channels"],
    weight: Float[Tensor, " frames"],
    times_s: Float[Tensor, " frames"],
    cut_off_hz: float,
    jump: float,
    together: bool = False,
) -> Float[Tensor, "frames channels"]:
    """Smooth each channel.

    Args:
        weight: trust in each frame, in [0, 1]; a frame of weight 0 is interpolated.
        cut_off_hz: a small oscillation of this frequency keeps half of its amplitude.
        jump: second difference, at 25 frames a second, that quarters the penalty; larger ones pass.
        together: judge jumps by the length over all channels, as for a vector in space.
    """
    if len(values) < 3:
        return values.clone()
    series = values.double().numpy()
    trust = weight.double().clamp_min(_LEAST_WEIGHT).numpy()
    difference, step_s = _second_differences(times_s.double().numpy())
    largest = jump * (step_s / _JUMP_STEP_S) ** _JUMP_GROWTH
    everywhere = np.ones((len(difference), series.shape[1]))
    result = _solved(series, trust, difference, _stiffness(_START * cut_off_hz, step_s) * everywhere)
    for _ in range(_ROUNDS):
        change = _apply(difference, result)
        size = np.linalg.norm(change, axis=1, keepdims=True) if together else np.abs(change)
        keep = (1.0 + (size / largest) ** 2) ** -2 * everywhere
        result = _solved(series, trust, difference, _stiffness(cut_off_hz, step_s) * keep)
    return torch.from_numpy(result).to(values)


def _stiffness(cut_off_hz: float, step_s: float) -> float:
    """The response of the smoother at frequency f is 1 / (1 + stiffness (2 sin(pi f dt))^4)."""
    return (2.0 * np.sin(np.pi * min(cut_off_hz * step_s, 0.5))) ** -4


def _solved(series: np.ndarray, trust: np.ndarray, difference: np.ndarray, stiffness: np.ndarray) -> np.ndarray:
    columns = [_solve(series[:, c], trust, difference, stiffness[:, c]) for c in range(series.shape[1])]
    return np.stack(columns, axis=1) if columns else series


def smooth_rotations(
    rotations: Float[Tensor, "frames 3 3"],
    weight: Float[Tensor, " frames"],
    times_s: Float[Tensor, " frames"],
    cut_off_hz: float,
    jump_rad: float,
) -> Float[Tensor, "frames 3 3"]:
    """Smooth rotations as rotation vectors around their mean, which a tracked head never leaves by half a turn."""
    centre = _mean_rotation(rotations * weight[:, None, None].clamp_min(_LEAST_WEIGHT))
    local = roma.rotmat_to_rotvec(centre.T @ rotations)
    return centre @ roma.rotvec_to_rotmat(smooth(local, weight, times_s, cut_off_hz, jump_rad, together=True))


def fill(
    values: Float[Tensor, "frames channels"], known: Tensor, times_s: Float[Tensor, " frames"]
) -> Float[Tensor, "frames channels"]:
    """Replace unknown frames by linear interpolation in time; the ends are held."""
    times, where = times_s.double().numpy(), known.numpy()
    columns = [np.interp(times, times[where], column[where]) for column in values.double().numpy().T]
    filled = torch.from_numpy(np.stack(columns, axis=1)).to(values) if columns else values
    return torch.where(known[:, None], values, filled)


def fill_rotations(
    rotations: Float[Tensor, "frames 3 3"], known: Tensor, times_s: Float[Tensor, " frames"]
) -> Float[Tensor, "frames 3 3"]:
    """The same for rotations, along rotation vectors around the mean of the known ones."""
    centre = _mean_rotation(rotations[known])
    local = torch.where(known[:, None], roma.rotmat_to_rotvec(centre.T @ rotations), 0.0)
    filled = centre @ roma.rotvec_to_rotmat(fill(local, known, times_s))
    return torch.where(known[:, None, None], rotations, filled)


def _mean_rotation(rotations: Float[Tensor, "frames 3 3"]) -> Float[Tensor, "3 3"]:
    """Chordal mean of weighted rotation matrices."""
    centre = roma.special_procrustes(rotations.sum(0))
    assert isinstance(centre, Tensor)
    return centre


def _second_differences(times_s: np.ndarray) -> tuple[np.ndarray, float]:
    """Coefficients (frames - 2, 3) on neighbouring frames, for uneven times, scaled to the usual step."""
    steps = np.diff(times_s)
    usual = float(np.median(steps))
    before, after = steps[:-1], steps[1:]
    scale = 2 * usual**2 / (before + after)
    return np.stack([scale / before, -scale / before - scale / after, scale / after], axis=1), usual


def _apply(difference: np.ndarray, series: np.ndarray) -> np.ndarray:
    before, middle, after = (difference[:, k, None] * series[k : len(series) - 2 + k] for k in range(3))
    return before + middle + after


def _solve(series: np.ndarray, trust: np.ndarray, difference: np.ndarray, stiffness: np.ndarray) -> np.ndarray:
    frames = len(series)
    bands = np.zeros((3, frames))  # solveh_banded's lower form: bands[k, i] is element (i + k, i)
    bands[0] = trust
    for i in range(3):
        for j in range(i + 1):
            bands[i - j, j : frames - 2 + j] += stiffness * difference[:, i] * difference[:, j]
    return solveh_banded(bands, trust * series, lower=True)
