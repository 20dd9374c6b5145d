"""Who it is and through which lens: identity, focal length and principal point over key frames, jointly with their
poses and expressions.

Identity is paid for once and expression in every frame, so what all frames share becomes identity and frames at
rest come out with no expression.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from headstudio.tracking.observations import Observations, weigh
from headstudio.tracking.points import FrameState, PointModel
from headstudio.tracking.quadratic import bounded_minimum
from headstudio.tracking.solver import Bounds, Projected, Quadratic, Term, see

_PLACE = slice(3, 6)
"""The translation among the unknowns of a frame."""
LENS = 3
"""Shared unknowns after the identity: logarithm of the focal length, principal point."""
_LARGEST_STEP = 0.3
"""Of the logarithm of the focal length."""
_CONVERGED = 1e-5


class Person(NamedTuple):
    """What all frames share."""

    identity: Float[Tensor, " identities"]
    log_focal: Float[Tensor, ""]
    """Of the stored frame's focal length in pixels."""
    principal_px: Float[Tensor, "2"]
    """In pixels of the stored frame."""

    def camera(self, K_px: Float[Tensor, "frames 3 3"]) -> Float[Tensor, "frames 3 3"]:
        """Intrinsics of this lens for as many frames."""
        K = K_px.clone()
        K[:, 0, 0] = K[:, 1, 1] = self.log_focal.exp()
        K[:, :2, 2] = self.principal_px
        return K

    def stepped(self, states: FrameState, move: Float[Tensor, " shared"]) -> "tuple[Person, FrameState]":
        """The person after a step, and heads that recede as the focal length grows."""
        zoom, shift_px = move[-LENS].clamp(-_LARGEST_STEP, _LARGEST_STEP), move[-2:]
        moved = along(states, self.log_focal.exp(), zoom, shift_px)
        identity = self.identity + move[:-LENS]
        return Person(identity, self.log_focal + zoom, self.principal_px + shift_px), moved


@dataclass(frozen=True)
class SharedPrior:
    """What is believed before the first frame."""

    log_focal: float
    log_focal_deviation: float
    """0 for a known focal length."""
    principal_px: tuple[float, float]
    principal_deviation_px: float
    """0 for a known principal point."""
    identity_weight: float

    def quadratic(self, person: Person) -> tuple[Tensor, Tensor, Tensor]:
        """Hessian, descent and cost of the shared unknowns."""
        lens = person.log_focal.new_tensor([_precision(d) for d in self._deviations()])
        weights = torch.cat([torch.full_like(person.identity, self.identity_weight), lens])
        focal = (person.log_focal - self.log_focal)[None]
        away = torch.cat([person.identity, focal, person.principal_px - lens.new_tensor(self.principal_px)])
        return torch.diag(weights), -weights * away, 0.5 * (weights * away**2).sum()

    def known(self, identities: int) -> Bool[Tensor, " shared"]:
        """Which shared unknowns are none."""
        lens = torch.tensor([deviation == 0 for deviation in self._deviations()])
        return torch.cat([torch.zeros(identities, dtype=torch.bool), lens])

    def _deviations(self) -> tuple[float, float, float]:
        return self.log_focal_deviation, self.principal_deviation_px, self.principal_deviation_px


def _precision(deviation: float) -> float:
    return 0.0 if deviation == 0 else deviation**-2


class Evidence(NamedTuple):
    """A cost and its Gauss-Newton model: one block a frame, one block shared, and what couples them."""

    frames: Quadratic
    coupling: Float[Tensor, "frames unknowns shared"]
    shared_hessian: Float[Tensor, "shared shared"]
    shared_descent: Float[Tensor, " shared"]

    def plus(self, other: "Evidence") -> "Evidence":
        """The sum of two costs."""
        frames = self.frames.plus(other.frames)
        return Evidence(frames, *(a + b for a, b in zip(self[1:], other[1:], strict=True)))


