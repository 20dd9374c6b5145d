"""The head: a code in; planes, a volume along rays, a large picture out."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from headstudio.errors import HeadstudioError
from headstudio.geometry.camera import Camera
from headstudio.methods.latent_avatar.config import LatentAvatarConfig
from headstudio.methods.latent_avatar.frame import HeadFrame
from headstudio.methods.latent_avatar.start import CHANNELS, trilinear
from headstudio.nn.feature_generator import FeatureGenerator
from headstudio.nn.super_resolution import SuperResolution
from headstudio.nn.volume_field import VolumeField
from headstudio.render.occupancy import OccupancyGrid
from headstudio.render.ray_samples import RaySamples, sample_rays
from headstudio.render.rays import camera_rays, to_picture
from headstudio.render.tri_plane import sample_tri_plane
from headstudio.render.volume import render_volume, visible

_COLOUR = 3
_LEAST_DENSITY_PER_M = 4.0
"""Of an occupied cell: above the fog of the start, which else would be asked for ever."""
_PLANES_AT_START, _PLANES_RATE = 0.1, 5.0
"""Standard deviation of the learned planes at the start, and the factor on their learning rate."""
_SEEN_IN_TRAINING, _SEEN = 1e-2, 1e-4
"""Least share of a sample's light that must reach the eye for it to be asked its colour."""


@dataclass(frozen=True)
class Seen:
    """The volume seen along rays, one a pixel."""

    values: Float[Tensor, "batch values side side"]
    """Colour and features, over the background; the first three are sRGB."""
    mask: Float[Tensor, "batch 1 side side"]
    """Opacity."""
    depth_m: Float[Tensor, "batch 1 side side"]
    """Mean camera z; 0 where nothing is."""
    reached: Float[Tensor, "batch 1 side side"]
    """1 where the ray meets the box."""

    @property
    def colour(self) -> Float[Tensor, "batch 3 side side"]:
        """The low-resolution picture."""
        return self.values[:, :_COLOUR]


@dataclass(frozen=True)
class Picture:
    """What is shown."""

    rgb: Float[Tensor, "batch 3 height width"]
    """Over the background that was learned before."""
    mask: Float[Tensor, "batch 1 height width"]
    """Coverage."""


