"""Priors: their derivatives, and what they prefer."""

from dataclasses import replace

import pytest
import torch

from headstudio.heads import load_head
from headstudio.heads.base import HeadModel
from headstudio.tracking.config import SolveConfig
from headstudio.tracking.points import FrameState, articulation, landmark_model
from headstudio.tracking.priors import gaze_slopes, lids_follow, prior_term


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return load_head("makehuman")


def some_state(head: HeadModel) -> FrameState:
    draw = torch.Generator().manual_seed(0)
    rest = landmark_model(head).rest(3)
    moved = rest._replace(
        expression=0.1 + 0.8 * torch.rand(rest.expression.shape, generator=draw),
        gaze_rad=0.2 * torch.randn(3, 2, 2, generator=draw),
        jaw_rad=0.1 * torch.randn(rest.jaw_rad.shape, generator=draw),
    )
    return FrameState(*(part.double() for part in moved))


@pytest.mark.parametrize("jaw_open_rad", [0.0, 0.4])
def test_descent_and_hessian_are_those_of_the_cost(head: HeadModel, jaw_open_rad: float) -> None:
    head = HeadModel(replace(head.data, jaw_open_rad=jaw_open_rad))
    term, state, frames = prior_term(head, SolveConfig()), some_state(head), torch.arange(3)
    model = term(state, frames, True)
    draw = torch.Generator().manual_seed(1)
    step = 1e-3 * torch.randn(model.descent.shape, generator=draw, dtype=torch.float64)
    change = term(state.moved(step), frames, False).cost - model.cost
    expected = -(model.descent * step).sum(1) + 0.5 * torch.einsum("bi,bij,bj->b", step, model.hessian, step)
    torch.testing.assert_close(change, expected, rtol=1e-4, atol=1e-9)


def test_rest_costs_nothing_and_pose_is_free(head: HeadModel) -> None:
    term, rest = prior_term(head, SolveConfig()), landmark_model(head).rest(1)
    elsewhere = rest._replace(translation_m=torch.tensor([[1.0, 2.0, 3.0]]))
    model = term(elsewhere, torch.arange(1), True)
    assert float(model.cost) == 0.0
    assert not model.hessian[:, :6].any() and not model.descent[:, :6].any()


def test_lids_are_where_arkit_puts_them_for_a_glance(head: HeadModel) -> None:
    rest = landmark_model(head).rest(4)
    glances = torch.tensor([[0.2, 0.1], [-0.2, 0.1], [0.1, -0.2], [-0.1, 0.0]])
    looking = rest._replace(gaze_rad=glances[:, None].repeat(1, 2, 1))
    followed = looking._replace(expression=head.from_arkit(head.to_arkit(articulation(looking))).expression)
    term = lids_follow(head, 100.0)
    assert float(term(followed, torch.arange(4), False).cost.max()) < 1e-6
    assert float(term(looking, torch.arange(4), False).cost.min()) > 0.1
    tied = gaze_slopes(head).abs().amax((0, 1)) > 0
    assert {name for name, is_tied in zip(head.data.expression_names, tied, strict=True) if is_tied} == {
        f"eyeLook{way}{side}" for way in ("Up", "Down", "In", "Out") for side in ("Left", "Right")
    }
