"""sRGB to linear light and back (IEC 61966-2-1)."""

import torch
from jaxtyping import Float
from torch import Tensor


def srgb_to_linear(srgb: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Linear light in [0, 1] of sRGB values in [0, 1]."""
    curved = ((srgb.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4
    return torch.where(srgb <= 0.04045, srgb / 12.92, curved)


def linear_to_srgb(linear: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """sRGB values of linear light; values above 1 continue the curve and are left to the caller to clip."""
    # The lower bound keeps the power's gradient finite on the branch that `where` discards.
    curved = 1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(linear <= 0.0031308, linear * 12.92, curved)
