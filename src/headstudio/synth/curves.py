"""Curves with a continuous first derivative: what every scripted movement is made of."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.geometry.easing import ease


def through(
    times_s: Float[Tensor, " frames"], keys_s: Float[Tensor, " keys"], values: Float[Tensor, "keys channels"]
) -> Float[Tensor, "frames channels"]:
    """Ease from key to key: every key is a rest point, so the curve never overshoots the values.

    Args:
        times_s: where to evaluate.
        keys_s: strictly increasing key times; the curve is constant before the first and after the last.
        values: what is reached at the keys.
    """
    right = torch.searchsorted(keys_s, times_s).clamp(1, len(keys_s) - 1)
    start, end = keys_s[right - 1], keys_s[right]
    blend = ease((times_s - start) / (end - start))[:, None]
    return values[right - 1] * (1.0 - blend) + values[right] * blend


def bump(
    times_s: Float[Tensor, " frames"], start_s: float, rise_s: float, hold_s: float, fall_s: float
) -> Float[Tensor, " frames"]:
    """Up to 1 and back to 0."""
    down = (times_s - start_s - rise_s - hold_s) / fall_s
    return ease((times_s - start_s) / rise_s) * (1.0 - ease(down))


def drift(
    times_s: Float[Tensor, " frames"], generator: np.random.Generator, channels: int, slowest_hz: float = 0.11
) -> Float[Tensor, "frames channels"]:
    """Slow aimless movement of unit size: three incommensurable sines per channel."""
    frequency = (
        slowest_hz * torch.tensor([1.0, 1.618, 2.414]) * torch.from_numpy(generator.uniform(0.8, 1.25, (channels, 3)))
    )
    phase = torch.from_numpy(generator.uniform(0.0, 2.0 * np.pi, (channels, 3)))
    waves = torch.sin(2.0 * torch.pi * frequency * times_s[:, None, None] + phase)
    return (waves * torch.tensor([0.55, 0.3, 0.15])).sum(-1)
