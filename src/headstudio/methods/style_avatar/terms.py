"""The losses of one training step: the picture is made once for generator and judge (section 3.3, eq. 4)."""

from functools import cached_property
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from headstudio.methods.style_avatar.portrait import Inputs, Made
from headstudio.nn.adversarial import discriminator_loss, generator_loss, r1_penalty
from headstudio.records.channels import View
from headstudio.training.contract import Batch

if TYPE_CHECKING:
    from headstudio.methods.style_avatar.model import StyleAvatar


class Terms:
    """One batch seen through random boxes; the methods without underscore of `schedule.REACHES` give its losses."""

    def __init__(self, model: "StyleAvatar", batch: Batch, learning_planes: bool) -> None:
        assert batch.image is not None and batch.valid is not None and batch.matte is not None
        self._model, self._batch, self._learning_planes = model, batch, learning_planes
        self._person = model.people.number(batch.source_key)
        windows, covered = model.windows, model.covered_cells
        count, device = len(batch.frames), batch.image.device
        wandering = model.training and model.config.sliding
        self._boxes = torch.full((count, 2), windows.middle_cells)
        if wandering:
            self._boxes = windows.draw(count, model.config.boxes)
        self._boxes = self._boxes.to(device)
        valid = batch.valid.to(batch.image).expand_as(batch.matte)
        stored = torch.cat([2.0 * batch.image - 1.0, batch.matte, valid], dim=1)
        cut = windows.cut(stored, self._boxes, covered).features
        self._wanted, self._matte, self._valid = cut[:, :3], cut[:, 3:4], cut[:, 4:]
        self._moments = self._drawn_moments(count)
        self._found: Made | None = None

    def is_of(self, batch: Batch) -> bool:
        """Whether these are the terms of a batch."""
        same = batch.source_key == self._batch.source_key
        return same and torch.equal(batch.frames, self._batch.frames)

    def kept(self) -> "Terms":
        """What the judge needs of them, without the graph behind the picture."""
        picture, alpha, share = self._made
        self._found = Made(picture.detach(), alpha.detach(), None if share is None else share.detach())
        return self

    def l1(self) -> Tensor:
        """L_1 of colours."""
        return _mean((self._made.picture - self._wanted).abs(), self._valid)

    def perceptual(self) -> Tensor:
        """L_percep."""
        found, wanted = ((picture + 1.0) / 2.0 for picture in (self._made.picture, self._wanted))
        return self._model.perceptual_loss(found, wanted, self._valid)

    def matte(self) -> Tensor:
        """L_mask of the cells' matte and of the painted one."""
        made, every = self._made, self._model.config.sizes.picture_px
        total = self._wanted.new_zeros(())
        if made.share is not None:
            known = F.avg_pool2d(self._valid, every)
            cells = F.avg_pool2d(self._matte * self._valid, every)
            total = total + _mean((made.share * known - cells).abs(), (known > 0).to(known))
        if made.share is None or self._model.config.fine_matte:
            total = total + _mean((made.alpha - self._matte).abs(), self._valid)
        return total

    def adversarial(self) -> Tensor:
        """L_GAN of the generator."""
        return generator_loss(self._scores(self._made.picture))

    def judge(self) -> Tensor:
        """L_GAN of the discriminator."""
        return discriminator_loss(self._scores(self._wanted), self._scores(self._made.picture.detach()))

    def r1(self) -> Tensor:
        """R1, in full precision: it is a derivative of a derivative."""
        return r1_penalty(lambda shown: self._model.judge(shown, self._condition, self._valid), self._wanted)

    def _scores(self, pictures: Tensor) -> Float[Tensor, " batch"]:
        with self._model.precision():
            return self._model.judge(pictures, self._condition, self._valid).float()

    @cached_property
    def _inputs(self) -> Inputs:
        model, sizes, drawn_px = self._model, self._model.config.sizes, self._model.drawn_px
        side = model.covered_cells * drawn_px
        seen = self._batch.view.resized(side, side)
        beyond_cells = (sizes.crop_cells - model.covered_cells) / 2
        camera = seen.camera.window(0.0, 0.0, *(sizes.window_cells * drawn_px,) * 2)
        shift_px = (self._boxes - beyond_cells) * drawn_px
        with torch.no_grad():
            drawn = model.people.renderings(
                self._person, self._batch.channels, View(camera, seen.T_camera_world), model.config.light, shift_px
            )
        texture = F.avg_pool2d(drawn.texture, drawn_px // sizes.rendering_px)
        return Inputs(texture, drawn.uv, drawn.mask, self._boxes, self._boxes)

    @cached_property
    def _condition(self) -> Tensor:
        sizes = self._model.config.sizes
        return F.interpolate(self._inputs.texture, scale_factor=sizes.picture_px / sizes.rendering_px)

    @property
    def _made(self) -> Made:
        if self._found is None:
            model = self._model
            with model.precision():
                learned = self._learning_planes
                planes = model.learned_planes(self._person) if learned else model.planes(self._person)
            self._found = model.paint(self._inputs, planes, model.moment_codes(self._moments, len(self._boxes)))
        return self._found

    def _drawn_moments(self, count: int) -> Tensor:
        moments = self._model.people.moments_of_frames(self._batch.source_key, self._batch.frames.cpu())
        codes = self._model.config.codes
        if not self._model.training:
            return moments
        return torch.where(torch.rand(count) < codes.neutral_share, codes.neutral, moments)


def _mean(difference: Tensor, weight: Float[Tensor, "batch 1 rows columns"]) -> Float[Tensor, ""]:
    """Mean over channels and over the pixels that count."""
    return (difference * weight).sum() / (weight.sum() * difference.shape[1]).clamp_min(1.0)
