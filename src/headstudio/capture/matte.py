"""The person matte: a segmenter's soft mask, calmed over time and fitted to the edges of the picture."""

from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from headstudio.capture.detector import import_mediapipe, quiet

_STILL = 6.0 / 255
"""A pixel that changed by less than this (after a slight blur) keeps half of its previous matte."""
_GUIDE_RADIUS = 8
"""Of the guided filter at 512 pixels: the segmenter's own pixels are two stored ones, its edges soft by some more."""
_GUIDE_EPSILON = 1e-4
_REFERENCE_PX = 512
_RAMP = (0.15, 0.85)
"""The filtered matte is stretched so that haze far from the edge becomes clean."""


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
        self._image: np.ndarray | None = None
        self._raw: np.ndarray | None = None

    def refine(
        self, image_rgb: UInt8[np.ndarray, "height width 3"], raw: Float[np.ndarray, "height width"]
    ) -> UInt8[np.ndarray, "height width"]:
        """The matte of the next frame, 255 = person."""
        calmed = self._calm(image_rgb, raw)
        guide = image_rgb.astype(np.float32) / 255
        radius = max(round(_GUIDE_RADIUS * image_rgb.shape[0] / _REFERENCE_PX), 1)
        fitted = cv2.ximgproc.guidedFilter(guide, calmed, radius, _GUIDE_EPSILON)
        low, high = _RAMP
        return np.round(np.clip((fitted - low) / (high - low), 0, 1) * 255).astype(np.uint8)

    def _calm(self, image_rgb: np.ndarray, raw: np.ndarray) -> np.ndarray:
        """Average with the previous frame where the picture stands still: the segmenter flickers there."""
        grey = cv2.blur(cv2.cvtColor(image_rgb, cv2.COLOR_RGB2GRAY), (5, 5)).astype(np.float32) / 255
        calmed = raw
        if self._image is not None and self._raw is not None:
            share = 0.5 * np.exp(-(((grey - self._image) / _STILL) ** 2))
            calmed = (1 - share) * raw + share * self._raw
        self._image, self._raw = grey, calmed.astype(np.float32)
        return self._raw
