"""Distances and angles in cases whose answer is known without the code."""

import math

import pytest
import roma
import torch

from headstudio.errors import HeadstudioError
from headstudio.evaluation.surface_scores import (
    Similarity,
    SurfaceSample,
    align_sequence,
    camera_normals,
    distances_m,
    normal_angle_deg,
    sequence_distances,
)
from headstudio.geometry.camera import Camera
from headstudio.render.closest import SurfaceIndex
from support.closed_meshes import sphere

RADIUS_M = 0.1


UNIT, TRIANGLES = sphere(64, 128)
POINTS = RADIUS_M * UNIT
"""A sphere of 10 cm whose facets lie at most 0.06 mm inside it."""
EGG = POINTS * torch.tensor([1.0, 1.4, 0.8]) + 0.02 * torch.sin(30 * POINTS[:, [1, 2, 0]])
WHOLE = torch.ones(len(TRIANGLES), dtype=torch.bool)


def _sample(points, count=4000, region=WHOLE):
    return SurfaceSample.spread(points, TRIANGLES, region, count)


def test_samples_lie_evenly_on_the_region():
    upper = (POINTS[TRIANGLES, 1] > 0).all(1)
    places = _sample(POINTS, region=upper).places(POINTS)
    assert (places[:, 1] >= 0).all() and (places.norm(dim=1) - RADIUS_M).abs().max() < 1e-4
    # The area of a sphere is even along any axis (Archimedes).
    assert float(places[:, 1].mean()) == pytest.approx(RADIUS_M / 2, rel=0.05)
    with pytest.raises(HeadstudioError, match="no surface"):
        _sample(POINTS, region=~WHOLE)


def test_a_larger_sphere_is_away_by_its_radius():
    surface = SurfaceIndex(POINTS, TRIANGLES)
    distance = distances_m(_sample(POINTS).places(1.02 * POINTS), surface)
    assert distance.mean() == pytest.approx(0.02 * RADIUS_M, abs=6e-5)


def test_a_similarity_is_found_again():
    truth = Similarity(1.07, roma.rotvec_to_rotmat(torch.tensor([0.1, -0.15, 0.05], dtype=torch.float64)),
                       torch.tensor([0.004, -0.006, 0.01], dtype=torch.float64))  # fmt: skip
    surface = SurfaceIndex(truth(EGG).float(), TRIANGLES)
    found = align_sequence([_sample(EGG).places(EGG)], [surface])
    assert found.scale == pytest.approx(truth.scale, abs=1e-4)
    assert torch.allclose(found(EGG), truth(EGG), atol=2e-5)


@pytest.mark.parametrize("scale", [0.75, 0.85, 1.2, 1.35])
def test_a_head_taken_for_small_and_near_is_no_point_far_away(scale):
    """Points to the nearest planes alone would shrink what begins decimetres off to nothing."""
    place = torch.tensor([0.02, -0.03, 0.58])
    surface = SurfaceIndex((EGG + place).float(), TRIANGLES)
    found = align_sequence([_sample(EGG).places((EGG + place) / scale)], [surface])
    assert found.scale == pytest.approx(scale, rel=1e-3)


def test_surfaces_of_different_units_are_refused():
    surface = SurfaceIndex((EGG + torch.tensor([0, 0, 0.6])).float(), TRIANGLES)
    with pytest.raises(HeadstudioError, match="metres"):
        align_sequence([_sample(EGG).places(1000 * EGG)], [surface])


def test_a_rigid_alignment_leaves_the_scale():
    surface = SurfaceIndex(POINTS, TRIANGLES)
    places = _sample(POINTS).places(1.02 * POINTS + 0.005)
    rigid, free = (align_sequence([places], [surface], rigid=rigid) for rigid in (True, False))
    assert rigid.scale == 1.0 and free.scale == pytest.approx(1 / 1.02, abs=2e-4)
    assert distances_m(rigid(places), surface).mean() == pytest.approx(0.02 * RADIUS_M, abs=6e-5)
    assert distances_m(free(places), surface).mean() < 6e-5


