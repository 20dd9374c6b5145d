"""How far a tracked frame is to be trusted, and whether training and scoring may use it."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from headstudio.records.capture import CaptureView
from headstudio.tracking.config import QualityConfig
from headstudio.tracking.observations import Observations
from headstudio.tracking.points import FrameState, PointModel
from headstudio.tracking.solver import see

_HALF_TRUST = 2.0
"""A frame whose error is this many times the clip's median above it has lost half of its confidence."""
_HOPELESS_M = 0.008
"""Mean landmark error on the face at which the fit has failed, whatever the rest of the clip looks like."""


def landmark_error_m(model: PointModel, state: FrameState, observed: Observations) -> Float[Tensor, " frames"]:
    """Weighted mean distance between fitted and detected landmarks, in metres at the head's distance."""
    pixels = see(model, state, observed.K_px, False).pixels
    distance = (pixels - observed.pixels).norm(dim=-1)
    share = observed.weight / observed.weight.sum()
    return (distance * share).sum(1) * state.translation_m[:, 2] / observed.K_px[:, 0, 0]


def yaw_rad(rotation: Float[Tensor, "frames 3 3"]) -> Float[Tensor, " frames"]:
    """Angle between the face's direction and the camera's axis in the horizontal plane of the picture."""
    return torch.atan2(rotation[:, 0, 2], -rotation[:, 2, 2])


def trust(
    error_m: Float[Tensor, " frames"], usual_m: float, yaw_deg: Float[Tensor, " frames"], config: QualityConfig
) -> Float[Tensor, " frames"]:
    """Confidence in [0, 1] that follows from the fit alone: its error against what is usual, and how far the head is
    turned away."""
    excess = (error_m / max(usual_m, 1e-6) - 1.0).clamp_min(0.0)
    turned = ((yaw_deg / config.largest_yaw_deg - 0.75) / 0.25).clamp(0.0, 1.0)
    fit = 1.0 / (1.0 + (excess / _HALF_TRUST) ** 2) * torch.exp(-((error_m / _HOPELESS_M) ** 2))
    return fit * (1.0 - 0.5 * turned)


def judge(
    view: CaptureView, state: FrameState, error_m: Float[Tensor, " frames"], seen: Tensor, config: QualityConfig
) -> tuple[Float[Tensor, " frames"], Bool[Tensor, " frames"]]:
    """Confidence in [0, 1] and whether each frame is usable."""
    yaw = yaw_rad(state.rotation).abs().rad2deg()
    confidence = trust(error_m, float(error_m[seen].median()), yaw, config)
    measured = {name: value.nan_to_num(0.0) for name, value in view.quality.items()}
    if "confidence" in measured:
        confidence = confidence * measured["confidence"].clamp(0.0, 1.0)
    confidence = torch.where(seen, confidence, 0.0)
    usable = seen & (confidence >= config.least_confidence) & (yaw <= config.largest_yaw_deg)
    if "sharpness" in measured:
        usable &= measured["sharpness"] >= config.sharpness_share * measured["sharpness"][seen].median()
    if "occlusion" in measured:
        usable &= measured["occlusion"] <= config.largest_occlusion
    return confidence, usable
