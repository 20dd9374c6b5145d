"""Points in closed form against the head model itself and against finite differences."""

from dataclasses import replace

import pytest
import roma
import torch

from headstudio.heads import load_head
from headstudio.heads.base import HeadModel
from headstudio.tracking.points import FrameState, PointModel, articulation, embed, landmark_model
from headstudio.tracking.solver import see


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return load_head("makehuman")


@pytest.fixture(scope="module")
def jaw_head(head: HeadModel) -> HeadModel:
    return HeadModel(replace(head.data, jaw_open_rad=0.4))


def random_state(model: PointModel, batch: int = 3, seed: int = 0) -> FrameState:
    draw = torch.Generator().manual_seed(seed)
    rest = model.rest(batch)
    return rest._replace(
        rotation=roma.rotvec_to_rotmat(torch.randn(batch, 3, generator=draw)),
        translation_m=torch.tensor([0.0, 0.0, 0.7]) + 0.05 * torch.randn(batch, 3, generator=draw),
        expression=torch.rand(rest.expression.shape, generator=draw),
        gaze_rad=0.3 * torch.randn(batch, 2, 2, generator=draw),
        jaw_rad=0.2 * torch.randn(rest.jaw_rad.shape, generator=draw),
    )


@pytest.mark.parametrize("which", ["head", "jaw_head"])
def test_positions_are_those_of_the_head(which: str, request: pytest.FixtureRequest) -> None:
    model_head: HeadModel = request.getfixturevalue(which)
    model = landmark_model(model_head)
    identity = torch.randn(model_head.identities, generator=torch.Generator().manual_seed(1))
    state = random_state(model)
    expected = model_head.landmark_points(model_head(identity.expand(3, -1), articulation(state)))
    torch.testing.assert_close(model.positions(state, identity), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(model.personal(identity).positions(state), expected, atol=1e-6, rtol=0)


def test_offsets_move_points_and_pivots(head: HeadModel) -> None:
    offsets = 0.003 * torch.randn(head.vertices, 3, generator=torch.Generator().manual_seed(2))
    model = landmark_model(head, offsets)
    state = random_state(model)
    posed = head(torch.zeros(3, head.identities), articulation(state), offsets[None])
    torch.testing.assert_close(
        model.personal(torch.zeros(head.identities)).positions(state), head.landmark_points(posed), atol=1e-6, rtol=0
    )


def test_any_surface_point_can_be_embedded(head: HeadModel) -> None:
    corners = head.data.triangles[::97]
    weights = torch.rand(len(corners), 3, generator=torch.Generator().manual_seed(3))
    weights = weights / weights.sum(1, keepdim=True)
    model = embed(head, corners, weights)
    state = random_state(model)
    posed = head(torch.zeros(3, head.identities), articulation(state))
    expected = (posed[:, corners] * weights[..., None]).sum(2)
    torch.testing.assert_close(model.positions(state, torch.zeros(head.identities)), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("which", ["head", "jaw_head"])
def test_jacobian_is_the_slope_of_the_projection(which: str, request: pytest.FixtureRequest) -> None:
    model = landmark_model(request.getfixturevalue(which).double())
    request.getfixturevalue(which).float()
    state = FrameState(*(part.double() for part in random_state(model)))
    identity = torch.zeros(len(model.identity_m), dtype=torch.float64)
    K = torch.tensor([[900.0, 0, 300], [0, 950.0, 200], [0, 0, 1]], dtype=torch.float64).expand(3, 3, 3)
    jacobian = see(model, state, K, True, identity).jacobian
    assert jacobian is not None and jacobian.shape[-1] == model.unknowns
    for unknown in range(model.unknowns):
        step = torch.zeros(3, model.unknowns, dtype=torch.float64)
        step[:, unknown] = 1e-6
        forward = see(model, state.moved(step), K, False, identity).pixels
        backward = see(model, state.moved(-step), K, False, identity).pixels
        slope = (forward - backward) / 2e-6
        # Eyes and jaw use a third-order series of the rotation's Jacobian.
        tolerance = 1e-4 if unknown < 6 + len(model.expression_m) else 0.02 * float(slope.abs().max())
        torch.testing.assert_close(jacobian[..., unknown], slope, atol=tolerance, rtol=1e-4)


def test_identity_derivatives_are_slopes(head: HeadModel) -> None:
    model = landmark_model(head)
    state = random_state(model)
    derivatives = torch.zeros(len(state.expression), model.points, 3, head.identities)
    for points, basis, lever in model.identity_groups(state):
        derivatives[:, points] = lever @ basis
    for coefficient in range(0, head.identities, 7):
        step = torch.zeros(head.identities)
        step[coefficient] = 1.0
        slope = model.positions(state, step) - model.positions(state, torch.zeros(head.identities))
        torch.testing.assert_close(derivatives[..., coefficient], slope, atol=1e-6, rtol=0)


def test_twins_mirror_each_other(head: HeadModel) -> None:
    names = head.data.expression_names
    pairs = [(names[left], names[right]) for left, right in landmark_model(head).twins]
    assert ("eyeBlinkLeft", "eyeBlinkRight") in pairs and ("mouthSmileLeft", "mouthSmileRight") in pairs
    assert not any(name.startswith(("jawLeft", "mouthLeft", "eyeLook")) for pair in pairs for name in pair)
    assert all(left.replace("Left", "Right") == right for left, right in pairs)
