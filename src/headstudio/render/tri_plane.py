"""Features of points from three planes, XY, XZ and YZ (Chan et al. 2022, "Efficient Geometry-aware 3D Generative
Adversarial Networks", section 4), differentiable in planes and points."""

from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd import Function
from torch.nn.functional import grid_sample, pad

from headstudio.errors import HeadstudioError
from headstudio.render.checks import check_indices, check_shape

Combination: TypeAlias = Literal["sum", "concatenate"]
"""What becomes of a point's three features: their sum (papers 5 and EG3D), or all of them side by side."""

GROUP = 8
"""Channels the kernel takes at a time; others are filled up with zeros, at the price of a copy."""


def sample_tri_plane(
    planes: Float[Tensor, "batch planes rows columns"],
    points: Float[Tensor, "points 3"],
    entry: Int[Tensor, " points"],
    combination: Combination = "sum",
) -> Float[Tensor, "points features"]:
    """Bilinear features of points.

    Texel centres reach from -1 to 1 (grid_sample's `align_corners=True`); a point beyond takes the features of the
    nearest border, and moving it across the border changes nothing, so its gradient is 0 there.

    Args:
        planes: `3 * channels` channels: those of the plane XY (the column follows x, the row y), then XZ, then YZ.
            In memory format `channels_last`, and with a multiple of 8 channels a plane, they are read
            without a copy.
        points: places, of the planes' box scaled to [-1, 1].
        entry: the planes, of the batch, that each point looks up.
        combination: sum the three features, `channels` of them, or concatenate them, `3 * channels`.

    Raises:
        HeadstudioError: where the channels are no three planes, an entry is missing or shapes do not fit.
    """
    _check(planes, points, entry)
    check_indices(entry, len(planes), "entry")
    batch, channels, rows, columns = len(planes), planes.shape[1] // 3, *planes.shape[2:]
    texels = planes.float().permute(0, 2, 3, 1).reshape(batch, rows, columns, 3, channels)
    texels = pad(texels, (0, -channels % GROUP)).contiguous()
    placed = points.float().contiguous(), entry.int().contiguous()
    features = _Sample.apply(texels, *placed, combination == "concatenate")
    return features[..., :channels].flatten(1)


def sample_tri_plane_plainly(
    planes: Float[Tensor, "batch planes rows columns"],
    points: Float[Tensor, "batch points 3"],
    combination: Combination = "sum",
) -> Float[Tensor, "batch points features"]:
    """The same by PyTorch's `grid_sample`, which ONNX can express; as many points in each entry of the batch."""
    batch, channels = len(planes), planes.shape[1] // 3
    stacked = planes.reshape(batch * 3, channels, *planes.shape[2:])
    pairs = torch.stack([points[..., [0, 1]], points[..., [0, 2]], points[..., [1, 2]]], dim=1)
    found = grid_sample(stacked, pairs.reshape(batch * 3, 1, -1, 2), padding_mode="border", align_corners=True)
    found = found.reshape(batch, 3, channels, -1)
    if combination == "sum":
        return found.sum(1).transpose(1, 2)
    return found.reshape(batch, 3 * channels, -1).transpose(1, 2)


class _Sample(Function):
    @staticmethod
    def forward(ctx: Any, texels: Tensor, points: Tensor, entry: Tensor, side_by_side: bool) -> Tensor:
        from headstudio.render.kernels import tri_plane
        from headstudio.render.kernels.launching import launch

        features = texels.new_empty(len(points), 3 if side_by_side else 1, texels.shape[-1])
        launch(
            tri_plane.sample_planes, len(points), texels, *_sizes(texels), int(side_by_side), points, entry, features
        )
        ctx.save_for_backward(texels, points, entry)
        ctx.side_by_side = side_by_side
        return features

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        from headstudio.render.kernels import tri_plane
        from headstudio.render.kernels.launching import launch

        texels, points, entry = ctx.saved_tensors
        to_texels, to_points = ctx.needs_input_grad[:2]
        texels_gradient = torch.zeros_like(texels) if to_texels else texels.new_empty(0)
        points_gradient = torch.zeros_like(points) if to_points else points.new_empty(0)
        launch(
            tri_plane.sample_planes_backward, len(points), texels, *_sizes(texels), int(ctx.side_by_side), points,
            entry, gradients[0].contiguous(), int(to_texels), int(to_points), texels_gradient, points_gradient,
        )  # fmt: skip
        return texels_gradient if to_texels else None, points_gradient if to_points else None, None, None


def _sizes(texels: Tensor) -> tuple[int, int, int]:
    """Rows, columns and groups a plane."""
    _, rows, columns, _, channels = texels.shape
    return rows, columns, channels // GROUP


def _check(planes: Tensor, points: Tensor, entry: Tensor) -> None:
    check_shape(planes, (None, None, None, None), "planes")
    check_shape(points, (None, 3), "points")
    check_shape(entry, (len(points),), "entry")
    if planes.shape[1] % 3 or 0 in planes.shape:
        found = " x ".join(str(size) for size in planes.shape)
        raise HeadstudioError(
            f"{found} are no three planes", where="planes", next_step="pass three times the channels of one plane"
        )
