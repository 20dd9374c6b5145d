"""The joint solve of person and lens: its normal equations against explicit derivatives, what it finds and keeps."""

import math
from dataclasses import replace

import pytest
import roma
import torch
from observed_actor import nobody, observations
from torch import Tensor
from tracking_actor import FACING, SIZE_PX, Performance, perform

from headstudio.heads import load_head
from headstudio.heads.base import HeadModel
from headstudio.tracking.config import SolveConfig
from headstudio.tracking.identity import (
    Evidence,
    Person,
    SharedPrior,
    along,
    evidence,
    shared_landmark_term,
    solve_person,
)
from headstudio.tracking.observations import closed_form_pose
from headstudio.tracking.points import FrameState, PointModel, landmark_model
from headstudio.tracking.priors import prior_term
from headstudio.tracking.quadratic import bounded_minimum
from headstudio.tracking.solver import Bounds, see

LANDMARKS = torch.tensor([1, 4, 13, 14, 33, 61, 145, 152, 159, 199, 234, 263, 386, 454, 468, 473])
"""Nose, lips, chin, lids, cheeks and both irises."""
FRAMES = 3
TRUSTING = SolveConfig(sparsity=0.05, expression_prior=0.05)
"""For exact landmarks the priors step back."""


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return load_head("makehuman")


def double_model(head: HeadModel, jaw_open_rad: float) -> PointModel:
    return landmark_model(HeadModel(replace(head.data, jaw_open_rad=jaw_open_rad)).double()).some(LANDMARKS)


def some_states(model: PointModel, seed: int = 0) -> FrameState:
    """Small angles of eyes and jaw: their third-order series is exact to 1e-5 there."""
    draw = torch.Generator().manual_seed(seed)
    rest = model.rest(FRAMES)
    moved = rest._replace(
        rotation=roma.rotvec_to_rotmat(0.5 * torch.randn(FRAMES, 3, generator=draw)).double() @ FACING.double(),
        translation_m=torch.tensor([0.0, 0.0, 0.7]) + 0.05 * torch.randn(FRAMES, 3, generator=draw),
        expression=torch.rand(rest.expression.shape, generator=draw),
        gaze_rad=0.08 * torch.randn(FRAMES, 2, 2, generator=draw),
        jaw_rad=0.08 * torch.randn(rest.jaw_rad.shape, generator=draw),
    )
    return FrameState(*(part.double() for part in moved))


def some_person(identities: int) -> Person:
    identity = 0.5 * torch.randn(identities, generator=torch.Generator().manual_seed(1)).double()
    return Person(identity, torch.tensor(900.0).double().log(), torch.tensor([310.0, 190.0]).double())


def lens(person: Person, frames: int = FRAMES) -> Tensor:
    return person.camera(torch.eye(3, dtype=torch.float64).repeat(frames, 1, 1))


def pixels_after(model: PointModel, states: FrameState, person: Person, step: Tensor, move: Tensor) -> Tensor:
    """Where the points go: heads step along with the lens, so that only the perspective changes.

    Args:
        step: (frames, unknowns).
        move: identity, logarithm of the focal length, principal point.
    """
    zoom, shift_px = move[-3], move[-2:]
    depth = states.translation_m[:, 2:]
    aside = states.translation_m[:, :2] - depth * shift_px / person.log_focal.exp()
    receding = states._replace(translation_m=torch.cat([aside, depth * zoom.exp()], dim=1))
    other = Person(person.identity + move[:-3], person.log_focal + zoom, person.principal_px + shift_px)
    return see(model, receding.moved(step), lens(other), False, other.identity).pixels


def naive_rows(model: PointModel, states: FrameState, person: Person) -> tuple[Tensor, Tensor]:
    """Jacobians (frames, points, 2, unknowns) and (frames, points, 2, shared) by central differences."""
    width = len(person.identity) + 3

    def slopes(unknowns: int, shared: bool) -> Tensor:
        columns = []
        for unknown in range(unknowns):
            # Pixels are large numbers: their steps are longer, against rounding.
            reach = 1e-4 if shared and unknown >= width - 2 else 1e-6
            ends = []
            for way in (reach, -reach):
                step, move = torch.zeros(FRAMES, model.unknowns).double(), torch.zeros(width).double()
                (move if shared else step)[..., unknown] = way
                ends.append(pixels_after(model, states, person, step, move))
            columns.append((ends[0] - ends[1]) / (2 * reach))
        return torch.stack(columns, dim=-1)

    return slopes(model.unknowns, False), slopes(width, True)


