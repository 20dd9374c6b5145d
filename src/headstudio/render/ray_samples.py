"""Places along rays at which a field is asked: uniform or stratified, and none where nothing can be.

The samples that are left stand packed, ray after ray, so that a network sees one batch and no padding.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from headstudio.errors import HeadstudioError
from headstudio.render.rays import Rays

Occupancy: TypeAlias = Callable[[Tensor], Tensor]
"""Whether anything may be at points (points, 3) in head axes, metres: booleans (points)."""

_CANDIDATES_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class RaySamples:
    """Samples of rays, ordered by ray and from near to far."""

    rays: Rays
    ray: Int[Tensor, " samples"]
    """The ray of each sample."""
    distances_m: Float[Tensor, " samples"]
    """From the camera's centre."""
    steps_m: Float[Tensor, " samples"]
    """Length of the piece of the ray that the sample stands for."""
    first: Int[Tensor, " rays_and_one"]
    """Index of each ray's first sample; the last entry is the number of samples."""
    start: int = 0
    """Index of the first sample in the whole, where this is a part (see `part`)."""

    def __len__(self) -> int:
        return len(self.ray)

    @property
    def points_m(self) -> Float[Tensor, "samples 3"]:
        """Places in head axes; computed anew at each call, so that only a part's need memory."""
        return self.rays.origins_m[self.ray] + self.distances_m[:, None] * self.directions

    @property
    def directions(self) -> Float[Tensor, "samples 3"]:
        """Unit vectors of view, away from the camera, in head axes."""
        return self.rays.directions[self.ray]

    @property
    def entry(self) -> Int[Tensor, " samples"]:
        """Which entry of the batch each sample belongs to."""
        return self.rays.entry[self.ray]

    def part(self, start: int, end: int) -> "RaySamples":
        """The samples of some consecutive rays."""
        low, high = int(self.first[start]), int(self.first[end])
        return RaySamples(
            self.rays.part(start, end),
            self.ray[low:high] - start,
            self.distances_m[low:high],
            self.steps_m[low:high],
            self.first[start : end + 1] - low,
            self.start + low,
        )

    def only(self, wanted: Bool[Tensor, " samples"]) -> "RaySamples":
        """Some of the samples, on the same rays."""
        ray = self.ray[wanted]
        return RaySamples(self.rays, ray, self.distances_m[wanted], self.steps_m[wanted], _firsts(ray, len(self.rays)))


def sample_rays(
    rays: Rays, count: int, occupied: Occupancy | None = None, generator: torch.Generator | None = None
) -> RaySamples:
    """Cut each ray's way through the box into equal cells and take one place in each.

    What `occupied` says decides which samples are left, never where they lie: with and without it a picture is the
    same where the field is 0 in all that is left out.

    Args:
        rays: the rays; those with nothing to sample get no sample.
        count: cells a ray.
        occupied: where anything may be; everywhere if None.
        generator: draws a place in each cell, anew at each call (stratified); None takes the middles (uniform).

    Raises:
        HeadstudioError: for a count below 1.
    """
    if count < 1:
        raise HeadstudioError(f"{count} samples a ray", where="count", next_step="take at least one")
    crossing = torch.nonzero(rays.far_m > rays.near_m)[:, 0]
    at_once = max(_CANDIDATES_AT_ONCE // count, 1)
    found = [
        _kept(rays, crossing[first : first + at_once], count, occupied, generator)
        for first in range(0, len(crossing), at_once)
    ]
    empty = crossing[:0], rays.near_m[:0], rays.near_m[:0]
    ray, distances_m, steps_m = (torch.cat(parts) for parts in zip(empty, *found, strict=True))
    return RaySamples(rays, ray, distances_m, steps_m, _firsts(ray, len(rays)))


def _firsts(ray: Tensor, rays: int) -> Int[Tensor, " rays_and_one"]:
    """Index of each ray's first sample, and the number of samples."""
    ends = torch.bincount(ray, minlength=rays).cumsum(0)
    return torch.cat([ends.new_zeros(1), ends]).int()


def _kept(
    rays: Rays, ray: Tensor, count: int, occupied: Occupancy | None, generator: torch.Generator | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Ray, distance and step of the samples of some rays that are not skipped."""
    near, far = rays.near_m[ray], rays.far_m[ray]
    step = (far - near) / count
    if generator is None:
        within = near.new_full((len(ray), count), 0.5)
    else:
        within = torch.rand(len(ray), count, generator=generator, device=generator.device).to(near)
    cells = torch.arange(count, device=near.device)
    distances = near[:, None] + (cells + within) * step[:, None]
    if occupied is None:
        return ray.repeat_interleave(count), distances.reshape(-1), step.repeat_interleave(count)
    with torch.no_grad():
        points = rays.origins_m[ray, None] + distances[..., None] * rays.directions[ray, None]
        line, cell = torch.nonzero(occupied(points.reshape(-1, 3)).reshape(len(ray), count), as_tuple=True)
    return ray[line], distances[line, cell], step[line]
