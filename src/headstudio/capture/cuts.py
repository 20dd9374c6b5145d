"""Where a clip was cut: the whole picture changes from one frame to the next, and only there."""

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from jaxtyping import Float, UInt8

_THUMBNAIL_PX = (64, 36)
_BINS = 8
_NEIGHBOURS = 12
_CUT_CHANGE = 0.06
"""Mean grey change (of 1) a cut exceeds; walking, hands and camera sway stay below 0.04 a frame on the real clips."""
_CUT_OVER_NEIGHBOURS = 5.0
_SCENE_HISTOGRAM = 0.25
"""Histogram distance above which it is another scene rather than the same one with a piece missing."""
_JUMP_FACES = 0.4
"""Face sizes a face moves in one frame of a jump cut."""


@dataclass(frozen=True)
class Cut:
    """One cut."""

    frame: int
    """First frame after it."""
    time_s: float
    """Its time on the clip's clock."""
    scene: bool
    """True when another picture begins, False when the same scene jumps."""


class ChangeMeter:
    """Measures how much consecutive pictures differ."""

    def __init__(self) -> None:
        self._thumbnail: np.ndarray | None = None
        self._histogram: np.ndarray | None = None

    def step(self, image: UInt8[np.ndarray, "height width 3"]) -> tuple[float, float]:
        """Mean grey change in [0, 1] and histogram distance in [0, 1] since the last picture."""
        coarse = np.ascontiguousarray(image[::2, ::2]) if image.shape[0] > 720 else image
        small = cv2.resize(coarse, _THUMBNAIL_PX, interpolation=cv2.INTER_AREA)
        thumbnail = small.mean(-1) / 255
        colours = (small.reshape(-1, 3) // (256 // _BINS)).astype(np.int64) @ (_BINS * _BINS, _BINS, 1)
        histogram = np.bincount(colours, minlength=_BINS**3) / len(colours)
        change = (0.0, 0.0)
        if self._thumbnail is not None and self._histogram is not None:
            difference = float(np.abs(thumbnail - self._thumbnail).mean())
            change = difference, float(np.abs(histogram - self._histogram).sum() / 2)
        self._thumbnail, self._histogram = thumbnail, histogram
        return change


def find_cuts(
    changes: Float[np.ndarray, "frames 2"],
    boxes_px: Float[np.ndarray, "frames 4"],
    times_s: Float[np.ndarray, " frames"],
) -> list[Cut]:
    """Frames where the picture changes far more than around them.

    Args:
        changes: what `ChangeMeter.step` gave.
        boxes_px: left, top, width, height of the face; NaN where there was none.
    """
    centres = boxes_px[:, :2] + boxes_px[:, 2:] / 2
    moves = np.linalg.norm(np.diff(centres, axis=0), axis=1) / np.nanmax(boxes_px[1:, 2:], axis=1, initial=1e-6)
    cuts = []
    for frame in range(1, len(changes)):
        difference, histogram = changes[frame]
        around = np.delete(
            changes[max(frame - _NEIGHBOURS, 1) : frame + _NEIGHBOURS + 1, 0], min(frame - 1, _NEIGHBOURS)
        )
        usual = float(np.median(around)) if len(around) else 0.0
        if difference < _CUT_OVER_NEIGHBOURS * usual:
            continue
        if difference > _CUT_CHANGE and histogram > _SCENE_HISTOGRAM:
            cuts.append(Cut(frame, float(times_s[frame]), True))
        elif moves[frame - 1] > _JUMP_FACES:
            cuts.append(Cut(frame, float(times_s[frame]), False))
    return cuts


def longest_shot(cuts: list[Cut], end_s: float) -> tuple[float, float]:
    """Start and end of the longest stretch between scene cuts."""
    borders = [0.0, *(cut.time_s for cut in cuts if cut.scene), end_s]
    return max(pairwise(borders), key=lambda shot: shot[1] - shot[0])
