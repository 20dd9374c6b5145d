"""Visibility by a hard z-buffer, with gradients by interpolation and by analytic antialiasing.

The split into rasterisation, interpolation and antialiasing follows Laine et al. 2020, "Modular Primitives for
High-Performance Differentiable Rendering"; everything is computed in 32-bit floats.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd import Function

from headstudio.geometry.camera import Camera
from headstudio.render.checks import check_batch, check_indices, check_shape

NEAREST_M = 1e-4
"""Triangles with a corner at or in front of this depth are not drawn."""


@dataclass(frozen=True)
class Fragments:
    """The nearest surface point of every pixel, and what antialiasing needs to know about the mesh."""

    triangle: Int[Tensor, "batch height width"]
    """Index of the triangle, -1 where there is none."""
    barycentric: Float[Tensor, "batch height width 3"]
    """Perspective-correct coordinates, differentiable with respect to the vertices; 0 where there is nothing."""
    depth_m: Float[Tensor, "batch height width"]
    """Camera z, differentiable; 0 where there is nothing."""
    positions_px: Float[Tensor, "batch vertices 3"]
    """Projected vertices: x and y in pixels, z in metres."""
    triangles: Int[Tensor, "triangles 3"]
    adjacency: Int[Tensor, "triangles 3"] | None = None
    """Triangle beyond the edge opposite each corner (see `edge_neighbours`); computed on demand where it is None."""

    @property
    def mask(self) -> Float[Tensor, "batch 1 height width"]:
        """1 where there is a surface; hard (pass it through `antialias` for a gradient)."""
        return (self.triangle >= 0).to(self.barycentric.dtype)[:, None]


def rasterise(
    vertices_camera_m: Float[Tensor, "batch vertices 3"],
    triangles: Int[Tensor, "triangles 3"],
    camera: Camera,
    cull_backfaces: bool = False,
    adjacency: Int[Tensor, "triangles 3"] | None = None,
) -> Fragments:
    """Nearest surface point behind every pixel centre.

    Not drawn are triangles with a corner nearer than `NEAREST_M`, without area, or with a coordinate not finite.

    Args:
        vertices_camera_m: points in camera axes (x right, y down, z forward), metres.
        triangles: vertex indices; counter-clockwise seen from outside.
        camera: intrinsics (one for all, or one per batch entry) and image size.
        cull_backfaces: leave out triangles that are seen from inside.
        adjacency: `edge_neighbours(triangles)`; saves `antialias` from computing it anew.
    """
    check_shape(triangles, (None, 3), "triangles")
    check_indices(triangles, vertices_camera_m.shape[1], "triangles")
    positions_px = _project(vertices_camera_m.float(), camera)
    corners = triangles.to(torch.int32).contiguous()
    triangle, barycentric, depth_m = _Rasterise.apply(
        positions_px, corners, camera.width_px, camera.height_px, cull_backfaces
    )
    return Fragments(triangle, barycentric, depth_m, positions_px, corners, adjacency)


def interpolate(
    fragments: Fragments,
    attributes: Float[Tensor, "#batch points channels"],
    attribute_triangles: Int[Tensor, "triangles 3"],
) -> Float[Tensor, "batch channels height width"]:
    """Attributes at the visible surface points, 0 where there is nothing.

    Gradients reach the attributes and, through the barycentric coordinates, the vertices.

    Args:
        fragments: what `rasterise` found.
        attributes: one row per point, for all batch entries or per entry.
        attribute_triangles: the three points of each triangle; differs from the mesh's own where charts have seams.
    """
    check_shape(attribute_triangles, tuple(fragments.triangles.shape), "attribute_triangles")
    check_batch(attributes, len(fragments.triangle), "attributes")
    check_indices(attribute_triangles, attributes.shape[1], "attribute_triangles")
    corners = attribute_triangles.to(torch.int32).contiguous()
    return _Interpolate.apply(attributes.float().contiguous(), fragments.barycentric, fragments.triangle, corners)


def _project(vertices_m: Float[Tensor, "batch vertices 3"], camera: Camera) -> Float[Tensor, "batch vertices 3"]:
    points = vertices_m @ camera.K_px.to(vertices_m).transpose(-1, -2)
    # Points behind the camera belong to no drawn triangle; a harmless divisor keeps their gradient finite.
    depth = torch.where(points[..., 2:] > NEAREST_M, points[..., 2:], 1.0)
    return torch.cat([points[..., :2] / depth, points[..., 2:]], dim=-1)


class _Rasterise(Function):
    @staticmethod
    def forward(ctx: Any, positions: Tensor, triangles: Tensor, width: int, height: int, cull: bool) -> Any:
        from headstudio.render.kernels import visibility
        from headstudio.render.kernels.launching import launch

        batch, vertices = positions.shape[:2]
        faces = len(triangles)
        positions = positions.contiguous()
        shape = (batch, height, width)
        keys = torch.zeros(shape, dtype=torch.int64, device=positions.device)
        launch(
            visibility.scatter_depth, batch * faces, positions, triangles, vertices, faces, width, height,
            int(cull), keys,
        )  # fmt: skip
        triangle = torch.empty(shape, dtype=torch.int32, device=positions.device)
        barycentric, depth = positions.new_empty(*shape, 3), positions.new_empty(shape)
        launch(
            visibility.resolve, keys.numel(), keys, positions, triangles, vertices, width, height,
            triangle, barycentric, depth,
        )  # fmt: skip
        ctx.save_for_backward(positions, triangles, triangle)
        ctx.mark_non_differentiable(triangle)
        ctx.set_materialize_grads(False)
        return triangle, barycentric, depth

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> Any:
        from headstudio.render.kernels import visibility
        from headstudio.render.kernels.launching import launch

        positions, triangles, triangle = ctx.saved_tensors
        _, height, width = triangle.shape
        _, barycentric, depth = gradients
        if barycentric is None and depth is None:
            return None, None, None, None, None
        barycentric = _dense(barycentric, positions.new_zeros(()), (*triangle.shape, 3))
        depth = _dense(depth, positions.new_zeros(()), triangle.shape)
        scattered = torch.zeros_like(positions)
        launch(
            visibility.resolve_backward, triangle.numel(), triangle, positions, triangles, positions.shape[1],
            width, height, barycentric, depth, scattered,
        )  # fmt: skip
        return scattered, None, None, None, None


def _dense(gradient: Tensor | None, zero: Tensor, shape: tuple[int, ...]) -> Tensor:
    return (zero.expand(shape) if gradient is None else gradient).contiguous()


class _Interpolate(Function):
    @staticmethod
    def forward(ctx: Any, attributes: Tensor, barycentric: Tensor, triangle: Tensor, corners: Tensor) -> Tensor:
        from headstudio.render.kernels import interpolation
        from headstudio.render.kernels.launching import launch

        batch, height, width = triangle.shape
        _, points, channels = attributes.shape
        stride = points * channels if len(attributes) > 1 else 0
        image = attributes.new_empty(batch, channels, height, width)
        launch(
            interpolation.interpolate, triangle.numel(), triangle, barycentric, corners, attributes, stride, channels,
            height * width, image,
        )  # fmt: skip
        ctx.save_for_backward(attributes, barycentric, triangle, corners)
        return image

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        from headstudio.render.kernels import interpolation
        from headstudio.render.kernels.launching import launch

        attributes, barycentric, triangle, corners = ctx.saved_tensors
        _, height, width = triangle.shape
        _, points, channels = attributes.shape
        stride = points * channels if len(attributes) > 1 else 0
        wanted = ctx.needs_input_grad[0]
        to_attributes = torch.zeros_like(attributes) if wanted else attributes.new_empty(0)
        to_barycentric = torch.empty_like(barycentric)
        launch(
            interpolation.interpolate_backward, triangle.numel(), triangle, barycentric, corners, attributes, stride,
            channels, height * width, gradients[0].contiguous(), int(wanted), to_attributes, to_barycentric,
        )  # fmt: skip
        return to_attributes if wanted else None, to_barycentric, None, None
