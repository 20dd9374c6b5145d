"""The codes of all training frames: what a captured sequence has become, beside the head's pose."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


class KnownCodes(nn.Module):
    """One row a training frame, filled once the encoder has learned."""

    rows: Tensor

    def __init__(self, code: int) -> None:
        super().__init__()
        self.frames: dict[str, tuple[int, ...]] = {}
        self.register_buffer("rows", torch.zeros(0, code))
        self._row: dict[tuple[str, int], int] = {}

    def expect(self, frames: Mapping[str, Sequence[int]]) -> None:
        """Make room for the frames of each source."""
        self.frames = {key: tuple(listed) for key, listed in frames.items()}
        pairs = [(key, frame) for key, listed in self.frames.items() for frame in listed]
        self._row = {pair: row for row, pair in enumerate(pairs)}
        self.rows = self.rows.new_zeros(len(pairs), self.rows.shape[1])

    def store(self, key: str, codes: Float[Tensor, "frames code"]) -> None:
        """Take the codes of all frames of a source."""
        first = self._row[key, self.frames[key][0]]
        rows = self.rows.clone()
        rows[first : first + len(codes)] = codes
        self.rows = rows

    def forward(self, key: str, frames: Tensor) -> Float[Tensor, "batch code"]:
        """The codes of some training frames."""
        return self.rows[torch.tensor([self._row[key, int(frame)] for frame in frames], device=self.rows.device)]

    @property
    def mean(self) -> Float[Tensor, " code"]:
        """Of all training frames."""
        return self.rows.mean(0)

    @property
    def deviation(self) -> Float[Tensor, " code"]:
        """Standard deviation over all training frames."""
        return self.rows.std(0).nan_to_num(0.0)
