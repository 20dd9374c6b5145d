"""How good each frame is: blur, exposure, hidden parts, trust in the landmarks."""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from headstudio.capture.follow import box_of, square_window

_FACE_PATCH_PX = 128
_DARK, _BRIGHT = 8, 247
_PALM = (0, 1, 5, 9, 13, 17)
_FINGERS = ((1, 2, 3, 4), (5, 6, 7, 8), (9, 10, 11, 12), (13, 14, 15, 16), (17, 18, 19, 20))
_TREMBLE = 0.06
"""Second difference of the face's shape, in face sizes, at which the trust in a frame has fallen to 1/e."""
_FRAME_S = 0.04
_RESIDUAL = 0.10
"""Misfit of the stable points, in face sizes, at which it has fallen to 1/e."""
# A few points of the mesh in every part of the face; their mean is its place, their spread its size.
_SHAPE = (10, 338, 297, 332, 284, 251, 389, 356, 454, 127, 234, 162, 21, 54, 103, 67, 109, 33, 133, 263, 362, 168, 4)


def face_mask(landmarks_px: Float[np.ndarray, "478 3"], size_px: int) -> UInt8[np.ndarray, "size size"]:
    """255 inside the convex hull of the landmarks."""
    hull = cv2.convexHull(np.round(landmarks_px[:, :2]).astype(np.int32))
    return cv2.fillConvexPoly(np.zeros((size_px, size_px), np.uint8), hull, 255)


def picture_measures(
    image_rgb: UInt8[np.ndarray, "height width 3"], landmarks_px: Float[np.ndarray, "478 3"]
) -> dict[str, float]:
    """Sharpness and exposure of the face in a stored frame; NaN where there is no face.

    `sharpness` is the variance of the Laplacian of the face at a fixed size, so that near and far faces compare;
    `exposure` its mean luma in [0, 1]; `clipped` the share of it that is nearly black or white.
    """
    if not np.isfinite(landmarks_px).all():
        return {"sharpness": np.nan, "exposure": np.nan, "clipped": np.nan}
    left, top, width, height = (round(float(v)) for v in box_of(landmarks_px))
    side = max(width, height, 1)
    patch = square_window(image_rgb, left + (width - side) // 2, top + (height - side) // 2, side, _FACE_PATCH_PX)
    grey = cv2.cvtColor(patch, cv2.COLOR_RGB2GRAY)
    luma = cv2.cvtColor(image_rgb, cv2.COLOR_RGB2GRAY)[face_mask(landmarks_px, len(image_rgb)) > 0]
    luma = luma if luma.size else np.zeros(1, np.uint8)
    return {
        "sharpness": float(cv2.Laplacian(grey, cv2.CV_64F).var()),
        "exposure": float(luma.mean()) / 255,
        "clipped": float(((luma < _DARK) | (luma > _BRIGHT)).mean()),
    }


def covered_by_hands(
    landmarks_px: Float[np.ndarray, "478 3"], hands_px: list[Float[np.ndarray, "21 2"]], size_px: int
) -> float:
    """Share of the face in a `size_px` window that lies behind hands, drawn as palms and thick fingers."""
    if not hands_px:
        return 0.0
    face = face_mask(landmarks_px, size_px) > 0
    drawn = np.zeros((size_px, size_px), np.uint8)
    for hand in hands_px:
        points = np.round(hand).astype(np.int32)
        thickness = max(round(0.3 * float(np.linalg.norm(hand[5] - hand[17]))), 1)
        cv2.fillConvexPoly(drawn, cv2.convexHull(points[list(_PALM)]), 255)
        for finger in _FINGERS:
            cv2.polylines(drawn, [points[list(finger)]], False, 255, thickness)
    return float((face & (drawn > 0)).sum() / max(face.sum(), 1))


def outside_matte(landmarks_px: Float[np.ndarray, "478 3"], matte: UInt8[np.ndarray, "size size"]) -> float:
    """Share of the face that the matte says is no person: something in front of it, or landmarks that slipped."""
    if not np.isfinite(landmarks_px).all():
        return np.nan
    face = face_mask(landmarks_px, len(matte)) > 0
    return float((matte[face] < 128).mean()) if face.any() else 1.0


def confidence(
    landmarks_px: Float[np.ndarray, "frames 478 3"],
    times_s: Float[np.ndarray, " frames"],
    residual: Float[np.ndarray, " frames"],
) -> Float[np.ndarray, " frames"]:
    """Trust in the landmarks of each frame, in [0, 1]: 0 without a face, less where the shape trembles or misfits.

    The shape is compared after place and size are removed, by its second difference over time, so that neither
    moving nor turning steadily costs trust. Frames further apart than a 25th of a second may differ by more.
    """
    shape = landmarks_px[:, _SHAPE, :2].astype(np.float64)
    shape = shape - shape.mean(1, keepdims=True)
    shape = shape / np.sqrt((shape**2).sum(-1).mean(-1))[:, None, None]
    tremble = np.zeros(len(shape))
    if len(shape) > 2:
        second = shape[:-2] - 2 * shape[1:-1] + shape[2:]
        span_s = (times_s[2:] - times_s[:-2]) / 2
        pace = np.minimum((_FRAME_S / span_s) ** 2, 1.0)
        tremble[1:-1] = np.nan_to_num(np.sqrt((second**2).sum(-1).mean(-1)) / 2 * pace)
    trust = np.exp(-((tremble / _TREMBLE) ** 2) - (np.nan_to_num(residual) / _RESIDUAL) ** 2)
    return np.where(np.isfinite(landmarks_px).all((1, 2)), trust, 0.0)
