"""Where the head is in the cameras' world: triangulated landmarks against those of the mean head."""

from dataclasses import dataclass
from typing import Any

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.errors import HeadstudioError
from headstudio.geometry.rigid import from_rotation
from headstudio.heads.base import HeadModel
from headstudio.scan.triangulate import triangulate
from headstudio.tracking.observations import IRISES, OUTER_EYE_CORNERS, OVAL

_LEAST_LANDMARKS = 20
_FULL_DEG, _NONE_DEG = 25.0, 55.0
"""The detector's landmarks are trusted wholly up to the first yaw and not at all beyond the second: they slide."""
_ROUNDS = 5
_BEND_M = 0.004
"""Landmarks that miss the mean head by more than this count less."""


@dataclass(frozen=True)
class LandmarkCloud:
    """The detector's landmarks in the cameras' world."""

    points: Float[Tensor, "478 3"]
    """In the unit of the cameras; NaN where unknown."""
    residual_px: float
    """Median distance from the sightings that count; infinite where none do."""
    relative_error: float
    """The same over the median distance of the outer eye corners in the pictures."""


def landmark_cloud(
    landmarks_px: Float[Tensor, "views 478 3"],
    yaw_deg: Float[Tensor, " views"],
    K_px: Float[Tensor, "views 3 3"],
    T_camera_world: Float[Tensor, "views 4 4"],
) -> LandmarkCloud:
    """Triangulate the landmarks over the views that see the face well."""
    trust = ((_NONE_DEG - yaw_deg.abs()) / (_NONE_DEG - _FULL_DEG)).clamp(0.0, 1.0).double()
    seen = torch.isfinite(landmarks_px).all(-1)
    pixels = landmarks_px[..., :2]
    points, residual = triangulate(pixels, K_px, T_camera_world, trust[:, None] * seen)
    counted = residual[torch.isfinite(residual)]
    if not len(counted):
        return LandmarkCloud(points, float("inf"), float("inf"))
    corners = (pixels[:, OUTER_EYE_CORNERS[0]] - pixels[:, OUTER_EYE_CORNERS[1]]).norm(dim=-1)
    size = corners[(trust > 0) & torch.isfinite(corners)].median()
    middle = float(counted.median())
    return LandmarkCloud(points, middle, middle / float(size))


@dataclass(frozen=True)
class Alignment:
    """How the cameras' world fits the mean head."""

    T_head_world: Float[Tensor, "4 4"]
    """For points of the world in metres."""
    metres: float
    """Metres per unit of the world."""
    error_m: float
    """Root mean square distance of the landmarks from the mean head."""


def align(cloud: LandmarkCloud, head: HeadModel, metres: float | None = None) -> Alignment:
    """Fit the landmarks to the mean head: a similarity, or a rigid motion where the scale is known (Umeyama 1991).

    Args:
        metres: metres per unit of the cloud; by default what makes it as large as the mean head.
    """
    weight = head.landmark_weight.double().clone()
    weight[[*IRISES, *OVAL]] = 0.0
    known = torch.isfinite(cloud.points).all(-1) & (weight > 0)
    if int(known.sum()) < _LEAST_LANDMARKS:
        raise HeadstudioError(
            "the face is not seen from two sides at once, so nobody knows where it looks",
            next_step="film slowly, and begin or pass where the face looks into the camera",
        )
    source = cloud.points[known] * (1.0 if metres is None else metres)
    target = head.landmark_points(head.template_m[None])[0][known].double()
    share, factor = weight[known], 1.0
    rotation, shift = torch.eye(3).to(source), torch.zeros(3).to(source)
    bent = share
    for _ in range(_ROUNDS):
        found: Any = roma.rigid_points_registration(source, target, weights=bent, compute_scaling=metres is None)
        rotation, shift = found[0], found[1]
        factor = float(found[2]) if metres is None else 1.0
        miss = (factor * source @ rotation.T + shift - target).norm(dim=-1)
        bent = share * (_BEND_M / miss.clamp_min(_BEND_M))
    miss = factor * source @ rotation.T + shift - target
    error = float(((share[:, None] * miss.square()).sum() / share.sum()).sqrt())
    return Alignment(from_rotation(rotation, shift), factor * (metres or 1.0), error)
