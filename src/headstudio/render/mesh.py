"""A textured, lit mesh in one pass: picture, mask, normals, depth, uv and labels from one rasterisation."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from headstudio.errors import HeadstudioError
from headstudio.geometry.camera import Camera
from headstudio.render.antialias import antialias, edge_neighbours, find_crossings
from headstudio.render.colour import linear_to_srgb, srgb_to_linear
from headstudio.render.labels import label_image, triangle_labels
from headstudio.render.light import shade
from headstudio.render.normals import unit, vertex_normals
from headstudio.render.rasterise import Fragments, interpolate, rasterise
from headstudio.render.texture import MipPyramid, sample_texture

Painting: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Colour (batch, channels, height, width) from uv (batch, 2, height, width) and hard mask (batch, 1, height, width)."""

__all__ = ["MeshTopology", "Surface", "render_surface", "vertex_normals"]


@dataclass(frozen=True)
class MeshTopology:
    """What does not move: which points make a triangle, where it lies in the atlas, and its label."""

    triangles: Int[Tensor, "triangles 3"]
    uv: Float[Tensor, "uvs 2"]
    """Atlas in [0, 1], origin at the top left (as glTF)."""
    uv_triangles: Int[Tensor, "triangles 3"]
    labels: Float[Tensor, "vertices labels"] | None = None
    """Label weights per vertex."""

    @cached_property
    def adjacency(self) -> Int[Tensor, "triangles 3"]:
        """`edge_neighbours` of the triangles."""
        return edge_neighbours(self.triangles)

    @cached_property
    def triangle_labels(self) -> Int[Tensor, " triangles"] | None:
        """Label of each triangle."""
        return None if self.labels is None else triangle_labels(self.labels, self.triangles)

    @cached_property
    def seam_points(self) -> tuple[Int[Tensor, "points 2"], Int[Tensor, "triangles 3"]]:
        """Points split along the atlas's seams, as (vertex, uv), and the triangles that use them."""
        pairs = torch.stack([self.triangles, self.uv_triangles], dim=-1).long().reshape(-1, 2)
        points, index = torch.unique(pairs, dim=0, return_inverse=True)
        return points, index.reshape(-1, 3).to(torch.int32)

    def to(self, device: torch.device | str) -> "MeshTopology":
        """The same topology on another device."""
        moved = {name: value.to(device) for name, value in self._tensors().items()}
        return replace(self, **moved)

    def _tensors(self) -> dict[str, Tensor]:
        names = ("triangles", "uv", "uv_triangles", "labels")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


@dataclass(frozen=True)
class Surface:
    """What a camera sees of a mesh; maps are 0 where it sees nothing."""

    image: Float[Tensor, "batch channels height width"] | None
    """Lit texture, sRGB, straight alpha; None without a texture."""
    mask: Float[Tensor, "batch 1 height width"]
    """Antialiased coverage in [0, 1], the alpha of `image`."""
    normals: Float[Tensor, "batch 3 height width"]
    """Unit smooth normals in camera axes, not antialiased."""
    depth_m: Float[Tensor, "batch 1 height width"]
    """Camera z, not antialiased."""
    uv: Float[Tensor, "batch 2 height width"]
    """Place in the atlas, not antialiased."""
    labels: Float[Tensor, "batch labels height width"] | None
    """Coverage by each label with soft borders; None without labels."""
    fragments: Fragments


def render_surface(
    vertices_camera_m: Float[Tensor, "batch vertices 3"],
    mesh: MeshTopology,
    camera: Camera,
    texture: Float[Tensor, "#batch channels rows columns"] | MipPyramid | Painting | None = None,
    light_sh: Float[Tensor, "#batch 9 3"] | None = None,
    cull_backfaces: bool = False,
    light_share: Float[Tensor, "#batch vertices 3"] | None = None,
) -> Surface:
    """Render a mesh; differentiable in vertices, texture and light.

    Args:
        vertices_camera_m: points in camera axes (x right, y down, z forward), metres.
        mesh: triangles, atlas and labels.
        camera: intrinsics and image size.
        texture: sRGB (three channels), or any channels when `light_sh` is None; a pyramid where it is used again;
            or a function from uv and hard mask to colour, for layers that are mixed on the surface.
        light_sh: irradiance in camera axes, linear light; None shows the texture as it is.
        cull_backfaces: leave out triangles seen from inside.
        light_share: the part of the light that reaches each vertex (`transfer.reached_share`); None: all of it.
    """
    fragments = rasterise(vertices_camera_m, mesh.triangles, camera, cull_backfaces, mesh.adjacency)
    normals, uv = _surface_maps(vertices_camera_m, mesh, fragments)
    hard = fragments.mask
    crossings = find_crossings(fragments)
    if texture is None:
        image, coverage = None, antialias(hard, fragments, crossings)
    else:
        looked_up = texture(uv, hard) if callable(texture) else sample_texture(texture, uv, hard)
        share = None
        if light_share is not None:
            vertices = light_share.expand(len(vertices_camera_m), -1, -1).contiguous()
            share = interpolate(fragments, vertices, mesh.triangles)
        colour = _light(looked_up, normals, light_sh, hard, share)
        blended = antialias(torch.cat([colour, hard], dim=1), fragments, crossings)
        premultiplied, coverage = blended.split([colour.shape[1], 1], dim=1)  # outside is black with alpha 0
        covered = coverage > _LEAST_ALPHA
        image = torch.where(covered, premultiplied / torch.where(covered, coverage, 1.0), 0.0)
    labels = None
    if mesh.labels is not None and mesh.triangle_labels is not None:
        labels = label_image(fragments, mesh.triangle_labels, mesh.labels.shape[1])
    return Surface(image, coverage.clamp(0.0, 1.0), normals, fragments.depth_m[:, None], uv, labels, fragments)


_LEAST_ALPHA = 1e-3


def _surface_maps(vertices_m: Tensor, mesh: MeshTopology, fragments: Fragments) -> tuple[Tensor, Tensor]:
    points, triangles = mesh.seam_points
    normals = vertex_normals(vertices_m, mesh.triangles).index_select(1, points[:, 0])
    uv = mesh.uv.to(normals)[points[:, 1]].expand(len(normals), -1, -1)
    normals, uv = interpolate(fragments, torch.cat([normals, uv], dim=-1), triangles).split([3, 2], dim=1)
    return unit(normals, 1), uv


def _light(colour: Tensor, normals: Tensor, light_sh: Tensor | None, mask: Tensor, share: Tensor | None) -> Tensor:
    if light_sh is None:
        return colour
    if colour.shape[1] != 3:
        raise HeadstudioError(
            f"light falls on a texture of {colour.shape[1]} channels",
            next_step="pass RGB, or no light for feature maps",
        )
    irradiance = shade(normals, light_sh).clamp_min(0.0)
    if share is not None:
        irradiance = irradiance * share
    return linear_to_srgb(srgb_to_linear(colour) * irradiance) * mask
