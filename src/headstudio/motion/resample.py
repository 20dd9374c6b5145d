"""A motion on another clock, cut, or smoothed without delay."""

import roma
import torch
from jaxtyping import Float, Int
from torch import Tensor

from headstudio.errors import HeadstudioError
from headstudio.geometry.rigid import from_rotation
from headstudio.records.channels import HEAD_POSE, Channel
from headstudio.records.motion import Motion


def resample(motion: Motion, times_s: Float[Tensor, " samples"]) -> Motion:
    """The motion at other times: rotations along the shortest arc, the rest linear; held before and after its ends."""
    times_s = times_s.double()
    after = torch.searchsorted(motion.times_s, times_s).clamp(1, max(len(motion) - 1, 1))
    before = after - 1
    after = after.clamp(max=len(motion) - 1)
    span = (motion.times_s[after] - motion.times_s[before]).clamp(min=1e-12)
    share = ((times_s - motion.times_s[before]) / span).clamp(0, 1)
    channels = {channel: _between(channel, values, before, after, share) for channel, values in motion.channels.items()}
    return Motion(times_s, channels)


def crop(motion: Motion, start_s: float, end_s: float) -> Motion:
    """The frames from `start_s` (included) to `end_s` (excluded), on the same clock."""
    inside = ((motion.times_s >= start_s) & (motion.times_s < end_s)).nonzero()[:, 0].tolist()
    if not inside:
        raise HeadstudioError(f"no frame lies between {start_s:g} s and {end_s:g} s", next_step="choose other times")
    return motion.select(inside)


def smooth(motion: Motion, width_s: float) -> Motion:
    """The motion averaged under a Gaussian of standard deviation `width_s`: symmetric in time, so nothing lags."""
    step_s = float(motion.times_s.diff().min()) if len(motion) > 1 else 1.0
    reach = min(int(3 * width_s / step_s) + 1, len(motion) - 1)
    near = torch.arange(len(motion))[:, None] + torch.arange(-reach, reach + 1)
    index = near.clamp(0, len(motion) - 1)
    distance = (motion.times_s[index] - motion.times_s[:, None]) / max(width_s, 1e-9)
    weights = torch.exp(-0.5 * distance**2) * (near == index)
    weights = weights / weights.sum(1, keepdim=True)
    channels = {channel: _average(channel, values, index, weights) for channel, values in motion.channels.items()}
    return Motion(motion.times_s, channels)


def _between(
    channel: Channel,
    values: Tensor,
    before: Int[Tensor, " samples"],
    after: Int[Tensor, " samples"],
    share: Float[Tensor, " samples"],
) -> Tensor:
    return mixed(channel, values[before], values[after], share)


def mixed(channel: Channel, start: Tensor, end: Tensor, share: Float[Tensor, " frames"]) -> Tensor:
    """A channel's values on the way from `start` (0) to `end` (1): rotations take the shortest arc, others a line."""
    weight = share.to(start).reshape(-1, *[1] * (start.ndim - 1))
    if channel == HEAD_POSE:
        rotation = start[:, :3, :3] @ roma.rotvec_to_rotmat(
            weight[..., 0] * roma.rotmat_to_rotvec(start[:, :3, :3].transpose(-1, -2) @ end[:, :3, :3])
        )
        return from_rotation(rotation, torch.lerp(start[:, :3, 3], end[:, :3, 3], weight[..., 0]))
    if channel.unit == "rad":
        way = roma.rotvec_composition([-start, end])
        return roma.rotvec_composition([start, weight * way])
    return torch.lerp(start, end, weight)


def _average(channel: Channel, values: Tensor, index: Int[Tensor, "frames near"], weights: Tensor) -> Tensor:
    if channel == HEAD_POSE:
        mean = _weighted(values, index, weights)
        return from_rotation(_nearest_rotation(mean[:, :3, :3]), mean[:, :3, 3])
    if channel.unit == "rad":
        return roma.rotmat_to_rotvec(_nearest_rotation(_weighted(roma.rotvec_to_rotmat(values), index, weights)))
    return _weighted(values, index, weights)


def _nearest_rotation(mean: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3 3"]:
    """The chordal mean of the rotations that `mean` averages (Hartley et al. 2013, "Rotation Averaging")."""
    rotation = roma.special_procrustes(mean)
    return rotation[0] if isinstance(rotation, tuple) else rotation


def _weighted(values: Tensor, index: Int[Tensor, "frames near"], weights: Tensor) -> Tensor:
    total = torch.zeros_like(values)
    for column in range(index.shape[1]):
        total = total + values[index[:, column]] * weights[:, column].to(values).reshape(-1, *[1] * (values.ndim - 1))
    return total
