"""The energies of paper 4 by themselves: what they see, what they ignore, and where their gradients go."""

import fnmatch
from dataclasses import replace

import pytest
import torch

from headstudio.geometry.graph import unique_edges
from headstudio.heads import load_head
from headstudio.heads.parsing import vertex_labels
from headstudio.methods.neural_head import NeuralHead, NeuralHeadConfig, energies
from headstudio.methods.neural_head.config import OffsetConfig, Pace, TextureConfig
from headstudio.methods.neural_head.schedule import GAZE, REACHES
from headstudio.methods.neural_head.terms import Terms
from headstudio.motion.articulation import vertices_in_camera
from headstudio.records.capture import Annotation
from headstudio.render.labels import label_image, triangle_labels
from headstudio.render.rasterise import rasterise
from headstudio.tracking.gaps import LIDS
from headstudio.training.batches import BatchStream
from support.closed_meshes import sphere
from support.painted import painted_source

TINY = NeuralHeadConfig(
    size_px=64,
    patch_px=48,
    subdivisions=0,
    offsets=OffsetConfig("everywhere", width=16, layers=2, features=4, mapping_width=16),
    texture=TextureConfig(
        width=16, layers=2, mapping_width=16, dynamic_width=16, features=4, features_px=32, normal_width=4,
        normal_features=4, base_px=64, base_frames=4,
    ),
    geometry_stage=Pace(30, 2, offsets=1e-3, head=0.02),
    texture_stage=Pace(30, 2, texture=1e-3),
    joint_stage=Pace(10, 2, offsets=1e-4, texture=1e-3, head=0.01),
    thorough_head=True,
    low_precision=False,
)  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return painted_source(tmp_path_factory.mktemp("painted") / "capture", load_head("makehuman"))


@pytest.fixture(scope="module")
def model(source):
    torch.manual_seed(0)
    made = NeuralHead(TINY)
    made.setup({"target": (source,)})
    with torch.no_grad():  # away from the zeros that training starts from, so that every path carries a gradient
        for parameter in made.parameters():
            parameter += 0.01 * torch.randn_like(parameter)
        # Grown by some millimetres, so that no border lies where it should.
        made.shape.offsets.output.bias += 0.3
    return made.train()


@pytest.fixture(scope="module")
def batch(source, model):
    """Two frames with labels and normals of the plain head."""
    stage = model.stages()[1]
    stream = BatchStream({"target": (source,)}, stage, 0, 0, torch.device("cpu"))
    plain = stream.batch(stage.players[0], 0)
    stream.close()
    head = load_head("makehuman")
    vertices = vertices_in_camera(head, head.neutral(torch.zeros(1, head.identities)), plain.channels, plain.view)
    fragments = rasterise(vertices, head.data.triangles, plain.view.camera)
    rows = torch.nn.functional.one_hot(vertex_labels(head), 8).float()
    labels = label_image(fragments, triangle_labels(rows, head.data.triangles), 8)
    labels[:, 0] = 1 - fragments.mask[:, 0]
    normals = torch.nn.functional.normalize(
        torch.randn(2, 3, 64, 64) + torch.tensor([0, 0, -2.0])[:, None, None], dim=1
    )
    landmarks = model.shape.head.landmark_points(
        vertices_in_camera(head, head.template_m[None], plain.channels, plain.view)
    )
    wanted = plain.view.camera.project(landmarks)[0]
    return replace(
        plain,
        parsing=labels.argmax(1, keepdim=True).to(torch.uint8),
        normals=normals * fragments.mask,
        landmarks_px=torch.cat([wanted, torch.zeros(2, 478, 1)], -1),
    )


