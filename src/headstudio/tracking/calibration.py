"""What the detector always gets wrong on this person: each landmark's own error, as a function of the view.

The detector was taught on other faces and lets its landmarks slide as the head turns. Where the pictures have said how
the head is turned, what landmarks miss on average, and what they miss in proportion to the view, is not expression.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from headstudio.tracking.config import CalibrationConfig
from headstudio.tracking.observations import Observations
from headstudio.tracking.points import FrameState, PointModel
from headstudio.tracking.solver import huber, see

_ROUNDS = 3


def learn_bias(
    model: PointModel,
    states: FrameState,
    observed: Observations,
    eligible: Bool[Tensor, " frames"],
    config: CalibrationConfig,
) -> Float[Tensor, "landmarks 3 3"]:
    """The displacement of every landmark in the head frame: constant, per unit of sideways and of upward view, metres.

    Least squares with normal priors, frames that miss by much counting less.

    Args:
        eligible: frames that may be learned from.
    """
    chosen = torch.nonzero(eligible & observed.seen)[:, 0]
    states, observed = states.at(chosen), observed.at(chosen)
    seen = see(model, states, observed.K_px, True)
    assert seen.by_head is not None
    rows = _rows(seen.by_head, view_direction(states)) / observed.noise_px[:, None, None, None]
    miss = (observed.pixels - seen.pixels) / observed.noise_px[:, None, None]
    deviations = torch.tensor([config.constant_m] + 2 * [config.by_view_m])
    prior = torch.diag(deviations.repeat(3) ** -2)
    trust = torch.full_like(miss[..., 0], config.independence)
    bias = torch.zeros(model.points, 9)
    for _ in range(_ROUNDS):
        left = miss - torch.einsum("fpcb,pb->fpc", rows, bias)
        weight = trust * huber(left.norm(dim=-1), observed.robust)[1]
        weighted = rows * weight[..., None, None]
        hessian = torch.einsum("fpcb,fpcd->pbd", weighted, rows) + prior
        bias = torch.linalg.solve(hessian, torch.einsum("fpcb,fpc->pb", weighted, miss))
    return bias.unflatten(1, (3, 3))


def without_bias(
    model: PointModel, states: FrameState, observed: Observations, bias: Float[Tensor, "landmarks 3 3"]
) -> Observations:
    """The landmarks as they would be without the bias, for heads that stand as in `states`."""
    by_head = see(model, states, observed.K_px, True).by_head
    assert by_head is not None
    shift_px = torch.einsum("fpcb,pb->fpc", _rows(by_head, view_direction(states)), bias.flatten(1))
    return observed.with_pixels(observed.pixels - shift_px)


def view_direction(states: FrameState) -> Float[Tensor, "frames 3"]:
    """Unit vectors from the heads to the camera, in the head frame."""
    towards = -(states.translation_m[:, None] @ states.rotation)[:, 0]
    return torch.nn.functional.normalize(towards, dim=1)


def _rows(by_head: Tensor, direction: Tensor) -> Float[Tensor, "frames points 2 9"]:
    """Derivatives of the pixels by a landmark's bias."""
    regressors = torch.cat([torch.ones(len(direction), 1), direction[:, :2]], dim=1)
    return torch.einsum("fpca,fr->fpcar", by_head, regressors).flatten(3)
