"""Following one face through a clip, in a window around it that gives the landmarks their full resolution."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from headstudio.capture.detector import Detector

_WINDOW_PX = 384
"""Side of the picture that the landmark network's own crop is taken from; twice its 192 input pixels."""
_WINDOW_OVER_FACE = 2.0
_MOST_OVER_PICTURE = 2
"""Largest window, in longer sides of the picture."""
_MOST_GROWTH = 1.8
"""A face grows or shrinks by no more than this from one look to the next."""
_FOUND_BOX_OVER_FACE = 0.8
"""MediaPipe's detector frames brows to chin, the mesh frames forehead to chin."""
_SETTLING_LOOKS = 2
"""After a search the mesh looks again where it just found the face: its second answer no longer depends on the box."""
_TILE_FRACTIONS = (0.5, 0.3)
_SEARCH_IN_TILES_EVERY = 15
_COUNT_FACES_EVERY = 25
_NOTABLE_SIZE = 0.4


@dataclass(frozen=True)
class Sighting:
    """What one picture showed."""

    landmarks_px: Float[np.ndarray, "478 3"] | None
    """Landmarks of the followed face in pixels of the picture; None where it was not found."""
    faces: int | None
    """Number of faces of notable size, in the pictures where they were counted."""
    window: UInt8[np.ndarray, "side side 3"] | None
    """The window that was looked into."""
    window_px: tuple[float, float, float] | None
    """Its left, top and side in pixels of the picture."""


class FaceFollower:
    """Chooses the largest, most central face of the first picture that shows one, and stays with it."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._box: np.ndarray | None = None
        """Where the face was last seen."""
        self._seen = 0
        self._lost_for = 0

    def look(self, image: UInt8[np.ndarray, "height width 3"]) -> Sighting:
        """Find the face in the next picture."""
        landmarks, window, placed = None, None, None
        if self._box is not None and self._lost_for == 0:
            landmarks, window, placed = self._in_window(image, self._box, 1)
        boxes = None
        if landmarks is None:
            boxes = self._search(image)
            chosen = self._choose(boxes, image.shape)
            if chosen is not None:
                landmarks, window, placed = self._in_window(image, chosen, _SETTLING_LOOKS)
        self._lost_for = 0 if landmarks is not None else self._lost_for + 1
        if landmarks is not None:
            self._box = box_of(landmarks)
        return Sighting(landmarks, self._count(image, boxes), window, placed)

    def _in_window(
        self, image: np.ndarray, box: Float[np.ndarray, "4"], looks: int
    ) -> tuple[np.ndarray | None, np.ndarray, tuple[float, float, float]]:
        centre = box[:2] + box[2:] / 2
        side = int(
            np.clip(round(_WINDOW_OVER_FACE * float(box[2:].max())), 8, _MOST_OVER_PICTURE * max(image.shape[:2]))
        )
        left, top = (int(v) for v in np.round(centre - side / 2))
        window = square_window(image, left, top, side, _WINDOW_PX, cv2.BORDER_CONSTANT)
        faces = []
        for _ in range(looks):
            faces = self._detector.detect(window) or faces
        scale = side / _WINDOW_PX
        landmarks = faces[0] * scale + (left, top, 0.0) if faces else None
        if landmarks is not None and not _plausible(landmarks, box, left, top, side):
            landmarks = None
        return landmarks, window, (float(left), float(top), float(side))

    def _search(self, image: np.ndarray) -> Float[np.ndarray, "faces 4"]:
        boxes = self._detector.find(image)
        if len(boxes) or self._lost_for % _SEARCH_IN_TILES_EVERY:
            return boxes
        for fraction in _TILE_FRACTIONS:  # small faces: the detector sees 192 pixels of the whole picture
            found = [self._detector.find(tile) + np.array([x, y, 0, 0]) for tile, x, y in _tiles(image, fraction)]
            boxes = np.concatenate(found)
            if len(boxes):
                return boxes
        return boxes

    def _choose(self, boxes: Float[np.ndarray, "faces 4"], shape: tuple[int, ...]) -> Float[np.ndarray, "4"] | None:
        if not len(boxes):
            return None
        boxes = _as_landmark_boxes(boxes)
        centres, sizes = boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:].max(1)
        if self._box is None:
            middle = np.array([shape[1] / 2, shape[0] / 2])
            distance = np.linalg.norm((centres - middle) / middle, axis=1)
            return boxes[np.argmax(sizes**2 * np.exp(-(distance**2)))]
        distance = np.linalg.norm(centres - (self._box[:2] + self._box[2:] / 2), axis=1)
        return boxes[np.argmin(distance + 2 * np.abs(sizes - self._box[2:].max()))]

    def _count(self, image: np.ndarray, boxes: np.ndarray | None) -> int | None:
        due = self._seen % _COUNT_FACES_EVERY == 0
        self._seen += 1
        if not due:
            return None
        boxes = self._detector.find(image) if boxes is None else boxes
        if not len(boxes):
            return 0
        sizes = boxes[:, 2:].max(1)
        own = sizes.max() if self._box is None else self._box[2:].max() * _FOUND_BOX_OVER_FACE
        return int((sizes > _NOTABLE_SIZE * own).sum())


def box_of(landmarks_px: Float[np.ndarray, "... 478 3"]) -> Float[np.ndarray, "... 4"]:
    """Left, top, width and height of the landmarks' bounds."""
    low, high = landmarks_px[..., :2].min(-2), landmarks_px[..., :2].max(-2)
    return np.concatenate([low, high - low], -1)


