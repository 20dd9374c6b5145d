"""Colours for texels that no frame has seen, from those nearby: pull-push (Gortler et al. 1996, section 4.3)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def pull_push(
    texture: Float[Tensor, "channels size size"], weight: Float[Tensor, "1 size size"]
) -> Float[Tensor, "channels size size"]:
    """The texture where its weight is 1 or more, smoothly continued where it is 0; grey if there is nothing at all."""
    levels = [(texture[None], weight[None].clamp(0, 1))]
    while min(levels[-1][0].shape[-2:]) > 1:
        levels.append(_halve(*levels[-1]))
    coarse, trust = levels[-1]
    filled = torch.where(trust > 0, coarse, 0.5)
    for fine, trust in reversed(levels[:-1]):
        wider = F.interpolate(filled, fine.shape[-2:], mode="bilinear", align_corners=False)
        filled = wider + trust * (fine - wider)
    return filled[0]


def _halve(texture: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    def pool(values: Tensor) -> Tensor:
        return F.avg_pool2d(values, 2, ceil_mode=True, count_include_pad=False)

    summed, total = pool(texture * weight), pool(weight)
    # A coarse texel is fully trusted as soon as one of its four is.
    return summed / total.clamp_min(1e-8), (total * 4).clamp(0, 1)