class LatentHead(nn.Module):
    """Generator, volume and U-Net of paper 5, section 3.2."""

    first: Tensor

    def __init__(self, config: LatentAvatarConfig, frame: HeadFrame) -> None:
        super().__init__()
        self.config, self.frame = config, frame
        _check(config)
        self.box = frame.box(config.box_lowest, config.box_highest)
        self.generator = FeatureGenerator(config.generator)
        self.volume = VolumeField(config.volume)
        self.super_resolution = SuperResolution(config.super_resolution)
        self.grid = OccupancyGrid(self.box, config.cells, _LEAST_DENSITY_PER_M) if config.cells else None
        self.register_buffer("first", torch.zeros((config.start_side,) * 3 + (CHANNELS,)))
        shape = 1, 3 * config.volume.features, config.generator.side, config.generator.side
        if config.mixed_planes:
            self.mixture = nn.Linear(config.encoder.code, config.mixed_planes, bias=False)
            self.mixed_planes = nn.Parameter(torch.zeros(config.mixed_planes, *shape[1:]))
        if config.own_planes:
            self.own_planes = nn.Parameter(_PLANES_AT_START / _PLANES_RATE * torch.randn(shape))

    @property
    def side_px(self) -> int:
        """Side of the large picture."""
        return self.config.rays_side << self.config.super_resolution.doublings

    def planes(self, codes: Float[Tensor, "batch code"]) -> Float[Tensor, "batch planes side side"]:
        """The tri-plane of each code."""
        planes = self.generator(codes).features.float()
        if self.config.mixed_planes:
            planes = planes + _PLANES_RATE * torch.einsum("bk,kcyx->bcyx", self.mixture(codes), self.mixed_planes)
        return planes + _PLANES_RATE * self.own_planes if self.config.own_planes else planes

    def seen(
        self, planes: Float[Tensor, "batch planes _ _"], T_camera_head: Float[Tensor, "batch 4 4"], camera: Camera
    ) -> Seen:
        """The volume before a camera of `rays_side` pixels a side."""
        rays = camera_rays(camera, T_camera_head, self.box)
        drawing = torch.Generator().manual_seed(int(torch.randint(2**62, ()))) if self._draws else None
        samples = self._visible(planes, sample_rays(rays, self.config.samples, self.grid, drawing))
        found = render_volume(self._field(planes, len(samples)), samples, self.config.samples_at_once)
        values = found.values + (1 - found.mask[:, None]) * self.config.background
        reached = (rays.far_m > rays.near_m).to(values)
        of_rays = torch.cat([values, found.mask[:, None], found.depth_m[:, None], reached[:, None]], 1)
        pictures = to_picture(of_rays, camera)
        return Seen(*pictures.split([values.shape[1], 1, 1, 1], 1))

    def enlarged(self, seen: Seen) -> Picture:
        """The large picture of the small one."""
        return self.picture(seen.values, seen.mask)

    def picture(self, values: Float[Tensor, "batch values _ _"], mask: Float[Tensor, "batch 1 _ _"]) -> Picture:
        """The large picture of small values over the background and their mask."""
        if not self.config.has_fine_mask:
            large = F.interpolate(mask, scale_factor=2**self.config.super_resolution.doublings, mode="bilinear")
            return Picture(self.super_resolution(values).float(), large)
        # The residual wants the mask right behind the colour.
        found = self.super_resolution(torch.cat([values[:, :_COLOUR], mask, values[:, _COLOUR:]], 1)).float()
        return Picture(found[:, :_COLOUR], found[:, _COLOUR:])

    def settle(self, planes: Float[Tensor, "batch planes _ _"]) -> None:
        """Tell the grid of all that is empty before training, so that no step asks for it."""
        if self.grid is not None:
            for _ in range(self.grid.patience + 1):
                self.look(planes, self.grid.cells**3)

    @torch.no_grad()
    def look(self, planes: Float[Tensor, "batch planes _ _"], cells: int | None = None) -> None:
        """Tell the grid where one of the codes has density, in some cells or all of them."""
        if self.grid is None:
            return
        chosen = planes[int(torch.randint(len(planes), ()))][None]

        def density(points_m: Tensor) -> Tensor:
            entry = torch.zeros(len(points_m), dtype=torch.int32, device=points_m.device)
            features = sample_tri_plane(chosen, self.box.scaled(points_m), entry)
            return self.volume.density(features, self.start(points_m)[:, 0])

        drawing = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        self.grid.update(density, drawing, cells or self.config.cells_looked_at)

    def take(self, first: Float[Tensor, "side side side channels"]) -> None:
        """Start from densities and colours (`start.first_volume`), to which the field adds."""
        self.first.copy_(first)
        last = self.volume.of_values[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight[:_COLOUR])
        nn.init.zeros_(last.bias[:_COLOUR])

    def start(self, points_m: Float[Tensor, "points 3"]) -> Float[Tensor, "points channels"]:
        """What density, before its activation, and colour start from."""
        if not self.config.start_side:
            return points_m.new_zeros(len(points_m), CHANNELS)
        return trilinear(self.first, self.box.scaled(points_m))

    @torch.no_grad()
    def _visible(self, planes: Tensor, samples: RaySamples) -> RaySamples:
        """Samples that are not hidden by others."""
        if not self.config.skip_hidden:
            return samples
        points = samples.points_m
        features = sample_tri_plane(planes, self.box.scaled(points), samples.entry)
        least = _SEEN_IN_TRAINING if self.training else _SEEN
        return samples.only(visible(samples, self.volume.density(features, self.start(points)[:, 0]), least))

    @property
    def _draws(self) -> bool:
        return self.training and self.config.stratified

    def _field(self, planes: Tensor, samples: int):
        noise = None
        if self.training and self.config.density_noise:
            noise = self.config.density_noise * torch.randn(samples, device=planes.device)

        def field(part: RaySamples) -> tuple[Tensor, Tensor]:
            features = sample_tri_plane(planes, self.box.scaled(part.points_m), part.entry)
            start = self.start(part.points_m)
            offset = start[:, 0] if noise is None else start[:, 0] + noise[part.start : part.start + len(part)]
            density, values = self.volume(features, part.directions, offset)
            return density, with_colour(values, start)

        return field


def with_colour(
    values: Float[Tensor, "samples values"], start: Float[Tensor, "samples channels"]
) -> Float[Tensor, "samples values"]:
    """Values whose colour is added to that of the start."""
    return torch.cat([values[:, :_COLOUR] + start[:, 1:], values[:, _COLOUR:]], dim=1)


def _check(config: LatentAvatarConfig) -> None:
    volume, generator = config.volume, config.generator
    wanted = volume.values + int(config.has_fine_mask)
    if config.super_resolution.inputs != wanted:
        raise HeadstudioError(
            f"super resolution of {config.super_resolution.inputs} channels, where {wanted} are rendered",
            where="latent-avatar",
            next_step=f"set super_resolution.inputs={wanted}",
        )
    if generator.out_channels != 3 * volume.features:
        raise HeadstudioError(
            f"planes of {generator.out_channels} channels for a field of {volume.features} features",
            where="latent-avatar",
            next_step=f"set generator.out_channels={3 * volume.features}",
        )
    if generator.style.code_width != config.encoder.code:
        raise HeadstudioError(
            f"codes of {config.encoder.code} for a generator that takes {generator.style.code_width}",
            where="latent-avatar",
            next_step="give encoder.code and generator.style.code_width one value",
        )
