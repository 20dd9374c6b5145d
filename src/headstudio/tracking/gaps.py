"""How far lids and lips are apart, which is seen more sharply than where they are.

Paper 4's lid term (section 3.4, E_lid) ties the distance between the lids; the inner lips are treated alike, so that a
mouth that closes is closed. What the detector gets wrong for both edges together drops out of their distance.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from headstudio.tracking.config import SolveConfig
from headstudio.tracking.observations import Observations, landmark_quadratic
from headstudio.tracking.points import FrameState, PointModel
from headstudio.tracking.solver import Quadratic, Term, huber, see

# Upper and lower edge, indices of MediaPipe's face mesh.
LIDS = ((159, 145), (158, 153), (160, 144), (157, 154), (161, 163),
        (386, 374), (385, 380), (387, 373), (384, 381), (388, 390))  # fmt: skip
LIPS = ((13, 14), (82, 87), (312, 317), (81, 178), (311, 402), (80, 88), (310, 318))


class _Gaps(NamedTuple):
    """What was detected of the distances."""

    upper: Int[Tensor, " pairs"]
    lower: Int[Tensor, " pairs"]
    strength: Float[Tensor, " pairs"]
    noise: float
    """Over the noise of a landmark."""


def gap_term(model: PointModel, observed: Observations, config: SolveConfig) -> Term:
    """Squared (beyond a bend linear) errors of the distances in standard deviations.

    Args:
        model: the landmarks.
    """
    gaps = _gaps(observed, config)
    edges = model.some(torch.cat([gaps.upper, gaps.lower]))
    pairs = len(gaps.upper)

    def term(state: FrameState, frames: Tensor, derivatives: bool) -> Quadratic:
        seen = see(edges, state, observed.K_px[frames], derivatives)
        slopes = None if seen.jacobian is None else seen.jacobian[:, :pairs] - seen.jacobian[:, pairs:]
        return _quadratic(gaps, observed.at(frames), seen.pixels[:, :pairs] - seen.pixels[:, pairs:], slopes)

    return term


def face_term(model: PointModel, observed: Observations, config: SolveConfig) -> Term:
    """`landmark_term` and `gap_term` from one projection: the same for less, where frames come one by one and the
    number of operations counts, not their size."""
    gaps = _gaps(observed, config)

    def term(state: FrameState, frames: Tensor, derivatives: bool) -> Quadratic:
        own = observed.at(frames)
        seen = see(model, state, own.K_px, derivatives)
        slopes = None if seen.jacobian is None else seen.jacobian[:, gaps.upper] - seen.jacobian[:, gaps.lower]
        between_px = seen.pixels[:, gaps.upper] - seen.pixels[:, gaps.lower]
        return landmark_quadratic(own, seen).plus(_quadratic(gaps, own, between_px, slopes))

    return term


def _gaps(observed: Observations, config: SolveConfig) -> _Gaps:
    upper, lower = (torch.tensor(side) for side in zip(*LIDS, *LIPS, strict=True))
    strength = torch.tensor([config.lid_gap] * len(LIDS) + [config.lip_gap] * len(LIPS))
    strength = strength * torch.minimum(observed.weight[upper], observed.weight[lower]).clamp(max=1.0)
    return _Gaps(upper, lower, strength, config.gap_noise_m / config.noise_m)


def _quadratic(
    gaps: _Gaps,
    own: Observations,
    between_px: Float[Tensor, "frames pairs 2"],
    slopes: Float[Tensor, "frames pairs 2 unknowns"] | None,
) -> Quadratic:
    residual = own.pixels[:, gaps.upper] - own.pixels[:, gaps.lower] - between_px
    noise = gaps.noise * own.noise_px[:, None]
    cost, bend = huber(residual.norm(dim=-1) / noise, own.robust)
    share = gaps.strength * own.seen[:, None]
    cost = (cost * share).sum(1)
    if slopes is None:
        return Quadratic(cost.new_zeros(()), cost.new_zeros(()), cost)
    weighted = (slopes * (bend * share / noise**2)[..., None, None]).flatten(1, 2)
    descent = (weighted.transpose(1, 2) @ residual.flatten(1)[..., None])[..., 0]
    return Quadratic(weighted.transpose(1, 2) @ slopes.flatten(1, 2), descent, cost)
