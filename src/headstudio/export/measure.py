"""Where things sit on a head, measured on its mesh at rest."""

from typing import NamedTuple

import numpy as np

from headstudio.records.mesh import MeshAsset

_EYE_HALF_DISTANCE_M = 0.031  # of a head without eye joints
_BROW_M = (0.045, 0.065)  # above the eyes: over the ears, below the crown
_BRIDGE_M = (-0.012, 0.004)
_TEMPLES_M = (-0.01, 0.02)
_EARS_M = (-0.06, 0.02)


class HeadMeasures(NamedTuple):
    """Places and sizes in metres, in the head frame."""

    eyes: np.ndarray
    """Centres of the left and the right eyeball (2, 3)."""
    top: float
    """y of the crown."""
    front: float
    """z of the forehead."""
    back: float
    """z of the back of the head, at the height of the forehead."""
    half_width: float
    """Of the head at that height."""
    bridge: float
    """z of the bridge of the nose."""
    temples: float
    """Half the head's width before the ears."""
    ears: float
    """Half its width with the ears."""

    @property
    def eye_y(self) -> float:
        """Height of the eyes."""
        return float(self.eyes[:, 1].mean())

    @property
    def middle(self) -> float:
        """x of the plane between left and right."""
        return float(self.eyes[:, 0].mean())

    @property
    def centre(self) -> float:
        """z half-way between forehead and back."""
        return (self.front + self.back) / 2


def measure_head(asset: MeshAsset) -> HeadMeasures:
    """Measure a head; where it has no vertex to measure, a sphere about its eyes stands for it."""
    points = asset.vertices_m.double().numpy()
    eyes = _eyes(asset)
    height, aside = points[:, 1] - eyes[:, 1].mean(), np.abs(points[:, 0] - eyes[:, 0].mean())
    depth = points[:, 2] - eyes[0, 2]

    def band(low: float, high: float) -> np.ndarray:
        return (height > low) & (height < high)

    brow = band(*_BROW_M)
    ridge = band(*_BRIDGE_M) & (aside < 0.004)
    beside = band(*_TEMPLES_M) & (np.abs(depth + 0.035) < 0.012)
    lobes = band(*_EARS_M) & (np.abs(depth + 0.095) < 0.035)
    return HeadMeasures(
        eyes=eyes,
        top=float(points[:, 1].max()),
        front=_largest(points[brow, 2], eyes[0, 2] + 0.01),
        back=-_largest(-points[brow, 2], 0.17 - eyes[0, 2]),
        half_width=_largest(aside[brow], 0.075),
        bridge=_largest(points[ridge, 2], eyes[0, 2] + 0.015),
        temples=_largest(aside[beside], 0.07),
        ears=_largest(aside[lobes], 0.08),
    )


def _eyes(asset: MeshAsset) -> np.ndarray:
    names = ("eye_left", "eye_right")
    if all(name in asset.joint_names for name in names):
        return asset.joint_positions_m[[asset.joint_names.index(name) for name in names]].double().numpy()
    return np.array([[side * _EYE_HALF_DISTANCE_M, 0.0, 0.0] for side in (1, -1)])


def _largest(values: np.ndarray, otherwise: float) -> float:
    return float(values.max()) if len(values) else float(otherwise)
