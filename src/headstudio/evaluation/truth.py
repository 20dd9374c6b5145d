"""The filmed frames as they are scored: cut out by the matte and laid over the common background."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from headstudio.render.composite import over
from headstudio.training.batches import FrameStore
from headstudio.training.contract import Source


class Truth:
    """Frames of a source at one resolution. Without a matte the whole frame counts as the person."""

    def __init__(self, source: Source, size_px: int, background: Float[Tensor, "3 1 1"]) -> None:
        self.size_px, self.background = size_px, background
        self._store = FrameStore(source, size_px)
        self.has_matte = self._store.channels == 4

    @property
    def valid(self) -> Bool[Tensor, "1 1 height width"]:
        """False in padding."""
        return self._store.valid

    def pictures(self, frames: Int[Tensor, " batch"]) -> Float[Tensor, "batch 3 height width"]:
        """sRGB in [0, 1] over the background."""
        stored = self._stored(frames)
        return over(stored[:, :3], self._alpha(stored), self.background)

    def alpha(self, frames: Int[Tensor, " batch"]) -> Float[Tensor, "batch 1 height width"]:
        """The matte in [0, 1]."""
        return self._alpha(self._stored(frames))

    def _stored(self, frames: Tensor) -> Tensor:
        return torch.stack([self._store[int(frame)] for frame in frames]).float() / 255

    def _alpha(self, stored: Tensor) -> Tensor:
        return stored[:, 3:] if self.has_matte else torch.ones_like(stored[:, :1])
