"""The finer head says what the coarse one says."""

import pytest
import torch

from headstudio.geometry.graph import unique_edges
from headstudio.heads import load_head
from headstudio.heads.refined import NECK_BELOW_FACE_M, WHOLE, refined_head, refined_values
from support.small_head import small_head


@pytest.fixture(scope="module")
def coarse():
    return load_head("makehuman")


@pytest.fixture(scope="module")
def fine(coarse):
    return refined_head(coarse)


def state(head, seed=0):
    make = torch.Generator().manual_seed(seed)
    return head.from_arkit(torch.rand(2, 52, generator=make))._replace(
        neck_rad=0.2 * torch.randn(2, 3, generator=make), jaw_rad=0.1 * torch.randn(2, 3, generator=make)
    )


def test_vertices_keep_their_numbers_and_places(coarse, fine):
    make = torch.Generator().manual_seed(1)
    identity = torch.randn(2, coarse.identities, generator=make)
    before, after = coarse.neutral(identity), fine.neutral(identity)[:, : coarse.vertices]
    hem = (fine.template_m[: coarse.vertices] != coarse.template_m).any(1)
    assert coarse.data.regions["neck"][hem].all() and int(hem.sum()) < 100
    assert torch.allclose(after[:, ~hem], before[:, ~hem], atol=1e-6)
    assert (after - before)[:, hem].abs()[..., [0, 2]].max() < 1e-6 and (after - before).abs().max() < 0.02
    # The hem's little move takes the neck's joint along by about a millimetre, and no other.
    moved_m = (fine.joints(fine.neutral(identity)) - coarse.joints(before)).norm(dim=-1)
    assert moved_m[:, 1:].max() < 1e-4 and moved_m.max() < 2e-3
    before, after = coarse(identity, state(coarse)), fine(identity, state(fine))[:, : coarse.vertices]
    assert torch.allclose(after[:, ~hem], before[:, ~hem], atol=5e-4)


def test_landmarks_stay_on_the_neutral_face(coarse, fine):
    identity = torch.zeros(1, coarse.identities)
    before = coarse.landmark_points(coarse.neutral(identity))
    after = fine.landmark_points(fine.neutral(identity))
    known = fine.landmark_weight > 0
    assert int(known.sum()) > 470 and torch.allclose(after[:, known], before[:, known], atol=1e-6)


def test_weights_and_regions_are_carried(coarse, fine):
    assert torch.allclose(fine.skin_weights.sum(1), torch.ones(fine.vertices), atol=1e-5)
    assert torch.allclose(fine.joint_weights.sum(1), torch.ones(5), atol=1e-4)
    for name, mask in coarse.data.regions.items():
        assert torch.equal(fine.data.regions[name][: coarse.vertices], mask), name


def test_eyeballs_teeth_and_tongue_stay_whole_and_the_skin_becomes_four(coarse, fine):
    def count(head, names):
        return int(head.region(*names)[head.triangles].all(1).sum())

    assert count(fine, WHOLE) == count(coarse, WHOLE)
    assert count(fine, ("nose",)) >= 4 * count(coarse, ("nose",))


def test_lower_neck_and_lashes_are_gone_and_nothing_else_tore(coarse, fine):
    used = fine.triangles.unique()
    cut_m = coarse.template_m[coarse.data.regions["face"], 1].min() - NECK_BELOW_FACE_M
    assert fine.template_m[used, 1].min() == pytest.approx(float(cut_m), abs=1e-6)
    assert not fine.data.regions["eyelashes"][fine.triangles].any()

    def inner(triangles):
        edges = unique_edges(triangles)
        corners = torch.stack([triangles, triangles.roll(-1, 1)], -1).reshape(-1, 2).sort(1).values
        _, times = torch.unique(corners, dim=0, return_counts=True)
        return len(edges), int((times == 2).sum()), int(times.max())

    without = refined_head(coarse, 0)
    edges, inside, most = inner(without.triangles)
    border = edges - inside
    whole = without.region(*WHOLE)[without.triangles].all(1)
    rigid_edges, rigid_inside, _ = inner(without.triangles[whole])
    after = inner(fine.triangles)
    # An open border doubles, an inner edge becomes two and a triangle gives three more: none opens.
    skin_border = border - (rigid_edges - rigid_inside)
    assert after[0] - after[1] == 2 * skin_border + rigid_edges - rigid_inside
    assert after[2] == most == 2


def test_offsets_are_carried_like_the_mesh(coarse, fine):
    offsets = 0.01 * torch.randn(coarse.vertices, 3, generator=torch.Generator().manual_seed(2))
    carried = refined_values(coarse, offsets, 1)
    assert torch.equal(carried[: coarse.vertices], offsets)
    identity = torch.zeros(1, coarse.identities)
    before = coarse.landmark_points(coarse.neutral(identity, offsets[None]))
    known = fine.landmark_weight > 0
    after = fine.landmark_points(fine.neutral(identity, carried[None]))
    assert torch.allclose(after[:, known], before[:, known], atol=1e-6)


def test_twice_is_sixteen_times():
    head = small_head()
    once, twice = refined_head(head, 1), refined_head(head, 2)
    eyes = int(head.data.regions["eyeballs"][head.triangles].all(1).sum())
    skin = len(refined_head(head, 0).triangles) - eyes
    assert len(once.triangles) == 4 * skin + eyes and len(twice.triangles) == 16 * skin + eyes
