"""What the rasteriser hands to the texture network, and how its colours become a picture."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from headstudio.geometry.camera import Camera
from headstudio.methods.neural_head.shape import Tables
from headstudio.render.antialias import antialias, find_crossings
from headstudio.render.mesh import MeshTopology
from headstudio.render.normals import vertex_normals
from headstudio.render.rasterise import Fragments, interpolate, rasterise


@dataclass(frozen=True)
class Buffers:
    """The visible surface at every pixel; 0 where there is none."""

    fragments: Fragments
    normals: Float[Tensor, "batch 3 height width"]
    """Unit, in camera axes."""
    canonical: Float[Tensor, "batch 3 height width"]
    """Place on the mean head, in [-1, 1]."""
    mouth: Float[Tensor, "batch 1 height width"]
    """1 in the mouth, with a soft border."""
    uv: Float[Tensor, "batch 2 height width"]
    """Place in the atlas."""

    @property
    def mask(self) -> Float[Tensor, "batch 1 height width"]:
        """1 where there is a surface, hard."""
        return self.fragments.mask


def draw_buffers(
    vertices_camera_m: Float[Tensor, "batch vertices 3"], mesh: MeshTopology, tables: Tables, camera: Camera
) -> Buffers:
    """Rasterise; gradients reach the vertices through normals and through the places seen."""
    fragments = rasterise(vertices_camera_m, mesh.triangles, camera, adjacency=mesh.adjacency)
    normals = vertex_normals(vertices_camera_m, mesh.triangles)
    fixed = torch.cat([tables.canonical, tables.mouth[:, None]], 1).to(normals).expand(len(normals), -1, -1)
    maps = interpolate(fragments, torch.cat([normals, fixed], -1), mesh.triangles)
    normals, canonical, mouth = maps.split([3, 3, 1], dim=1)
    uv = interpolate(fragments, mesh.uv[None].to(normals), mesh.uv_triangles)
    return Buffers(fragments, unit(normals), canonical, mouth, uv)


def unit(vectors: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
    """Vectors of length 1; 0 stays 0."""
    # Written out because PyTorch's own norm over a strided dimension takes ten times as long on a CPU.
    return vectors * (vectors * vectors).sum(1, keepdim=True).clamp_min(1e-12).rsqrt()


def smoothed_edges(
    colour: Float[Tensor, "batch 3 height width"], fragments: Fragments
) -> tuple[Float[Tensor, "batch 3 height width"], Float[Tensor, "batch 1 height width"]]:
    """Straight colour and coverage after antialiasing."""
    mask = fragments.mask
    blended = antialias(torch.cat([colour * mask, mask], 1), fragments, find_crossings(fragments))
    premultiplied, coverage = blended.split([3, 1], 1)
    covered = coverage > _LEAST_COVERAGE
    straight = torch.where(covered, premultiplied / torch.where(covered, coverage, 1.0), 0.0)
    return straight, coverage.clamp(0, 1)


_LEAST_COVERAGE = 1e-3


def window_camera(camera: Camera, corner_px: Int[Tensor, "batch 2"], side_px: int) -> Camera:
    """The cameras of windows of the pictures, each with its own upper left corner (x, y)."""
    shift = torch.eye(3).to(camera.K_px).repeat(len(corner_px), 1, 1)
    shift[:, :2, 2] = -corner_px.to(camera.K_px)
    return Camera(shift @ camera.K_px, side_px, side_px)


def cut_windows(
    pictures: Float[Tensor, "batch channels height width"], corner_px: Int[Tensor, "batch 2"], side_px: int
) -> Float[Tensor, "batch channels side side"]:
    """The same windows of pictures."""
    rows = [
        picture[:, y : y + side_px, x : x + side_px]
        for picture, (x, y) in zip(pictures, corner_px.tolist(), strict=True)
    ]
    return torch.stack(rows)


def enlarged(
    colour: Float[Tensor, "batch 3 rows columns"], mask: Float[Tensor, "batch 1 rows columns"], height: int, width: int
) -> Float[Tensor, "batch 3 height width"]:
    """Colours of a hard mask at another size, continued some pixels beyond its border, where a finer mask may reach."""
    values = torch.cat([colour * mask, mask], 1)
    for _ in range(_SPREAD_PASSES):
        spread = F.avg_pool2d(values, 3, 1, 1, count_include_pad=False)
        values = torch.where(values[:, 3:] > 0, values, spread / spread[:, 3:].clamp_min(1e-6) * (spread[:, 3:] > 0))
    if (height, width) != tuple(values.shape[-2:]):
        smaller = height < values.shape[-2]
        values = F.interpolate(values, (height, width), mode="bilinear", antialias=smaller, align_corners=False)
    return values[:, :3] / values[:, 3:].clamp_min(1e-6)


_SPREAD_PASSES = 3
