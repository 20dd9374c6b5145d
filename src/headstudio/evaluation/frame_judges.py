"""Scores that not every evaluation tells, each of some regions: by feature networks, of identity, of sharpness."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from headstudio.evaluation import metrics
from headstudio.evaluation.blur import cpbd
from headstudio.evaluation.identity import FaceEmbedder
from headstudio.evaluation.metrics import Metric
from headstudio.nn.feature_distance import FeatureDistance
from headstudio.training.contract import Source


@runtime_checkable
class FrameJudge(Protocol):
    """One score."""

    metric: Metric
    regions: tuple[str, ...]
    """Whose masks it is given."""

    def scores(
        self,
        frames: Int[Tensor, " batch"],
        prediction: Float[Tensor, "batch 3 height width"],
        truth: Float[Tensor, "batch 3 height width"],
        masks: Bool[Tensor, "batch regions height width"],
    ) -> Float[Tensor, "batch regions"]:
        """Of each frame; NaN where there is none."""
        ...


class PerceptualJudge:
    """A feature network's distance."""

    def __init__(self, distance: FeatureDistance, regions: tuple[str, ...]) -> None:
        self._distance, self.regions = distance, regions
        self.metric = Metric(distance.name, higher_is_better=False)

    def scores(self, frames: Tensor, prediction: Tensor, truth: Tensor, masks: Tensor) -> Tensor:
        """See `FrameJudge`."""
        return metrics.perceptual(self._distance, prediction, truth, masks)


class SharpnessJudge:
    """CPBD, which knows no truth."""

    metric = Metric("CPBD", higher_is_better=True)

    def __init__(self, regions: tuple[str, ...]) -> None:
        self.regions = regions

    def scores(self, frames: Tensor, prediction: Tensor, truth: Tensor, masks: Tensor) -> Tensor:
        """See `FrameJudge`."""
        return cpbd(prediction, masks)


class IdentityJudge:
    """A face-recognition network's cosine, between faces cut out by the landmarks of the filmed frame."""

    regions: tuple[str, ...] = ("face",)

    def __init__(self, embedder: FaceEmbedder, source: Source, size_px: int) -> None:
        self.metric = Metric(f"identity ({embedder.name})", higher_is_better=True)
        self._embedder = embedder
        self._landmarks_px = source.capture.views[0].landmarks_px[..., :2] * (size_px / source.capture.size_px)

    def scores(self, frames: Tensor, prediction: Tensor, truth: Tensor, masks: Tensor) -> Tensor:
        """See `FrameJudge`; a mask says no more than whether there is a face."""
        found = self._embedder.similarity(prediction, truth, self._landmarks_px[frames].float())
        return torch.where(masks.flatten(2).any(2), found[:, None], torch.nan)


@dataclass(frozen=True)
class Embedders:
    """The networks that may tell identity, and why others may not."""

    judges: tuple[IdentityJudge, ...]
    absences: tuple[str, ...]


def find_embedders(paths: Sequence[str], used_by_losses: frozenset[str], source: Source, size_px: int) -> Embedders:
    """Those that no loss used (docs/protocol.md): a loss carries the name of its file."""
    used = [path for path in paths if any(name.endswith(f" {Path(path).stem}") for name in used_by_losses)]
    judges = (IdentityJudge(FaceEmbedder(Path(path)), source, size_px) for path in paths if path not in used)
    absences = (f"no identity score by {Path(path).stem}: training used it" for path in used)
    return Embedders(tuple(judges), tuple(absences))
