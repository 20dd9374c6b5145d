"""Subdivision by algebra: what must hold whatever the mesh."""

import pytest
import torch

from headstudio.errors import HeadstudioError
from headstudio.geometry.graph import blurred, graph_laplacian, neighbour_mean, unique_edges
from headstudio.geometry.subdivision import subdivide
from headstudio.geometry.topology import connect, euler_characteristic, is_manifold, volume
from support.closed_meshes import sphere
from support.small_head import small_head


def open_disc():
    """A fan of six triangles about point 0."""
    return torch.tensor([[0, 1 + i, 1 + (i + 1) % 6] for i in range(6)])


@pytest.mark.parametrize("steps", [1, 2])
def test_a_closed_mesh_stays_closed_oriented_and_of_its_kind(steps):
    points, triangles = sphere(6, 8)
    before = len(triangles)
    for _ in range(steps):
        mesh = connect(triangles, len(points))
        cut = subdivide(triangles, len(points))
        assert len(cut.parents) == len(points) + len(mesh.ends)
        points, triangles = cut.carry(points), cut.triangles
    after = connect(triangles, len(points))
    assert len(triangles) == before * 4**steps
    assert euler_characteristic(after) == 2 and is_manifold(after)


def test_flat_triangles_keep_volume_and_area():
    points, triangles = sphere(7)
    cut = subdivide(triangles, len(points))
    assert torch.allclose(volume(cut.carry(points), cut.triangles), volume(points, triangles), atol=1e-5)


def test_rows_of_the_matrix_are_a_partition_of_unity_and_do_what_carry_does():
    points, triangles = sphere(6)
    cut = subdivide(triangles, len(points))
    matrix = cut.matrix().to_dense()
    assert torch.allclose(matrix.sum(1), torch.ones(len(matrix)))
    assert torch.allclose(matrix @ points, cut.carry(points), atol=1e-6)
    assert torch.equal(matrix[: len(points)], torch.eye(len(points)))


def test_an_open_border_stays_open_and_doubles_its_edges():
    triangles = open_disc()
    cut = subdivide(triangles, 7)
    edges = unique_edges(cut.triangles)
    border = lambda faces: sum(  # noqa: E731
        1 for e in unique_edges(faces).tolist() if sum(set(e) <= set(f) for f in faces.tolist()) == 1
    )
    assert border(triangles) == 6 and border(cut.triangles) == 12
    assert len(cut.parents) - len(edges) + len(cut.triangles) == 1


def test_parts_left_whole_stay_as_they_are():
    points, triangles = sphere(5)
    both = torch.cat([triangles, triangles + len(points)])
    divided = torch.arange(len(both)) < len(triangles)
    cut = subdivide(both, 2 * len(points), divided)
    assert len(cut.triangles) == 5 * len(triangles)
    assert torch.equal(cut.triangles[-len(triangles) :], both[len(triangles) :])
    assert torch.equal(cut.origin[-len(triangles) :], torch.arange(len(triangles), len(both)))


def test_a_cut_through_a_connected_part_is_refused():
    points, triangles = sphere(5)
    with pytest.raises(HeadstudioError, match="tear"):
        subdivide(triangles, len(points), torch.arange(len(triangles)) < 4)


def test_seams_of_the_atlas_are_kept():
    data = small_head().data
    mesh, atlas = subdivide(data.triangles, len(data.template_m)), subdivide(data.uv_triangles, len(data.uv))
    uv = atlas.carry(data.uv)
    assert mesh.triangles.shape == atlas.triangles.shape
    # Carried over a triangle's corners, place and texture place are one affine map of each other as before.
    old = torch.cat([data.template_m[data.triangles], data.uv[data.uv_triangles]], -1).mean(1)
    new = torch.cat([mesh.carry(data.template_m)[mesh.triangles], uv[atlas.triangles]], -1).mean(1)
    assert torch.allclose(new.reshape(-1, 4, 5).mean(1), old, atol=1e-6)
    # The seam lies where it lay: a point of it has two places in the atlas, and no triangle spans the atlas.
    assert (uv[atlas.triangles].amax(1) - uv[atlas.triangles].amin(1)).max() < 0.1
    pairs = torch.unique(torch.stack([mesh.triangles, atlas.triangles], -1).reshape(-1, 2), dim=0)
    assert torch.bincount(pairs[:, 0]).max() == 2


def test_places_on_the_old_mesh_are_found_on_the_new_one():
    points, triangles = sphere(6)
    make = torch.Generator().manual_seed(0)
    face = torch.randint(len(triangles), (500,), generator=make)
    share = torch.rand(500, 3, generator=make) ** 2
    share = share / share.sum(1, keepdim=True)
    divided = torch.ones(len(triangles), dtype=torch.bool)
    cut = subdivide(triangles, len(points), divided)
    child, inside = cut.locate(face, share)
    assert inside.min() > -1e-5 and torch.allclose(inside.sum(1), torch.ones(500), atol=1e-5)
    assert torch.equal(cut.origin[child], face)
    before = (points[triangles[face]] * share[..., None]).sum(1)
    after = (cut.carry(points)[cut.triangles[child]] * inside[..., None]).sum(1)
    assert torch.allclose(after, before, atol=1e-6)


def test_nothing_subdivides_to_nothing():
    cut = subdivide(torch.zeros(0, 3, dtype=torch.long), 4)
    assert len(cut.triangles) == 0 and torch.equal(cut.carry(torch.eye(4)), torch.eye(4))


def test_the_laplacian_of_a_linear_function_is_zero_inside_a_symmetric_fan():
    triangles = open_disc()
    angle = torch.arange(6) * torch.pi / 3
    points = torch.cat([torch.zeros(1, 2), torch.stack([angle.cos(), angle.sin()], 1)])
    edges = unique_edges(triangles)
    assert len(edges) == 12
    flat = graph_laplacian(points[None], edges)[0]
    assert torch.allclose(flat[0], torch.zeros(2), atol=1e-6) and flat[1:].norm(dim=1).min() > 0.1
    assert torch.allclose(neighbour_mean(points[None], edges)[0, 1], (points[0] + points[2] + points[6]) / 3)


def test_a_point_without_neighbours_keeps_its_value():
    values = torch.arange(4.0)[None, :, None]
    found = neighbour_mean(values, torch.tensor([[0, 1]]))
    assert found.flatten().tolist() == [1.0, 0.0, 2.0, 3.0]
    assert torch.equal(blurred(torch.ones(4), torch.tensor([[0, 1]]), 3), torch.ones(4))
