"""SSIM and MS-SSIM (Wang et al. 2004, 2003), differentiable, with masks that exclude pixels entirely."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

WINDOW = 11
"""Side of the Gaussian window (Wang et al. 2004, section III.C)."""
SIGMA = 1.5
"""Standard deviation of the window in pixels (ibid.)."""
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales (Wang et al. 2003, section 3.2)."""

_C1, _C2 = 0.01**2, 0.03**2  # K1 = 0.01, K2 = 0.03 (Wang et al. 2004) for a peak of 1


def ssim(
    prediction: Float[Tensor, "batch channels height width"],
    target: Float[Tensor, "batch channels height width"],
    mask: Float[Tensor, "#batch 1 height width"] | None = None,
) -> Float[Tensor, " batch"]:
    """Mean structural similarity of each picture, 1 for identical ones.

    Args:
        prediction: values in [0, 1].
        target: values in [0, 1].
        mask: 1 where pixels count. Only windows that lie wholly inside the mask are averaged, so that no excluded
            pixel reaches the score; NaN where no window fits.
    """
    similarity, _ = _maps(prediction, target)
    return _mean(similarity, _window_weights(_given(mask, target)))[:, 0]


def ms_ssim(
    prediction: Float[Tensor, "batch channels height width"],
    target: Float[Tensor, "batch channels height width"],
    mask: Float[Tensor, "#batch 1 height width"] | None = None,
) -> Float[Tensor, " batch"]:
    """Multi-scale structural similarity of each picture, 1 for identical ones. Arguments and scales as below."""
    return structural_scores(prediction, target, _given(mask, target))[1][:, 0]


def structural_scores(
    prediction: Float[Tensor, "batch channels height width"],
    target: Float[Tensor, "batch channels height width"],
    masks: Float[Tensor, "batch regions height width"],
) -> tuple[Float[Tensor, "batch regions"], Float[Tensor, "batch regions"]]:
    """SSIM and MS-SSIM of several regions of each picture at the cost of one.

    Scales at which no window fits (small pictures, small regions) are dropped and the exponents of the others are
    rescaled to sum to 1; NaN where not even the finest has one. Arguments as `ssim`.
    """
    single: Tensor = masks.new_full(masks.shape[:2], torch.nan)
    scores: list[Tensor] = []
    last = len(SCALE_WEIGHTS) - 1
    for scale in range(last + 1):
        if min(prediction.shape[-2:]) < WINDOW:
            break
        similarity, contrast = _maps(prediction, target)
        weights = _window_weights(masks)
        if scale == 0:
            single = _mean(similarity, weights)
        # Luminance is compared at the coarsest scale only (Wang et al. 2003, eq. 7).
        scores.append(_mean(similarity if scale == last else contrast, weights))
        prediction, target = F.avg_pool2d(prediction, 2), F.avg_pool2d(target, 2)
        masks = -F.max_pool2d(-masks, 2)  # a coarse pixel counts only when all four below it do
    return single, _combined(scores) if scores else single


def _given(mask: Tensor | None, target: Tensor) -> Tensor:
    return torch.ones_like(target[:, :1]) if mask is None else mask


def _combined(scores: list[Tensor]) -> Float[Tensor, "batch regions"]:
    stacked = torch.stack(scores, dim=-1)
    exponents = stacked.new_tensor(SCALE_WEIGHTS[: len(scores)]) * ~stacked.isnan()
    total = exponents.sum(-1)
    factors = stacked.nan_to_num(1.0).clamp_min(1e-6)  # anticorrelated pictures have negative contrast: no real root
    score = (factors ** (exponents / total.clamp_min(1e-6)[..., None])).prod(-1)
    return torch.where(total > 0, score, torch.nan)


def _maps(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Similarity and its contrast-structure factor, per window position, averaged over channels."""
    kernel = gaussian_kernel(WINDOW, SIGMA).to(prediction)
    stacked = torch.cat([prediction, target, prediction**2, target**2, prediction * target])
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = _blur_valid(stacked, kernel).chunk(5)
    variance_x, variance_y = mean_xx - mean_x**2, mean_yy - mean_y**2
    covariance = mean_xy - mean_x * mean_y
    contrast = (2 * covariance + _C2) / (variance_x + variance_y + _C2)
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    return (contrast * luminance).mean(1, keepdim=True), contrast.mean(1, keepdim=True)


def gaussian_kernel(side: int, sigma: float) -> Float[Tensor, " side"]:
    """A sampled Gaussian that sums to 1."""
    position = torch.arange(side, dtype=torch.float64) - (side - 1) / 2
    weights = torch.exp(-0.5 * (position / sigma) ** 2)
    return weights / weights.sum()


def _blur_valid(images: Tensor, kernel: Tensor) -> Tensor:
    """Separable filter without padding, as two products with band matrices: 12 times faster than a convolution of
    single channels on a CPU, forward and backward."""
    height, width = images.shape[-2:]
    return _band(kernel, height) @ (images @ _band(kernel, width).T)


def _band(kernel: Tensor, size: int) -> Float[Tensor, "valid size"]:
    """The matrix that filters a row of `size` pixels."""
    valid = size - len(kernel) + 1
    band = kernel.new_zeros(valid, size + 1)
    band[:, : len(kernel)] = kernel
    # Rows of length size + 1, read as rows of length size, are each shifted by one more pixel.
    return band.flatten()[: valid * size].view(valid, size)


def _window_weights(masks: Float[Tensor, "batch regions height width"]) -> Tensor:
    """1 for window positions all of whose pixels count."""
    # Running sums instead of a maximum over 121 pixels: 25 times faster on a CPU, and exact for integers.
    excluded = (masks < 0.5).int()
    rows = F.pad(excluded.cumsum(3), (1, 0))
    in_rows = rows[..., WINDOW:] - rows[..., :-WINDOW]
    columns = F.pad(in_rows.cumsum(2), (0, 0, 1, 0))
    in_window = columns[..., WINDOW:, :] - columns[..., :-WINDOW, :]
    return (in_window == 0).to(masks)


def _mean(values: Tensor, weights: Tensor) -> Float[Tensor, "batch regions"]:
    # Multiplying a NaN by a zero weight would leak it, hence `where`.
    kept = torch.where(weights > 0, values, 0.0)
    return kept.sum((2, 3)) / weights.sum((2, 3))
