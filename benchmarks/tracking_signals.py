"""What landmarks over time tell of a tracker: how much a still head shakes, and how deep blinks and lip closures go."""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.signal import find_peaks
from torch import Tensor

from headstudio.evaluation.tracked_mesh import TrackedMesh
from headstudio.heads.base import HeadModel
from headstudio.records.track import Track
from headstudio.tracking.observations import IRISES, LEFT_LIDS, LIPS, OUTER_EYE_CORNERS, OVAL, RIGHT_LIDS

_LIDS = ((159, 145), (386, 374))
"""Middle of the upper and of the lower lid, right eye first."""
_LIPS = (13, 14)
"""Middle of the inner edge of either lip."""
STILL_S, STILL_COUNT = 1.0, 3
"""A head is judged for jitter in its stillest seconds."""
DIP_SHARE = 0.35
"""A closure is a dip of an aperture by this share of the aperture's range (from the 2nd to the 98th percentile) ..."""
SHUT_SHARE = 0.4
"""... whose bottom lies in the lowest share of that range."""
_AROUND_S, _AT_S = 0.3, 0.1
"""Beside a closure the aperture is looked for within the first time, at it within the second."""


def landmarks_px(track: Track, head: HeadModel, size_px: int) -> Tensor:
    """The tracked head's landmarks in the stored frames, (frames, 478, 2), float64."""
    mesh, parts = TrackedMesh(head, track), []
    for frames in torch.arange(track.frames).split(32):
        vertices_m, view = mesh.vertices_in_camera(frames, size_px)
        parts.append(view.camera.project(head.landmark_points(vertices_m))[0])
    return torch.cat(parts).double()


def rigid_landmarks(head: HeadModel) -> Tensor:
    """Indices of landmarks that the head places well and that neither lids, lips, gaze nor silhouette move."""
    chosen = head.landmark_weight > 0.5
    chosen[list(LIPS + RIGHT_LIDS + LEFT_LIDS + IRISES + OVAL)] = False
    return chosen.nonzero()[:, 0]


def eye_distance_px(points_px: Tensor) -> float:
    """The unit of errors in the picture: the median over the clip of the distance of the outer eye corners."""
    right, left = OUTER_EYE_CORNERS
    return float((points_px[:, right] - points_px[:, left]).norm(dim=-1).nanmedian())


def apertures(points_px: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Opening of the lids (mean of both eyes) and of the lips over the distance of the outer eye corners, per frame.

    Args:
        points_px: (frames, 478, 2).
    """
    right, left = OUTER_EYE_CORNERS
    unit = (points_px[:, right] - points_px[:, left]).norm(dim=-1)
    lids = torch.stack([(points_px[:, a] - points_px[:, b]).norm(dim=-1) for a, b in _LIDS]).mean(0)
    lips = (points_px[:, _LIPS[0]] - points_px[:, _LIPS[1]]).norm(dim=-1)
    return _bridged(lids / unit), _bridged(lips / unit)


def closures(aperture: np.ndarray, times_s: np.ndarray) -> list[int]:
    """Frames at which an aperture is at the bottom of a dip."""
    low, high = np.quantile(aperture, [0.02, 0.98])
    step_s = float(np.median(np.diff(times_s)))
    padded = np.pad(-aperture, 1, constant_values=-float(aperture.max()))
    apart = max(1, round(0.2 / step_s))
    dips, _ = find_peaks(padded, prominence=DIP_SHARE * (high - low), distance=apart, wlen=2 * round(1.0 / step_s) + 1)
    return [int(dip) - 1 for dip in dips if aperture[dip - 1] < low + SHUT_SHARE * (high - low)]


def depth(aperture: np.ndarray, times_s: np.ndarray, at_s: float) -> float:
    """How far an aperture falls: from the mean of its maxima before and after to its minimum at a time."""
    here = np.abs(times_s - at_s) <= _AT_S
    sides = [aperture[(times_s - at_s > a) & (times_s - at_s < b)] for a, b in ((-_AROUND_S, 0.0), (0.0, _AROUND_S))]
    beside = [float(side.max()) for side in sides if len(side)]
    return float(np.mean(beside) - aperture[here].min()) if here.any() and beside else 0.0


def kept(found: np.ndarray, reference: np.ndarray, times_s: np.ndarray, events_s: Sequence[float]) -> float | None:
    """Depth of all closures together against a reference's; nothing where there is no closure."""
    was = sum(depth(reference, times_s, event) for event in events_s)
    return sum(depth(found, times_s, event) for event in events_s) / was if was > 0 else None


def still_seconds(points_px: Tensor, times_s: Tensor) -> list[slice]:
    """The disjoint stretches in which landmarks, freed of their fastest part, move the least.

    Args:
        points_px: (frames, landmarks, 2); stretches with a frame without numbers are passed over.
    """
    length = max(5, round(STILL_S / float(times_s.diff().median())))
    slow = torch.nn.functional.avg_pool1d(points_px.flatten(1).T[None], 5, 1)[0].T
    spread = torch.stack([s.std(0).square().mean() for s in slow.unfold(0, length - 4, 1).movedim(-1, 1)])
    found: list[slice] = []
    for start in spread.nan_to_num(torch.inf).argsort().tolist():
        apart = all(abs(start - other.start) >= length for other in found)
        if apart and torch.isfinite(spread[start]) and len(found) < STILL_COUNT:
            found.append(slice(start, start + length))
    return found


def shake(points: Tensor, stretches: Sequence[slice]) -> float:
    """Root mean square of the second difference over time, in the points' unit."""
    parts = [points[part].diff(n=2, dim=0).square().flatten() for part in stretches]
    return float(torch.cat(parts).mean().sqrt())


def _bridged(series: Tensor) -> np.ndarray:
    values = series.double().numpy()
    known = np.isfinite(values)
    return np.interp(np.arange(len(values)), np.flatnonzero(known), values[known])
