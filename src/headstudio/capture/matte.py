"""The person matte: a segmenter's soft mask, freed of crumbs, calmed over time and fitted to the picture's edges."""

from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from headstudio.capture.detector import import_mediapipe, quiet

_STILL = 6.0 / 255
"""A pixel that changed by about this (after a slight blur) keeps little of its previous matte, a still one half."""
_CRUMB_AREA = 0.03
"""Parts smaller than this share of the picture are taken for background objects that look like people."""
_COARSE = 2
"""The filter's coefficients are found at the segmenter's own resolution, half of 512 pixels."""
_RADIUS_PER_SIDE = 5 / 256
_EPSILON = 1e-4
"""Colour variance (colours in [0, 1]) below which the picture has no edge to fit."""
_RAMP = (0.1, 0.9)
"""The fitted matte is stretched so that haze far from the edge becomes clean."""
_SYMMETRIC = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


class MediaPipeMatte:
    """MediaPipe's selfie segmentation, general model (256x256 inside)."""

    def __init__(self) -> None:
        with quiet():
            self._segmenter: Any = import_mediapipe().solutions.selfie_segmentation.SelfieSegmentation(0)
            self.estimate(np.zeros((256, 256, 3), np.uint8))

    def estimate(self, image_rgb: UInt8[np.ndarray, "height width 3"]) -> Float[np.ndarray, "height width"]:
        """Probability of person per pixel."""
        return np.asarray(self._segmenter.process(image_rgb).segmentation_mask, np.float32)

    def close(self) -> None:
        """Give the model back."""
        self._segmenter.close()


class MatteRefiner:
    """Turns the raw masks of consecutive frames into mattes; hand it the frames in their order."""

    def __init__(self) -> None:
        self._grey: np.ndarray | None = None
        self._calmed: np.ndarray | None = None

    def refine(
        self, image_rgb: UInt8[np.ndarray, "size size 3"], raw: Float[np.ndarray, "size size"]
    ) -> UInt8[np.ndarray, "size size"]:
        """The matte of the next frame, 255 = person."""
        calmed = self._calm(image_rgb, without_crumbs(raw))
        radius = max(round(_RADIUS_PER_SIDE * len(raw) / _COARSE), 1)
        fitted = guided_filter(image_rgb.astype(np.float32) / 255, calmed, radius, _EPSILON, _COARSE)
        low, high = _RAMP
        return np.round(np.clip((fitted - low) / (high - low), 0, 1) * 255).astype(np.uint8)

    def _calm(self, image_rgb: np.ndarray, raw: np.ndarray) -> np.ndarray:
        """Average with the previous frame where the picture stands still: the segmenter flickers there."""
        grey = cv2.blur(cv2.cvtColor(image_rgb, cv2.COLOR_RGB2GRAY), (5, 5)).astype(np.float32) / 255
        calmed = raw.astype(np.float32)
        if self._grey is not None and self._calmed is not None:
            share = 0.5 * np.exp(-(((grey - self._grey) / _STILL) ** 2))
            calmed = (1 - share) * calmed + share * self._calmed
        self._grey, self._calmed = grey, calmed
        return calmed


def without_crumbs(mask: Float[np.ndarray, "height width"]) -> Float[np.ndarray, "height width"]:
    """The mask without its small separate parts."""
    count, parts, facts, _ = cv2.connectedComponentsWithStats((mask > 0.1).astype(np.uint8))
    if count <= 2:
        return mask
    areas = facts[:, cv2.CC_STAT_AREA]
    keep = areas >= _CRUMB_AREA * mask.size
    keep[0], keep[1 + int(np.argmax(areas[1:]))] = True, True
    return mask * keep[np.asarray(parts, np.intp)]


def guided_filter(
    guide: Float[np.ndarray, "height width 3"],
    mask: Float[np.ndarray, "height width"],
    radius: int,
    epsilon: float,
    coarse: int = 1,
) -> Float[np.ndarray, "height width"]:
    """Make a mask locally linear in the colours of a guide (He, Sun and Tang 2013, eq. 19-21; fast variant 2015).

    Args:
        guide: colours in [0, 1], float32.
        radius: of the box windows, in pixels of the coarse level.
        epsilon: regularisation, a colour variance.
        coarse: factor by which the coefficients' level is smaller.
    """
    height, width = mask.shape
    level = (width // coarse, height // coarse)
    colours = guide if coarse == 1 else cv2.resize(guide, level, interpolation=cv2.INTER_AREA)
    values = mask if coarse == 1 else cv2.resize(mask, level, interpolation=cv2.INTER_AREA)
    slope, offset = _local_lines(colours, values, radius, epsilon)
    slope, offset = (cv2.resize(_box(c, radius), (width, height)) for c in (slope, offset))
    return np.einsum("hwc,hwc->hw", slope, guide) + offset


def _local_lines(colours: np.ndarray, values: np.ndarray, radius: int, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
    """Slope (per colour) and offset of the ridge regression of values on colours in every window."""
    mean, mean_value = _box(colours, radius), _box(values, radius)
    joint = _box(colours * values[..., None], radius) - mean * mean_value[..., None]
    spread = {}
    for i, j in _SYMMETRIC:
        spread[i, j] = _box(colours[..., i] * colours[..., j], radius) - mean[..., i] * mean[..., j]
        spread[i, j] += epsilon * (i == j)
    a, b, c, d, e, f = (spread[key] for key in _SYMMETRIC)
    # the adjugate of a symmetric 3x3 matrix: numpy's batched solve costs ten times as much
    rows = ((d * f - e * e, c * e - b * f, b * e - c * d), (c * e - b * f, a * f - c * c, b * c - a * e))
    rows = (*rows, (b * e - c * d, b * c - a * e, a * d - b * b))
    determinant = a * rows[0][0] + b * rows[0][1] + c * rows[0][2]
    slope = np.stack([sum(row[k] * joint[..., k] for k in range(3)) / determinant for row in rows], -1)
    return slope, mean_value - np.einsum("hwc,hwc->hw", slope, mean)


def _box(values: np.ndarray, radius: int) -> np.ndarray:
    return cv2.blur(values, (2 * radius + 1,) * 2, borderType=cv2.BORDER_REFLECT)
