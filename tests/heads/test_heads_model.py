"""What every head promises."""

import pytest
import roma
import torch

from headstudio.errors import HeadstudioError
from headstudio.heads import head_names, load_head
from headstudio.heads.arkit import ARKIT_INDEX, ARKIT_NAMES, gaze_columns
from headstudio.heads.base import JOINTS, REGIONS, Articulation


def _random_state(head, batch=2, seed=0):
    random = torch.Generator().manual_seed(seed)
    expression = torch.rand(batch, head.expressions, generator=random)
    neck, jaw = (0.2 * torch.randn(batch, 3, generator=random) for _ in range(2))
    return Articulation(expression, neck, jaw, 0.2 * torch.randn(batch, 2, 3, generator=random))


def _random_identity(head, batch=2, seed=1):
    return torch.randn(batch, head.identities, generator=torch.Generator().manual_seed(seed))


def test_neutral_and_expression_are_linear(head):
    first, second = _random_identity(head, 1, 1), _random_identity(head, 1, 2)
    offset = head.neutral(first) + head.neutral(second) - head.neutral(first + second)
    torch.testing.assert_close(offset[0], head.template_m, atol=1e-6, rtol=0)
    rest = head.rest()
    half, full = (head(first, rest._replace(expression=torch.full_like(rest.expression, v))) for v in (0.5, 1.0))
    torch.testing.assert_close(2 * (half - head.neutral(first)), full - head.neutral(first), atol=1e-6, rtol=0)


