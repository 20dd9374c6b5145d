"""What is believed of a frame before it is looked at."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from headstudio.heads.base import HeadModel
from headstudio.tracking.config import SolveConfig
from headstudio.tracking.points import FrameState, articulation, landmark_model
from headstudio.tracking.solver import Quadratic, Term

_PROBE_RAD = 0.05
"""A glance small enough that no ARKit weight saturates."""

# ARKit's units by how often a talking, smiling, frowning person shows them; left and right alike. Landmarks alone
# hardly tell puffed cheeks or an upper lip pushed up from a pucker, nor rolled and pressed lips from a smile.
_RARE = ("cheekPuff", "tongueOut", "jawForward", "mouthShrugUpper")
_HELPING = (
    "noseSneer", "cheekSquint", "mouthPress", "mouthDimple", "mouthRollUpper", "mouthRollLower", "mouthShrugLower",
)  # fmt: skip
_SIDES = ("Left", "Right", "_L", "_R")
_SELDOM = ("mouthLeft", "mouthRight", "jawLeft", "jawRight", "mouthClose")


def prior_term(head: HeadModel, config: SolveConfig) -> Term:
    """What is believed of a frame without looking: expression (L1 where it cannot be negative, squared, left against
    right), gaze, vergence and jaw, and lids that follow the gaze.

    Units that the gaze moves cost nothing of their own: a toll on them would be one on every glance, and identity would
    dodge it by eyeballs that lie too deep, which turn less as the head turns away from what it looks at.
    """
    model, follow = landmark_model(head), lids_follow(head, config.lid_follow)
    expressions = len(model.expression_m)
    jaw = model.unknowns - 6 - expressions - 4
    hessian = torch.zeros(model.unknowns, model.unknowns)
    hessian[6 : 6 + expressions, 6 : 6 + expressions] = torch.eye(expressions) * config.expression_prior
    for left, right in model.twins:
        pair = torch.tensor([6 + left, 6 + right])
        hessian[pair[:, None], pair] += config.symmetry * torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    gaze = slice(6 + expressions, 10 + expressions)
    single, both = config.gaze_prior_rad**-2, config.vergence_rad**-2
    eye = torch.eye(2)
    hessian[gaze, gaze] = single * torch.eye(4) + both * torch.kron(torch.tensor([[1.0, -1.0], [-1.0, 1.0]]), eye)
    hessian[10 + expressions :, 10 + expressions :] = torch.eye(jaw) * config.jaw_prior_rad**-2
    linear = torch.zeros(model.unknowns)
    linear[6 : 6 + expressions] = _sparsity(head, config) * ~follow.tied
    return _Believed(hessian, linear, follow)


def _sparsity(head: HeadModel, config: SolveConfig) -> Float[Tensor, " expressions"]:
    """L1 weight of each unit; none where units have two signs."""
    if head.data.expression_range[0] < 0:
        return torch.zeros(head.expressions)
    groups = ((_RARE, config.rare), (_HELPING, config.helping), (_SELDOM, config.seldom))
    dear: dict[str, float] = {stem: times for stems, times in groups for stem in stems}
    return torch.tensor([config.sparsity * _of_unit(name, dear) for name in head.data.expression_names])


def _of_unit(name: str, dear: Mapping[str, float]) -> float:
    stem = next((name.removesuffix(side) for side in _SIDES if name.endswith(side)), name)
    return dear.get(name, dear.get(stem, 1.0))


@dataclass(frozen=True)
class _Believed:
    """A quadratic cost around rest, beside lids that follow; a class, so that it can be sent to other processes."""

    hessian: Float[Tensor, "unknowns unknowns"]
    linear: Float[Tensor, " unknowns"]
    follow: "_Following"

    def __call__(self, state: FrameState, frames: Tensor, derivatives: bool) -> Quadratic:
        x = torch.nn.functional.pad(state.flat(), (6, 0))
        hessian, linear = self.hessian.to(x), self.linear.to(x)
        pull = x @ hessian
        own = Quadratic(hessian.expand(len(x), -1, -1), -(pull + linear), 0.5 * (x * pull).sum(1) + x @ linear)
        return own.plus(self.follow(state, frames, derivatives))


def lids_follow(head: HeadModel, weight: float) -> "_Following":
    """Lids move with the eyeball: the units that ARKit's eyeLook shapes ask for are tied to the gaze.

    Left free, they would share a blink with eyeBlink, and a signal that went through ARKit would lose their part.
    """
    slopes = gaze_slopes(head)
    return _Following(slopes, slopes.abs().amax((0, 1)) > 0, head.data.expression_range[1], weight)


@dataclass(frozen=True)
class _Following:
    """The cost of lids that do not go with the gaze."""

    slopes: Float[Tensor, "2 4 expressions"]
    tied: Bool[Tensor, " expressions"]
    largest: float
    weight: float

    def __call__(self, state: FrameState, frames: Tensor, derivatives: bool) -> Quadratic:
        glance, tied, expressions = state.gaze_rad.flatten(1), self.tied, len(self.tied)
        table = torch.where((glance >= 0)[..., None], self.slopes[0].to(glance), -self.slopes[1].to(glance))
        asked = torch.einsum("bg,bge->be", glance, table)[:, tied]
        residual = asked.clamp(max=self.largest) - state.expression[:, tied]
        unknowns = 6 + state.flat().shape[1]
        rows = glance.new_zeros(len(glance), int(tied.sum()), unknowns)
        rows[:, :, 6 : 6 + expressions] = torch.eye(expressions)[tied].to(rows)
        rows[:, :, 6 + expressions : 10 + expressions] = -(
            table[..., tied].transpose(1, 2) * (asked < self.largest)[..., None]
        )
        descent = self.weight * torch.einsum("bru,br->bu", rows, residual)
        hessian = self.weight * rows.transpose(1, 2) @ rows
        return Quadratic(hessian, descent, 0.5 * self.weight * residual.pow(2).sum(1))


def gaze_slopes(head: HeadModel) -> Float[Tensor, "2 4 expressions"]:
    """Expression per radian of a glance that ARKit's weights stand for: to either side, by each angle of each eye."""
    model = landmark_model(head)
    probes = torch.cat([torch.eye(4), -torch.eye(4)]) * _PROBE_RAD
    state = model.rest(8)._replace(gaze_rad=probes.unflatten(1, (2, 2)))
    asked = head.from_arkit(head.to_arkit(articulation(state))).expression
    return (asked / _PROBE_RAD).unflatten(0, (2, 4))
