"""The one compositor."""

from jaxtyping import Float
from torch import Tensor


def over(
    rgb: Float[Tensor, "batch channels height width"],
    alpha: Float[Tensor, "batch 1 height width"],
    background: Float[Tensor, "*#batch channels #height #width"],
) -> Float[Tensor, "batch channels height width"]:
    """A picture with straight (not premultiplied) alpha laid over a background, in the colour space of both."""
    return background + alpha * (rgb - background)
