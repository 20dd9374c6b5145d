"""The true landmarks of a performance as the solver sees them."""

import torch
from tracking_actor import Performance

from headstudio.heads.base import HeadModel
from headstudio.tracking.config import SolveConfig
from headstudio.tracking.identity import Person
from headstudio.tracking.observations import Observations, landmark_weights


def observations(
    head: HeadModel, truth: Performance, noise_px: float = 1.5, independence: float = 0.15, robust: float = 2.5
) -> Observations:
    """With the true lens."""
    frames = len(truth.landmarks_px)
    return Observations(
        truth.landmarks_px[..., :2], truth.landmarks_px[..., 2], torch.ones(frames, dtype=torch.bool),
        landmark_weights(head, SolveConfig()), truth.K_px.expand(frames, 3, 3), torch.full((frames,), noise_px),
        independence, robust,
    )  # fmt: skip


def nobody(head: HeadModel, focal_px: float, principal_px: tuple[float, float] = (128.0, 128.0)) -> Person:
    """Where the search for a person begins."""
    return Person(torch.zeros(head.identities), torch.tensor(focal_px).log(), torch.tensor(principal_px))