def test_pose_equals_skinning_vertex_by_vertex(head):
    state, neutral = _random_state(head), head.neutral(_random_identity(head))
    posed = head.pose(neutral, state)
    pivots = torch.einsum("jv,bvr->bjr", head.joint_weights, neutral)
    turns = {
        0: roma.rotvec_to_rotmat(-state.neck_rad),
        1: torch.eye(3).expand(2, 3, 3),
        2: roma.rotvec_to_rotmat(state.jaw_rad),
        3: roma.rotvec_to_rotmat(state.gaze_rad[:, 0]),
        4: roma.rotvec_to_rotmat(state.gaze_rad[:, 1]),
    }
    for vertex in range(0, head.vertices, max(1, head.vertices // 40)):
        point = neutral[:, vertex] + state.expression @ head.expression_basis_m[:, vertex]
        expected = torch.zeros(2, 3)
        for joint in range(len(JOINTS)):
            moved = (turns[joint] @ (point - pivots[:, joint])[..., None])[..., 0] + pivots[:, joint]
            expected += head.skin_weights[vertex, joint] * moved
        torch.testing.assert_close(posed[:, vertex], expected, atol=1e-5, rtol=0)


def test_gradients_agree_with_finite_differences(head):
    head = head.double()
    state = Articulation(*(value.double() for value in _random_state(head, 1)))
    inputs = (_random_identity(head, 1).double(), *state)
    probe = torch.randn(head.vertices, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(4))

    def total(identity, *values):
        return (head(identity, Articulation(*values))[0] * probe).sum()

    variables = [value.clone().requires_grad_() for value in inputs]
    gradients = torch.autograd.grad(total(*variables), variables)
    for index, gradient in enumerate(gradients):
        direction = torch.randn(gradient.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(index))
        ends = []
        for step in (1e-5, -1e-5):
            moved = list(inputs)
            moved[index] = moved[index] + step * direction
            ends.append(total(*moved))
        slope = (ends[0] - ends[1]) / 2e-5
        torch.testing.assert_close((gradient * direction).sum(), slope, rtol=1e-5, atol=1e-7)
    head.float()


def test_neck_rotation_moves_shoulders_and_leaves_the_face_still(head):
    rest = head.rest()
    turned = rest._replace(neck_rad=torch.tensor([[0.1, 0.4, 0.0]]))
    moved = (head.pose(head.template_m[None], turned)[0] - head.template_m).norm(dim=1)
    held = head.skin_weights[:, JOINTS.index("neck")] == 0
    assert moved[held].max() < 1e-7
    assert moved[head.region("neck")].max() > 0.005
    assert held[head.region("face")].float().mean() > 0.9


def test_weights_of_joints_and_skin_sum_to_one(head):
    torch.testing.assert_close(head.joint_weights.sum(1), torch.ones(len(JOINTS)), atol=1e-5, rtol=0)
    torch.testing.assert_close(head.skin_weights.sum(1), torch.ones(head.vertices), atol=1e-5, rtol=0)
    assert head.skin_weights.min() >= 0


def test_eyes_lie_left_and_right_of_the_origin(head):
    neck, skull, jaw, left, right = head.joints(head.template_m[None])[0]
    assert 0.05 < left[0] - right[0] < 0.07
    assert (left + right).abs().max() < 1e-4  # the origin lies between the eyeballs
    assert neck[1] <= jaw[1] < 0 and skull[1] < 0


def test_gaze_turns_eyeballs_about_their_joints_and_nothing_else(head):
    rest = head.rest()
    looking = rest._replace(gaze_rad=torch.tensor([[[0.0, 0.3, 0.0], [0.0, 0.3, 0.0]]]))
    posed = head.pose(head.template_m[None], looking)
    moved = (posed[0] - head.template_m).norm(dim=1)
    balls = head.region("eyeballs")
    assert moved[~balls].max() < 1e-7
    assert moved[balls].max() > 0.002
    torch.testing.assert_close(head.joints(posed), head.joints(head.template_m[None]), atol=2e-4, rtol=0)
    front = head.template_m[:, 2] > head.template_m[balls, 2].max() - 0.002
    assert (posed[0] - head.template_m)[balls & front, 0].mean() > 0.001  # about +y: to the person's left, +x


def test_regions_are_all_there(head):
    assert set(head.data.regions) == set(REGIONS)
    for name in ("face", "eyeballs", "neck"):
        assert 0 < head.region(name).sum() < head.vertices
    assert not (head.region("face") & head.region("eyeballs", "neck")).any()


def test_atlas_lies_in_the_unit_square(head):
    assert head.uv.min() >= 0 and head.uv.max() <= 1
    assert head.uv_triangles.max() < len(head.uv) and head.triangles.max() < head.vertices


@pytest.mark.parametrize("seed", range(3))
def test_arkit_survives_the_way_through_the_head(head, seed):
    random = torch.Generator().manual_seed(seed)
    arkit = torch.rand(8, 52, generator=random)
    for one, other in (("Up", "Down"), ("In", "Out")):  # an eye cannot look both ways
        first = torch.rand(8, 2, generator=random) < 0.5
        arkit[:, gaze_columns(one)] *= first
        arkit[:, gaze_columns(other)] *= ~first
    back = head.to_arkit(head.from_arkit(arkit))
    known = torch.ones(52, dtype=torch.bool)
    if head.name == "ict":
        known[ARKIT_INDEX["tongueOut"]] = False
    if head.name == "flame":  # without landmarks only what is a rotation is known
        known[:] = False
        known[[ARKIT_INDEX["jawOpen"], *(c for d in ("Up", "Down", "In", "Out") for c in gaze_columns(d))]] = True
    torch.testing.assert_close(back[:, known], arkit[:, known], atol=1e-5, rtol=0)


def test_arkit_weights_stay_in_range(head):
    state = head.rest(2)
    wild = Articulation(state.expression + 5, state.neck_rad, state.jaw_rad + 9, state.gaze_rad - 9)
    weights = head.to_arkit(wild)
    assert weights.min() >= 0 and weights.max() <= 1
    low, high = head.data.expression_range
    expression = head.from_arkit(torch.full((1, 52), 50.0)).expression
    assert expression.min() >= low and expression.max() <= high


def test_eye_look_turns_the_eye_the_way_it_is_called(head):
    def gaze_of(name):
        arkit = torch.zeros(1, 52)
        arkit[0, ARKIT_INDEX[name]] = 1
        turns = roma.rotvec_to_rotmat(head.from_arkit(arkit).gaze_rad)[0]
        return (turns @ torch.tensor([0.0, 0.0, 1.0]))[0 if name.endswith("Left") else 1]

    for side, outward in (("Left", 1.0), ("Right", -1.0)):
        assert gaze_of(f"eyeLookUp{side}")[1] > 0.1 > -0.1 > gaze_of(f"eyeLookDown{side}")[1]
        assert outward * gaze_of(f"eyeLookOut{side}")[0] > 0.1 > -0.1 > outward * gaze_of(f"eyeLookIn{side}")[0]


def test_the_names_are_apples():
    assert len(ARKIT_NAMES) == len(set(ARKIT_NAMES)) == 52
    assert ARKIT_NAMES[:2] == ("eyeBlinkLeft", "eyeLookDownLeft") and ARKIT_NAMES[7] == "eyeBlinkRight"
    assert ARKIT_NAMES[14:18] == ("jawForward", "jawRight", "jawLeft", "jawOpen") and ARKIT_NAMES[-1] == "tongueOut"


def test_unknown_head_names_the_known_ones():
    with pytest.raises(HeadstudioError, match="flame, ict, makehuman"):
        load_head("nobody")
    assert {"makehuman", "ict", "flame"} <= set(head_names())


def test_the_default_head_ends_in_an_even_rim():
    head = load_head("makehuman")
    edges = head.triangles.long()[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2).sort(1).values
    edges, uses = torch.unique(edges, dim=0, return_counts=True)
    rim = edges[(uses == 1) & head.region("neck")[edges].all(1)]
    assert len(rim) > 30 and len(rim.unique()) == len(rim)  # one closed line
    along = head.template_m[rim[:, 1]] - head.template_m[rim[:, 0]]
    # The cut along whole quads has steps steeper than 1.
    assert (along[:, 1].abs() < 0.7 * along[:, [0, 2]].norm(dim=1)).all()
