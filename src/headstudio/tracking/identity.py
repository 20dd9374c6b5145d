"""Who it is and through which lens: identity and focal length over key frames, jointly with their expressions.

Identity is paid for once and expression in every frame, so what all frames share becomes identity and frames at
rest come out with no expression.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.tracking.observations import Observations, weigh
from headstudio.tracking.points import FrameState, PointModel
from headstudio.tracking.quadratic import bounded_minimum
from headstudio.tracking.solver import Bounds, Quadratic, Term, see

_STEPS = 40
_DEPTH = 5
"""Index of the third translation among the unknowns of a frame."""
_LARGEST_STEP = 0.3
"""Of the logarithm of the focal length."""


class Person(NamedTuple):
    """What all frames share."""

    identity: Float[Tensor, " identities"]
    log_focal: Float[Tensor, ""]
    """Of the stored frame's focal length in pixels."""

    def camera(self, K_px: Float[Tensor, "frames 3 3"]) -> Float[Tensor, "frames 3 3"]:
        """Intrinsics with this focal length and the given principal points."""
        K = K_px.clone()
        K[:, 0, 0] = K[:, 1, 1] = self.log_focal.exp()
        return K


@dataclass(frozen=True)
class SharedPrior:
    """What is believed before the first frame."""

    log_focal: float
    log_focal_deviation: float
    """0 for a known focal length."""
    identity_weight: float


class _Joint(NamedTuple):
    """The linearised joint problem: one block a frame, one block shared, and what couples them."""

    frames: Quadratic
    coupling: Float[Tensor, "frames unknowns shared"]
    shared_hessian: Float[Tensor, "shared shared"]
    shared_descent: Float[Tensor, " shared"]
    cost: Float[Tensor, ""]


def solve_person(
    model: PointModel,
    observed: Observations,
    states: FrameState,
    person: Person,
    prior: SharedPrior,
    frame_prior: Term,
    bounds: Bounds,
) -> tuple[Person, FrameState]:
    """Joint Levenberg-Marquardt; the frames are eliminated from the shared unknowns by the Schur complement."""
    joint = _linearise(model, observed, states, person, prior, frame_prior)
    damping = 1e-2
    for _ in range(_STEPS):
        moved_person, moved = _step(joint, states, person, bounds, damping, prior.log_focal_deviation == 0)
        trial = _linearise(model, observed, moved, moved_person, prior, frame_prior)
        if trial.cost < joint.cost:
            done = joint.cost - trial.cost < 1e-5 * joint.cost
            states, person, joint, damping = moved, moved_person, trial, max(damping * 0.3, 1e-6)
            if done:
                break
        else:
            damping *= 8
            if damping > 1e5:
                break
    return person, states


def _linearise(
    model: PointModel, observed: Observations, states: FrameState, person: Person, prior: SharedPrior, frame_prior: Term
) -> _Joint:
    K = person.camera(observed.K_px)
    seen = see(model, states, K, True, person.identity)
    assert seen.jacobian is not None and seen.by_head is not None
    residual = observed.pixels - seen.pixels
    cost, weight = weigh(observed, residual)
    # The head recedes as the focal length grows, so that only the strength of perspective changes; a focal length
    # that grew alone would enlarge the picture, and Gauss-Newton would creep along the valley between the two.
    receding = seen.jacobian[..., _DEPTH] * states.translation_m[:, None, None, 2]
    by_focal = (seen.pixels - K[:, None, :2, 2] + receding)[..., None]
    by_shared = torch.cat([seen.by_head @ model.identity_derivatives(states), by_focal], dim=-1).flatten(1, 2)
    rows, flat = seen.jacobian.flatten(1, 2), residual.flatten(1)
    weights = weight.repeat_interleave(2, dim=1)[..., None]
    weighted, weighted_shared = rows * weights, by_shared * weights
    own = Quadratic(weighted.transpose(1, 2) @ rows, (weighted.transpose(1, 2) @ flat[..., None])[..., 0], cost).plus(
        frame_prior(states, torch.arange(len(rows)), True)
    )
    shared_hessian = torch.einsum("kni,knj->ij", weighted_shared, by_shared)
    shared_descent = torch.einsum("kni,kn->i", weighted_shared, flat)
    extra_hessian, extra_descent, extra_cost = _shared_prior(person, prior)
    return _Joint(
        own,
        weighted.transpose(1, 2) @ by_shared,
        shared_hessian + extra_hessian,
        shared_descent + extra_descent,
        own.cost.sum() + extra_cost,
    )


def _shared_prior(person: Person, prior: SharedPrior) -> tuple[Tensor, Tensor, Tensor]:
    precision = 0.0 if prior.log_focal_deviation == 0 else prior.log_focal_deviation**-2
    weights = torch.cat([torch.full_like(person.identity, prior.identity_weight), torch.full((1,), precision)])
    away = torch.cat([person.identity, (person.log_focal - prior.log_focal)[None]])
    return torch.diag(weights), -weights * away, 0.5 * (weights * away**2).sum()


def _step(
    joint: _Joint, states: FrameState, person: Person, bounds: Bounds, damping: float, known_focal: bool
) -> tuple[Person, FrameState]:
    hessian, descent = _damped(joint.frames.hessian.double(), damping), joint.frames.descent.double()
    coupling = joint.coupling.double()
    lower, upper = (edge.double() for edge in bounds.around(states))
    held = ((lower >= 0) & (descent < 0)) | ((upper <= 0) & (descent > 0))
    free_coupling = coupling * ~held[..., None]
    stacked = torch.cat([free_coupling, (descent * ~held)[..., None]], dim=-1)
    matrix = torch.where(held[:, :, None] | held[:, None, :], 0.0, hessian) + torch.diag_embed(held.double())
    eliminated = torch.linalg.solve(matrix, stacked)
    reduced = torch.einsum("kui,kuj->ij", free_coupling, eliminated)
    shared = _damped(joint.shared_hessian.double(), damping) - reduced[:, :-1]
    right = joint.shared_descent.double() - reduced[:, -1]
    if known_focal:
        shared[-1], shared[:, -1], shared[-1, -1], right[-1] = 0.0, 0.0, 1.0, 0.0
    move = torch.linalg.solve(shared, right)
    step = bounded_minimum(hessian, descent - coupling @ move, lower, upper)
    move = move.to(person.identity)
    zoom = move[-1].clamp(-_LARGEST_STEP, _LARGEST_STEP)
    recession = torch.stack([torch.ones_like(zoom), torch.ones_like(zoom), zoom.exp()])
    moved = states._replace(translation_m=states.translation_m * recession).moved(step.to(states.translation_m))
    moved = moved._replace(expression=moved.expression.clamp(bounds.lower, bounds.upper))
    return Person(person.identity + move[:-1], person.log_focal + zoom), moved


def _damped(hessian: Tensor, damping: float) -> Tensor:
    return hessian + torch.diag_embed(torch.diagonal(hessian, dim1=-2, dim2=-1) * damping + 1e-9)