def square_window(
    image: UInt8[np.ndarray, "height width *channels"],
    left: int,
    top: int,
    side: int,
    size_px: int,
    border: int = cv2.BORDER_REPLICATE,
) -> UInt8[np.ndarray, "size size *channels"]:
    """A square of the picture at another resolution.

    Outside the picture its edge pixels are repeated, which keeps JPEG and convolutions from ringing at the border;
    `cv2.BORDER_CONSTANT` makes it black.
    """
    height, width = image.shape[:2]
    x0, x1 = (int(np.clip(x, 0, width)) for x in (left, left + side))
    y0, y1 = (int(np.clip(y, 0, height)) for y in (top, top + side))
    if x1 <= x0 or y1 <= y0:
        return np.zeros((size_px, size_px, *image.shape[2:]), np.uint8)
    inside = image[y0:y1, x0:x1]
    margins = (y0 - top, top + side - y1, x0 - left, left + side - x1)
    if any(margins):
        inside = cv2.copyMakeBorder(inside, *margins, border)
    shrinking = side > size_px
    return cv2.resize(inside, (size_px, size_px), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC)


def _plausible(landmarks: np.ndarray, box: np.ndarray, left: int, top: int, side: int) -> bool:
    """A mesh that drifts off the face soon leaves the window, collapses or swells."""
    growth = box_of(landmarks)[2:].max() / box[2:].max()
    centre = landmarks[:, :2].mean(0) - (left, top)
    return bool(1 / _MOST_GROWTH < growth < _MOST_GROWTH and np.all((centre > 0) & (centre < side)))


def _as_landmark_boxes(boxes: Float[np.ndarray, "faces 4"]) -> Float[np.ndarray, "faces 4"]:
    grown = boxes[:, 2:] / _FOUND_BOX_OVER_FACE
    return np.concatenate([boxes[:, :2] - (grown - boxes[:, 2:]) * (0.5, 0.75), grown], 1)


def _tiles(image: np.ndarray, fraction: float) -> list[tuple[np.ndarray, int, int]]:
    """Squares of a fraction of the longer side that overlap by half."""
    height, width = image.shape[:2]
    side = min(round(fraction * max(height, width)), height, width)
    columns, rows = (sorted({*range(0, n - side, max(side // 2, 1)), n - side}) for n in (width, height))
    return [(image[y : y + side, x : x + side], x, y) for y in rows for x in columns]
