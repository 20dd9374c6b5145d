"""Remeshing keeps a mesh closed, its topology and its volume, and reaches the wanted edge length."""

import pytest
import torch

from headstudio.errors import HeadstudioError
from headstudio.geometry import edge_operations, topology
from headstudio.geometry.marching import marching_tetrahedra
from headstudio.geometry.remesh import remesh
from support.closed_meshes import sphere

STEP = 2.6 / 20


def surface(name):
    """A closed surface of size about 1 with slivers, as marching tetrahedra leave them."""
    steps = torch.linspace(-1.3, 1.3, 21)
    x, y, z = torch.meshgrid(steps, steps, steps, indexing="ij")
    ball = 1 - (x * x + y * y + z * z).sqrt()
    if name == "torus":
        ball = 0.35 - (((x * x + y * y).sqrt() - 0.8) ** 2 + z * z).sqrt()
    if name == "blob":
        noise = torch.randn(1, 1, 7, 7, 7, generator=torch.Generator().manual_seed(0))
        ball = ball - 0.1 + 0.15 * torch.nn.functional.interpolate(noise, size=21, mode="trilinear")[0, 0]
    vertices, triangles = marching_tetrahedra(ball.where(ball.new_zeros(21, 21, 21) == _border(), -1.0))
    return topology.largest_part(vertices * STEP - 1.3, triangles)


def _border():
    border = torch.ones(21, 21, 21)
    border[1:-1, 1:-1, 1:-1] = 0
    return border


