"""Coordinates as sines and cosines of growing frequency, so that a small network can paint detail."""

import torch
from jaxtyping import Float
from torch import Tensor


def positional_encoding(points: Float[Tensor, "*batch axes"], octaves: int) -> Float[Tensor, "*batch features"]:
    """The coordinates themselves, then sin and cos of pi 2^k times each, k = 0 .. octaves - 1 (Mildenhall et al. 2020).

    Args:
        points: coordinates, about in [-1, 1].
        octaves: number of frequencies; the result has `axes * (1 + 2 * octaves)` features.
    """
    frequencies = torch.pi * 2.0 ** torch.arange(octaves, device=points.device, dtype=points.dtype)
    angles = (points[..., None, :] * frequencies[:, None]).flatten(-2)
    return torch.cat([points, angles.sin(), angles.cos()], dim=-1)
