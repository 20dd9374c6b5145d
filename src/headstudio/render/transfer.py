"""Which part of a distant light reaches each point of a mesh that shadows itself.

Precomputed radiance transfer in nine harmonics (Sloan et al. 2002) for a diffuse surface.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from headstudio.render.light import Y00, spherical_harmonics
from headstudio.render.normals import vertex_normals
from headstudio.render.occlusion import sphere_directions, visibility

_SIZE_PX = 224
_DARKEST = 0.5
"""No point gets less than this part of an even light."""
_BOUNCED = 0.2
"""What a surface that hides the light sends instead, as a part of the light's mean: half the albedo of skin."""


def shadowed_harmonics(
    vertices_m: Float[Tensor, "vertices 3"], triangles: Int[Tensor, "triangles 3"], directions: int = 96
) -> Float[Tensor, "vertices 9"]:
    """What stands in place of `spherical_harmonics(normals)` where the mesh keeps light from itself.

    It takes the same irradiance coefficients, and is equal to it where nothing is hidden.

    Args:
        vertices_m: the mesh at rest; the light is in the same axes.
        triangles: counter-clockwise seen from outside.
        directions: from so many the mesh is looked at; 0 leaves shadows out.
    """
    normals = vertex_normals(vertices_m[None], triangles)[0]
    reached = spherical_harmonics(normals)
    # Convolution with the clamped cosine, over pi (Ramamoorthi and Hanrahan 2001), is in the coefficients already.
    gain = torch.tensor([1.0] + [2 / 3] * 3 + [1 / 4] * 5).to(reached)
    for direction in sphere_directions(directions).to(vertices_m):
        hidden = 1.0 - visibility(vertices_m, normals, triangles, direction, _SIZE_PX)
        lost = (normals @ direction).clamp_min(0.0) * hidden * (4.0 / directions) / gain[:, None]
        reached = reached - (lost * spherical_harmonics(direction)[:, None]).T
    reached[:, 0] += _BOUNCED * (Y00 - reached[:, 0])
    bare = spherical_harmonics(normals)
    # Deep folds are lit by their own walls and open when the face moves: how dark they are is not believed.
    kept = ((1.0 - _DARKEST) / (1.0 - reached[:, :1] / Y00).clamp_min(1e-6)).clamp_max(1.0)
    return bare + kept * (reached - bare)


def reached_share(
    harmonics: Float[Tensor, "vertices 9"], bare: Float[Tensor, "vertices 9"], light_sh: Float[Tensor, "batch 9 3"]
) -> Float[Tensor, "batch vertices 3"]:
    """How much of the light on an open surface reaches one that shadows itself, from 0 up; about 1 in the open.

    A head's shadow changes less with its expression than its normals do: the share of the head at rest goes over the
    light on the moving one.

    Args:
        harmonics: `shadowed_harmonics` of the head at rest.
        bare: `spherical_harmonics` of its normals.
        light_sh: in head axes.
    """
    floor = _DIM * light_sh[:, :1].abs() * Y00
    got, open_ = (torch.einsum("vh,bhc->bvc", part, light_sh).clamp_min(0.0) for part in (harmonics, bare))
    return ((got + floor) / (open_ + floor).clamp_min(1e-6)).clamp_max(_MOST)


_DIM, _MOST = 0.05, 1.5
"""Where the open surface gets less than this part of the mean light, the share tends to 1; and its bound."""
