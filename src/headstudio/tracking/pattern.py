"""The pattern of the skin: the local contrast that each surface point shows, whoever turns the head in which light."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

_ROUNDS = 4
_TOLERANCE = 0.25
"""Deviation from the mean, in logarithms of light, at which a sighting counts for half."""


@dataclass(frozen=True)
class Pattern:
    """Local contrast of some surface points, the same in every frame."""

    mean: Float[Tensor, "points 3"]
    deviation: Float[Tensor, " points"]
    """How much it varied over the frames it was learned from: folds, gloss and hair come and go."""
    seen: Float[Tensor, " points"]
    """How well each point was seen, in [0, 1]; 0 leaves it out."""


def learn_pattern(contrast: Float[Tensor, "frames points 3"], weight: Float[Tensor, "frames points"]) -> Pattern:
    """Robust mean and spread of what was found at the points.

    Args:
        weight: how well each point is seen in each frame.
    """
    trust = weight
    mean, deviation = _moments(contrast, trust)
    for _ in range(_ROUNDS):
        trust = weight / (1.0 + ((contrast - mean).norm(dim=-1) / _TOLERANCE) ** 2)
        mean, deviation = _moments(contrast, trust)
    return Pattern(mean, deviation, weight.mean(0))


def _moments(contrast: Tensor, trust: Tensor) -> tuple[Tensor, Tensor]:
    share = trust / trust.sum(0).clamp_min(1e-6)
    mean = torch.einsum("fp,fpc->pc", share, contrast)
    return mean, (share * (contrast - mean).square().sum(-1)).sum(0).sqrt()
