"""The aligned face crop, defined once for offline and live use: what an encoder of expressions sees (paper 5).

A similarity carries a few landmarks of the frame onto a canonical face, the picture is resampled to 128 px, and what
lies outside the convex hull of the face is black. The crop follows from one picture and its landmarks alone.

Size, shift and raised brows are paper 5's (its code's recipe for the whole face). Its alignment also takes brows and
mouth corners; here only points that expression hardly moves are used, so that a raised brow or an open mouth moves the
brow or the mouth in the crop instead of the crop.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from headstudio.cache import cached_tensors
from headstudio.progress import Progress, Silent
from headstudio.records.capture import Capture

CROP_PX = 128
"""Side of the crop (paper 5: 128)."""
ALIGNED_MM = {
    33: (-42.7, 1.4),
    133: (-16.1, 3.7),
    362: (16.1, 3.7),
    263: (42.7, 1.4),
    151: (0.0, -32.3),
    168: (0.0, -1.5),
    6: (0.0, 6.6),
    98: (-15.5, 44.5),
    2: (0.0, 46.5),
    327: (15.5, 44.5),
}
"""The canonical face: eye corners, forehead, nose bridge and nose base of the default head's mean, seen from the front
without perspective; x to the right of the picture, y down, from the middle between the eyes."""

_BROW_WIDTH_MM, _BROW_TOP_MM = 110.6, -24.0
"""Of the same face: between the outer ends of the brows, and the height of their highest point."""
_SIDE_MM = 2 * (0.4 * 2**0.5 + 0.5) * _BROW_WIDTH_MM
_CENTRE_MM = np.array([0.0, _BROW_TOP_MM + (0.5 - 0.07) * _BROW_WIDTH_MM])
_POINTS = list(ALIGNED_MM)
_POINTS_PX = (np.array(list(ALIGNED_MM.values())) - _CENTRE_MM) * (CROP_PX / _SIDE_MM) + CROP_PX / 2

_OUTLINE = (
    *(162, 127, 234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152),
    *(389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(71, 68, 104, 69, 108, 151, 337, 299, 333, 298, 301),
    *(168, 6, 197, 195, 5, 4, 1, 2, 0, 13, 14, 17, 61, 291),
)
"""Landmarks whose convex hull is the face: cheeks and jaw from temple to temple; the arch above the brows that lies
where they would be if raised by half their distance from the eyes; nose and lips, which stand out when the head turns.
"""

_LEAST_SPREAD_PX = 1e-3
_LEAST_SAMPLES, _MOST_SAMPLES = 2, 32
"""Samples per crop pixel and axis; beyond the most, a face of over 2500 px, samples leave gaps."""
_CACHE_VERSION = 1
"""To be counted up when the crop of the same frame changes."""


@dataclass(frozen=True)
class FaceCrop:
    """One crop, or several with a leading dimension."""

    rgb: UInt8[Tensor, "*batch 3 128 128"]
    """sRGB, black where the mask is 0."""
    mask: UInt8[Tensor, "*batch 1 128 128"]
    """255 on the face, 0 beyond its hull and beyond the picture; all 0 where there is no face."""

    @property
    def found(self) -> Bool[Tensor, "*batch"]:
        """Whether there is anything to see."""
        return (self.mask > 0).flatten(-3).any(-1)

    def signal(self) -> Float[Tensor, "*batch 3 128 128"]:
        """The values of the channel `FACE_CROP`: sRGB in [0, 1]."""
        return self.rgb.float() / 255

    def __getitem__(self, frames: int | slice | Tensor) -> "FaceCrop":
        """Some of several crops."""
        return FaceCrop(self.rgb[frames], self.mask[frames])


def face_transform(landmarks_px: Float[np.ndarray, "478 3"]) -> Float[np.ndarray, "2 3"]:
    """`T_crop_image`: the similarity that carries pixels of the picture to pixels of the crop.

    Least squares over the aligned points (Umeyama 1991; in the plane, with points as complex numbers, it is one
    division). NaN where there is no face: landmarks that are not finite, or all in one place.
    """
    if not np.isfinite(landmarks_px).all():
        return np.full((2, 3), np.nan)
    # What is stored are single-precision landmarks: rounding them here makes live and stored ones the same numbers.
    source = landmarks_px[_POINTS, :2].astype(np.float32).astype(np.float64) @ (1, 1j)
    target = _POINTS_PX @ (1, 1j)
    arms, goals = source - source.mean(), target - target.mean()
    spread = (np.abs(arms) ** 2).mean()
    if not spread > _LEAST_SPREAD_PX**2:
        return np.full((2, 3), np.nan)
    turn = (goals * arms.conj()).mean() / spread
    shift = target.mean() - turn * source.mean()
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def aligned_landmarks(landmarks_px: Float[np.ndarray, "478 3"]) -> Float[Tensor, "478 3"]:
    """The values of the channel `FACE_LANDMARKS`: landmarks of a picture in pixels of its crop; 0 without a face."""
    T_crop_image = face_transform(landmarks_px)
    if not np.isfinite(T_crop_image).all():
        return torch.zeros(landmarks_px.shape)
    # Rounded first, as `face_transform` does: live and stored landmarks shall give the same numbers.
    stored = landmarks_px.astype(np.float32).astype(np.float64)
    there = stored[:, :2] @ T_crop_image[:, :2].T + T_crop_image[:, 2]
    depth = stored[:, 2:] * np.hypot(*T_crop_image[:, 0])
    return torch.from_numpy(np.concatenate([there, depth], axis=1)).float()


def crop_face(
    image_rgb: UInt8[np.ndarray, "height width 3"],
    landmarks_px: Float[np.ndarray, "478 3"],
    valid: Bool[np.ndarray, "height width"] | None = None,
) -> FaceCrop:
    """The aligned, masked crop of one picture.

    Args:
        landmarks_px: in pixels of the picture, in the detector's order.
        valid: False where the picture is padding; all of it counts when not given.

    Returns:
        The crop; black with an empty mask where there is no face.
    """
    T_crop_image = face_transform(landmarks_px)
    if not np.isfinite(T_crop_image).all():
        return FaceCrop(
            torch.zeros(3, CROP_PX, CROP_PX, dtype=torch.uint8), torch.zeros(1, CROP_PX, CROP_PX, dtype=torch.uint8)
        )
    valid = np.ones(image_rgb.shape[:2], bool) if valid is None else valid
    inside = _resampled(valid.astype(np.uint8) * 255, T_crop_image, cv2.BORDER_CONSTANT) / np.float32(255)
    mask = _hull_mask(landmarks_px[list(_OUTLINE), :2], T_crop_image) * inside
    rgb = _resampled(image_rgb, T_crop_image, cv2.BORDER_REPLICATE) * mask[..., None]
    return FaceCrop(
        torch.from_numpy(_bytes(rgb)).permute(2, 0, 1).contiguous(), torch.from_numpy(_bytes(mask * 255))[None]
    )


def face_crops(
    capture: Capture, frames: Sequence[int] | None = None, view: int = 0, progress: Progress | None = None
) -> FaceCrop:
    """The crops of some frames of a capture, all when not given; the same to the bit as `crop_face` of each.

    They are made for the whole view once and kept in the capture's folder `cache`, which may be deleted at any time.
    Frames without a face have black crops with empty masks (`FaceCrop.found`).
    """
    seen = capture.views[view]
    digest = hashlib.sha256(repr((_CACHE_VERSION, ALIGNED_MM, capture.identifier, seen.name)).encode())
    digest.update(seen.landmarks_px.float().numpy().tobytes() + seen.valid.numpy().tobytes())
    name = f"face-crops-{digest.hexdigest()[:16]}"
    stored = cached_tensors(name, lambda: _all_crops(capture, view, progress or Silent()), capture.path / "cache")
    crops = FaceCrop(stored["rgb"], stored["mask"])
    return crops if frames is None else crops[torch.as_tensor(list(frames), dtype=torch.long)]


def _all_crops(capture: Capture, view: int, progress: Progress) -> dict[str, Tensor]:
    seen = capture.views[view]
    landmarks, valid = seen.landmarks_px.numpy(), seen.valid.numpy()
    crops = []
    with progress.stage("face crops", len(landmarks)) as advance:
        for frame in range(len(landmarks)):
            image = capture.image(frame, view).permute(1, 2, 0).contiguous().numpy()
            crops.append(crop_face(image, landmarks[frame], valid))
            advance(1)
    return {"rgb": torch.stack([crop.rgb for crop in crops]), "mask": torch.stack([crop.mask for crop in crops])}


def _resampled(
    picture: UInt8[np.ndarray, "height width *channels"], T_crop_image: np.ndarray, border: int
) -> np.ndarray:
    """Bilinear samples, at least one per picture pixel, averaged over each crop pixel, so that nothing aliases."""
    pixels_per_crop_pixel = 1 / np.hypot(*T_crop_image[:, 0])
    samples = int(np.clip(np.ceil(pixels_per_crop_pixel), _LEAST_SAMPLES, _MOST_SAMPLES))
    to_image = cv2.invertAffineTransform(T_crop_image)
    # OpenCV counts pixel centres from 0: sample s of the fine grid lies at (s + 0.5) / samples in the crop.
    to_image[:, 2] += to_image[:, :2] @ (0.5 / samples, 0.5 / samples) - 0.5
    to_image[:, :2] /= samples
    fine = cv2.warpAffine(
        picture,
        to_image,
        (CROP_PX * samples, CROP_PX * samples),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=border,
    )
    return cv2.resize(fine, (CROP_PX, CROP_PX), interpolation=cv2.INTER_AREA)


def _hull_mask(outline_px: np.ndarray, T_crop_image: np.ndarray) -> Float[np.ndarray, "128 128"]:
    """1 inside the hull, 0 outside, with an edge one pixel wide."""
    points = (outline_px.astype(np.float32) @ T_crop_image[:, :2].T + T_crop_image[:, 2]).astype(np.float32)
    hull = cv2.convexHull(points)[:, 0].astype(np.float64)
    edges = np.roll(hull, -1, axis=0) - hull
    lengths = np.hypot(*edges.T)
    inward = np.stack([-edges[:, 1], edges[:, 0]], 1) / np.maximum(lengths, 1e-9)[:, None]
    inward *= np.sign(((hull.mean(0) - hull) * inward).sum()) or 1.0
    axis = np.arange(CROP_PX) + 0.5
    centres = np.stack(np.meshgrid(axis, axis), -1)
    depth = (centres @ inward.T - (hull * inward).sum(1))[..., lengths > 1e-6].min(-1, initial=CROP_PX)
    return np.clip(depth + 0.5, 0, 1).astype(np.float32)


def _bytes(values: np.ndarray) -> UInt8[np.ndarray, "..."]:
    return np.round(values).astype(np.uint8)
