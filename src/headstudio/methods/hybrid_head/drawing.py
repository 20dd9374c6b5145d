"""The mesh before the camera, drawn so that a run-time without a rasteriser of textures draws the same.

The rasteriser tells where in the atlas each of four places of a pixel lies; the texture is looked up there and averaged
over what the mesh covers.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from headstudio.geometry.camera import Camera
from headstudio.render.mesh import MeshTopology
from headstudio.render.rasterise import interpolate, rasterise

FINER = 2
"""Places a pixel and axis."""
_LEAST_COVERED = 1e-3


class Places(NamedTuple):
    """Where in the atlas a picture looks, `FINER` times as wide as the picture."""

    uv: Float[Tensor, "batch 2 rows columns"]
    mask: Float[Tensor, "batch 1 rows columns"]
    """1 on the mesh."""
    depth_m: Float[Tensor, "batch 1 rows columns"]


@torch.no_grad()
def places(vertices_camera_m: Float[Tensor, "batch vertices 3"], mesh: MeshTopology, camera: Camera) -> Places:
    """Places for a picture of the camera's size."""
    finer = camera.resized(camera.width_px * FINER, camera.height_px * FINER)
    fragments = rasterise(vertices_camera_m, mesh.triangles, finer)
    points, triangles = mesh.seam_points
    uv = mesh.uv.to(vertices_camera_m)[points[:, 1]].expand(len(vertices_camera_m), -1, -1).contiguous()
    return Places(
        interpolate(fragments, uv, triangles), fragments.mask.to(vertices_camera_m), fragments.depth_m[:, None]
    )


class Drawn(NamedTuple):
    """The rendered mesh."""

    rgb: Float[Tensor, "batch 3 height width"]
    """sRGB in [0, 1], straight, black where the mesh is not."""
    covered: Float[Tensor, "batch 1 height width"]


def paint(
    texture: Float[Tensor, "batch 3 side side"],
    uv: Float[Tensor, "batch 2 rows columns"],
    mask: Float[Tensor, "batch 1 rows columns"],
) -> Drawn:
    """The picture of a texture at places in the atlas."""
    grid = (2.0 * uv - 1.0).permute(0, 2, 3, 1)
    looked_up = F.grid_sample(texture, grid, mode="bilinear", padding_mode="border", align_corners=False)
    mean = F.avg_pool2d(torch.cat([looked_up * mask, mask], dim=1), FINER)
    covered = mean[:, 3:]
    return Drawn(mean[:, :3] / covered.clamp_min(_LEAST_COVERED), covered)
