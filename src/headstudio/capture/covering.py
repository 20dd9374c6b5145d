"""What lies over the face: hands, cups, hair, microphones, told by the colours under the landmarks.

Landmarks stay on a face whose mouth is behind a hand, because the network guesses what it does not see; the colours
under them do not. How every point of the face looks is explained by how the head is turned and what the face does: a
weighted linear regression, in which frames that it cannot explain count less from round to round (iteratively
reweighted least squares). What remains, in each point's own spread, says which part of the face is something else.
"""

from collections.abc import Mapping
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from headstudio.capture.follow import box_of, square_window

POINTS = 468
"""Landmarks of the face mesh without the irises."""
REGIONS = {
    "forehead": (10, 151, 9, 67, 297),
    "right_eye": (33, 133, 145, 159, 105),
    "left_eye": (263, 362, 374, 386, 334),
    "nose": (1, 4, 6, 195),
    "right_cheek": (205, 50, 187, 123),
    "left_cheek": (425, 280, 411, 352),
    "mouth": (13, 14, 61, 291),
    "chin": (152, 199, 175),
}
"""Parts of the face and landmarks in them; every other landmark belongs to the nearest."""
EXPLAINING = (
    "yaw_deg", "pitch_deg", "roll_deg", "mouth_open", "mouth_width", "eye_open_left", "eye_open_right", "brow_raise",
)  # fmt: skip
"""Measures of a frame (`face_measures`) that its colours follow from; the first two also by their squares."""

_PATCH_PX = 128
_ALMOST_BLACK = 8.0
_LEAST_FRAMES = 40
"""Frames from which a clip's looks are learned at least."""
_RANGE_PERCENT = (2.0, 98.0)
_RIDGES = (np.inf, 1.0, 0.3, 0.1, 0.03, 0.03, 0.03)
"""Stiffness of the regression from round to round: at first nothing but the usual look is believed, so that what covers
the face for seconds is not taken for its look (Blake and Zisserman's graduated start)."""
_LEAST_SPREAD = 0.06
"""Of the logarithm of a colour: what compression and small shadows do everywhere."""
_ODD = 2.5
"""Spreads away from its explanation at which a point is something else."""
_COLD = 0.08
"""Share of odd points at which a frame counts for half in what is learned."""


class Covering(NamedTuple):
    """How much of the face something lies over."""

    share: Float[np.ndarray, " frames"]
    """Of all points, in [0, 1]; NaN where there is no face."""
    regions: dict[str, Float[np.ndarray, " frames"]]
    """The same of each part of the face."""


def face_colours(
    image_rgb: UInt8[np.ndarray, "height width 3"], landmarks_px: Float[np.ndarray, "478 3"]
) -> UInt8[np.ndarray, "468 3"]:
    """Colours under the landmarks, at a fixed resolution of the face; black where there is no face."""
    if not np.isfinite(landmarks_px).all():
        return np.zeros((POINTS, 3), np.uint8)
    left, top, width, height = (round(float(v)) for v in box_of(landmarks_px))
    side = max(width, height, 1)
    left, top = left + (width - side) // 2, top + (height - side) // 2
    patch = cv2.GaussianBlur(square_window(image_rgb, left, top, side, _PATCH_PX), (0, 0), 1.0)
    places = (landmarks_px[:POINTS, :2] - (left, top)) * (_PATCH_PX / side) - 0.5
    x, y = places.astype(np.float32).T[:, None]
    return cv2.remap(patch, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]


def covering(
    colours: UInt8[np.ndarray, "frames 468 3"],
    landmarks_px: Float[np.ndarray, "frames 478 3"],
    measures: Mapping[str, Float[np.ndarray, " frames"]],
    train_end: int,
) -> Covering:
    """Find what lies over the face.

    Training frames are judged by what training frames alone look like; all others may look back at them, because a
    short end of a clip would know too little by itself. A clip with fewer than 40 faces in its training part tells
    nothing: all shares are 0.

    Args:
        colours: of `face_colours`.
        measures: `EXPLAINING`, one number a frame.
        train_end: frames before it are training frames.
    """
    seen = np.isfinite(landmarks_px).all((1, 2))
    train = np.arange(len(colours)) < train_end
    share = np.where(seen, 0.0, np.nan)
    regions = {name: share.copy() for name in REGIONS}
    if (seen & train).sum() < _LEAST_FRAMES:
        return Covering(share, regions)
    part_of = _parts(landmarks_px[seen & train])
    known = np.stack([np.asarray(measures[name], np.float64) for name in EXPLAINING], 1)
    for told, teachers in ((train, train), (~train, np.ones_like(train))):
        odd = _odd(colours[seen], known[seen], teachers[seen])[told[seen]]
        share[seen & told] = odd.mean(1)
        for index, name in enumerate(REGIONS):
            regions[name][seen & told] = odd[:, part_of == index].mean(1)
    return Covering(share, regions)


