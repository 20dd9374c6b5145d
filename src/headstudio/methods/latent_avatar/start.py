"""What a short training starts from: the tracked head's surface, soft, and the colours that training frames show on it.

The paper starts from nothing and sees each frame hundreds of times. From a wrong shape the frames' colours do not meet,
and minutes of training end in their average. Only the neutral head and its pose are used, no expression.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from headstudio.geometry.rigid import transform
from headstudio.motion.articulation import camera_pose
from headstudio.render.closest import SurfaceIndex, signed_distance
from headstudio.render.rays import Box
from headstudio.texture.fill import pull_push
from headstudio.training.batches import FrameStore, spread_out, usable_training_frames
from headstudio.training.contract import Source

CHANNELS = 4
"""Density before its activation, and sRGB."""
_INSIDE_PER_M, _OUTSIDE_PER_M = 400.0, 150.0
"""Slopes of the density before its activation: steep under the skin; thin over it, where hair may grow."""
_DEEPEST, _FOG = 4.0, -4.0
_LOOKED_AT, _SIDE_PX = 32, 256
_FACING = 0.3
"""Least cosine between the normal and the way to the camera at which a place is looked at."""
_LEAST_WEIGHT = 1e-3
_NEAR_M = 0.03
_PERSON = 0.9
_SLAB = 1 << 16


def first_volume(
    sources: Sequence[Source],
    neutral_m: Float[Tensor, "vertices 3"],
    triangles: Int[Tensor, "triangles 3"],
    box: Box,
    side: int,
) -> Float[Tensor, "side side side channels"]:
    """The start of the volume of a box, by x, y and z.

    Args:
        sources: captures of the person.
        neutral_m: the tracked head at rest, in head axes.
        triangles: of that mesh.
        box: where the volume is.
        side: places along each axis, the outer ones on the box's faces.
    """
    points_m = _places(box, side)
    index = SurfaceIndex(neutral_m, triangles)
    found = [signed_distance(part, index) for part in points_m.split(_SLAB)]
    away_m, normals = torch.cat([one.distance for one in found]), torch.cat([one.normal for one in found])
    density = torch.where(away_m < 0, -_INSIDE_PER_M * away_m, -_OUTSIDE_PER_M * away_m).clamp(_FOG, _DEEPEST)
    total, weight = torch.zeros(len(points_m), 3), torch.zeros(len(points_m), 1)
    near = away_m.abs() < _NEAR_M
    for source in sources:
        colours, seen = _seen(source, points_m[near], normals[near])
        total[near] += colours
        weight[near] += seen
    known = (total / weight.clamp_min(_LEAST_WEIGHT)).T.reshape(3, side, side, side)
    colours = pull_push(known, (weight > _LEAST_WEIGHT).float().reshape(1, side, side, side))
    return torch.cat([density.reshape(side, side, side, 1), colours.permute(1, 2, 3, 0)], dim=-1)


def trilinear(
    volume: Float[Tensor, "side side side channels"], scaled: Float[Tensor, "points 3"]
) -> Float[Tensor, "points channels"]:
    """The volume at places from -1 to 1 along each axis; the border continues.

    Plain gathers, which every exporter knows.
    """
    side, channels = int(volume.shape[0]), int(volume.shape[-1])
    places = ((scaled + 1) * ((side - 1) / 2)).clamp(0, side - 1)
    low = places.floor().clamp(max=side - 2)
    share, first = places - low, low.long()
    flat = volume.reshape(-1, channels)
    start = (first[:, 0] * side + first[:, 1]) * side + first[:, 2]
    found = torch.zeros(scaled.shape[0], channels, dtype=volume.dtype, device=scaled.device)
    for corner in range(8):
        up = [(corner >> axis) & 1 for axis in (2, 1, 0)]
        parts = [share[:, axis] if one else 1 - share[:, axis] for axis, one in enumerate(up)]
        found = found + flat[start + (up[0] * side + up[1]) * side + up[2]] * (parts[0] * parts[1] * parts[2])[:, None]
    return found


def _places(box: Box, side: int) -> Float[Tensor, "points 3"]:
    low, high = torch.tensor(box.lowest_m), torch.tensor(box.highest_m)
    axes = [torch.linspace(float(a), float(b), side) for a, b in zip(low, high, strict=True)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(-1, 3)


def _seen(source: Source, points_m: Tensor, normals: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted colours of places in training frames, and the weights."""
    store = FrameStore(source, _SIDE_PX)
    frames = torch.tensor(spread_out(usable_training_frames(source), _LOOKED_AT))
    view = source.track.view(frames, size_px=_SIDE_PX)
    poses = camera_pose(source.motion.at(frames), view).float()
    K_px = view.camera.K_px.float().expand(len(frames), 3, 3)
    total, weight = torch.zeros(len(points_m), 3), torch.zeros(len(points_m), 1)
    for frame, T_camera_head, K in zip(frames.tolist(), poses, K_px, strict=True):
        there_m = transform(T_camera_head, points_m)
        projected = there_m @ K.T
        facing = -(F.normalize(there_m, dim=1) * (normals @ T_camera_head[:3, :3].T)).sum(1)
        grid = 2 * projected[:, :2] / projected[:, 2:].clamp_min(1e-6) / _SIDE_PX - 1
        picture = store[frame].float()[None] / 255
        looked = F.grid_sample(picture, grid[None, None], mode="bilinear", align_corners=False)[0, :, 0].T
        counts = ((facing - _FACING).clamp_min(0) * (looked[:, 3] > _PERSON))[:, None] ** 2
        total, weight = total + counts * looked[:, :3], weight + counts
    return total, weight
