"""Colours for texels that no frame has seen, from those nearby: pull-push (Gortler et al. 1996, section 4.3)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def pull_push(
    texture: Float[Tensor, "channels *size"], weight: Float[Tensor, "1 *size"]
) -> Float[Tensor, "channels *size"]:
    """The texture where its weight is 1 or more, smoothly continued where it is 0; grey if there is nothing at all.

    A texture has two axes, a volume three.
    """
    mode = "bilinear" if weight.ndim == 3 else "trilinear"
    levels = [(texture[None], weight[None].clamp(0, 1))]
    while min(levels[-1][0].shape[2:]) > 1:
        levels.append(_halve(*levels[-1]))
    coarse, trust = levels[-1]
    filled = torch.where(trust > 0, coarse, 0.5)
    for fine, trust in reversed(levels[:-1]):
        wider = F.interpolate(filled, fine.shape[2:], mode=mode, align_corners=False)
        filled = wider + trust * (fine - wider)
    return filled[0]


def _halve(texture: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    def pool(values: Tensor) -> Tensor:
        averaged = F.avg_pool2d if values.ndim == 4 else F.avg_pool3d
        return averaged(values, 2, ceil_mode=True, count_include_pad=False)

    summed, total = pool(texture * weight), pool(weight)
    # A coarse texel is fully trusted as soon as one of those under it is.
    return summed / total.clamp_min(1e-8), (total * 2 ** (texture.ndim - 2)).clamp(0, 1)
