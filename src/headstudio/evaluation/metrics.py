"""Scores of pictures inside masks, frame by frame and region by region."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from headstudio.nn.feature_distance import FeatureDistance
from headstudio.nn.ssim import structural_scores

PSNR_LIMIT_DB = 100.0
"""Score of identical pictures, whose PSNR has no finite value."""


@dataclass(frozen=True)
class Metric:
    """What a score is called and which way is better."""

    name: str
    higher_is_better: bool


L1, PSNR = Metric("L1", False), Metric("PSNR", True)
SSIM, MS_SSIM = Metric("SSIM", True), Metric("MS-SSIM", True)


def l1(
    prediction: Float[Tensor, "batch 3 height width"],
    truth: Float[Tensor, "batch 3 height width"],
    masks: Bool[Tensor, "batch regions height width"],
) -> Float[Tensor, "batch regions"]:
    """Mean absolute difference inside each region, colours in [0, 1]; NaN where a region is empty."""
    return _masked_mean((prediction - truth).abs(), masks)


def psnr(
    prediction: Float[Tensor, "batch 3 height width"],
    truth: Float[Tensor, "batch 3 height width"],
    masks: Bool[Tensor, "batch regions height width"],
) -> Float[Tensor, "batch regions"]:
    """Peak signal-to-noise ratio inside each region in dB for a peak of 1, at most `PSNR_LIMIT_DB`."""
    error = _masked_mean((prediction - truth) ** 2, masks)
    return (-10 * error.log10()).clamp_max(PSNR_LIMIT_DB)


def scores(
    prediction: Float[Tensor, "batch 3 height width"],
    truth: Float[Tensor, "batch 3 height width"],
    masks: Bool[Tensor, "batch regions height width"],
) -> dict[Metric, Float[Tensor, "batch regions"]]:
    """All scores that need no feature network; NaN where a region is empty or too small for a window."""
    single, multiple = structural_scores(prediction, truth, masks.float())
    return {
        L1: l1(prediction, truth, masks),
        PSNR: psnr(prediction, truth, masks),
        SSIM: single,
        MS_SSIM: multiple,
    }


def perceptual(
    judge: FeatureDistance,
    prediction: Float[Tensor, "batch 3 height width"],
    truth: Float[Tensor, "batch 3 height width"],
    masks: Bool[Tensor, "batch regions height width"],
) -> Float[Tensor, "batch regions"]:
    """Distance of features inside each region; NaN where a region is empty."""
    return torch.stack([judge(prediction, truth, mask[:, None].float()) for mask in masks.unbind(1)], dim=1)


def _masked_mean(error: Float[Tensor, "batch 3 height width"], masks: Tensor) -> Float[Tensor, "batch regions"]:
    # Excluded pixels may hold anything, also NaN: they are cut out, not multiplied by zero.
    kept = torch.where(masks, error.mean(1, keepdim=True), 0.0)
    return kept.sum((2, 3)) / masks.sum((2, 3))