@pytest.mark.parametrize("name", sorted(REACHES))
def test_every_energy_reaches_what_it_declares_and_nothing_else(model, batch, name):
    model.requires_grad_(True).zero_grad(set_to_none=True)
    torch.manual_seed(1)
    value = getattr(Terms(model, batch), name)()
    assert value.ndim == 0 and torch.isfinite(value) and float(value.detach()) > 0
    value.backward()
    reached = {key for key, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    stray = {key for key in reached if not any(fnmatch.fnmatchcase(key, pattern) for pattern in REACHES[name])}
    assert stray == set()
    for pattern in set(REACHES[name]) - set(GAZE):
        assert any(fnmatch.fnmatchcase(key, pattern) for key in reached), pattern


def test_the_stages_hold_every_energy_whose_data_is_there_and_no_other(model):
    def terms(known):
        made = NeuralHead(TINY)
        made.__dict__["_known"] = frozenset(known)
        return {name for stage in made.stages() for player in stage.players for name in player.losses}

    assert terms(Annotation) == set(REACHES)
    assert terms({Annotation.MATTE}) == set(REACHES) - {"normals", "orientation", "semantics", "hair"}
    assert terms({}) == set(REACHES) - {"normals", "orientation", "semantics", "hair", "silhouette"}
    assert any("normals" in note for note in model.notes()) and any("labels" in note for note in model.notes())


def test_the_head_is_found_in_the_labels_by_its_outline(model, batch):
    """One small step against the gradient of the outline's energy lessens it: the rasteriser's borders lead home."""
    model.requires_grad_(True).zero_grad(set_to_none=True)
    before = Terms(model, batch).silhouette()
    before.backward()
    bias = model.shape.offsets.output.bias
    gradient = bias.grad.clone()
    with torch.no_grad():
        bias -= 0.05 * gradient / gradient.norm()
        after = Terms(model, batch).silhouette()
        bias += 0.05 * gradient / gradient.norm()
    assert float(after) < float(before.detach())


def random_points(count=478):
    return 64 * torch.rand(2, count, 2, generator=torch.Generator().manual_seed(0))


def test_landmarks_are_compared_but_not_along_the_lids():
    wanted = random_points()
    weight = torch.ones(2, 478)
    assert float(energies.landmark_energy(wanted, wanted, weight, 64)) == 0
    moved = wanted.clone()
    moved[:, list(energies.LID_MIDDLES)] += 5
    assert float(energies.landmark_energy(moved, wanted, weight, 64)) == 0
    assert float(energies.landmark_energy(wanted + 3.2, wanted, weight, 64)) == pytest.approx(0.2, rel=1e-4)
    missing = torch.where(torch.rand(2, 478, 1) > 0.5, torch.nan, wanted)
    seen = torch.isfinite(missing).all(-1).float()
    assert torch.isfinite(energies.landmark_energy(wanted + 1, missing, seen, 64))


def test_lids_count_by_their_distance_alone():
    wanted, weight = random_points(), torch.ones(2, 478)
    assert float(energies.lid_energy(wanted + 7, wanted, weight, 64)) == pytest.approx(0, abs=1e-5)
    closed = wanted.clone()
    for upper, lower in LIDS:
        closed[:, upper] = closed[:, lower]
    assert float(energies.lid_energy(closed, wanted, weight, 64)) > 0.1
    assert float(energies.lid_energy(closed, wanted, 0 * weight, 64)) == 0


def test_normals_are_compared_by_detail_and_not_by_slope():
    flat = torch.zeros(1, 3, 64, 64)
    flat[:, 2] = -1
    tilted = torch.nn.functional.normalize(flat + torch.tensor([0.3, 0.1, 0.0])[:, None, None], dim=1)
    skin = torch.ones(1, 1, 64, 64)
    assert float(energies.normal_energy(tilted, flat, skin)) < 1e-5
    rough = torch.nn.functional.normalize(flat + 0.3 * torch.randn(1, 3, 64, 64), dim=1)
    assert float(energies.normal_energy(rough, flat, skin)) > 0.05
    assert float(energies.normal_energy(rough, flat, 0 * skin)) == 0
    assert float(energies.normal_energy(rough, 0 * flat, skin)) == 0  # nothing known


def test_orientation_is_compared_where_the_head_and_a_normal_are():
    wanted = torch.zeros(1, 3, 4, 4)
    wanted[:, 2, :2] = -1
    found = torch.zeros(1, 3, 4, 4)
    found[:, 0] = 1
    everywhere = torch.ones(1, 1, 4, 4)
    assert float(energies.orientation_energy(wanted, wanted, everywhere)) == 0
    assert float(energies.orientation_energy(found, wanted, everywhere)) == pytest.approx(2 / 3)
    assert float(energies.orientation_energy(found, wanted, 0 * everywhere)) == 0


def test_hair_of_even_thickness_costs_nothing_round_the_head():
    points, triangles = sphere(8)
    edges = unique_edges(triangles)
    even = 0.5 * points[None]
    assert float(energies.thickness_energy(even, points, edges)) < 1e-10
    sideways = torch.linalg.cross(points, torch.tensor([0.0, 0.0, 1.0]).expand_as(points))[None]
    assert float(energies.thickness_energy(sideways, points, edges)) < 1e-10
    shifted = torch.tensor([0.0, 0.0, 1.0]).expand_as(even)
    assert float(energies.thickness_energy(shifted, points, edges)) > 1e-3
    assert float(energies.thickness_energy(even, points, edges[:0])) == 0


def test_regions_differ_more_the_farther_they_are_apart():
    def disc(x):
        rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
        return ((rows - 32).square() + (columns - x).square() < 64).float()[None, None]

    trust = torch.ones(1, 1, 64, 64)
    values = [float(energies.region_energy(disc(32 + shift), disc(32), trust)) for shift in (0, 2, 6, 12, 20)]
    assert values[0] == 0 and values == sorted(values)
    assert float(energies.region_energy(disc(10), disc(50), 0 * trust)) == 0


def test_a_shift_of_all_offsets_has_no_laplacian_and_regions_weigh_it():
    triangles = torch.tensor([[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]])
    edges = unique_edges(triangles)
    rigidity = torch.tensor([1.0, 1.0, 10.0, 0.0])
    assert float(energies.laplacian_energy(torch.ones(1, 4, 3), edges, rigidity)) < 1e-10
    spike = torch.zeros(3, 4, 3)
    spike[0, 0, 0] = spike[1, 2, 0] = spike[2, 3, 0] = 1
    found = [float(energies.laplacian_energy(one[None], edges, rigidity)) for one in spike]
    # A spike also bends its three neighbours by a third each.
    expected = [(rigidity[i] + (rigidity.sum() - rigidity[i]) / 9) / 4 for i in (0, 2, 3)]
    assert found == pytest.approx([float(value) for value in expected])


def test_edges_may_be_up_to_half_longer_than_their_mean():
    points = torch.tensor([[0.0, 0, 0], [1.0, 0, 0], [2.0, 0, 0], [3.0, 0, 0]])[None]
    edges = torch.tensor([[0, 1], [1, 2], [2, 3]])
    assert float(energies.edge_energy(points, edges)) == 0
    points[0, 3, 0] = 10
    assert float(energies.edge_energy(points, edges)) == pytest.approx((8 / (10 / 3) - 1.5) / 3, rel=1e-4)
    assert float(energies.edge_energy(points, edges[:0])) == 0


def test_only_the_first_of_two_poses_learns_to_agree():
    own, other = torch.zeros(1, 3, 3, requires_grad=True), torch.ones(1, 3, 3, requires_grad=True)
    energies.consistency_energy(own, other).backward()
    assert own.grad is not None and other.grad is None


def test_colours_count_where_the_weight_is():
    image = torch.rand(1, 3, 8, 8)
    weight = torch.zeros(1, 1, 8, 8)
    assert float(energies.colour_energy(image, 1 - image, weight)) == 0
    weight[..., :4] = 1
    other = image.clone()
    other[..., 4:] += 1
    assert float(energies.colour_energy(other, image, weight)) == 0
    assert float(energies.colour_energy(image + 0.25, image, weight)) == pytest.approx(0.25, rel=1e-5)
