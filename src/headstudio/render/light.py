"""Spherical-harmonic irradiance: light = basis(normal) @ coefficients, in linear light and camera axes."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function

from headstudio.render.checks import check_batch, check_shape

Y00 = 0.28209479177387814
"""The constant harmonic; a coefficient of 1 / Y00 on it alone is irradiance 1 from everywhere."""
_Y1 = 0.4886025119029199
_Y2 = 1.0925484305920792


def spherical_harmonics(normals: Float[Tensor, "*shape 3"]) -> Float[Tensor, "*shape 9"]:
    """The nine real harmonics of unit directions up to the second order, ordered Y00, Y1-1, Y10, Y11, Y2-2 ... Y22."""
    x, y, z = normals.unbind(-1)
    first = [torch.full_like(x, Y00), _Y1 * y, _Y1 * z, _Y1 * x]
    second = [_Y2 * x * y, _Y2 * y * z, _Y2 / 12**0.5 * (3 * z * z - 1), _Y2 * x * z, _Y2 / 2 * (x * x - y * y)]
    return torch.stack(first + second, dim=-1)


def shade(
    normals: Float[Tensor, "batch 3 height width"], light_sh: Float[Tensor, "#batch 9 3"]
) -> Float[Tensor, "batch 3 height width"]:
    """Irradiance (linear RGB, may be negative for coefficients that are no light) on surfaces with unit normals."""
    check_shape(normals, (None, 3, None, None), "normals")
    check_shape(light_sh, (None, 9, 3), "light_sh")
    check_batch(light_sh, len(normals), "light_sh")
    light = light_sh.float().expand(len(normals), -1, -1)
    return _Shade.apply(normals.float().contiguous(), light.contiguous())


def turned(
    light_sh: Float[Tensor, "batch 9 3"], rotation_b_a: Float[Tensor, "#batch 3 3"]
) -> Float[Tensor, "batch 9 3"]:
    """The same light for normals in the axes b, given for normals in the axes a.

    Harmonics up to an order map to themselves under rotation (Ramamoorthi and Hanrahan 2001), so coefficients that
    agree in enough directions agree everywhere.
    """
    directions = torch.nn.functional.normalize(_DIRECTIONS.to(light_sh), dim=1)
    seen = spherical_harmonics(directions @ rotation_b_a.to(light_sh))
    return torch.linalg.pinv(spherical_harmonics(directions)) @ seen @ light_sh


_DIRECTIONS = torch.tensor(
    [(x, y, z) for x in (-1.0, 0.0, 1.0) for y in (-1.0, 0.0, 1.0) for z in (-1.0, 0.0, 1.0) if (x, y, z) != (0, 0, 0)]
)
"""Towards the faces, edges and corners of a cube."""


class _Shade(Function):
    @staticmethod
    def forward(ctx: Any, normals: Tensor, light: Tensor) -> Tensor:
        from headstudio.render.kernels import shading
        from headstudio.render.kernels.launching import launch

        irradiance = torch.empty_like(normals)
        pixels = normals.shape[2] * normals.shape[3]
        launch(shading.shade, len(normals) * pixels, normals, light, pixels, irradiance)
        ctx.save_for_backward(normals, light)
        return irradiance

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        from headstudio.render.kernels import shading
        from headstudio.render.kernels.launching import launch

        normals, light = ctx.saved_tensors
        batch, _, height, width = normals.shape
        to_normals = torch.empty_like(normals)
        to_light = normals.new_zeros(batch, height, 9, 3)
        launch(
            shading.shade_backward, batch * height, normals, light, height * width, width,
            gradients[0].contiguous(), to_normals, to_light,
        )  # fmt: skip
        return to_normals, to_light.sum(1)
