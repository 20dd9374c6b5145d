"""Analytic antialiasing of silhouettes and label borders: what gives visibility a gradient.

After Laine et al. 2020, "Modular Primitives for High-Performance Differentiable Rendering", section 3.4.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd import Function

from headstudio.render.checks import check_shape
from headstudio.render.rasterise import Fragments


@dataclass(frozen=True)
class Crossings:
    """Where edges pass between neighbouring pixel centres."""

    pixels: Int[Tensor, "crossings 3"]
    """The nearer pixel, the other pixel (flat over batch, height, width), and the axis (0 along x, 1 along y)."""
    edges: Int[Tensor, "crossings 2"]
    """The edge's vertices, flat over batch and vertices."""


def antialias(
    image: Float[Tensor, "batch channels height width"], fragments: Fragments, crossings: Crossings | None = None
) -> Float[Tensor, "batch channels height width"]:
    """Blend the pixels that a silhouette cuts; gradients reach the image and, through the edges, the vertices.

    Where several edges cut one pixel, as at a spike, their shares add up, and the result may leave the image's range.

    Args:
        image: what was rendered from `fragments`, background included.
        fragments: what `rasterise` found.
        crossings: `find_crossings(fragments)`, where several images share it or label borders count as edges too.
    """
    batch, height, width = fragments.triangle.shape
    check_shape(image, (batch, None, height, width), "image")
    crossings = find_crossings(fragments) if crossings is None else crossings
    return _Blend.apply(image.float().contiguous(), fragments.positions_px, crossings.pixels, crossings.edges)


def find_crossings(fragments: Fragments, triangle_labels: Int[Tensor, " triangles"] | None = None) -> Crossings:
    """Silhouette edges between neighbouring pixels, and borders between labels where these are given."""
    from headstudio.render.kernels import edges
    from headstudio.render.kernels.launching import launch

    triangle = fragments.triangle
    positions, triangles = fragments.positions_px.detach().contiguous(), fragments.triangles
    adjacency = edge_neighbours(triangles) if fragments.adjacency is None else fragments.adjacency
    check_shape(adjacency, tuple(triangles.shape), "adjacency")
    adjacency = adjacency.to(torch.int32).contiguous()
    (batch, height, width), vertices, faces = triangle.shape, positions.shape[1], len(triangles)
    labels = triangle.new_empty(0)
    if triangle_labels is not None:
        check_shape(triangle_labels, (faces,), "triangle_labels")
        labels = triangle_labels.to(torch.int32).contiguous()
    marks = triangle.new_empty(batch * faces)
    launch(
        edges.mark_edges, batch * faces, positions, triangles, adjacency, labels, int(triangle_labels is not None),
        vertices, faces, marks,
    )  # fmt: skip
    count = triangle.new_zeros(1)
    # Every pixel has at most two pairs; memory that is not written to costs nothing on a CPU.
    pixels, ends = triangle.new_empty(2 * triangle.numel(), 3), triangle.new_empty(2 * triangle.numel(), 2)
    launch(
        edges.find_crossings, triangle.numel(), triangle, fragments.depth_m.detach(), positions, triangles, adjacency,
        marks, vertices, faces, width, height, count, pixels, ends,
    )  # fmt: skip
    found = int(count)
    return Crossings(pixels[:found], ends[:found])


def edge_neighbours(triangles: Int[Tensor, "triangles 3"]) -> Int[Tensor, "triangles 3"]:
    """The triangle beyond the edge opposite each corner, -1 at an open border.

    Where more than two triangles meet in an edge they are paired in order, and an odd one out has no neighbour.
    """
    faces = len(triangles)
    if faces == 0:
        return torch.zeros(0, 3, dtype=torch.int32, device=triangles.device)
    ends = torch.stack([triangles[:, [1, 2]], triangles[:, [2, 0]], triangles[:, [0, 1]]], dim=1).long().reshape(-1, 2)
    low, high = ends.amin(1), ends.amax(1)
    key, order = torch.sort(low * (high.max() + 1) + high, stable=True)
    first = torch.searchsorted(key, key)
    index = torch.arange(len(key), device=key.device)
    starts_pair = (index - first) % 2 == 0
    starts_pair &= torch.cat([key[1:] == key[:-1], key.new_zeros(1, dtype=torch.bool)])
    left = order[starts_pair]
    right = order[index[starts_pair] + 1]
    neighbours = torch.full((faces * 3,), -1, dtype=torch.int32, device=triangles.device)
    neighbours[left], neighbours[right] = (right // 3).int(), (left // 3).int()
    return neighbours.reshape(faces, 3)


class _Blend(Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor, positions: Tensor, pixels: Tensor, ends: Tensor) -> Tensor:
        from headstudio.render.kernels import edges
        from headstudio.render.kernels.launching import launch

        positions = positions.contiguous()
        _, channels, height, width = image.shape
        blended = image.clone()
        launch(edges.blend, len(pixels), pixels, ends, positions, image, channels, width, height, blended)
        ctx.save_for_backward(image, positions, pixels, ends)
        return blended

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        from headstudio.render.kernels import edges
        from headstudio.render.kernels.launching import launch

        image, positions, pixels, ends = ctx.saved_tensors
        _, channels, height, width = image.shape
        gradient = gradients[0].contiguous()
        to_image, to_positions = gradient.clone(), torch.zeros_like(positions)
        launch(
            edges.blend_backward, len(pixels), pixels, ends, positions, image, channels, width, height,
            gradient, to_image, to_positions,
        )  # fmt: skip
        return to_image, to_positions, None, None
