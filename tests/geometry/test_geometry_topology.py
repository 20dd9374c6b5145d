"""Closed meshes against naive loops over dictionaries."""

from collections import defaultdict

import pytest
import torch

from headstudio.errors import HeadstudioError
from headstudio.geometry import topology
from headstudio.geometry.marching import marching_tetrahedra
from support.closed_meshes import sphere


def noise_surface(seed=0):
    """A random closed surface of many parts and handles."""
    field = torch.full((9, 8, 7), -1.0)
    field[1:-1, 1:-1, 1:-1] = torch.randn(7, 6, 5, generator=torch.Generator().manual_seed(seed))
    return marching_tetrahedra(field)


SHAPES = {"sphere": lambda: sphere(7, 9), "noise": noise_surface}


@pytest.fixture(params=SHAPES)
def shape(request):
    return SHAPES[request.param]()


def naive_edges(triangles):
    """Edge -> (triangle, opposite corner, direction)."""
    found = defaultdict(list)
    for index, triangle in enumerate(triangles.tolist()):
        for corner in range(3):
            start, end = triangle[(corner + 1) % 3], triangle[(corner + 2) % 3]
            found[min(start, end), max(start, end)].append((start > end, index, triangle[corner]))
    return found


def test_edges_sides_and_opposites_equal_those_of_the_loop(shape):
    vertices, triangles = shape
    mesh, naive = topology.connect(triangles, len(vertices)), naive_edges(triangles)
    assert [tuple(ends) for ends in mesh.ends.tolist()] == sorted(naive)
    for ends, sides, opposite in zip(mesh.ends.tolist(), mesh.sides.tolist(), mesh.opposite.tolist(), strict=True):
        (_, ahead, first), (_, back, second) = sorted(naive[tuple(ends)])
        assert (sides, opposite) == ([ahead, back], [first, second])


