"""Pictures laid over one another by points: a similarity in the plane, and the picture that it looks up."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def similarity(
    source_px: Float[Tensor, "batch points 2"], target_px: Float[Tensor, "batch points 2"]
) -> Float[Tensor, "batch 2 3"]:
    """The rotation, scale and shift that bring source points to target points with the least squared error.

    In complex numbers a similarity is z -> a z + b, a linear least-squares problem with a closed solution.
    """
    source, target = (torch.view_as_complex(points.double().contiguous()) for points in (source_px, target_px))
    from_mean, to_mean = source.mean(1, keepdim=True), target.mean(1, keepdim=True)
    centred = source - from_mean
    a = (centred.conj() * (target - to_mean)).sum(1) / centred.abs().square().sum(1)
    b = to_mean[:, 0] - a * from_mean[:, 0]
    rows = [torch.stack([a.real, -a.imag, b.real], -1), torch.stack([a.imag, a.real, b.imag], -1)]
    return torch.stack(rows, dim=1).float()


def warped(
    pictures: Float[Tensor, "batch channels height width"],
    A_source_target: Float[Tensor, "batch 2 3"],
    size_px: tuple[int, int] | None = None,
) -> Float[Tensor, "batch channels rows columns"]:
    """Pictures looked up where the transform sends each pixel of a picture of a size (height and width; that of the
    pictures when None); 0 beyond the border."""
    height, width = pictures.shape[-2:]
    axes = (torch.arange(side) + 0.5 for side in size_px or (height, width))
    rows, columns = torch.meshgrid(*axes, indexing="ij")
    homogeneous = torch.stack([columns, rows, torch.ones_like(rows)], dim=-1)
    places_px = torch.einsum("hwk,bck->bhwc", homogeneous, A_source_target)
    grid = 2 * places_px / places_px.new_tensor([width, height]) - 1
    return F.grid_sample(pictures, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
