"""The head's texture atlas seen from the surface: which point of the neutral face every texel shows."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import avg_pool2d
from torch.nn.functional import interpolate as interpolate_image

from headstudio.geometry.camera import Camera
from headstudio.heads.base import HeadModel
from headstudio.render.rasterise import interpolate, rasterise


@dataclass(frozen=True)
class Atlas:
    """The texels that the surface covers, in raster order."""

    covered: Bool[Tensor, "size size"]
    points_m: Float[Tensor, "texels 3"]
    """Places on the neutral face."""
    fields: Float[Tensor, "texels fields"]
    """Values interpolated from the vertices."""

    def picture(self, values: Float[Tensor, "texels channels"]) -> Float[Tensor, "channels size size"]:
        """Texel values as a picture, continued beyond the borders of the charts so that no filter meets a gap."""
        size = self.covered.shape[0]
        image = torch.zeros(size, size, values.shape[1])
        image[self.covered] = values
        return _grown(image.permute(2, 0, 1).contiguous(), self.covered)


def bake(
    head: HeadModel, points_m: Float[Tensor, "vertices 3"], fields: Float[Tensor, "vertices fields"], size_px: int
) -> Atlas:
    """Rasterise the mesh in its atlas instead of in a picture."""
    # A camera with unit intrinsics sees points at depth 1 where they lie, so it draws the atlas as it is.
    flat = torch.cat([head.uv * size_px, torch.ones(len(head.uv), 1)], dim=-1)[None]
    fragments = rasterise(flat, head.uv_triangles, Camera(torch.eye(3), size_px, size_px))
    maps = interpolate(fragments, torch.cat([points_m, fields], dim=-1)[None], head.triangles)[0]
    covered = fragments.triangle[0] >= 0
    values = maps.permute(1, 2, 0)[covered]
    return Atlas(covered, values[:, :3].contiguous(), values[:, 3:].contiguous())


def _grown(image: Tensor, covered: Tensor) -> Tensor:
    """Fill empty texels from coarser and coarser averages of the covered ones."""
    known = covered[None, None].float()
    levels = [(image[None] * known, known)]
    while levels[-1][1].shape[-1] > 1:
        values, weights = (avg_pool2d(level, 2, ceil_mode=True) for level in levels[-1])
        levels.append((values, weights))
    filled = levels[-1][0] / levels[-1][1].clamp_min(1e-12)
    for values, weights in reversed(levels[:-1]):
        larger = interpolate_image(filled, size=values.shape[-2:], mode="nearest")
        filled = torch.where(weights > 0, values / weights.clamp_min(1e-12), larger)
    return filled[0]
