"""What the skin looks like: albedo at surface points, light in nine spherical harmonics, and the atlas texture."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from headstudio.geometry.camera import Camera
from headstudio.heads.base import HeadModel
from headstudio.render.colour import linear_to_srgb, srgb_to_linear
from headstudio.render.light import Y00, spherical_harmonics
from headstudio.render.rasterise import rasterise
from headstudio.tracking.points import FrameState
from headstudio.tracking.surface import SeenSurface, SurfacePoints, look, sample

_ROUNDS = 6
_UNIFORM = 0.05
"""Weight of the belief in uniform light, per observed colour: a head that hardly turns says little about its light."""
_LEAST_LIGHT = 0.05
_TOLERANCE = 0.1
"""Deviation of a colour from the mean at which it counts for half."""


@dataclass(frozen=True)
class Appearance:
    """The look of some surface points, the same in every frame."""

    albedo: Float[Tensor, "points 3"]
    """Linear; what the point reflects of irradiance 1."""
    light_sh: Float[Tensor, "9 3"]
    seen: Float[Tensor, " points"]
    """How often each point was seen, in [0, 1]; 0 leaves it out."""

    def predict(self, normals: Float[Tensor, "frames points 3"]) -> Float[Tensor, "frames points 3"]:
        """Linear colours under the clip's light."""
        return self.albedo * irradiance(normals, self.light_sh)


def irradiance(normals: Float[Tensor, "frames points 3"], light_sh: Tensor) -> Float[Tensor, "frames points 3"]:
    """Linear light on surfaces."""
    return (spherical_harmonics(normals) @ light_sh).clamp_min(_LEAST_LIGHT)


def uniform_light() -> Float[Tensor, "9 3"]:
    """Irradiance 1 from everywhere."""
    light = torch.zeros(9, 3)
    light[0] = 1.0 / Y00
    return light


def learn_appearance(
    colours: Float[Tensor, "frames points 3"], surface: SeenSurface, light_sh: Tensor | None = None
) -> Appearance:
    """Albedo and light in turns, each the weighted least-squares solution of the other.

    Args:
        colours: sRGB found at the points in the training frames.
        light_sh: light that is already known; estimated otherwise.
    """
    linear = srgb_to_linear(colours)
    light = uniform_light() if light_sh is None else light_sh
    weight = surface.weight
    albedo = _mean_albedo(linear, surface, light, weight)
    for _ in range(_ROUNDS):
        if light_sh is None:
            light = _fit_light(linear, surface.normals, albedo, weight)
        deviation = (linear_to_srgb(albedo * irradiance(surface.normals, light)) - colours).norm(dim=-1)
        weight = surface.weight / (1.0 + (deviation / _TOLERANCE) ** 2)
        albedo = _mean_albedo(linear, surface, light, weight)
    return Appearance(albedo, light, surface.weight.mean(0))


def frame_gain(
    predicted: Float[Tensor, "frames points 3"], colours: Float[Tensor, "frames points 3"], weight: Tensor
) -> Float[Tensor, " frames"]:
    """Exposure of each frame against the clip: the least-squares factor between linear colours."""
    linear, share = srgb_to_linear(colours), weight[..., None]
    above = (share * predicted * linear).sum((1, 2))
    below = (share * predicted**2).sum((1, 2))
    return torch.where(below > 0, above / below.clamp_min(1e-9), 1.0).clamp(0.3, 3.0)


def unproject_texture(
    head: HeadModel,
    neutral_m: Float[Tensor, "1 vertices 3"],
    states: FrameState,
    images: Float[Tensor, "frames 3 height width"],
    camera: Camera,
    light_sh: Float[Tensor, "frames 9 3"],
    size_px: int,
) -> UInt8[Tensor, "3 size size"]:
    """The frames' colours, freed of their light, averaged in the atlas; texels never seen get the mean colour."""
    points, mask = _texels(head, size_px)
    total, weight = torch.zeros(len(points.corners), 3), torch.zeros(len(points.corners), 1)
    for frame in range(len(images)):
        one = slice(frame, frame + 1)
        surface = look(head, neutral_m, points, states.at(one), camera[one])
        colours = srgb_to_linear(sample(images[one], camera[one].project(surface.camera_m)[0]))
        share = surface.weight[0, :, None] ** 2
        total += share * (colours / irradiance(surface.normals, light_sh[one]))[0]
        weight += share
    mean = total.sum(0) / weight.sum().clamp_min(1e-9)
    atlas = mean.expand(size_px, size_px, 3).clone()
    atlas[mask] = torch.where(weight > 0, total / weight.clamp_min(1e-9), mean)
    return (linear_to_srgb(atlas).clamp(0, 1) * 255).round().byte().permute(2, 0, 1).contiguous()


def _texels(head: HeadModel, size_px: int) -> tuple[SurfacePoints, Tensor]:
    """Surface points of all texels that the atlas uses: the atlas is rasterised as a flat mesh."""
    uv = torch.nn.functional.pad(head.data.uv, (0, 1), value=1.0)[None]
    flat = Camera(torch.diag(torch.tensor([float(size_px), float(size_px), 1.0])), size_px, size_px)
    fragments = rasterise(uv, head.data.uv_triangles, flat)
    mask = fragments.triangle[0] >= 0
    return SurfacePoints(head.data.triangles[fragments.triangle[0][mask].long()], fragments.barycentric[0][mask]), mask


def _mean_albedo(linear: Tensor, surface: SeenSurface, light: Tensor, weight: Tensor) -> Float[Tensor, "points 3"]:
    shade, share = irradiance(surface.normals, light), weight[..., None]
    return (share * shade * linear).sum(0) / (share * shade**2).sum(0).clamp_min(1e-6)


def _fit_light(linear: Tensor, normals: Tensor, albedo: Tensor, weight: Tensor) -> Float[Tensor, "9 3"]:
    """Least squares towards uniform light, one channel at a time; scale is fixed by the mean irradiance of 1."""
    basis = spherical_harmonics(normals).flatten(0, 1)
    start = uniform_light()
    columns = []
    for channel in range(3):
        rows = basis * (albedo[:, channel].expand(len(linear), -1).reshape(-1, 1))
        weighted = rows * weight.reshape(-1, 1)
        ridge = _UNIFORM * float(weighted.pow(2).sum() / 9 + 1e-9) * torch.eye(9)
        excess = linear[..., channel].reshape(-1) - rows @ start[:, channel]
        columns.append(start[:, channel] + torch.linalg.solve(weighted.T @ rows + ridge, weighted.T @ excess))
    light = torch.stack(columns, dim=1)
    mean = (irradiance(normals, light) * weight[..., None]).sum((0, 1)) / weight.sum().clamp_min(1e-9)
    return light / mean.clamp_min(_LEAST_LIGHT)