def agree(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=2e-4 * float(expected.abs().max()), rtol=1e-3)


@pytest.mark.parametrize("jaw_open_rad", [0.0, 0.4])
def test_evidence_is_that_of_explicit_derivatives(head: HeadModel, jaw_open_rad: float) -> None:
    """Metrics and forces are arbitrary, differently in every frame and point."""
    model = double_model(head, jaw_open_rad)
    states, person = some_states(model), some_person(head.identities)
    draw = torch.Generator().manual_seed(2)
    root = torch.randn(FRAMES, model.points, 2, 2, generator=draw).double()
    metric, force = root @ root.transpose(2, 3), torch.randn(FRAMES, model.points, 2, generator=draw).double()
    cost = torch.arange(FRAMES).double()
    K_px = lens(person)
    found = evidence(model, states, K_px, see(model, states, K_px, True, person.identity), metric, force, cost)
    own, shared = naive_rows(model, states, person)
    assert found.frames.hessian.shape == (FRAMES, model.unknowns, model.unknowns)
    assert found.coupling.shape == (FRAMES, model.unknowns, head.identities + 3)
    agree(found.frames.hessian, torch.einsum("kpai,kpab,kpbj->kij", own, metric, own))
    agree(found.frames.descent, torch.einsum("kpai,kpa->ki", own, force))
    assert torch.equal(found.frames.cost, cost)
    # Identity and lens differ in size by orders: each block is held against its own.
    for block in (slice(0, -3), slice(-3, -2), slice(-2, None)):
        agree(found.coupling[..., block], torch.einsum("kpai,kpab,kpbj->kij", own, metric, shared[..., block]))
        agree(found.shared_descent[block], torch.einsum("kpai,kpa->i", shared[..., block], force))
        for other in (slice(0, -3), slice(-3, -2), slice(-2, None)):
            expected = torch.einsum("kpai,kpab,kpbj->ij", shared[..., block], metric, shared[..., other])
            agree(found.shared_hessian[block, other], expected)


def test_landmarks_pull_down_their_own_cost(head: HeadModel) -> None:
    """The descent is the slope of the cost, beyond the bend of the robust loss too."""
    model = double_model(head, 0.0)
    states, person = some_states(model), some_person(head.identities)
    K_px = lens(person)
    pixels = see(model, states, K_px, False, person.identity).pixels
    pixels = pixels + 4 * torch.randn(pixels.shape, generator=torch.Generator().manual_seed(3)).double()
    observed = replace(
        observations(head, perform(head, frames=FRAMES), noise_px=1.5), pixels=pixels, K_px=K_px,
        depth_px=pixels[..., 0], weight=torch.linspace(0.5, 2, model.points).double(),
    )  # fmt: skip
    term = shared_landmark_term(model, observed)
    found = term(states, person)
    distance = (pixels - see(model, states, K_px, False, person.identity).pixels).norm(dim=-1) / 1.5
    assert bool((distance > observed.robust).any()) and bool((distance < observed.robust).any())
    for seed in range(4):
        draw = torch.Generator().manual_seed(seed)
        step = 1e-6 * torch.randn(FRAMES, model.unknowns, generator=draw).double()
        move = 1e-6 * torch.randn(head.identities + 3, generator=draw).double()
        costs = []
        for way in (1, -1):
            moved = along(states, person.log_focal.exp(), way * move[-3], way * move[-2:]).moved(way * step)
            other = Person(
                person.identity + way * move[:-3], person.log_focal + way * move[-3],
                person.principal_px + way * move[-2:],
            )  # fmt: skip
            costs.append(term(moved, other).frames.cost.sum())
        slope = -((found.frames.descent * step).sum() + found.shared_descent @ move)
        assert float((costs[0] - costs[1]) / 2) == pytest.approx(float(slope), rel=2e-3)


def test_evidence_adds_up(head: HeadModel) -> None:
    model = double_model(head, 0.0)
    observed = replace(
        observations(head, perform(head, frames=FRAMES)).at(torch.arange(FRAMES)),
        pixels=torch.zeros(FRAMES, model.points, 2).double(), depth_px=torch.zeros(FRAMES, model.points),
        weight=torch.ones(model.points), K_px=lens(some_person(head.identities)),
    )  # fmt: skip
    one = shared_landmark_term(model, observed)(some_states(model), some_person(head.identities))
    two = one.plus(one)
    assert isinstance(two, Evidence)
    for single, both in zip((*one.frames, *one[1:]), (*two.frames, *two[1:]), strict=True):
        torch.testing.assert_close(both, 2 * single)