def noisy(vertices, amount, seed=3):
    return vertices + amount * torch.randn(vertices.shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", ["sphere", "torus", "blob"])
@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_topology_volume_and_edge_length(name, factor):
    vertices, triangles = surface(name)
    before = topology.connect(triangles, len(vertices))
    found, faces = remesh(vertices, triangles, factor * STEP)
    mesh = topology.connect(faces, len(found))
    assert topology.is_manifold(mesh)
    assert topology.euler_characteristic(mesh) == topology.euler_characteristic(before) == {"torus": 0}.get(name, 2)
    # A chord of length e cuts off e^2 / 8r of the radius r; the tube of the torus has r = 0.35, at e = 0.11 1.2 % of
    # it, and twice that of its area.
    ratio = topology.volume(found, faces) / topology.volume(vertices, triangles)
    assert float(ratio) == pytest.approx(1, abs=0.03)
    lengths = topology.edge_lengths(found, mesh.ends) / (factor * STEP)
    assert float(lengths.mean()) == pytest.approx(1, abs=0.07)
    # Kept between 4/5 and 4/3 but where a collapse would turn a triangle over, and for the last smoothing.
    assert 0.65 < float(lengths.quantile(0.01)) < float(lengths.quantile(0.99)) < 1.4
    areas = topology.face_normals(found, faces).norm(dim=1) / 2 / (factor * STEP) ** 2
    assert float(areas.min()) > 0.02  # 0.433 for an equilateral one
    assert float((mesh.valence - 6).abs().float().mean()) < 0.6


def test_a_coarser_mesh_and_one_of_slivers():
    vertices, triangles = sphere(40, 12)  # narrow at the poles, long at the equator
    found, faces = remesh(vertices, triangles, 0.25)
    mesh = topology.connect(faces, len(found))
    assert (topology.is_manifold(mesh), topology.euler_characteristic(mesh)) == (True, 2)
    assert len(found) < len(vertices)
    assert float(topology.edge_lengths(found, mesh.ends).min()) > 0.25 * 0.5
    assert float(topology.volume(found, faces)) == pytest.approx(4.18, rel=0.08)


def test_a_rough_surface_stays_closed():
    vertices, triangles = surface("blob")
    rough = noisy(vertices, 0.3 * STEP)
    found, faces = remesh(rough, triangles, STEP / 2)
    mesh = topology.connect(faces, len(found))
    assert topology.is_manifold(mesh)
    assert topology.euler_characteristic(mesh) == 2
    assert bool(found.isfinite().all())


def test_triangles_without_area_go():
    vertices, triangles = surface("sphere")
    flat = vertices.clone()
    for corner in (1, 2):
        flat[triangles[::50, corner]] = flat[triangles[::50, 0]]
    assert float(topology.face_normals(flat, triangles).norm(dim=1).min()) == 0
    found, faces = remesh(flat, triangles, STEP)
    mesh = topology.connect(faces, len(found))
    assert (topology.is_manifold(mesh), topology.euler_characteristic(mesh)) == (True, 2)
    assert float(topology.face_normals(found, faces).norm(dim=1).min()) > 0.01 * STEP**2


def test_remeshing_is_deterministic_and_leaves_its_input_alone():
    vertices, triangles = surface("blob")
    copies = vertices.clone(), triangles.clone()
    first, second = remesh(vertices, triangles, STEP), remesh(vertices, triangles, STEP)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert torch.equal(vertices, copies[0])
    assert torch.equal(triangles, copies[1])


def test_a_split_leaves_the_surface_where_it_is():
    vertices, triangles = (x.double() if x.is_floating_point() else x for x in surface("blob"))
    split = edge_operations.split_edges(vertices, triangles, 0.8 * STEP)
    assert split is not None
    assert len(split[0]) > len(vertices)
    for measure in (topology.volume, lambda v, t: topology.face_normals(v, t).norm(dim=1).sum()):
        assert float(measure(*split)) == pytest.approx(float(measure(vertices, triangles)), rel=1e-9)
    mesh = topology.connect(split[1], len(split[0]))
    assert topology.is_manifold(mesh)


def test_a_flip_brings_valences_nearer_to_six_and_keeps_the_edges_of_others():
    vertices, triangles = surface("torus")
    before = topology.connect(triangles, len(vertices))
    flipped = edge_operations.flip_edges(vertices, triangles)
    assert flipped is not None
    after = topology.connect(flipped[1], len(vertices))
    off = [float((mesh.valence - 6).square().sum()) for mesh in (before, after)]
    assert off[1] < off[0]
    assert len(after.ends) == len(before.ends)


def test_what_would_pinch_the_surface_is_not_collapsed():
    """A tube whose girth is one triangle: collapsing an edge of the girth would join its walls."""
    around = torch.tensor([[1.0, 0.0], [-0.5, 0.866], [-0.5, -0.866]]) * 0.05
    rings = torch.stack([torch.cat([around, torch.full((3, 1), float(z))], 1) for z in range(6)])
    here, following = torch.arange(3), (torch.arange(3) + 1) % 3
    faces = [torch.tensor([[0, 2, 1], [15, 16, 17]])]
    for ring in range(5):
        a, b = 3 * ring + here, 3 * ring + following
        faces += [torch.stack([a, b, a + 3], 1), torch.stack([b, b + 3, a + 3], 1)]
    vertices, triangles = rings.reshape(-1, 3).double(), torch.cat(faces)
    mesh = topology.connect(triangles, 18)
    girth = topology.edge_lengths(vertices, mesh.ends) < 0.2
    allowed = edge_operations._keeps_topology(mesh, torch.arange(len(mesh.ends)))
    inner = girth & (mesh.ends > 2).all(1) & (mesh.ends < 15).all(1)
    assert int(inner.sum()) == 12
    assert not bool(allowed[inner].any())
    found, faces = remesh(vertices, triangles, 0.5)
    closed = topology.connect(faces, len(found))
    assert (topology.is_manifold(closed), topology.euler_characteristic(closed)) == (True, 2)


@pytest.mark.parametrize("length", [0.0, -1.0, float("nan"), float("inf")])
def test_a_length_that_is_none_is_refused(length):
    with pytest.raises(HeadstudioError, match="edge length"):
        remesh(*sphere(6), length)


def test_bad_meshes_are_refused():
    vertices, triangles = sphere(6)
    spoilt = vertices.clone()
    spoilt[3, 1] = float("nan")
    with pytest.raises(HeadstudioError, match="finite"):
        remesh(spoilt, triangles, 0.1)
    with pytest.raises(HeadstudioError, match="not closed"):
        remesh(vertices, triangles[1:], 0.1)
    with pytest.raises(HeadstudioError, match="enclose nothing"):
        remesh(vertices, triangles[:0], 0.1)
    with pytest.raises(HeadstudioError, match="choose longer edges"):
        remesh(vertices, triangles, 1e-5)
