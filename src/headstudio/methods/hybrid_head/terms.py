"""The losses of the three stages on one batch, each a scalar without its weight."""

from functools import cached_property
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.methods.hybrid_head.rendering import Layers
from headstudio.nn.adversarial import discriminator_loss, generator_loss, r1_penalty
from headstudio.nn.head_autoencoder import Decoded, Gaussian
from headstudio.training.contract import Batch

if TYPE_CHECKING:
    from headstudio.methods.hybrid_head.model import HybridHead

_LEAST_SHARE = 0.05
"""What a texel counts that its frame does not show: enough for it to stay as the mean has it."""
_MM = 1000.0


class HeadTerms:
    """Autoencoder and judge."""

    def __init__(self, avatar: "HybridHead", batch: Batch) -> None:
        self._avatar, self._batch = avatar, batch
        self._kept: Decoded | None = None
        self._input = avatar.seen(batch.source_key, batch.frames, batch.channels)

    def is_of(self, batch: Batch) -> bool:
        """Whether these are the terms of a batch."""
        same = batch.source_key == self._batch.source_key
        return same and torch.equal(batch.frames, self._batch.frames)

    def made(self) -> "HeadTerms":
        """What the judge needs of them, without the graph behind the textures."""
        self._kept = Decoded(*(value.detach() for value in self._decoded))
        return self

    def texture(self) -> Float[Tensor, ""]:
        """L1 of standardised textures where the frame shows them."""
        share = self._input.own.clamp_min(_LEAST_SHARE) * self._avatar.counts
        difference = (self._decoded.texture - self._input.texture).abs().mean(1, keepdim=True)
        return (difference * share).sum() / share.sum().clamp_min(1.0)

    def weights(self) -> Float[Tensor, ""]:
        """Squared error of standardised weights."""
        return (self._decoded.weights - self._input.weights).square().mean()

    def tones(self) -> Float[Tensor, ""]:
        """Squared error of the coefficients of eigen-textures."""
        return (self._decoded.tones - self._input.tones).square().mean()

    def vertices(self) -> Float[Tensor, ""]:
        """Mean distance in mm between the mesh as decoded and as tracked."""
        return self._avatar.apart_m(self._decoded.weights, self._input.weights) * _MM

    def divergence(self) -> Float[Tensor, ""]:
        """Of codes from the standard normal."""
        return self._gaussian.divergence()

    def adversarial(self) -> Float[Tensor, ""]:
        """Of the autoencoder: its textures shall pass for extracted ones."""
        return generator_loss(self._scores(self._shown))

    def judge(self) -> Float[Tensor, ""]:
        """Of the judge."""
        return discriminator_loss(self._scores(self._input.texture), self._scores(self._shown.detach()))

    def r1(self) -> Float[Tensor, ""]:
        """Of the judge, in full precision: it is a derivative of a derivative."""
        return r1_penalty(self._avatar.judge.per_picture, self._input.texture)

    @property
    def _shown(self) -> Tensor:
        """The made texture; what the frame does not show is the same in both, so that the judge learns no holes."""
        own = self._input.own
        return self._input.texture + own * (self._decoded.texture - self._input.texture)

    def _scores(self, textures: Tensor) -> Float[Tensor, " patches"]:
        with self._avatar.precision():
            return self._avatar.judge(textures).float()

    @cached_property
    def _gaussian(self) -> Gaussian:
        return self._avatar.encoded(self._input)

    @property
    def _decoded(self) -> Decoded:
        if self._kept is None:
            codes = self._gaussian.sampled() if self._avatar.training else self._gaussian.mean
            self._kept = self._avatar.decoded(codes)
        return self._kept


class PictureTerms:
    """The re-rendering; codes, mesh and texture stand still."""

    def __init__(self, avatar: "HybridHead", batch: Batch) -> None:
        assert batch.image is not None and batch.valid is not None
        self._avatar, self._batch = avatar, batch
        self._image, self._valid = batch.image, batch.valid.float().expand(len(batch.image), -1, -1, -1)

    def l1(self) -> Float[Tensor, ""]:
        """Colour of the composed picture."""
        difference = (self._picture - self._image).abs().mean(1, keepdim=True)
        return self._mean(difference)

    def perceptual(self) -> Float[Tensor, ""]:
        """Features of the composed picture."""
        return self._avatar.perceptual_loss(self._picture, self._image, self._valid)

    def refinement(self) -> Float[Tensor, ""]:
        """Mean weight of the corrective image."""
        return self._mean(self._layers.weights[:, 1:2])

    @cached_property
    def _layers(self) -> Layers:
        avatar, batch = self._avatar, self._batch
        with torch.no_grad():
            codes = avatar.known_codes(batch.source_key, batch.frames)
            if avatar.training and avatar.config.code_noise:
                codes = codes + avatar.config.code_noise * avatar.code_deviation * torch.randn_like(codes)
            drawn = avatar.drawn(codes, batch.channels, batch.view)
        with avatar.precision():
            return avatar.refiner(drawn)

    @cached_property
    def _picture(self) -> Float[Tensor, "batch 3 height width"]:
        return self._layers.over(self._avatar.plate(self._batch.source_key))

    def _mean(self, values: Tensor) -> Float[Tensor, ""]:
        return (values * self._valid).sum() / self._valid.sum().clamp_min(1.0)


class TransferTerms:
    """What tracked signals stand for."""

    def __init__(self, avatar: "HybridHead", batch: Batch) -> None:
        self._avatar, self._batch = avatar, batch

    def code(self) -> Float[Tensor, ""]:
        """Squared error of the code."""
        return (self._told - self._wanted).square().mean()

    def vertices(self) -> Float[Tensor, ""]:
        """Mean distance in mm between the mesh of the told code and that of the frame's own."""
        decoder = self._avatar.decoder.moved
        with torch.no_grad():
            wanted = decoder(self._wanted)
        return self._avatar.apart_m(decoder(self._told), wanted) * _MM

    @cached_property
    def _told(self) -> Tensor:
        return self._avatar.transferred(self._batch.channels, self._batch.view)

    @cached_property
    def _wanted(self) -> Tensor:
        return self._avatar.known_codes(self._batch.source_key, self._batch.frames)
