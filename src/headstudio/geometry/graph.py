"""The edges of any triangle mesh, open or closed, and what is computed along them."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def unique_edges(triangles: Int[Tensor, "triangles 3"]) -> Int[Tensor, "edges 2"]:
    """The two ends of every edge once, the lower index first, in ascending order."""
    ends = torch.stack([triangles, triangles.roll(-1, 1)], -1).reshape(-1, 2).long()
    return torch.unique(torch.stack([ends.amin(1), ends.amax(1)], 1), dim=0)


def neighbour_mean(
    values: Float[Tensor, "batch points channels"], edges: Int[Tensor, "edges 2"]
) -> Float[Tensor, "batch points channels"]:
    """Mean over each point's neighbours; its own value where it has none."""
    low, high = edges.unbind(1)
    sums = torch.zeros_like(values)
    sums = sums.index_add(1, low, values.index_select(1, high)).index_add(1, high, values.index_select(1, low))
    count = torch.bincount(edges.reshape(-1), minlength=values.shape[1])[:, None]
    return torch.where(count > 0, sums / count.clamp_min(1), values)


def graph_laplacian(
    values: Float[Tensor, "batch points channels"], edges: Int[Tensor, "edges 2"]
) -> Float[Tensor, "batch points channels"]:
    """From each point to the mean of its neighbours (the uniform Laplacian)."""
    return neighbour_mean(values, edges) - values


def blurred(values: Float[Tensor, " points"], edges: Int[Tensor, "edges 2"], passes: int) -> Float[Tensor, " points"]:
    """A value of each point after repeated averaging, in equal parts, with the mean of its neighbours."""
    spread = values[None, :, None]
    for _ in range(passes):
        spread = (spread + neighbour_mean(spread, edges)) / 2
    return spread[0, :, 0]
