"""Pictures of a field of density and values: colour, features, mask and depth along rays, in bounded memory."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import log
from typing import Any, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd import Function
from torch.nn.functional import pad
from torch.utils.checkpoint import checkpoint

from headstudio.errors import HeadstudioError
from headstudio.render.checks import check_shape
from headstudio.render.ray_samples import RaySamples

Field: TypeAlias = Callable[[RaySamples], tuple[Tensor, Tensor]]
"""Density (samples), 1/m and not negative, and values (samples, channels) at samples. A function of the samples alone:
it may be asked twice for the same ones."""

GROUP = 8
"""Channels the kernel takes at a time; others are filled up with zeros, at the price of a copy."""
_LEAST_OPACITY = 1e-6


@dataclass(frozen=True)
class Composite:
    """What each ray has gathered."""

    values: Float[Tensor, "rays channels"]
    """Sum of the samples' values by weight; add `(1 - mask) * background`."""
    mask: Float[Tensor, " rays"]
    """Opacity in [0, 1]: how much of what is behind the box is hidden."""
    depth_m: Float[Tensor, " rays"]
    """Mean camera z of what is seen; 0 where nothing is."""


def render_volume(field: Field, samples: RaySamples, samples_at_once: int | None = None) -> Composite:
    """Ask a field at samples and composite along their rays.

    Args:
        field: density and values.
        samples: where to ask.
        samples_at_once: the most samples handed to the field at a time (a ray stays whole). With a gradient, the parts
            are computed a second time in the backward pass, so that only one part's activations are alive at once: a
            third more work. None takes all at once.

    Raises:
        HeadstudioError: where the field's answer does not fit, or no sample is allowed at once.
    """

    def gathered(start: int, end: int) -> tuple[Tensor, Tensor, Tensor]:
        part = samples.part(start, end)
        return composite(part, *field(part))

    if samples_at_once is not None and samples_at_once < 1:
        raise HeadstudioError(
            f"{samples_at_once} samples at once", where="samples_at_once", next_step="allow at least one"
        )
    bounds = _bounds(samples, samples_at_once)
    if len(bounds) == 1 or not torch.is_grad_enabled():
        parts = [gathered(*bound) for bound in bounds]
    else:
        parts = [checkpoint(gathered, *bound, use_reentrant=False) for bound in bounds]
    values, mask, reach_m = (torch.cat(pieces) for pieces in zip(*parts, strict=True))
    mean_m = reach_m / mask.clamp_min(_LEAST_OPACITY)
    return Composite(values, mask, mean_m * samples.rays.depth_per_m)


def composite(
    samples: RaySamples, density_per_m: Float[Tensor, " samples"], values: Float[Tensor, "samples channels"]
) -> tuple[Float[Tensor, "rays channels"], Float[Tensor, " rays"], Float[Tensor, " rays"]]:
    """Sums by weight of values and (without a gradient of their own) distances, and the opacity between them.

    Density is taken as constant along each sample's step. Differentiable in density and values.

    Returns:
        Values, opacity, distances in metres (not divided by the opacity).
    """
    check_shape(density_per_m, (len(samples),), "density")
    check_shape(values, (len(samples), None), "values")
    channels = values.shape[1]
    sums, opacity, reach_m = _Composite.apply(
        density_per_m.float().contiguous(),
        pad(values.float(), (0, -channels % GROUP)).contiguous(),
        samples.first.contiguous(),
        samples.steps_m.float().contiguous(),
        samples.distances_m.float().contiguous(),
    )
    return sums[:, :channels], opacity, reach_m


def visible(
    samples: RaySamples, density_per_m: Float[Tensor, " samples"], least: float = 1e-3
) -> Bool[Tensor, " samples"]:
    """Whether more than a share `least` of a sample's light passes the samples before it on its ray.

    Samples behind a surface cost as much as those on it and change nothing: density is cheap to ask without a gradient,
    and what is hidden can be left out (`RaySamples.only`).
    """
    check_shape(density_per_m, (len(samples),), "density")
    # In double precision: the sum runs over all rays.
    thickness = (density_per_m * samples.steps_m).double()
    before = thickness.cumsum(0) - thickness
    at_first = torch.cat([before, before.new_zeros(1)])[samples.first[:-1].long()]
    return before - at_first[samples.ray.long()] < -log(least)


def composite_plainly(
    density_per_m: Float[Tensor, "rays samples"],
    steps_m: Float[Tensor, "rays #samples"],
    values: Float[Tensor, "rays samples channels"],
) -> tuple[Float[Tensor, "rays channels"], Float[Tensor, " rays"]]:
    """Values and opacity of rays of equally many samples, in operations that ONNX can express."""
    thickness = density_per_m * steps_m
    before = torch.exp(thickness - thickness.cumsum(1))
    weights = before * (1 - torch.exp(-thickness))
    return (weights[..., None] * values).sum(1), weights.sum(1)


def _bounds(samples: RaySamples, samples_at_once: int | None) -> list[tuple[int, int]]:
    """First ray and the one after the last of each part."""
    rays = len(samples.rays)
    if samples_at_once is None or len(samples) <= samples_at_once:
        return [(0, rays)]
    first, starts = samples.first.cpu(), [0]
    while starts[-1] < rays:
        most = first[starts[-1]] + samples_at_once
        fitting = int(torch.searchsorted(first, most, right=True)) - 1
        starts.append(max(fitting, starts[-1] + 1))
    return list(pairwise(starts))


class _Composite(Function):
    @staticmethod
    def forward(
        ctx: Any, density: Tensor, values: Tensor, first: Tensor, steps: Tensor, distances: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        from headstudio.render.kernels import volume
        from headstudio.render.kernels.launching import launch

        rays, channels = len(first) - 1, values.shape[1]
        weights, left = torch.empty_like(density), torch.empty_like(density)
        sums, opacity, reach = density.new_empty(rays, channels), density.new_empty(rays), density.new_empty(rays)
        launch(
            volume.composite, rays, first, density, steps, distances, values, channels // GROUP, weights, left,
            sums, opacity, reach,
        )  # fmt: skip
        ctx.save_for_backward(first, steps, distances, values, weights, left)
        return sums, opacity, reach

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        from headstudio.render.kernels import volume
        from headstudio.render.kernels.launching import launch

        first, steps, distances, values, weights, left = ctx.saved_tensors
        to_density, to_values = torch.empty_like(weights), torch.empty_like(values)
        launch(
            volume.composite_backward, len(first) - 1, first, steps, distances, values, values.shape[1] // GROUP,
            weights, left, *(gradient.contiguous() for gradient in gradients), to_density, to_values,
        )  # fmt: skip
        return to_density, to_values, None, None, None