def test_neighbours_valence_and_membership_equal_those_of_the_loop(shape):
    vertices, triangles = shape
    mesh = topology.connect(triangles, len(vertices))
    around = defaultdict(set)
    for low, high in naive_edges(triangles):
        around[low].add(high)
        around[high].add(low)
    starts, others = mesh.neighbours
    for vertex in range(len(vertices)):
        assert others[starts[vertex] : starts[vertex + 1]].tolist() == sorted(around[vertex])
        assert mesh.valence[vertex] == len(around[vertex])
    a, b = torch.randint(len(vertices), (2, 2000), generator=torch.Generator().manual_seed(1))
    expected = [y in around[x] for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    assert any(expected)
    assert mesh.has_edge(a, b).tolist() == expected


def test_laplacian_and_normals_equal_those_of_the_loop(shape):
    vertices, triangles = shape
    mesh = topology.connect(triangles, len(vertices))
    starts, others = mesh.neighbours
    expected = torch.stack(
        [vertices[others[starts[i] : starts[i + 1]]].mean(0) - vertices[i] for i in range(len(vertices))]
    )
    torch.testing.assert_close(topology.uniform_laplacian(vertices, mesh), expected, atol=1e-5, rtol=1e-5)
    for triangle, normal in zip(triangles.tolist(), topology.face_normals(vertices, triangles), strict=True):
        a, b, c = vertices[triangle]
        torch.testing.assert_close(normal, torch.linalg.cross(b - a, c - a), atol=1e-6, rtol=1e-5)


def test_a_vertex_that_nothing_uses_has_no_laplacian():
    vertices, triangles = sphere(5)
    more = torch.cat([vertices, torch.tensor([[9.0, 9.0, 9.0]])])
    mesh = topology.connect(triangles, len(more))
    assert topology.uniform_laplacian(more, mesh)[-1].tolist() == [0, 0, 0]
    assert topology.euler_characteristic(mesh) == 2


def test_volume_of_a_cube_and_of_a_fine_sphere():
    field = torch.full((12, 12, 12), -1.0)
    field[3:8, 3:8, 3:8] = 1.0
    vertices, triangles = marching_tetrahedra(field)
    # Zeros lie half-way: a cube of side 5 whose edges and corners are cut off by half a step.
    assert 100 < float(topology.volume(vertices, triangles)) < 125
    points, faces = sphere(80)
    assert float(topology.volume(points, faces)) == pytest.approx(4 / 3 * torch.pi, rel=5e-3)


def test_two_spheres_that_touch_in_a_vertex_are_closed_but_not_manifold():
    vertices, triangles = sphere(6)
    pole = len(vertices) - 2
    second = triangles + len(vertices)
    second[second == pole + len(vertices)] = pole
    both, faces = topology.without_unused(torch.cat([vertices, vertices + 2]), torch.cat([triangles, second]))
    assert not topology.is_manifold(topology.connect(faces, len(both)))
    assert topology.is_manifold(topology.connect(triangles, len(vertices)))


def test_the_largest_part_is_the_one_of_the_greatest_volume_and_hollows_go():
    vertices, triangles = sphere(8)
    hollow = triangles.flip(1) + 2 * len(vertices)
    points = torch.cat([0.3 * vertices + 3, vertices, 0.5 * vertices])
    kept, faces = topology.largest_part(points, torch.cat([triangles, triangles + len(vertices), hollow]))
    assert torch.equal(kept, vertices)
    assert float(topology.volume(kept, faces)) == pytest.approx(float(topology.volume(vertices, triangles)), rel=1e-6)


def spoilt(kind):
    _, triangles = sphere(6)
    if kind == "open":
        return triangles[1:]
    if kind == "turned":
        return torch.cat([triangles[:1].flip(1), triangles[1:]])
    if kind == "doubled":
        return torch.cat([triangles, triangles])
    return torch.cat([triangles, torch.tensor([[0, 0, 1]])])


@pytest.mark.parametrize("kind", ["open", "turned", "doubled", "point"])
def test_what_is_not_closed_is_refused(kind):
    with pytest.raises(HeadstudioError, match="not closed"):
        topology.connect(spoilt(kind), 100)


@pytest.mark.parametrize("seed", range(4))
def test_marching_tetrahedra_are_closed_and_manifold_for_any_values(seed):
    vertices, triangles = noise_surface(seed)
    assert topology.is_manifold(topology.connect(triangles, len(vertices)))
    assert float(topology.volume(vertices, triangles)) > 0


def test_zeros_and_steps_are_closed_too():
    field = torch.full((7, 7, 7), -1.0)
    field[2:5, 2:5, 2:5] = torch.randint(-1, 2, (3, 3, 3), generator=torch.Generator().manual_seed(2)).float()
    vertices, triangles = marching_tetrahedra(field)
    assert topology.is_manifold(topology.connect(triangles, len(vertices)))


def test_marching_tetrahedra_find_the_surface_of_a_ball():
    steps = torch.linspace(-1.2, 1.2, 25)
    x, y, z = torch.meshgrid(steps, steps, steps, indexing="ij")
    vertices, triangles = marching_tetrahedra(1 - (x * x + y * y + z * z).sqrt())
    points = vertices * 0.1 - 1.2
    # The distance is linear along rays only, and at most half a step from the zero: 0.05^2 / 2 off at most, twice that
    # along a cube's diagonal.
    assert (points.norm(dim=1) - 1).abs().max() < 0.01
    mesh = topology.connect(triangles, len(points))
    assert (topology.is_manifold(mesh), topology.euler_characteristic(mesh)) == (True, 2)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_field_that_is_not_finite_is_refused(value):
    field = torch.full((4, 4, 4), -1.0)
    field[1, 1, 1] = value
    with pytest.raises(HeadstudioError, match="finite"):
        marching_tetrahedra(field)


def test_a_field_that_is_open_is_refused_and_an_empty_one_has_no_surface():
    with pytest.raises(HeadstudioError, match="border"):
        marching_tetrahedra(torch.ones(4, 4, 4))
    vertices, triangles = marching_tetrahedra(-torch.ones(4, 4, 4))
    assert (len(vertices), len(triangles)) == (0, 0)