def test_one_similarity_serves_all_frames():
    """A sphere that is shifted to and fro by s cannot be laid over a still one: the mean distance is s / 2."""
    surface, shift_m = SurfaceIndex(POINTS, TRIANGLES), 0.002

    def predicted(frame):
        return POINTS + torch.tensor([shift_m * (-1) ** frame, 0.03, 0.0])

    upper = (POINTS[TRIANGLES, 1] > 0).all(1)
    regions = {"all": _sample(POINTS), "upper": _sample(POINTS, region=upper)}
    found = sequence_distances(predicted, lambda frame: surface, range(4), regions, aligned_by="all")
    # The mean of |cos| over a sphere is one half, its largest value one.
    assert found.regions["all"].mean_mm.tolist() == pytest.approx([1000 * shift_m / 2] * 4, abs=0.08)
    assert found.regions["all"].largest_mm.tolist() == pytest.approx([1000 * shift_m] * 4, abs=0.15)
    assert found.regions["upper"].mean_mm.shape == (4,)
    assert (found.regions["all"].median_mm < found.regions["all"].percentile_95_mm).all()
    raw = sequence_distances(predicted, lambda frame: surface, range(4), regions, aligned_by=None)
    assert raw.similarity.scale == 1.0 and (raw.regions["all"].mean_mm > 10).all()


def test_distances_are_one_sided():
    """Half a sphere lies wholly on the sphere, though the sphere does not lie on its half."""
    upper = (POINTS[TRIANGLES, 1] >= -1e-6).all(1)
    half, whole = SurfaceIndex(POINTS, TRIANGLES[upper]), SurfaceIndex(POINTS, TRIANGLES)
    assert distances_m(_sample(POINTS, region=upper).places(POINTS), whole).max() < 1e-6
    assert distances_m(_sample(POINTS).places(POINTS), half).max() > 0.09


def test_turned_normals_are_away_by_the_angle():
    truth = torch.nn.functional.normalize(torch.randn(2, 3, 20, 20, generator=torch.Generator().manual_seed(0)), dim=1)
    mask = torch.zeros(2, 1, 20, 20, dtype=torch.bool)
    mask[:, :, 5:15] = True
    # About an axis perpendicular to each normal every normal turns by the whole angle.
    axis = torch.nn.functional.normalize(torch.linalg.cross(truth, truth.roll(1, 1), dim=1), dim=1)
    angle = math.radians(10)
    turned = truth * math.cos(angle) + torch.linalg.cross(axis, truth, dim=1) * math.sin(angle)
    assert normal_angle_deg(3 * turned, truth, mask).tolist() == pytest.approx([10, 10], abs=1e-4)
    assert normal_angle_deg(truth, truth, mask).tolist() == pytest.approx([0, 0], abs=1e-4)
    assert normal_angle_deg(-truth, truth, mask).tolist() == pytest.approx([180, 180], abs=1e-3)


def test_only_pixels_where_both_have_a_surface_count():
    truth = torch.zeros(1, 3, 2, 2)
    truth[:, 2] = -1.0
    predicted = truth.clone()
    predicted[0, :, 0, 1] = 0.0
    predicted[0, :, 1, 0] = torch.tensor([1.0, 0.0, 0.0])
    mask = torch.tensor([[True, True], [True, False]])[None, None]
    # Of three masked pixels one has no prediction, one agrees, one is off by a right angle.
    assert normal_angle_deg(predicted, truth, mask).tolist() == pytest.approx([45])
    assert normal_angle_deg(predicted, truth, mask & False).isnan().all()


def test_rendered_normals_are_those_of_the_sphere():
    camera = Camera.from_focal(200.0, 96, 96)
    camera = Camera(camera.K_px[None], 96, 96)
    centre = torch.tensor([0.0, 0.0, 0.4])
    found = camera_normals((POINTS + centre)[None], TRIANGLES, camera)
    x, y = torch.meshgrid(torch.arange(96) + 0.5, torch.arange(96) + 0.5, indexing="xy")
    ray = torch.nn.functional.normalize(torch.stack([(x - 48) / 200, (y - 48) / 200, torch.ones_like(x)]), dim=0)
    along = (ray * centre[:, None, None]).sum(0)
    depth = along - (along**2 - (0.4**2 - RADIUS_M**2)).clamp_min(0).sqrt()
    truth = torch.where(along**2 > 0.4**2 - RADIUS_M**2, (ray * depth - centre[:, None, None]) / RADIUS_M, 0.0)[None]
    inner = (truth.norm(dim=1, keepdim=True) > 0) & (truth[:, 2:] < -0.3)
    assert inner.sum() > 1000 and normal_angle_deg(found, truth, inner).item() < 0.3
    assert found[0, :, 48, 48].tolist() == pytest.approx([0, 0, -1], abs=0.03)
