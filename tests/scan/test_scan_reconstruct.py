"""A bumpy, painted ball from its pictures: nearer to the truth than the hull, closed, the same for the same seed."""

from dataclasses import replace

import pytest
import torch

from headstudio.errors import HeadstudioError
from headstudio.geometry import topology
from headstudio.nn.neural_shader import NeuralShaderConfig
from headstudio.progress import Silent
from headstudio.scan.config import MeshConfig
from headstudio.scan.deferred_shading import reconstruct
from support.closed_meshes import sphere
from support.ringed import bumpy, distance, ringed

SMALL = MeshConfig(
    hull_cells=14,
    iterations=400,
    remesh_at=(150,),
    vertex_rate=3e-3,
    settle_steps=80,
    shading_pixels=900,
    shader=NeuralShaderConfig(width=48, hidden_layers=1, view_width=32),
)
BRIEF = replace(SMALL, iterations=6, remesh_at=(3,), settle_steps=0)


def given(scene, valid=None):
    valid = torch.ones_like(scene.masks) if valid is None else valid
    return scene.images, scene.masks, valid, scene.K_px, scene.T_camera_world


def cratered():
    """An ellipsoid with four craters, which no silhouette shows: vertices, triangles, and where the craters are."""
    vertices, triangles = sphere(48)
    towards = torch.tensor([[1.0, 0.0, 0.3], [-1.0, 0.2, 0.0], [0.0, 0.1, 1.0], [0.2, 0.0, -1.0]])
    angles = (vertices @ torch.nn.functional.normalize(towards, dim=1).T).clamp(-1, 1).acos()
    depth = 0.16 * torch.exp(-((angles / 0.4) ** 4)).sum(1)
    return 0.1 * vertices * (1 - depth)[:, None] * torch.tensor([0.9, 1.1, 1.0]), triangles, depth > 0.1


@pytest.fixture(scope="module")
def dented():
    """The craters, and their pictures."""
    vertices, triangles, _ = cratered()
    return vertices, triangles, ringed(vertices, triangles, views=14, size_px=64)


@pytest.mark.slow
def test_craters_that_no_silhouette_shows_are_found(dented):
    vertices, triangles, scene = dented
    found = reconstruct(*given(scene), SMALL)
    hull = reconstruct(*given(scene), replace(SMALL, iterations=1, remesh_at=(), settle_steps=0))
    errors_px, before_px = (distance(vertices, m.vertices_m, m.triangles) / scene.pixel_m for m in (found, hull))
    mesh = topology.connect(found.triangles, len(found.vertices_m))
    assert (topology.is_manifold(mesh), topology.euler_characteristic(mesh)) == (True, 2)
    volumes = [float(topology.volume(v, t)) for v, t in ((found.vertices_m, found.triangles), (vertices, triangles))]
    assert volumes[0] == pytest.approx(volumes[1], rel=0.03)
    # Pixels are 4.7 mm wide at the ball. Measured: 0.06 and 0.4 of one, in the craters 0.2 to 0.45 where the hull has
    # 1.2; twice that is allowed for other processors and seeds.
    assert float(errors_px.median()) < 0.15
    assert float(errors_px.quantile(0.95)) < 0.8
    craters = cratered()[2]
    assert float(before_px[craters].median()) > 1.1
    assert float(errors_px[craters].median()) < 0.7
    for name in ("shading", "silhouette"):
        log = found.losses[name]
        assert log.shape == (SMALL.iterations,)
        assert float(log[-30:].mean()) < 0.5 * float(log[:30].mean())


