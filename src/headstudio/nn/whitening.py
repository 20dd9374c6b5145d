"""Whitening: numbers without mean, of about unit variance and uncorrelated, and back again."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Whitening(nn.Module):
    """Along the principal axes of what it was fitted to, each divided by its deviation; before that it does nothing.

    Axes that hardly vary are noise: all variances are raised by `floor` times the largest, so that these stay small.
    """

    mean: Tensor
    to_white: Tensor
    to_natural: Tensor

    def __init__(self, width: int, floor: float = 0.01) -> None:
        super().__init__()
        self.floor = floor
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("to_white", torch.eye(width))
        self.register_buffer("to_natural", torch.eye(width))

    @torch.no_grad()
    def fit(self, values: Float[Tensor, "rows width"]) -> None:
        """Learn mean and axes."""
        rows = values.double()
        mean = rows.mean(0)
        away = rows - mean
        variances, axes = torch.linalg.eigh(away.T @ away / len(rows))
        variances = variances.clamp_min(0)
        largest = variances.amax()
        deviations = (variances + self.floor * largest).sqrt() if largest > 0 else torch.ones_like(variances)
        self.mean.copy_(mean)
        self.to_white.copy_(axes / deviations)
        self.to_natural.copy_((axes * deviations).T)

    def white(self, values: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        """Whitened values."""
        return (values - self.mean) @ self.to_white

    def natural(self, white: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        """What `white` whitened."""
        return white @ self.to_natural + self.mean
