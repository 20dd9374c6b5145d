"""Hand sweep or rotating chair: what stands still behind the head tells who moved."""

import itertools

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from headstudio.records.scan import LightMode

_SIDE_PX = 96
_LEAST_CONTRAST = 2.0
"""Grey levels (standard deviation) without which a background says nothing."""
_ALIKE = 0.8
"""Correlation of a background with itself, below which it has moved."""
_LEAST_SHARED = 200
_AWAY_PX = 5


def light_mode(
    images: list[UInt8[np.ndarray, "height width 3"]],
    persons: list[Bool[np.ndarray, "height width"]],
    valid: Bool[np.ndarray, "height width"],
) -> tuple[LightMode, bool]:
    """What the light did, and whether the background showed it.

    Key frames are compared with each other where neither shows the person. A plain wall looks alike wherever it is seen
    from; then a chair is taken to have turned, for which nothing but the head is looked at.
    """
    greys = [
        cv2.resize(cv2.cvtColor(i, cv2.COLOR_RGB2GRAY), (_SIDE_PX,) * 2, interpolation=cv2.INTER_AREA) for i in images
    ]
    free = [_free(person, valid) for person in persons]
    alike = []
    for a, b in itertools.combinations(range(len(greys)), 2):
        both = free[a] & free[b]
        if both.sum() < _LEAST_SHARED:
            continue
        first, second = greys[a][both].astype(np.float64), greys[b][both].astype(np.float64)
        if min(first.std(), second.std()) > _LEAST_CONTRAST:
            alike.append(float(np.corrcoef(first, second)[0, 1]))
    if not alike:
        return LightMode.TURNING, False
    return (LightMode.TURNING if np.median(alike) > _ALIKE else LightMode.FIXED_TO_HEAD), True


def _free(person: np.ndarray, valid: np.ndarray) -> np.ndarray:
    taken = cv2.resize((person | ~valid).astype(np.uint8) * 255, (_SIDE_PX,) * 2, interpolation=cv2.INTER_AREA) > 0
    return cv2.dilate(taken.astype(np.uint8), np.ones((_AWAY_PX,) * 2, np.uint8)) == 0
