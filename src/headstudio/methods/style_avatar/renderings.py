"""What the networks are shown of the tracked head: its texture under one fixed light, and its places in the atlas.

The light is fixed to the camera and comes from above and from the side, so that folds and lips, which turn their
normals by little, change their brightness (section 3.1: "a pre-defined fixed lighting in order to accentuate facial
expression changes"; the paper gives no numbers).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.geometry.camera import Camera
from headstudio.render.light import Y00, spherical_harmonics
from headstudio.render.mesh import MeshTopology, render_surface
from headstudio.render.texture import MipPyramid

_CLAMPED_COSINE = (math.pi, *(2 * math.pi / 3,) * 3, *(math.pi / 4,) * 5)
"""Factors of a clamped cosine's harmonics by order (Ramamoorthi and Hanrahan 2001)."""


@dataclass(frozen=True)
class FixedLightConfig:
    """A light that stays with the camera."""

    ambient: float = 0.4
    """Irradiance from everywhere; 1 leaves a texture as it is (not in the paper)."""
    directed: float = 0.8
    """Irradiance that falls straight from the direction (not in the paper)."""
    direction: tuple[float, float, float] = (-0.5, -0.7, -0.5)
    """Towards the light in camera axes (x right, y down, z forward): from above, the left and the front (not in the
    paper)."""


@dataclass(frozen=True)
class Renderings:
    """The conditioning pictures, pixel on pixel with the camera's picture."""

    texture: Float[Tensor, "batch 3 height width"]
    """The lit texture in [-1, 1], sRGB, on black."""
    uv: Float[Tensor, "batch 2 height width"]
    """Places in the atlas, 0 where the mask is 0."""
    mask: Float[Tensor, "batch 1 height width"]
    """1 where a pixel's centre lies on the head: not antialiased, as places in an atlas must not be mixed."""


def fixed_light(config: FixedLightConfig) -> Float[Tensor, "1 9 3"]:
    """The light as irradiance in camera axes."""
    direction = torch.nn.functional.normalize(torch.tensor(config.direction), dim=0)
    light = config.directed * torch.tensor(_CLAMPED_COSINE) * spherical_harmonics(direction)
    light[0] += config.ambient / Y00
    return light[None, :, None].repeat(1, 1, 3)


@torch.no_grad()
def render_inputs(
    vertices_camera_m: Float[Tensor, "batch vertices 3"],
    mesh: MeshTopology,
    camera: Camera,
    texture: Float[Tensor, "#batch 3 rows columns"] | MipPyramid,
    light: FixedLightConfig,
) -> Renderings:
    """Texture and atlas renderings of posed heads, eyeballs with their gaze included where the mesh has them.

    Args:
        vertices_camera_m: points in camera axes, metres.
        mesh: triangles and atlas.
        camera: of the crop at the renderings' resolution (`Camera.resized`).
        texture: of the person, sRGB in [0, 1].
        light: the one light of training and use.
    """
    lit = render_surface(vertices_camera_m, mesh, camera, texture, fixed_light(light).to(vertices_camera_m))
    assert lit.image is not None  # a texture was given
    shown = 2.0 * (lit.image * lit.mask).clamp(0.0, 1.0) - 1.0
    mask = lit.fragments.mask.to(shown)
    return Renderings(shown, lit.uv * mask, mask)
