"""What heads share when they are given the skeleton of `JOINTS`."""

import numpy as np

HEAD_JOINT_M, JAW_JOINT_M, NECK_JOINT_M = (0.0, -0.032, -0.107), (0.0, -0.041, -0.060), (0.0, -0.142, -0.111)
"""Joints of MakeHuman's mean head from the middle between its eyeballs, for heads that come without a skeleton."""

_SLAB_M = 0.04


def affine_regressor(points_m: np.ndarray, allowed: np.ndarray, place_m: np.ndarray) -> np.ndarray:
    """The smallest weights that sum to 1 and reproduce a place from the points around its height.

    Args:
        points_m: (points, 3).
        allowed: (points,) which of them may be used.
        place_m: (3,).

    Returns:
        (points,) weights.
    """
    near = allowed & (np.abs(points_m[:, 1] - place_m[1]) < _SLAB_M)
    system = np.concatenate([points_m[near].T, np.ones((1, near.sum()))])
    weights = np.zeros(len(points_m))
    weights[near] = np.linalg.pinv(system) @ np.append(place_m, 1.0)
    return weights


def sphere_centre(points_m: np.ndarray) -> np.ndarray:
    """Centre of the sphere that fits points best: |p|^2 = 2 p.c + (r^2 - |c|^2) is linear in its unknowns."""
    system = np.concatenate([2 * points_m, np.ones((len(points_m), 1))], axis=1)
    return np.linalg.lstsq(system, (points_m**2).sum(1), rcond=None)[0][:3]
