"""Texture look-up without aliasing: trilinear over a mip pyramid (Williams 1983), differentiable in texture and uv."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function
from torch.nn.functional import avg_pool2d

from headstudio.render.checks import check_batch, check_shape


@dataclass(frozen=True)
class MipPyramid:
    """A texture at all its resolutions; make it once where the texture stays the same over many pictures."""

    texels: Float[Tensor, "#batch texels channels"]
    """All levels one after another, each row by row; differentiable."""
    sizes: tuple[tuple[int, int], ...]
    """Width and height of each level, the finest first."""


def build_pyramid(texture: Float[Tensor, "#batch channels rows columns"], levels: int | None = None) -> MipPyramid:
    """Halve a texture by averaging until one texel is left, or `levels` are there."""
    images = [texture.float()]
    while max(images[-1].shape[-2:]) > 1 and (levels is None or len(images) < levels):
        images.append(avg_pool2d(images[-1], 2, ceil_mode=True, count_include_pad=False))
    texels = torch.cat([image.flatten(2).transpose(1, 2) for image in images], dim=1)
    return MipPyramid(texels, tuple((image.shape[3], image.shape[2]) for image in images))


def sample_texture(
    texture: Float[Tensor, "#batch channels rows columns"] | MipPyramid,
    uv: Float[Tensor, "batch 2 height width"],
    mask: Float[Tensor, "batch 1 height width"] | None = None,
    mip: bool = True,
) -> Float[Tensor, "batch channels height width"]:
    """The texture's colour at every pixel, 0 where the mask is 0.

    The level follows from the step of uv to the neighbouring pixels (the shorter one of each axis, so that a seam of
    the atlas does not blur); it carries no gradient. Colours at and beyond the border are those of the border.

    Args:
        texture: a texture, or its pyramid.
        uv: places in [0, 1], origin at the top left (as glTF).
        mask: positive where uv is valid; everywhere if None.
        mip: False looks up the finest level alone.
    """
    pyramid = texture if isinstance(texture, MipPyramid) else build_pyramid(texture, None if mip else 1)
    check_shape(uv, (None, 2, None, None), "uv")
    check_batch(pyramid.texels, len(uv), "texture")
    mask = uv.new_ones(len(uv), 1, *uv.shape[2:]) if mask is None else mask
    check_shape(mask, (len(uv), 1, *uv.shape[2:]), "mask")
    sizes = pyramid.sizes if mip else pyramid.sizes[:1]
    return _Sample.apply(
        pyramid.texels.contiguous(), uv.float().contiguous(), mask.detach().float().contiguous(), sizes
    )


class _Sample(Function):
    @staticmethod
    def forward(ctx: Any, texels: Tensor, uv: Tensor, mask: Tensor, sizes: tuple[tuple[int, int], ...]) -> Tensor:
        from headstudio.render.kernels import texturing
        from headstudio.render.kernels.launching import launch

        batch, _, height, width = uv.shape
        stride, channels = _strides(texels)
        table = _level_table(sizes).to(uv.device)
        level, image = torch.empty_like(mask), uv.new_empty(batch, channels, height, width)
        launch(texturing.choose_level, mask.numel(), uv, mask, table, len(sizes), width, height, level)
        launch(texturing.sample, mask.numel(), texels, table, level, stride, channels, uv, height * width, image)
        ctx.save_for_backward(texels, uv, level, table)
        return image

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        from headstudio.render.kernels import texturing
        from headstudio.render.kernels.launching import launch

        texels, uv, level, table = ctx.saved_tensors
        stride, channels = _strides(texels)
        wanted = ctx.needs_input_grad[0]
        to_texels = torch.zeros_like(texels) if wanted else texels.new_empty(0)
        to_uv = torch.empty_like(uv)
        launch(
            texturing.sample_backward, level.numel(), texels, table, level, stride, channels, uv,
            uv.shape[2] * uv.shape[3], gradients[0].contiguous(), int(wanted), to_texels, to_uv,
        )  # fmt: skip
        return to_texels if wanted else None, to_uv, None, None


def _strides(texels: Tensor) -> tuple[int, int]:
    """Floats from one batch entry's texels to the next (0 where all share one texture), and from texel to texel."""
    shared, channels = len(texels) == 1, texels.shape[2]
    return 0 if shared else texels.shape[1] * channels, channels


def _level_table(sizes: tuple[tuple[int, int], ...]) -> Tensor:
    rows, first = [], 0
    for width, height in sizes:
        rows.append((first, width, height))
        first += width * height
    return torch.tensor(rows, dtype=torch.int32)