@runtime_checkable
class SharedUnknowns(Protocol):
    """What all frames share: a person before one camera, or before several."""

    @property
    def identity(self) -> Float[Tensor, " identities"]:
        """Coefficients of the head's identity, the first of the shared unknowns."""
        ...

    def stepped(self, states: FrameState, move: Float[Tensor, " shared"]) -> tuple[Any, FrameState]:
        """The unknowns after a step, and the heads that go along."""
        ...


@runtime_checkable
class Belief(Protocol):
    """What is believed of shared unknowns."""

    def quadratic(self, person: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Hessian, descent and cost."""
        ...

    def known(self, identities: int) -> Bool[Tensor, " shared"]:
        """Which of them are none."""
        ...


Shared = TypeVar("Shared", bound=SharedUnknowns)
SharedTerm = Callable[[FrameState, Any], Evidence]
"""A part of the joint cost, by states and what they share."""


def shared_landmark_term(model: PointModel, observed: Observations) -> SharedTerm:
    """`observations.landmark_term` with identity and lens unknown."""

    def term(states: FrameState, person: Person) -> Evidence:
        K = person.camera(observed.K_px)
        seen = see(model, states, K, True, person.identity)
        residual = observed.pixels - seen.pixels
        cost, weight = weigh(observed, residual)
        metric = weight[..., None, None] * torch.eye(2)
        return evidence(model, states, K, seen, metric, weight[..., None] * residual, cost)

    return term


def evidence(
    model: PointModel,
    states: FrameState,
    K_px: Float[Tensor, "frames 3 3"],
    seen: Projected,
    metric: Float[Tensor, "frames points 2 2"],
    force: Float[Tensor, "frames points 2"],
    cost: Float[Tensor, " frames"],
) -> Evidence:
    """Normal equations of points that are pulled.

    Args:
        metric: the cost's second derivative by each point's pixel.
        force: the cost's negative first derivative by each point's pixel.
    """
    assert seen.jacobian is not None and seen.by_head is not None
    lens = by_lens(seen, states, K_px)
    pulled, pulled_lens, by_head = metric @ seen.jacobian, metric @ lens, seen.by_head
    rows, flat_force = seen.jacobian.flatten(1, 2), force.flatten(1)[..., None]
    own = Quadratic(rows.transpose(1, 2) @ pulled.flatten(1, 2), (rows.transpose(1, 2) @ flat_force)[..., 0], cost)
    hessian, coupling, by_both, descent = _through_identity(model, states, by_head, metric, force, pulled, pulled_lens)
    coupling_lens = rows.transpose(1, 2) @ pulled_lens.flatten(1, 2)
    lens_lens = torch.einsum("kpci,kpcj->ij", lens, pulled_lens)
    corner = torch.cat([torch.cat([hessian, by_both], dim=1), torch.cat([by_both.T, lens_lens], dim=1)])
    by_force = torch.einsum("kpci,kpc->i", lens, force)
    return Evidence(own, torch.cat([coupling, coupling_lens], dim=2), corner, torch.cat([descent, by_force]))


def _through_identity(
    model: PointModel, states: FrameState, by_head: Tensor, metric: Tensor, force: Tensor, pulled: Tensor, lens: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Identity's part of the normal equations: with itself, with the frames, with the lens, and its descent.

    The wide basis is the same in every frame; metrics, forces and couplings are carried to where it acts and, where
    frames do not matter, summed over them before it is touched.
    """
    unknowns, identities = pulled.shape[-1], model.identity_m.shape[0]
    hessian, with_lens = pulled.new_zeros(identities, identities), pulled.new_zeros(identities, LENS)
    coupling, descent = pulled.new_zeros(len(pulled), unknowns, identities), pulled.new_zeros(identities)
    for points, basis, lever in model.identity_groups(states):
        by_basis = by_head[:, points] @ lever
        back, flat = by_basis.transpose(2, 3), basis.flatten(0, 1)
        hessian += flat.T @ ((back @ metric[:, points] @ by_basis).sum(0) @ basis).flatten(0, 1)
        coupling += (back @ pulled[:, points]).flatten(1, 2).transpose(1, 2) @ flat
        with_lens += flat.T @ (back @ lens[:, points]).sum(0).flatten(0, 1)
        descent += flat.T @ (back @ force[:, points, :, None]).sum(0).flatten()
    return hessian, coupling, with_lens, descent


def by_lens(seen: Projected, states: FrameState, K_px: Tensor) -> Float[Tensor, "frames points 2 3"]:
    """Derivatives by the lens while the head moves along, so that only the perspective changes.

    The head recedes as the focal length grows and steps aside as the principal point does; alone they would enlarge
    and shift the picture, and Gauss-Newton would creep along the valley between lens and place.
    """
    assert seen.jacobian is not None
    by_place = seen.jacobian[..., _PLACE] * states.translation_m[:, None, None, 2:]
    by_focal = (seen.pixels - K_px[:, None, :2, 2])[..., None] + by_place[..., 2:]
    by_principal = torch.eye(2) - by_place[..., :2] / K_px[:, None, :1, :1]
    return torch.cat([by_focal, by_principal], dim=-1)


def solve_person(
    terms: list[SharedTerm],
    frame_prior: Term,
    states: FrameState,
    person: Shared,
    prior: Belief,
    bounds: Bounds,
    steps: int,
) -> tuple[Shared, FrameState]:
    """Joint Levenberg-Marquardt; the frames are eliminated from the shared unknowns by the Schur complement."""

    def linearise(states: FrameState, person: Shared) -> tuple[Evidence, Tensor]:
        joint = terms[0](states, person)
        for term in terms[1:]:
            joint = joint.plus(term(states, person))
        joint = joint._replace(frames=joint.frames.plus(frame_prior(states, torch.arange(len(states.rotation)), True)))
        hessian, descent, cost = prior.quadratic(person)
        shared = joint._replace(
            shared_hessian=joint.shared_hessian + hessian, shared_descent=joint.shared_descent + descent
        )
        return shared, joint.frames.cost.sum() + cost

    known = prior.known(len(person.identity))
    joint, cost = linearise(states, person)
    damping = 1e-2
    for _ in range(steps):
        moved_person, moved = _step(joint, states, person, bounds, damping, known)
        trial, trial_cost = linearise(moved, moved_person)
        if trial_cost < cost:
            done = cost - trial_cost < _CONVERGED * cost
            states, person, joint, cost, damping = moved, moved_person, trial, trial_cost, max(damping * 0.3, 1e-6)
            if done:
                break
        else:
            damping *= 8
            if damping > 1e5:
                break
    return person, states


def _step(
    joint: Evidence, states: FrameState, person: Shared, bounds: Bounds, damping: float, known: Tensor
) -> tuple[Shared, FrameState]:
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
    right = torch.where(known, 0.0, joint.shared_descent.double() - reduced[:, -1])
    shared = torch.where(known[:, None] | known, torch.diag(known.double()), shared)
    move = torch.linalg.solve(shared, right)
    step = bounded_minimum(hessian, descent - coupling @ move, lower, upper)
    return _moved(states, person, step.to(states.translation_m), move.to(person.identity), bounds)


def _moved(states: FrameState, person: Shared, step: Tensor, move: Tensor, bounds: Bounds) -> tuple[Shared, FrameState]:
    person, states = person.stepped(states, move)
    moved = states.moved(step)
    return person, moved._replace(expression=moved.expression.clamp(bounds.lower, bounds.upper))


def along(states: FrameState, focal_px: Tensor, zoom: Tensor, shift_px: Tensor) -> FrameState:
    """Heads that recede and step aside so that a change of the lens leaves their middle where it is in the picture.

    Args:
        focal_px: of all frames, or (frames,).
        zoom: change of the focal length's logarithm, likewise.
        shift_px: (2,) or (frames, 2) change of the principal point.
    """
    depth = states.translation_m[:, 2]
    aside_m = (depth / focal_px)[:, None] * shift_px
    place_m = torch.cat([states.translation_m[:, :2] - aside_m, (depth * zoom.exp())[:, None]], dim=1)
    return states._replace(translation_m=place_m)


def _damped(hessian: Tensor, damping: float) -> Tensor:
    return hessian + torch.diag_embed(torch.diagonal(hessian, dim1=-2, dim2=-1) * damping + 1e-9)
