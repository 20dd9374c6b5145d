"""What runs without PyTorch: code and rays in, picture and mask out, as one graph that asks everywhere."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from headstudio.methods.latent_avatar.head import LatentHead, with_colour
from headstudio.motion.articulation import camera_pose
from headstudio.records.channels import Channels, Rendering, Scene, View
from headstudio.render.rays import camera_rays
from headstudio.render.tri_plane import sample_tri_plane_plainly
from headstudio.render.volume import composite_plainly
from headstudio.training.contract import Runtime, TensorSpec

if TYPE_CHECKING:
    from headstudio.methods.latent_avatar.model import LatentAvatar

_PLACE, _DIRECTION, _NEAR, _FAR = slice(0, 3), slice(3, 6), slice(6, 7), slice(7, 8)


class LatentAvatarRuntime(Runtime):
    """The encoder and the rays stand before the graph, the background behind it."""

    def __init__(self, avatar: "LatentAvatar") -> None:
        self._avatar = avatar
        rays, side = avatar.config.rays_side, avatar.head.side_px
        self.inputs = (TensorSpec("code", (avatar.config.encoder.code,)), TensorSpec("rays", (rays * rays, 8)))
        self.outputs = (TensorSpec("picture", (3, side, side)), TensorSpec("mask", (1, side, side)))

    def prepare(self, channels: Channels, view: View) -> dict[str, Tensor]:
        avatar, side = self._avatar, self._avatar.config.rays_side
        small = avatar.window(channels, view).view(view, side)
        rays = camera_rays(small.camera, camera_pose(channels, view).float(), avatar.head.box)
        numbers = [rays.origins_m, rays.directions, rays.near_m[:, None], rays.far_m[:, None]]
        return {
            "code": avatar.code(channels, view),
            "rays": torch.cat(numbers, 1).reshape(len(view.T_camera_world), side * side, 8),
        }

    def graph(self) -> nn.Module:
        # An exporter puts a graph, and all in it, back into the mode that the graph was in.
        return _Graph(self._avatar.head).train(self._avatar.training)

    def composite(self, outputs: Mapping[str, Tensor], channels: Channels, view: View, scene: Scene) -> Rendering:
        return self._avatar.composite(outputs["picture"], outputs["mask"], channels, view, scene)


class _Graph(nn.Module):
    occupied: Tensor

    def __init__(self, head: LatentHead) -> None:
        super().__init__()
        self.head = head
        occupied = torch.ones(1) if head.grid is None else head.grid.occupied.float().flatten()
        self.register_buffer("occupied", occupied)

    def forward(self, code: Tensor, rays: Tensor) -> tuple[Tensor, Tensor]:
        """Picture over the learned background, and mask."""
        head, count, side = self.head, self.head.config.samples, self.head.config.rays_side
        step = (rays[..., _FAR] - rays[..., _NEAR]) / count
        cells = torch.arange(count, dtype=rays.dtype, device=rays.device) + 0.5
        along = rays[..., _NEAR] + cells * step
        points = rays[..., None, _PLACE] + along[..., None] * rays[..., None, _DIRECTION]
        scaled = head.box.scaled(points.flatten(1, 2))
        features = sample_tri_plane_plainly(head.planes(code), scaled)
        directions = rays[..., None, _DIRECTION].expand_as(points).flatten(0, 2)
        start = head.start(points.flatten(0, 2))
        density, values = head.volume(features.flatten(0, 1), directions, start[:, 0])
        values = with_colour(values, start)
        density = density * self._kept(scaled.flatten(0, 1))
        packed = density.reshape(-1, count), step.reshape(-1, 1), values.reshape(-1, count, values.shape[1])
        gathered, mask = composite_plainly(*packed)
        gathered = gathered + (1 - mask[:, None]) * head.config.background
        small = gathered.reshape(-1, side, side, gathered.shape[1]).permute(0, 3, 1, 2)
        picture = head.picture(small, mask.reshape(-1, 1, side, side))
        return picture.rgb, picture.mask

    def _kept(self, scaled: Tensor) -> Tensor:
        """1 where the grid lets density be."""
        cells = self.head.config.cells
        if not cells:
            return self.occupied
        index = ((scaled + 1) * (cells / 2)).floor().clamp(0, cells - 1).long()
        return self.occupied[(index[:, 0] * cells + index[:, 1]) * cells + index[:, 2]]
