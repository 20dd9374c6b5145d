"""One static texture from many frames: every texel looks itself up in the frames that see it.

Paper 1, section 3.3.1 takes the plain mean of the unwrapped frames; here frames that see a texel well (from the
front, on the person, in a sharp picture) count more, and what disagrees with the rest counts less.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from headstudio.errors import HeadstudioError
from headstudio.geometry.camera import Camera
from headstudio.render.colour import linear_to_srgb, srgb_to_linear
from headstudio.render.light import spherical_harmonics
from headstudio.render.mesh import MeshTopology
from headstudio.render.normals import unit, vertex_normals
from headstudio.render.rasterise import rasterise
from headstudio.texture.texels import TexelMap


@dataclass(frozen=True)
class UnprojectionConfig:
    """How frames are averaged into a texture."""

    angle_power: float = 4.0
    """Weight of a texel falls with this power of the cosine between its normal and the ray; the paper has 0."""
    least_cosine: float = 0.15
    """Texels seen more obliquely are not taken."""
    depth_tolerance_m: float = 0.004
    """A texel farther behind the nearest surface than this is hidden."""
    robust_passes: int = 2
    """Repeated means in which a colour far from the last mean counts less; 0 is the paper's plain mean."""
    robust_scale: float = 0.08
    """Colour distance (sRGB, 0..1) at which a frame counts less by the factor e."""


@dataclass(frozen=True)
class Observation:
    """One frame as the texture sees it."""

    image: Float[Tensor, "3 height width"]
    """sRGB in [0, 1]."""
    trust: Float[Tensor, "1 height width"]
    """Matte times validity, in [0, 1]."""
    vertices_camera_m: Float[Tensor, "vertices 3"]
    camera: Camera
    """`K_px` of shape (1, 3, 3)."""
    weight: float = 1.0
    """Sharpness and confidence of the frame."""
    light_sh: Float[Tensor, "9 3"] | None = None
    """Light to take off the colours, in camera axes (in those of `harmonics` where they are given); None leaves it in
    the texture."""
    harmonics: Float[Tensor, "vertices 9"] | None = None
    """What of the light reaches each vertex (`render.transfer.shadowed_harmonics`); None: all that its normal faces."""


@dataclass(frozen=True)
class Samples:
    """What each frame says of each texel."""

    colours: UInt8[Tensor, "frames 3 size size"]
    """sRGB; bytes, to hold hundreds of frames."""
    weights: Float[Tensor, "frames 1 size size"]
    """0 where the frame does not see the texel."""


@dataclass(frozen=True)
class Unprojected:
    """A texture and how well each texel was seen."""

    texture: Float[Tensor, "3 size size"]
    weight: Float[Tensor, "1 size size"]

    @property
    def seen(self) -> Bool[Tensor, "1 size size"]:
        """Texels with a colour of their own."""
        return self.weight > 1e-4


def unproject(
    observations: Iterable[Observation], mesh: MeshTopology, texels: TexelMap, config: UnprojectionConfig
) -> Unprojected:
    """The texture that the observations agree on."""
    return average(sample(observations, mesh, texels, config), config)


def sample(
    observations: Iterable[Observation], mesh: MeshTopology, texels: TexelMap, config: UnprojectionConfig
) -> Samples:
    """Colours and weights of all texels in all observations, of which at least one must be there."""
    found = [_sample(observation, mesh, texels, config) for observation in observations]
    if not found:
        raise HeadstudioError("there is no picture to take a texture from", next_step="pass at least one observation")
    return Samples(torch.stack([colour for colour, _ in found]), torch.stack([weight for _, weight in found]))


def average(samples: Samples, config: UnprojectionConfig) -> Unprojected:
    """The mean of the samples, from which what disagrees is weighted down."""
    colours, weights = samples.colours, samples.weights
    texture = _mean(colours, weights)
    for _ in range(config.robust_passes):
        distance = torch.stack([(colour.float() / 255 - texture).abs().mean(0, keepdim=True) for colour in colours])
        texture = _mean(colours, weights * torch.exp(-distance / config.robust_scale))
    return Unprojected(texture, weights.sum(0))


def _mean(colours: Tensor, weights: Tensor) -> Tensor:
    total = weights.sum(0).clamp_min(1e-8)
    summed = torch.zeros_like(total).expand(3, -1, -1).clone()
    for colour, weight in zip(colours, weights, strict=True):
        summed += colour.float() * (weight / 255)
    return summed / total


def _sample(
    observation: Observation, mesh: MeshTopology, texels: TexelMap, config: UnprojectionConfig
) -> tuple[Tensor, Tensor]:
    """Colours (uint8, to hold hundreds of frames) and weights of all texels in one frame."""
    vertices = observation.vertices_camera_m
    attributes = [vertices, vertex_normals(vertices[None], mesh.triangles)[0]]
    if observation.harmonics is not None:
        attributes.append(observation.harmonics)
    surface = texels.spread(torch.cat(attributes, dim=1)).flatten(1).T
    points, normals = surface[:, :3], unit(surface[:, 3:6], 1)
    on_chart = texels.mask.flatten()
    points = torch.where(on_chart[:, None], points, points.new_tensor([0.0, 0.0, 1.0]))  # nothing lies at the camera
    cosine = -(unit(points, 1) * normals).sum(1)
    places_px, depth_m = observation.camera.project(points[None])
    seen = _look_up(_nearest_depth(observation, mesh), places_px, "nearest")[0]
    visible = (cosine > config.least_cosine) & (depth_m[0] < seen + config.depth_tolerance_m) & (seen > 0)
    looked_up = _look_up(torch.cat([observation.image, observation.trust]), places_px, "bilinear")
    weight = observation.weight * cosine.clamp_min(0) ** config.angle_power * visible * looked_up[3]
    size = texels.mask.shape
    colour = looked_up[:3]
    if observation.light_sh is not None:
        basis = spherical_harmonics(normals) if observation.harmonics is None else surface[:, 6:]
        colour = _without_light(colour, basis, observation.light_sh)
    colour = (colour * 255).round().clamp(0, 255).to(torch.uint8)
    return colour.reshape(3, *size), (weight * on_chart).reshape(1, *size)


def _without_light(colour: Float[Tensor, "3 texels"], basis: Float[Tensor, "texels 9"], light_sh: Tensor) -> Tensor:
    """Albedo of lit colours, both sRGB: what `render_surface` under this light turns back into them."""
    irradiance = (basis @ light_sh).clamp_min(LEAST_LIGHT)
    # Nine harmonics reach below zero beyond the directions they were fitted to, one colour before the other.
    irradiance = irradiance.maximum(_LEAST_CHANNEL * irradiance.mean(1, keepdim=True))
    return linear_to_srgb(srgb_to_linear(colour) / irradiance.T)


LEAST_LIGHT = 0.2
"""Irradiance below which a colour says little of the albedo; such texels keep some of their darkness."""
_LEAST_CHANNEL = 0.6
"""No light is of a stronger colour: a channel has at least this part of the mean of all three."""


def _nearest_depth(observation: Observation, mesh: MeshTopology) -> Tensor:
    return rasterise(observation.vertices_camera_m[None], mesh.triangles, observation.camera).depth_m


def _look_up(image: Float[Tensor, "channels height width"], places_px: Tensor, mode: str) -> Tensor:
    size = places_px.new_tensor([image.shape[2], image.shape[1]])
    grid = (places_px / size * 2 - 1).clamp(-2, 2)[:, None]
    return F.grid_sample(image[None], grid, mode=mode, align_corners=False)[0, :, 0]