def _parts(landmarks_px: Float[np.ndarray, "frames 478 3"]) -> Int[np.ndarray, "468"]:
    """The region that each landmark belongs to, by distance in the clip's median shape."""
    shape = landmarks_px[:, :POINTS, :2] - landmarks_px[:, :POINTS, :2].mean(1, keepdims=True)
    shape = np.median(shape / np.ptp(shape, axis=1, keepdims=True).max(2, keepdims=True), 0)
    distance = [np.linalg.norm(shape[:, None] - shape[list(ids)], axis=-1).min(1) for ids in REGIONS.values()]
    return np.argmin(distance, 0)


def _odd(
    colours: UInt8[np.ndarray, "seen 468 3"],
    known: Float[np.ndarray, "seen measures"],
    teachers: Bool[np.ndarray, " seen"],
) -> Bool[np.ndarray, "seen 468"]:
    """Points whose colour nothing explains."""
    values = _levelled(np.log(colours.astype(np.float64) + _ALMOST_BLACK), teachers)
    flat, design = values.reshape(len(values), -1), _design(known, teachers)
    weight, odd = teachers.astype(np.float64), np.zeros(values.shape[:2], bool)
    for ridge in _RIDGES:
        explained = 0.0 if np.isinf(ridge) else _explained(flat, design, weight, ridge)
        rest = (flat - explained).reshape(values.shape)
        rest = rest - np.median(rest, 1, keepdims=True)
        trusted = weight > 0.5
        spread = 1.4826 * np.median(np.abs(rest[trusted if trusted.sum() >= _LEAST_FRAMES // 2 else teachers]), 0)
        odd = np.sqrt(((rest / np.maximum(spread, _LEAST_SPREAD)) ** 2).mean(-1)) > _ODD
        weight = teachers / (1.0 + (odd.mean(1) / _COLD) ** 4)
    return odd


def _explained(
    values: Float[np.ndarray, "seen colours"],
    design: Float[np.ndarray, "seen columns"],
    weight: Float[np.ndarray, " seen"],
    ridge: float,
) -> Float[np.ndarray, "seen colours"]:
    """Weighted ridge regression; the constant is free."""
    weighted = design * weight[:, None]
    stiff = weight.sum() * ridge * np.diag(np.r_[0.0, np.ones(design.shape[1] - 1)])
    return design @ np.linalg.solve(weighted.T @ design + stiff, weighted.T @ values)


def _levelled(
    values: Float[np.ndarray, "seen 468 3"], teachers: Bool[np.ndarray, " seen"]
) -> Float[np.ndarray, "seen 468 3"]:
    """Differences from the usual look, freed of each frame's exposure and white balance."""
    for _ in range(2):
        values = values - np.median(values - np.median(values[teachers], 0), axis=1, keepdims=True)
    return values - np.median(values[teachers], 0)


def _design(
    known: Float[np.ndarray, "seen measures"], teachers: Bool[np.ndarray, " seen"]
) -> Float[np.ndarray, "seen columns"]:
    """A constant, the measures in their usual range, and squares of yaw and pitch."""
    low, high = np.percentile(known[teachers], _RANGE_PERCENT, axis=0)
    reach = high - low
    bounded = np.clip(known, low - reach / 2, high + reach / 2)
    scaled = (bounded - np.median(known[teachers], 0)) / (reach / 4 + 1e-9)
    return np.concatenate([np.ones((len(known), 1)), scaled, scaled[:, :2] ** 2], 1)
