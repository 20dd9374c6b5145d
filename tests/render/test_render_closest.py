"""Nearest points and first hits of a mesh against every triangle tried in turn."""

import numpy as np
import pytest
import torch
from torch import Tensor

from headstudio.errors import HeadstudioError
from headstudio.render.closest import SurfaceIndex

CUBE = torch.tensor([[x, y, z] for x in (0.0, 1.0) for y in (0.0, 1.0) for z in (0.0, 1.0)])
SIDES = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
CUBE_TRIANGLES = torch.tensor([t for a, b, c, d in SIDES for t in ([a, b, c], [a, c, d])])


def soup(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Triangles anywhere, slivers among them."""
    draw = torch.Generator().manual_seed(seed)
    vertices = torch.rand(3 * count, 3, generator=draw)
    vertices[: 3 * (count // 4)] *= torch.tensor([1.0, 1e-3, 1.0])
    return vertices, torch.arange(3 * count).reshape(count, 3)


def on_segment(point: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    edge = b - a
    return a + np.clip((point - a) @ edge / max(edge @ edge, 1e-300), 0, 1) * edge


def naive_distance(point: np.ndarray, corners: np.ndarray) -> float:
    """The foot where it lies inside, else the nearest of the three edges."""
    a, b, c = corners
    candidates = [on_segment(point, a, b), on_segment(point, b, c), on_segment(point, c, a)]
    normal = np.cross(b - a, c - a)
    foot = point - normal * ((point - a) @ normal) / (normal @ normal)
    if all(np.cross(q - p, foot - p) @ normal >= 0 for p, q in ((a, b), (b, c), (c, a))):
        candidates.append(foot)
    return min(float(np.linalg.norm(point - candidate)) for candidate in candidates)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("shift", [0.0, 100.0])
def test_no_triangle_is_nearer(seed: int, shift: float) -> None:
    vertices, triangles = soup(60, seed)
    points = 1.5 * torch.rand(80, 3, generator=torch.Generator().manual_seed(seed + 10)) - 0.25
    vertices, points = vertices + shift, points + shift
    found = SurfaceIndex(vertices, triangles).nearest(points)
    distance = (found.positions.double() - points.double()).norm(dim=1).numpy()
    corners = vertices.double().numpy()[triangles.numpy()]
    truth = [min(naive_distance(point, t) for t in corners) for point in points.double().numpy()]
    # 32-bit floats resolve 1.2e-7 of the coordinates' size; slivers lose another digit.
    np.testing.assert_allclose(distance, truth, atol=2e-6 * max(1.0, shift))


def test_places_lie_where_they_say() -> None:
    vertices, triangles = soup(40, 3)
    index = SurfaceIndex(vertices, triangles)
    found = index.nearest(torch.rand(50, 3, generator=torch.Generator().manual_seed(1)))
    assert bool(found.found.all()) and bool((found.barycentric > -1e-5).all())
    torch.testing.assert_close(found.barycentric.sum(1), torch.ones(50))
    corners = vertices[triangles[found.triangle]]
    torch.testing.assert_close((corners * found.barycentric[..., None]).sum(1), found.positions)


@pytest.mark.parametrize("far", [1.0, 10.0, 1e4])
def test_nothing_is_too_far(far: float) -> None:
    found = SurfaceIndex(CUBE, CUBE_TRIANGLES).nearest(torch.tensor([[0.5 + far, 0.25, 0.5]]))
    torch.testing.assert_close(found.positions, torch.tensor([[min(0.5 + far, 1.0), 0.25, 0.5]]), atol=2e-3, rtol=0)


def test_points_of_the_surface_are_their_own_nearest() -> None:
    found = SurfaceIndex(CUBE, CUBE_TRIANGLES).nearest(CUBE)
    torch.testing.assert_close(found.positions, CUBE, atol=1e-6, rtol=0)


def test_rays_meet_the_near_side_and_miss_beside() -> None:
    origins = torch.tensor([[0.3, 0.6, 5.0], [0.3, 0.6, 0.5], [3.0, 3.0, 5.0], [0.3, 0.6, 5.0]])
    directions = torch.tensor([[0.0, 0.0, -2.0], [0.0, 0.0, 1.0], [0.0, 0.0, -1.0], [0.0, 0.0, 1.0]])
    found = SurfaceIndex(CUBE, CUBE_TRIANGLES).first_hit(origins, directions)
    assert found.found.tolist() == [True, True, False, False]
    torch.testing.assert_close(found.positions[:2], torch.tensor([[0.3, 0.6, 1.0]]).expand(2, 3), atol=1e-5, rtol=0)
    assert bool(found.positions[2:].isnan().all())


def test_numbers_of_triangles_survive_those_without_area() -> None:
    flat = torch.tensor([[0, 0, 0], [1, 1, 2]])
    whole = SurfaceIndex(CUBE, torch.cat([flat, CUBE_TRIANGLES]))
    points = torch.rand(20, 3, generator=torch.Generator().manual_seed(4)) * 3 - 1
    found, alone = whole.nearest(points), SurfaceIndex(CUBE, CUBE_TRIANGLES).nearest(points)
    assert torch.equal(found.triangle, alone.triangle + 2)


def test_what_is_no_point_finds_nothing() -> None:
    index = SurfaceIndex(CUBE, CUBE_TRIANGLES)
    found = index.nearest(torch.tensor([[torch.nan, 0, 0], [0.5, 0.5, 2.0]]))
    assert found.found.tolist() == [False, True]
    assert len(index.nearest(torch.zeros(0, 3)).triangle) == 0


@pytest.mark.parametrize(
    ("vertices", "triangles", "said"),
    [
        (CUBE, torch.zeros(0, 3, dtype=torch.long), "no surface"),
        (CUBE, torch.zeros(4, 3, dtype=torch.long), "no surface"),
        (CUBE * torch.nan, CUBE_TRIANGLES, "not a number"),
        (CUBE * torch.inf, CUBE_TRIANGLES, "not a number"),
    ],
)
def test_no_mesh_is_refused(vertices: Tensor, triangles: Tensor, said: str) -> None:
    with pytest.raises(HeadstudioError, match=said):
        SurfaceIndex(vertices, triangles)


@pytest.mark.parametrize("triangles", [torch.tensor([[0, 1, 8]]), torch.tensor([[0, 1, -1]]), torch.tensor([[0, 1]])])
def test_triangles_of_another_mesh_are_refused(triangles: Tensor) -> None:
    with pytest.raises(Exception, match="triangles"):
        SurfaceIndex(CUBE, triangles)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_gpu_finds_the_same() -> None:
    vertices, triangles = soup(200, 5)
    points = torch.rand(500, 3, generator=torch.Generator().manual_seed(6))
    here = SurfaceIndex(vertices, triangles).nearest(points)
    there = SurfaceIndex(vertices.cuda(), triangles.cuda()).nearest(points.cuda())
    torch.testing.assert_close(
        (there.positions.cpu() - points).norm(dim=1), (here.positions - points).norm(dim=1), atol=1e-5, rtol=0
    )
