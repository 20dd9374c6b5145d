"""The losses of eq. 4 on one batch, each a scalar without its weight."""

from functools import cached_property
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from headstudio.methods.latent_avatar.head import Picture, Seen
from headstudio.render.composite import over
from headstudio.training.contract import Batch

if TYPE_CHECKING:
    from headstudio.methods.latent_avatar.model import LatentAvatar

_WHOLLY = 0.999
_MOVING = ((33, 133), (362, 263), (61, 291))
"""Landmarks at the corners of the person's right eye, left eye and mouth."""


class Terms:
    """Computes what several losses share once."""

    def __init__(self, avatar: "LatentAvatar", batch: Batch) -> None:
        self._avatar, self._batch = avatar, batch

    def l1(self) -> Float[Tensor, ""]:
        """Colour at full size."""
        return self._mean((self._picture.rgb - self._target).abs(), self._valid * self._emphasis)

    def perceptual(self) -> Float[Tensor, ""]:
        """Features of the picture at full size."""
        return self._avatar.perceptual_loss(self._picture.rgb, self._target, self._valid)

    def low_resolution(self) -> Float[Tensor, ""]:
        """Rendered colour against the averaged picture."""
        weight = self._small(self._valid * self._emphasis)
        return self._mean((self._seen.colour - self._small(self._target)).abs(), weight)

    def mask(self) -> Float[Tensor, ""]:
        """Rendered opacity against the averaged matte."""
        return self._mean((self._seen.mask - self._small(self._matte)).square(), self._small(self._valid))

    def fine_mask(self) -> Float[Tensor, ""]:
        """The mask at full size."""
        return self._mean((self._picture.mask - self._matte).square(), self._valid)

    def code(self) -> Float[Tensor, ""]:
        """What tracked signals say against what the encoder sees."""
        with torch.no_grad():
            wanted = self._avatar.encoded(self._batch.channels)
        return (self._avatar.transferred(self._batch.channels, self._batch.view) - wanted).square().mean()

    @cached_property
    def _seen(self) -> Seen:
        avatar, batch = self._avatar, self._batch
        code = avatar.code(batch.channels, batch.view)
        planes = avatar.planes(code)
        if avatar.training:
            avatar.head.look(planes.detach())
            avatar.remember(code.detach())
        return avatar.seen(planes, batch.channels, batch.view)

    @cached_property
    def _picture(self) -> Picture:
        return self._avatar.enlarged(self._seen)

    @cached_property
    def _matte(self) -> Float[Tensor, "batch 1 height width"]:
        """The person as far as the box reaches: what lies beyond can never be rendered and must not pull."""
        matte = self._cut[:, 3:4]
        return matte * F.interpolate(self._seen.reached, matte.shape[2:], mode="bilinear")

    @cached_property
    def _target(self) -> Float[Tensor, "batch 3 height width"]:
        image = self._cut[:, :3]
        return over(image, self._matte, torch.full_like(image, self._avatar.config.background))

    @property
    def _valid(self) -> Float[Tensor, "batch 1 height width"]:
        return (self._cut[:, 4:] > _WHOLLY).float()

    @cached_property
    def _cut(self) -> Float[Tensor, "batch 5 height width"]:
        """Colour, matte and validity in the window of the head; beyond the frame nothing is valid."""
        batch, avatar = self._batch, self._avatar
        assert batch.image is not None and batch.matte is not None and batch.valid is not None
        valid = batch.valid.float().expand(len(batch.image), -1, -1, -1)
        window = avatar.window(batch.channels, batch.view)
        return window.cut(torch.cat([batch.image, batch.matte, valid], 1), avatar.head.side_px)

    @cached_property
    def _emphasis(self) -> Float[Tensor, "batch 1 height width"]:
        """1, and more around the landmarks of eyes and mouth."""
        batch, side = self._batch, self._cut.shape[-1]
        more = self._avatar.config.moving_weight
        if not more or batch.landmarks_px is None:
            return torch.ones_like(self._cut[:, :1])
        window = self._avatar.window(batch.channels, batch.view)
        found_px = batch.landmarks_px[:, torch.tensor([index for part in _MOVING for index in part]), :2]
        places = (found_px - window.middle_px[:, None]) / window.side_px[:, None, None] + 0.5
        parts = places.split([len(part) for part in _MOVING], 1)
        middles = torch.stack([part.mean(1) for part in parts], 1)
        reach = torch.stack([(part[:, 0] - part[:, 1]).norm(dim=1) for part in parts], 1)
        centres = (torch.arange(side, device=middles.device) + 0.5) / side
        pixels = torch.stack(torch.meshgrid(centres, centres, indexing="xy"), -1)
        away = (pixels[None, None] - middles[:, :, None, None]).norm(dim=-1) / reach[:, :, None, None].clamp_min(1e-3)
        return 1 + more * torch.exp(-2 * away.square()).amax(1, keepdim=True)

    def _small(self, pictures: Tensor) -> Tensor:
        return F.interpolate(pictures, self._seen.mask.shape[2:], mode="area")

    @staticmethod
    def _mean(values: Tensor, weight: Tensor) -> Float[Tensor, ""]:
        weight = weight.expand_as(values)
        return (values * weight).sum() / weight.sum().clamp_min(1.0)