def test_a_lens_that_changes_leaves_the_middle_of_the_head_where_it_is(head: HeadModel) -> None:
    states = some_states(double_model(head, 0.0))
    focal, zoom, shift_px = torch.tensor(800.0).double(), torch.tensor(0.2).double(), torch.tensor([7.0, -4.0]).double()

    def middle(place_m: Tensor, f: Tensor, principal: Tensor) -> Tensor:
        return place_m[:, :2] / place_m[:, 2:] * f + principal

    after = along(states, focal, zoom, shift_px)
    before = middle(states.translation_m, focal, torch.zeros(2))
    # Exact for the principal point; a zoom magnifies what is off the axis, which the derivatives know.
    shifted = along(states, focal, 0 * zoom, shift_px)
    torch.testing.assert_close(middle(shifted.translation_m, focal, shift_px), before)
    assert torch.equal(after.rotation, states.rotation) and torch.equal(after.expression, states.expression)
    torch.testing.assert_close(after.translation_m[:, 2], states.translation_m[:, 2] * math.exp(0.2))


def solved(head: HeadModel, truth: Performance, start: Person, prior: SharedPrior, steps: int = 30) -> Person:
    observed = observations(head, truth, noise_px=0.2, independence=1.0)
    observed = observed.with_camera(start.camera(observed.K_px))
    model = landmark_model(head)
    states, _ = closed_form_pose(model, observed)
    bounds = Bounds(*head.data.expression_range)
    terms = [shared_landmark_term(model, observed)]
    return solve_person(terms, prior_term(head, TRUSTING), states, start, prior, bounds, steps)[0]


@pytest.mark.parametrize("knows_focal", [True, False])
@pytest.mark.parametrize("knows_principal", [True, False])
def test_what_is_known_of_the_lens_is_kept_to_the_bit(
    head: HeadModel, knows_focal: bool, knows_principal: bool
) -> None:
    """The truth is another lens, so that what may move does."""
    truth = perform(head, frames=6, focal_px=500.0, principal_px=(140.0, 121.0), turning=1.5)
    start = nobody(head, 430.0)
    deviations = 0.0 if knows_focal else 0.5, 0.0 if knows_principal else 20.0
    prior = SharedPrior(float(start.log_focal), deviations[0], (128.0, 128.0), deviations[1], 1.0)
    found = solved(head, truth, start, prior, steps=6)
    assert torch.equal(found.log_focal, start.log_focal) == knows_focal
    assert torch.equal(found.principal_px, start.principal_px) == knows_principal
    assert bool((found.identity != 0).all())


def test_the_principal_point_is_found_where_the_head_turns_far(head: HeadModel) -> None:
    """Exact landmarks, turns to 45 degrees: from 13 and 10 pixels away to a fifth of the way, both lens values free."""
    principal = torch.tensor([141.0, 118.0])
    truth = perform(head, frames=16, focal_px=400.0, principal_px=(141.0, 118.0), turning=1.5, seed=2)
    start = nobody(head, 1.3 * SIZE_PX)
    prior = SharedPrior(float(start.log_focal), 0.5, (128.0, 128.0), 20.0, 1.0)
    found = solved(head, truth, start, prior, steps=40)
    assert float((found.principal_px - principal).norm()) < 0.2 * float((start.principal_px - principal).norm())
    assert float(found.log_focal.exp()) == pytest.approx(400.0, rel=0.04)


def test_the_lens_is_believed_where_nothing_turns(head: HeadModel) -> None:
    """Without perspective to tell them apart, the prior decides: a weak one is not left for nothing."""
    truth = perform(head, frames=4, focal_px=2500.0, turning=0.0)
    start = nobody(head, 2500.0)
    prior = SharedPrior(float(start.log_focal), 0.05, (128.0, 128.0), 3.0, 1.0)
    found = solved(head, truth, start, prior)
    assert float(found.log_focal.exp()) == pytest.approx(2500.0, rel=0.1)
    assert float((found.principal_px - 128).abs().max()) < 6.0


