"""How far lids and lips are apart: derivatives, what the term sees and what it does not."""

from dataclasses import replace

import pytest
import torch
from observed_actor import observations
from tracking_actor import MOVED, Performance, perform

from headstudio.heads import load_head
from headstudio.heads.base import HeadModel
from headstudio.tracking.config import SolveConfig
from headstudio.tracking.gaps import LIDS, LIPS, face_term, gap_term
from headstudio.tracking.observations import LEFT_LIDS, RIGHT_LIDS, Observations, landmark_term
from headstudio.tracking.observations import LIPS as LIP_LANDMARKS
from headstudio.tracking.points import FrameState, PointModel, landmark_model
from headstudio.tracking.solver import Bounds, minimise, see, total

FRAMES = 4
CONFIG = SolveConfig()


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return load_head("makehuman")


@pytest.fixture(scope="module")
def truth(head: HeadModel) -> Performance:
    return perform(head, frames=FRAMES, seed=4)


def personal(head: HeadModel, truth: Performance) -> PointModel:
    return landmark_model(head).personal(truth.identity)


def test_pairs_are_edges_of_lids_and_of_the_inner_lips() -> None:
    assert all({upper, lower} <= set(RIGHT_LIDS) or {upper, lower} <= set(LEFT_LIDS) for upper, lower in LIDS)
    assert all({upper, lower} <= set(LIP_LANDMARKS) for upper, lower in LIPS)
    assert len(set(LIDS + LIPS)) == len(LIDS + LIPS)
    assert all(set(pair) <= set(RIGHT_LIDS) for pair in LIDS[:5]) and all(set(p) <= set(LEFT_LIDS) for p in LIDS[5:])


def test_upper_edges_lie_above_lower_ones(head: HeadModel) -> None:
    wide = landmark_model(head).rest(1)
    expression = wide.expression.clone()
    expression[:, [head.data.expression_names.index(n) for n in ("jawOpen", "eyeWideLeft", "eyeWideRight")]] = 0.6
    there = landmark_model(head).positions(wide._replace(expression=expression), torch.zeros(head.identities))[0]
    for upper, lower in LIDS + LIPS:
        assert float(there[upper, 1] - there[lower, 1]) > 0.001


def double_case(head: HeadModel, truth: Performance) -> tuple[PointModel, FrameState, Observations]:
    """Observed are other gaps than the model's, some beyond the bend of the robust loss."""
    model = landmark_model(HeadModel(replace(head.data)).double()).personal(truth.identity.double())
    states = FrameState(*(part.double() for part in truth.states))
    observed = observations(head, truth)
    away = 2.0 * torch.randn(observed.pixels.shape, generator=torch.Generator().manual_seed(0))
    return model, states, replace(
        observed, pixels=(observed.pixels + away).double(), K_px=observed.K_px.double(),
        noise_px=observed.noise_px.double(), weight=observed.weight.double(),
    )  # fmt: skip


def test_descent_is_the_slope_of_the_cost(head: HeadModel, truth: Performance) -> None:
    model, states, observed = double_case(head, truth)
    term, frames = gap_term(model, observed, CONFIG), torch.arange(FRAMES)
    found = term(states, frames, True)
    assert torch.equal(found.cost, term(states, frames, False).cost) and bool((found.cost > 0).all())
    for unknown in range(model.unknowns):
        step = torch.zeros(FRAMES, model.unknowns).double()
        step[:, unknown] = 1e-6
        up, down = (term(states.moved(way * step), frames, False).cost for way in (1, -1))
        # Gaze moves no lid by itself, and its series is of third order.
        torch.testing.assert_close(
            -(up - down) / 2e-6, found.descent[:, unknown], atol=1e-4 * float(found.descent.abs().max()), rtol=1e-3
        )


def test_one_projection_gives_the_sum_of_both_terms(head: HeadModel, truth: Performance) -> None:
    model, states, observed = double_case(head, truth)
    frames, both = torch.tensor([2, 0]), [landmark_term(model, observed), gap_term(model, observed, CONFIG)]
    for derivatives in (True, False):
        found = face_term(model, observed, CONFIG)(states.at(frames), frames, derivatives)
        expected = total(both, states.at(frames), frames, derivatives)
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-6)


def test_hessian_is_that_of_the_gaps(head: HeadModel, truth: Performance) -> None:
    """Where the gaps are as observed, the cost is the square that the Hessian says."""
    model, states, observed = double_case(head, truth)
    observed = replace(observed, pixels=see(model, states, observed.K_px, False).pixels)
    term, frames = gap_term(model, observed, CONFIG), torch.arange(FRAMES)
    hessian = term(states, frames, True).hessian
    step = 1e-4 * torch.randn(FRAMES, model.unknowns, generator=torch.Generator().manual_seed(1)).double()
    expected = 0.5 * torch.einsum("fi,fij,fj->f", step, hessian, step)
    torch.testing.assert_close(term(states.moved(step), frames, False).cost, expected, rtol=0.02, atol=0)


