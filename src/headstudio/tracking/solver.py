"""Damped Gauss-Newton over a batch of independent frames: pose, expression, gaze and jaw to observed points.

Eq. 1 and eq. 2 of paper 2 are solved together, in perspective and with bounds, instead of in turns: each step is the
closed-form minimum of the linearised problem.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from headstudio.tracking.points import FrameState, PointModel, join, skew
from headstudio.tracking.quadratic import bounded_minimum

CHUNK = 64
"""Frames whose Jacobians are in memory at once."""
NEAREST_M = 0.05


class Quadratic(NamedTuple):
    """A cost and its Gauss-Newton model around a state."""

    hessian: Float[Tensor, "batch unknowns unknowns"]
    descent: Float[Tensor, "batch unknowns"]
    cost: Float[Tensor, " batch"]

    def plus(self, other: "Quadratic") -> "Quadratic":
        """The sum of two costs."""
        return Quadratic(*(a + b for a, b in zip(self, other, strict=True)))

    def where(self, chosen: Tensor, other: "Quadratic") -> "Quadratic":
        """This model where `chosen`, the other elsewhere."""
        pairs = zip(self, other, strict=True)
        return Quadratic(*(torch.where(chosen.reshape(-1, *[1] * (a.ndim - 1)), a, b) for a, b in pairs))


Term = Callable[[FrameState, Tensor, bool], Quadratic]
"""A part of the cost: (states, indices of their frames, whether derivatives are wanted) to its quadratic model."""


@dataclass(frozen=True)
class Bounds:
    """Range of the expression coefficients; everything else is free."""

    lower: float
    upper: float

    def around(self, state: FrameState) -> tuple[Tensor, Tensor]:
        """Bounds of a step from a state."""
        batch, expressions = state.expression.shape
        rest = state.flat().shape[1] - expressions
        edge = state.expression.new_full((batch, 6 + expressions + rest), torch.inf)
        lower, upper = -edge, edge
        lower[:, 6 : 6 + expressions] = self.lower - state.expression
        upper[:, 6 : 6 + expressions] = self.upper - state.expression
        return lower, upper


def minimise(
    start: FrameState,
    terms: list[Term],
    bounds: Bounds,
    iterations: int,
    frozen: Tensor | None = None,
    advance: Callable[[int], None] | None = None,
) -> FrameState:
    """Levenberg-Marquardt per frame; a step that does not lower a frame's cost is not taken.

    Args:
        frozen: (unknowns,) True for what must stay as it is.
        advance: told the number of frames done.
    """
    parts = []
    for first in range(0, len(start.expression), CHUNK):
        frames = torch.arange(first, min(first + CHUNK, len(start.expression)))
        parts.append(_minimise(start.at(frames), frames, terms, bounds, iterations, frozen))
        if advance is not None:
            advance(len(frames))
    return join(parts)


_CONVERGED = 1e-4


def _minimise(
    state: FrameState, frames: Tensor, terms: list[Term], bounds: Bounds, iterations: int, frozen: Tensor | None
) -> FrameState:
    damping = state.expression.new_full((len(frames),), 1e-3)
    done = torch.zeros(len(frames), dtype=torch.bool)
    model = total(terms, state, frames, True)
    for _ in range(iterations):
        candidate = _inside(state.moved(_step(model, state, bounds, damping, frozen)), bounds)
        trial = total(terms, candidate, frames, True)
        # A frame that is done stays, so that its result does not depend on the company it is solved in.
        better = (trial.cost < model.cost) & ~done
        gain = torch.where(better, model.cost - trial.cost, 0.0)
        small = gain <= _CONVERGED * model.cost.clamp_min(1e-6)
        state, model = candidate.where(better, state), trial.where(better, model)
        damping = torch.where(better, damping * 0.2, damping * 10).clamp(1e-6, 1e6)
        done |= small & (better | (damping > 1.0))
        if done.all():
            break
    return state


def _step(model: Quadratic, state: FrameState, bounds: Bounds, damping: Tensor, frozen: Tensor | None) -> Tensor:
    diagonal = torch.diagonal(model.hessian, dim1=1, dim2=2)
    hessian = model.hessian + torch.diag_embed(diagonal * damping[:, None] + 1e-9)
    lower, upper = bounds.around(state)
    if frozen is not None:
        lower, upper = torch.where(frozen, 0.0, lower), torch.where(frozen, 0.0, upper)
    return bounded_minimum(hessian, model.descent, lower, upper).to(model.descent)


def _inside(state: FrameState, bounds: Bounds) -> FrameState:
    return state._replace(expression=state.expression.clamp(bounds.lower, bounds.upper))


def total(terms: list[Term], state: FrameState, frames: Tensor, derivatives: bool) -> Quadratic:
    """Sum of the terms."""
    result = terms[0](state, frames, derivatives)
    for term in terms[1:]:
        result = result.plus(term(state, frames, derivatives))
    return result


def project(
    points_camera_m: Float[Tensor, "batch points 3"], K_px: Float[Tensor, "batch 3 3"]
) -> Float[Tensor, "batch points 2"]:
    """Pixels of points; those at or behind the camera are held just in front of it."""
    depth = points_camera_m[..., 2:].clamp_min(NEAREST_M)
    focal = torch.stack([K_px[:, 0, 0], K_px[:, 1, 1]], dim=-1)[:, None]
    return points_camera_m[..., :2] / depth * focal + K_px[:, None, :2, 2]


def projection_derivatives(
    points_camera_m: Float[Tensor, "batch points 3"], K_px: Float[Tensor, "batch 3 3"]
) -> Float[Tensor, "batch points 2 3"]:
    """Derivatives of `project`."""
    depth = points_camera_m[..., 2].clamp_min(NEAREST_M)
    scale = torch.stack([K_px[:, 0, 0], K_px[:, 1, 1]], dim=-1)[:, None] / depth[..., None]
    slope = -points_camera_m[..., :2] / depth[..., None]
    return (
        torch.cat([torch.eye(2).to(scale).expand(*scale.shape[:2], 2, 2), slope[..., None]], dim=-1) * scale[..., None]
    )


class Projected(NamedTuple):
    """Points seen by the camera."""

    pixels: Float[Tensor, "batch points 2"]
    jacobian: Float[Tensor, "batch points 2 unknowns"] | None
    by_head: Float[Tensor, "batch points 2 3"] | None
    """Derivative of the pixels by a movement in the head frame."""
    camera_m: Float[Tensor, "batch points 3"]


def see(
    model: PointModel, state: FrameState, K_px: Tensor, derivatives: bool, identity: Tensor | None = None
) -> Projected:
    """Project the points of a state, with derivatives by its unknowns where wanted."""
    turned = model.positions(state, identity) @ state.rotation.transpose(1, 2)
    camera_m = turned + state.translation_m[:, None]
    pixels = project(camera_m, K_px)
    if not derivatives:
        return Projected(pixels, None, None, camera_m)
    by_camera = projection_derivatives(camera_m, K_px)
    by_head = by_camera @ state.rotation[:, None]
    articulation = by_head @ model.derivatives(state, identity)
    jacobian = torch.cat([by_camera @ -skew(turned), by_camera, articulation], dim=-1)
    return Projected(pixels, jacobian, by_head, camera_m)


def huber(distance: Float[Tensor, "*shape"], bend: float) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    """Huber's cost of standardised distances and the weight that makes it a weighted square (Huber 1964)."""
    weight = torch.where(distance <= bend, 1.0, bend / distance.clamp_min(1e-12))
    cost = torch.where(distance <= bend, 0.5 * distance**2, bend * (distance - 0.5 * bend))
    return cost, weight
