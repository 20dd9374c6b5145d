"""The smooth step that movements, masks and seams share."""

from jaxtyping import Float
from torch import Tensor


def ease(phase: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Smooth step from 0 to 1 over phase 0 to 1, flat outside; its slope is continuous and at most 1.5."""
    phase = phase.clamp(0.0, 1.0)
    return phase * phase * (3.0 - 2.0 * phase)