def test_a_shift_of_both_edges_costs_nothing(head: HeadModel, truth: Performance) -> None:
    observed = observations(head, truth)
    shifted = observed.with_pixels(observed.pixels + torch.tensor([9.0, -6.0]))
    frames, model = torch.arange(FRAMES), personal(head, truth)
    assert float(gap_term(model, shifted, CONFIG)(truth.states, frames, False).cost.max()) < 1e-4
    wider = observed.pixels.clone()
    wider[:, [upper for upper, _ in LIDS + LIPS], 1] -= 3.0
    cost = gap_term(model, observed.with_pixels(wider), CONFIG)(truth.states, frames, False).cost
    assert float(cost.min()) > 1.0


def test_frames_that_are_not_seen_cost_nothing(head: HeadModel, truth: Performance) -> None:
    observed = observations(head, truth)
    seen = torch.tensor([True, False, True, False])
    blind = replace(observed, seen=seen, pixels=torch.zeros_like(observed.pixels))
    wrong = replace(blind, pixels=torch.where(seen[:, None, None], 2.0 * observed.pixels, 0.0))
    found = gap_term(personal(head, truth), wrong, CONFIG)(truth.states, torch.arange(FRAMES), True)
    assert found.cost[~seen].tolist() == [0.0, 0.0] and bool((found.cost[seen] > 0).all())
    assert not found.hessian[~seen].any() and not found.descent[~seen].any()


def test_withheld_edges_are_not_looked_at(head: HeadModel, truth: Performance) -> None:
    observed = observations(head, truth)
    weight = observed.weight.clone()
    weight[[upper for upper, _ in LIDS + LIPS]] = 0.0
    wild = 50 * torch.randn(observed.pixels.shape, generator=torch.Generator().manual_seed(2))
    blind = replace(observed, weight=weight, pixels=observed.pixels + wild)
    found = gap_term(personal(head, truth), blind, CONFIG)(truth.states, torch.arange(FRAMES), True)
    assert not found.cost.any() and not found.hessian.any()


def test_no_weight_no_term(head: HeadModel, truth: Performance) -> None:
    off = replace(CONFIG, lid_gap=0.0, lip_gap=0.0)
    observed = observations(head, truth).with_pixels(torch.zeros(FRAMES, 478, 2))
    found = gap_term(personal(head, truth), observed, off)(truth.states, torch.arange(FRAMES), True)
    assert not found.cost.any() and not found.descent.any()


@pytest.mark.parametrize("unit", ["eyes", "mouth"])
def test_what_is_seen_shut_is_shut(head: HeadModel, unit: str) -> None:
    """The detector puts both edges 4 mm too low, so that landmarks alone are no help; their distance is.

    The head starts with open eyes and an open mouth, and only the expression may move.
    """
    names = ("eyeBlinkLeft", "eyeBlinkRight") if unit == "eyes" else ("jawOpen",)
    columns = [head.data.expression_names.index(name) for name in names]
    truth = perform(head, frames=FRAMES, seed=5)
    model = personal(head, truth)
    shut = torch.zeros_like(truth.states.expression)
    open_wide = shut.clone()
    if unit == "eyes":
        shut[:, columns] = 1.0
    else:
        open_wide[:, columns] = 0.6
    actual = truth.states._replace(expression=shut)
    pixels = see(model, actual, truth.K_px.expand(FRAMES, 3, 3), False).pixels + torch.tensor([0.0, 3.3])
    observed = observations(head, truth).with_pixels(pixels)
    frozen = torch.ones(model.unknowns, dtype=torch.bool)
    frozen[[6 + head.data.expression_names.index(name) for name in MOVED]] = False
    start = truth.states._replace(expression=open_wide)
    moved = minimise(start, [gap_term(model, observed, CONFIG)], Bounds(0.0, 1.0), 15, frozen)
    pairs = LIDS if unit == "eyes" else LIPS
    upper, lower = (list(side) for side in zip(*pairs, strict=True))

    def gap_m(states: FrameState) -> torch.Tensor:
        there = model.positions(states)
        return (there[:, upper] - there[:, lower]).norm(dim=-1).mean(1)

    left = (gap_m(moved) - gap_m(actual)).abs() / (gap_m(start) - gap_m(actual)).abs()
    assert float(left.max()) < 0.1