def test_a_strong_prior_keeps_the_mean_face(head: HeadModel) -> None:
    truth, start = perform(head, frames=5), nobody(head, 500.0)
    lengths = []
    for weight in (1.0, 1e8):
        prior = SharedPrior(float(start.log_focal), 0.0, (128.0, 128.0), 0.0, weight)
        lengths.append(float(solved(head, truth, start, prior, steps=8).identity.norm()))
    assert lengths[1] < 1e-3 * lengths[0]


def test_the_prior_is_its_own_quadratic() -> None:
    prior = SharedPrior(6.0, 0.5, (128.0, 120.0), 20.0, 2.0)
    identity = torch.randn(5, generator=torch.Generator().manual_seed(4)).double()
    person = Person(identity, torch.tensor(6.4).double(), torch.tensor([140.0, 90.0]).double())
    hessian, descent, cost = prior.quadratic(person)
    by_hand = float(identity.square().sum()) + 0.5 * (0.4 / 0.5) ** 2 + 0.5 * (12 / 20) ** 2 + 0.5 * (30 / 20) ** 2
    assert float(cost) == pytest.approx(by_hand)
    step = torch.randn(8, generator=torch.Generator().manual_seed(5)).double()
    moved = Person(identity + step[:5], person.log_focal + step[5], person.principal_px + step[6:])
    expected = cost - descent @ step + 0.5 * step @ hessian @ step
    torch.testing.assert_close(prior.quadratic(moved)[2], expected)
    assert prior.known(5).tolist() == [False] * 8
    assert SharedPrior(6.0, 0.0, (0.0, 0.0), 0.0, 1.0).known(2).tolist() == [False, False, True, True, True]


def test_eliminating_the_frames_is_solving_everything_at_once(head: HeadModel) -> None:
    """One step without bounds, against the dense system of all unknowns together."""
    model = double_model(head, 0.0)
    states, person = some_states(model), some_person(head.identities)
    K_px = lens(person)
    pixels = see(model, states, K_px, False, person.identity).pixels
    observed = replace(
        observations(head, perform(head, frames=FRAMES), noise_px=1.0, independence=1.0, robust=1e9),
        pixels=pixels + 0.01, K_px=K_px, depth_px=pixels[..., 0], weight=torch.ones(model.points).double(),
    )  # fmt: skip
    prior = SharedPrior(float(person.log_focal), 0.1, (310.0, 190.0), 5.0, 1.0)

    def frame_prior(now: FrameState, frames: Tensor, derivatives: bool):
        return prior_term(head, SolveConfig(lid_follow=0.0))(now, frames, derivatives)

    term = shared_landmark_term(model, observed)
    found, moved = solve_person([term], frame_prior, states, person, prior, Bounds(-1e9, 1e9), 1)
    joint = term(states, person)
    own = joint.frames.plus(frame_prior(states, torch.arange(FRAMES), True))
    hessian, descent, _ = prior.quadratic(person)
    unknowns, shared = model.unknowns, len(descent)
    dense = torch.zeros(FRAMES * unknowns + shared, FRAMES * unknowns + shared).double()
    right = torch.zeros(FRAMES * unknowns + shared).double()
    for frame in range(FRAMES):
        place = slice(frame * unknowns, (frame + 1) * unknowns)
        dense[place, place], right[place] = own.hessian[frame], own.descent[frame]
        dense[place, -shared:], dense[-shared:, place] = joint.coupling[frame], joint.coupling[frame].T
    dense[-shared:, -shared:], right[-shared:] = joint.shared_hessian + hessian, joint.shared_descent + descent
    damped = dense + torch.diag(1e-2 * dense.diagonal() + 1e-9)
    step = torch.linalg.solve(damped, right)
    torch.testing.assert_close(found.identity - person.identity, step[-shared:-3], atol=1e-8, rtol=1e-5)
    torch.testing.assert_close(found.principal_px - person.principal_px, step[-2:], atol=1e-8, rtol=1e-5)
    # The frames' own step is made anew, undamped by the shared one: it must be the minimum given the shared move.
    first = bounded_minimum(
        damped[:unknowns, :unknowns][None], (right[:unknowns] - joint.coupling[0] @ step[-shared:])[None],
        torch.full((1, unknowns), -torch.inf), torch.full((1, unknowns), torch.inf),
    )  # fmt: skip
    torch.testing.assert_close(moved.expression[0] - states.expression[0], first[0, 6 : 6 + head.expressions])
