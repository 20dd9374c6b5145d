"""The one square crop of a clip: the whole head with hair and some neck, in every frame."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from headstudio.capture.config import IngestConfig
from headstudio.capture.face_measures import weak_pose
from headstudio.records.capture import Crop

_OUTLIERS_PERCENT = 1.0


@dataclass(frozen=True)
class Framing:
    """How the source pictures become stored frames, and what follows from it."""

    crop: Crop
    size_px: int
    valid: Bool[np.ndarray, "size size"]
    """False in padding."""
    landmarks_px: Float[np.ndarray, "frames 478 3"]
    """In pixels of the stored frames."""


def frame_clip(
    landmarks_px: Float[np.ndarray, "frames 478 3"], width_px: int, height_px: int, config: IngestConfig
) -> Framing:
    """Fix the crop of a clip from its landmarks in the source pictures."""
    boxes = weak_pose(landmarks_px).head_box_px()
    crop = choose_crop(boxes, width_px, height_px, config.crop_margin)
    return frame_with(crop, landmarks_px, width_px, height_px, config.size_px)


def frame_with(
    crop: Crop, landmarks_px: Float[np.ndarray, "frames 478 3"], width_px: int, height_px: int, size_px: int
) -> Framing:
    """What follows from a crop that is fixed already."""
    valid = valid_mask(crop, width_px, height_px, size_px)
    return Framing(crop, size_px, valid, to_stored(landmarks_px, crop, size_px))


def choose_crop(head_boxes_px: Float[np.ndarray, "frames 4"], width_px: int, height_px: int, margin: float) -> Crop:
    """The smallest square that holds the head in all but the most extreme frames, times `margin`.

    It is moved back into the picture where it fits; where it is larger than the picture it is padded instead.

    Args:
        head_boxes_px: left, top, right, bottom per frame; rows of NaN are skipped.
    """
    seen = head_boxes_px[np.isfinite(head_boxes_px).all(1)]
    low = np.percentile(seen[:, :2], _OUTLIERS_PERCENT, axis=0)
    high = np.percentile(seen[:, 2:], 100 - _OUTLIERS_PERCENT, axis=0)
    side = int(np.ceil((high - low).max() * margin))
    corner = np.round((low + high) / 2 - side / 2)
    for axis, extent in enumerate((width_px, height_px)):
        if side <= extent:
            corner[axis] = np.clip(corner[axis], 0, extent - side)
    return Crop(float(corner[0]), float(corner[1]), float(side))


def valid_mask(crop: Crop, width_px: int, height_px: int, size_px: int) -> Bool[np.ndarray, "size size"]:
    """True for stored pixels whose whole footprint lies in the source picture."""
    scale = crop.side_px / size_px
    edges = np.arange(size_px + 1) * scale
    # an edge that coincides with the picture's border up to rounding still counts as inside
    tolerance = 1e-6 * crop.side_px
    axes = []
    for corner, extent in ((crop.left_px, width_px), (crop.top_px, height_px)):
        start, end = corner + edges[:-1], corner + edges[1:]
        axes.append((start >= -tolerance) & (end <= extent + tolerance))
    return axes[1][:, None] & axes[0][None]


def to_stored(landmarks_px: Float[np.ndarray, "frames 478 3"], crop: Crop, size_px: int) -> np.ndarray:
    """Landmarks of the source picture in pixels of the stored frame; z keeps the scale of x and y."""
    scale = size_px / crop.side_px
    corner = np.array([crop.left_px, crop.top_px, 0.0], landmarks_px.dtype)  # a long clip's table stays float32
    return (landmarks_px - corner) * scale
