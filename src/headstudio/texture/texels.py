"""The atlas seen from the mesh: which surface point lies under every texel."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from headstudio.geometry.camera import Camera
from headstudio.render.rasterise import Fragments, interpolate, rasterise


@dataclass(frozen=True)
class TexelMap:
    """The surface under the texels of a square atlas."""

    fragments: Fragments
    triangles: Int[Tensor, "triangles 3"]

    @classmethod
    def build(
        cls,
        triangles: Int[Tensor, "triangles 3"],
        uv: Float[Tensor, "uvs 2"],
        uv_triangles: Int[Tensor, "triangles 3"],
        size_px: int,
    ) -> "TexelMap":
        """Rasterise the atlas itself: a camera without perspective looks at the charts laid flat at depth 1."""
        flat = torch.cat([uv * size_px, torch.ones_like(uv[:, :1])], dim=1)[None]
        camera = Camera(torch.eye(3)[None].to(uv), size_px, size_px)
        return cls(rasterise(flat, uv_triangles, camera), triangles)

    @property
    def mask(self) -> Bool[Tensor, "size size"]:
        """Texels that lie on a chart."""
        return self.fragments.triangle[0] >= 0

    def spread(self, attributes: Float[Tensor, "points channels"]) -> Float[Tensor, "channels size size"]:
        """Vertex attributes at the texels, 0 off the charts."""
        return interpolate(self.fragments, attributes[None].contiguous(), self.triangles)[0]
