"""Learned numbers per frame, keyed by source, with a declared neutral for frames that were never trained."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class FrameTable(nn.Module):
    """One learned row for every training frame of every source; all other frames read the neutral row."""

    def __init__(self, train_frames: Mapping[str, Sequence[int]], neutral: Float[Tensor, " width"]) -> None:
        super().__init__()
        self.train_frames = {key: tuple(frames) for key, frames in train_frames.items()}
        rows = sum(len(frames) for frames in self.train_frames.values())
        self.neutral: Tensor
        self.register_buffer("neutral", neutral.clone())
        self.rows = nn.Parameter(neutral.repeat(rows, 1))
        self._row = self._number_rows()

    def forward(self, source_key: str | None, frames: Int[Tensor, " batch"]) -> Float[Tensor, "batch width"]:
        """Rows of some frames of a source; None or an unknown source reads the neutral row."""
        numbers = [self._row.get((source_key, int(frame)), -1) for frame in frames]
        index = torch.tensor(numbers, device=self.rows.device)
        learned = self.rows[index.clamp_min(0)] if len(self.rows) else self.neutral.expand(len(numbers), -1)
        return torch.where((index >= 0)[:, None], learned, self.neutral)

    def _number_rows(self) -> dict[tuple[str | None, int], int]:
        pairs = ((key, frame) for key, frames in self.train_frames.items() for frame in frames)
        return {pair: row for row, pair in enumerate(pairs)}