def test_the_same_seed_gives_the_same_mesh_and_leaves_the_callers_random_numbers_alone(dented):
    scene = dented[2]
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = reconstruct(*given(scene), BRIEF)
    assert torch.equal(torch.rand(3), expected)
    second = reconstruct(*given(scene), BRIEF)
    other = reconstruct(*given(scene), replace(BRIEF, seed=1))
    assert torch.equal(first.vertices_m, second.vertices_m)
    assert torch.equal(first.triangles, second.triangles)
    assert all(torch.equal(first.losses[name], second.losses[name]) for name in first.losses)
    assert first.vertices_m.shape != other.vertices_m.shape or not torch.equal(first.vertices_m, other.vertices_m)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_it_runs_where_the_pictures_are(dented):
    vertices, _, scene = dented
    found = reconstruct(*(x.cuda() for x in given(scene)), BRIEF)
    assert (found.vertices_m.device.type, found.triangles.device.type) == ("cuda", "cuda")
    assert float((found.vertices_m.cpu().amax(0) - vertices.amax(0)).abs().max()) < 0.02


def test_the_mesh_comes_back_in_the_worlds_unit_and_place(dented):
    vertices, _, scene = dented
    T, shift = scene.T_camera_world.clone(), torch.tensor([30.0, -20.0, 10.0])
    T[:, :3, 3] = 50 * T[:, :3, 3] - T[:, :3, :3] @ shift
    found = reconstruct(scene.images, scene.masks, torch.ones_like(scene.masks), scene.K_px, T, BRIEF)
    back = (found.vertices_m - shift) / 50
    assert float((back.amax(0) - vertices.amax(0)).abs().max()) < 0.02
    assert float((back.amin(0) - vertices.amin(0)).abs().max()) < 0.02


@pytest.mark.slow
def test_a_neck_that_the_frame_cuts_is_no_wall():
    """The column goes on where the pictures end; above, the surface is found as if they did not."""
    vertices, triangles = bumpy(stretch=2.5)
    scene = ringed(vertices, triangles, views=14, size_px=64, look_at_y=0.12)
    found = reconstruct(*given(scene), SMALL)
    well_seen = vertices[vertices[:, 1] > scene.lowest_m + 0.06]
    errors = distance(well_seen, found.vertices_m, found.triangles)
    assert float(errors.median()) < 0.35 * scene.pixel_m
    assert float(errors.quantile(0.95)) < 1.2 * scene.pixel_m


class Stopping(Silent):
    """Raises as Ctrl-C does, in the middle."""

    def __init__(self, after):
        self.left = after

    def stage(self, name, total=None):
        assert (name, total) == ("Mesh", BRIEF.iterations)
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.closed = True

    def __call__(self, units):
        self.left -= units
        if self.left == 0:
            raise KeyboardInterrupt


def test_ctrl_c_ends_it_and_closes_the_stage(dented):
    listener = Stopping(after=4)
    with pytest.raises(KeyboardInterrupt):
        reconstruct(*given(dented[2]), BRIEF, listener)
    assert listener.closed


def test_a_rate_that_is_far_too_high_ends_in_a_sentence_or_a_closed_mesh(dented):
    wild = replace(BRIEF, vertex_rate=float("inf"))
    with pytest.raises(HeadstudioError, match="diverged"):
        reconstruct(*given(dented[2]), wild)
    rough = reconstruct(*given(dented[2]), replace(BRIEF, vertex_rate=0.1))
    topology.connect(rough.triangles, len(rough.vertices_m))


@pytest.mark.parametrize(
    "change",
    [
        {"iterations": 0},
        {"hull_cells": 2},
        {"hull_views": 1.5},
        {"shading_share": -0.1},
        {"shading_pixels": -1},
        {"settle_steps": -1},
        {"remesh_at": (5, 3)},
        {"remesh_at": (3, 3)},
        {"remesh_at": (0,)},
    ],
    ids=str,
)
def test_options_that_cannot_be_are_refused(dented, change):
    with pytest.raises(HeadstudioError, match=next(iter(change))):
        reconstruct(*given(dented[2]), replace(BRIEF, **change))


def test_without_pixels_to_shade_the_silhouettes_alone_make_a_mesh():
    scene = ringed(*sphere_of_10_cm(), views=8, size_px=48)
    found = reconstruct(*given(scene), replace(BRIEF, shading_pixels=0))
    assert float(found.losses["shading"].abs().max()) == 0
    assert bool(found.vertices_m.isfinite().all())


def sphere_of_10_cm():
    vertices, triangles = sphere(24)
    return 0.1 * vertices, triangles
