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


def test_units_are_dear_by_how_seldom_people_show_them(head: HeadModel) -> None:
    config = SolveConfig(rare=7.0, helping=4.0, seldom=3.0, expression_prior=0.0, symmetry=0.0)
    prior, model = prior_term(head, config), landmark_model(head)
    names = head.data.expression_names

    def cost(name: str) -> float:
        state = model.rest(1)
        state.expression[0, names.index(name)] = 0.4
        return float(prior(state, torch.arange(1), False).cost) / (0.4 * config.sparsity)

    for name in ("jawOpen", "mouthSmileLeft", "mouthPucker", "eyeBlinkRight"):
        assert cost(name) == pytest.approx(1.0, rel=1e-4)
    assert cost("cheekPuff") == pytest.approx(7.0, rel=1e-4)
    assert cost("mouthPressLeft") == cost("mouthPressRight") == pytest.approx(4.0, rel=1e-4)
    assert cost("mouthLeft") == pytest.approx(3.0, rel=1e-4)


def test_a_glance_with_its_lids_costs_only_the_gaze(head: HeadModel) -> None:
    """L1 on the lids that go along would be a toll on every glance."""
    config = SolveConfig(gaze_prior_rad=1e3)
    state = landmark_model(head).rest(1)._replace(gaze_rad=torch.full((1, 2, 2), 0.15))
    lids = head.from_arkit(head.to_arkit(articulation(state))).expression
    assert float(lids.amax()) > 0.1
    cost = float(prior_term(head, config)(state._replace(expression=lids), torch.arange(1), False).cost)
    assert cost < 0.5 * config.expression_prior * float(lids.square().sum()) + 1e-3
