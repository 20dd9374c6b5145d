import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from render_twins import DEVICES, REFUSED, interpolate_twin, leaf, rasterise_twin, sphere, twin_leaf

from headstudio.errors import HeadstudioError
from headstudio.geometry.camera import Camera
from headstudio.render.rasterise import interpolate, rasterise

CAMERA = Camera.from_focal(60.0, 44, 32)


def soup(seed: int, count: int = 12):
    """Random triangles before the camera, some of them partly out of the picture."""
    generator = torch.Generator().manual_seed(seed)
    vertices = torch.rand(3 * count, 3, generator=generator) * torch.tensor([0.8, 0.6, 0.6])
    return vertices + torch.tensor([-0.4, -0.3, 0.5]), torch.arange(3 * count).reshape(count, 3)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("seed", range(4))
def test_nearest_triangle_equals_that_of_every_ray_against_every_triangle(device, seed):
    vertices, triangles = soup(seed)
    found = rasterise(vertices[None].to(device), triangles.to(device), CAMERA.to(device)).triangle[0].cpu()
    expected = rasterise_twin(vertices, triangles, CAMERA)
    assert (expected >= 0).float().mean() > 0.3
    # A pixel centre on an edge may fall to either side in 32 bits.
    assert (found != expected).sum() <= 1


@pytest.mark.parametrize("device", DEVICES)
def test_values_and_gradients_equal_those_of_the_twin(device):
    vertices, triangles = soup(1)
    generator = torch.Generator().manual_seed(2)
    attributes = torch.randn(20, 5, generator=generator)
    attribute_triangles = torch.randint(0, 20, (len(triangles), 3), generator=generator)
    weights, depth_weights = torch.randn(5, 32, 44, generator=generator), torch.randn(32, 44, generator=generator)

    points, values = leaf(vertices[None], device), leaf(attributes[None], device)
    fragments = rasterise(points, triangles.to(device), CAMERA.to(device))
    image = interpolate(fragments, values, attribute_triangles.to(device))
    loss = (image[0] * weights.to(device)).sum() + (fragments.depth_m[0] * depth_weights.to(device)).sum()
    loss.backward()

    twin_points, twin_values = twin_leaf(vertices), twin_leaf(attributes)
    best = fragments.triangle[0].cpu()
    expected, depth = interpolate_twin(twin_points, triangles, CAMERA, best, twin_values, attribute_triangles)
    ((expected * weights).sum() + (depth * depth_weights).sum()).backward()
    torch.testing.assert_close(image[0].detach().cpu().double(), expected.detach(), atol=2e-4, rtol=1e-4)
    torch.testing.assert_close(fragments.depth_m[0].detach().cpu().double(), depth.detach(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(values.grad[0].cpu().double(), twin_values.grad, atol=1e-3, rtol=1e-3)
    largest = float(twin_points.grad.abs().max())
    torch.testing.assert_close(points.grad[0].cpu().double(), twin_points.grad, atol=1e-3 * largest, rtol=1e-3)


def test_gradient_of_an_inner_pixel_equals_the_finite_difference():
    vertices, triangles = (
        torch.tensor([[[-0.3, -0.2, 0.9], [0.3, -0.2, 0.6], [0.0, 0.3, 0.7]]]),
        torch.tensor([[0, 1, 2]]),
    )
    attributes = torch.tensor([[[1.0], [-2.0], [0.5]]])

    def value(points):
        return interpolate(rasterise(points, triangles, CAMERA), attributes, triangles)[0, 0, 15, 22]

    points = vertices.clone().requires_grad_()
    value(points).backward()
    step = 1e-3
    for corner in range(3):
        for axis in range(3):
            shift = torch.zeros_like(vertices)
            shift[0, corner, axis] = step
            difference = (value(vertices + shift) - value(vertices - shift)) / (2 * step)
            torch.testing.assert_close(points.grad[0, corner, axis], difference, atol=2e-3, rtol=2e-2)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_interpolated_positions_project_to_their_pixel_centres(seed):
    vertices, triangles = soup(seed, 6)
    fragments = rasterise(vertices[None], triangles, CAMERA)
    points = interpolate(fragments, vertices[None], triangles)[0]
    seen = fragments.triangle[0] >= 0
    torch.testing.assert_close(fragments.barycentric[0].sum(-1), seen.float(), atol=1e-5, rtol=0)
    torch.testing.assert_close(points[2], fragments.depth_m[0], atol=1e-5, rtol=1e-5)
    pixels, _ = CAMERA.project(points.flatten(1).T)
    rows, columns = torch.nonzero(seen, as_tuple=True)
    centres = torch.stack([columns, rows], -1) + 0.5
    # Slivers seen almost edge-on lose digits; a centre still lies within a hundredth of a pixel.
    torch.testing.assert_close(pixels[seen.flatten()], centres, atol=1e-2, rtol=0)


def test_the_nearer_of_two_overlapping_triangles_is_seen_whatever_their_order():
    flat = torch.tensor([[-0.5, -0.5, 0.0], [0.5, -0.5, 0.0], [0.0, 0.5, 0.0]])
    vertices = torch.cat([flat + torch.tensor([0, 0, 1.0]), flat + torch.tensor([0, 0, 0.8])])[None]
    triangles = torch.tensor([[0, 1, 2], [3, 4, 5]])
    centre = (0, 16, 22)
    assert rasterise(vertices, triangles, CAMERA).triangle[centre] == 1
    assert rasterise(vertices, triangles.flip(0), CAMERA).triangle[centre] == 0
    torch.testing.assert_close(rasterise(vertices, triangles, CAMERA).depth_m[centre], torch.tensor(0.8))


def test_no_pixel_is_lost_between_neighbouring_triangles():
    generator = torch.Generator().manual_seed(0)
    grid = torch.stack(torch.meshgrid(torch.arange(30.0), torch.arange(30.0), indexing="xy"), -1)
    grid[1:-1, 1:-1] += torch.rand(28, 28, 2, generator=generator) * 0.6 - 0.3
    vertices = torch.cat([(grid / 29 - 0.5) * 1.2, torch.ones(30, 30, 1)], -1).reshape(1, -1, 3)
    corner = (torch.arange(29)[:, None] * 30 + torch.arange(29)).reshape(-1)
    triangles = torch.cat(
        [torch.stack([corner, corner + 1, corner + 30], -1), torch.stack([corner + 1, corner + 31, corner + 30], -1)]
    )
    camera = Camera.from_focal(128.0, 128, 128)
    assert (rasterise(vertices, triangles, camera).triangle >= 0).all()


def test_batch_entries_do_not_touch_each_other_and_may_have_their_own_camera():
    ball, triangles = sphere(12)
    vertices = torch.stack([ball * 0.1 + torch.tensor([x, 0.0, 0.5]) for x in (-0.05, 0.0, 0.08)])
    camera = Camera(CAMERA.K_px * torch.tensor([[1.0], [1.2], [1.0]]) * torch.ones(3, 1, 1), 44, 32)
    weights = torch.randn(3, 3, 32, 44, generator=torch.Generator().manual_seed(0))

    def run(points, chosen, weight):
        points = points.clone().requires_grad_()
        image = interpolate(rasterise(points, triangles, chosen), points, triangles)
        (image * weight).sum().backward()
        return image.detach(), points.grad

    image, gradient = run(vertices, camera, weights)
    for entry in range(3):
        one = slice(entry, entry + 1)
        single, single_gradient = run(vertices[one], camera[one], weights[one])
        torch.testing.assert_close(image[one], single, atol=0, rtol=0)
        torch.testing.assert_close(gradient[one], single_gradient, atol=1e-4, rtol=1e-4)


def test_attributes_shared_by_the_batch_gather_the_gradient_of_all_entries():
    ball, triangles = sphere(8)
    vertices = (ball * 0.1 + torch.tensor([0.0, 0.0, 0.5])).expand(2, -1, -1)
    fragments = rasterise(vertices, triangles, CAMERA)
    shared = torch.randn(1, len(ball), 2, generator=torch.Generator().manual_seed(0))
    separate = shared.repeat(2, 1, 1).requires_grad_()
    shared.requires_grad_()
    interpolate(fragments, shared, triangles).square().sum().backward()
    interpolate(fragments, separate, triangles).square().sum().backward()
    torch.testing.assert_close(shared.grad[0], separate.grad.sum(0))


def test_a_seam_shows_each_side_its_own_attribute():
    vertices = torch.tensor([[[-0.5, -0.5, 1.0], [0.5, -0.5, 1.0], [0.5, 0.5, 1.0], [-0.5, 0.5, 1.0]]])
    triangles = torch.tensor([[0, 1, 2], [0, 2, 3]])
    fragments = rasterise(vertices, triangles, CAMERA)
    attributes = torch.tensor([[[1.0], [2.0]]])
    image = interpolate(fragments, attributes, torch.tensor([[0, 0, 0], [1, 1, 1]]))
    torch.testing.assert_close(image[:, 0], fragments.triangle + 1.0)


def test_backfaces_are_culled_on_request():
    ball, triangles = sphere(16)
    vertices = (ball * 0.1 + torch.tensor([0.0, 0.0, 0.5]))[None]
    everything = rasterise(vertices, triangles, CAMERA)
    outside = rasterise(vertices, triangles, CAMERA, cull_backfaces=True)
    inside = rasterise(vertices, triangles.flip(1), CAMERA, cull_backfaces=True)
    assert torch.equal(everything.triangle, outside.triangle)
    seen = inside.triangle >= 0
    assert seen.any()
    assert (inside.depth_m[seen] > everything.depth_m[seen]).all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 1e38, -1.0, 0.0])
def test_a_triangle_with_an_impossible_corner_is_left_out_and_its_neighbours_stay(bad):
    good = torch.tensor([[-0.2, -0.2, 1.0], [0.2, -0.2, 1.0], [0.0, 0.2, 1.0]])
    triangles = torch.tensor([[0, 1, 2], [3, 4, 5]])
    for axis in range(3):
        broken = good.clone() * 0.5
        broken[1, axis] = bad
        vertices = torch.cat([good, broken])[None]
        fragments = rasterise(vertices, triangles, CAMERA)
        assert torch.isfinite(fragments.depth_m).all()
        if axis == 2 or not abs(bad) < 1e30:
            assert torch.equal(fragments.triangle >= 0, rasterise(good[None], triangles[:1], CAMERA).triangle >= 0)


def test_points_behind_the_camera_get_no_gradient_and_spoil_none():
    vertices = torch.tensor([[[-0.2, -0.2, 1.0], [0.2, -0.2, 1.0], [0.0, 0.2, 1.0], [0.0, 0.0, 0.0], [0.1, 0.0, -1.0]]])
    vertices.requires_grad_()
    fragments = rasterise(vertices, torch.tensor([[0, 1, 2], [2, 3, 4]]), CAMERA)
    fragments.depth_m.sum().backward()
    assert torch.isfinite(vertices.grad).all()
    assert (vertices.grad[0, 3:] == 0).all()
    assert (vertices.grad[0, :3, 2] != 0).all()


@pytest.mark.parametrize("faces", [[[0, 0, 1]], [[0, 1, 1]], [[0, 1, 3]]])
def test_triangles_without_area_draw_nothing(faces):
    vertices = torch.tensor([[[-0.2, -0.2, 1.0], [0.2, -0.2, 1.0], [0.0, 0.2, 1.0], [0.0, -0.2, 1.0]]])
    assert (rasterise(vertices, torch.tensor(faces), CAMERA).triangle == -1).all()


def test_an_empty_mesh_and_a_mesh_outside_the_picture_give_an_empty_picture():
    empty = rasterise(torch.zeros(2, 0, 3), torch.zeros(0, 3, dtype=torch.int64), CAMERA)
    assert (empty.triangle == -1).all()
    assert empty.barycentric.shape == (2, 32, 44, 3)
    ball, triangles = sphere(8)
    outside = (ball * 0.1 + torch.tensor([5.0, 0.0, 0.5]))[None].requires_grad_()
    fragments = rasterise(outside, triangles, CAMERA)
    image = interpolate(fragments, outside, triangles)
    image.sum().backward()
    assert (image == 0).all()
    assert (outside.grad == 0).all()


def test_an_empty_batch_gives_an_empty_batch():
    _, triangles = sphere(4)
    assert rasterise(torch.zeros(0, int(triangles.max()) + 1, 3), triangles, CAMERA).triangle.shape == (0, 32, 44)


def test_tables_of_another_mesh_are_refused():
    ball, triangles = sphere(8)
    vertices = (ball * 0.1 + torch.tensor([0.0, 0.0, 0.5]))[None]
    with pytest.raises(HeadstudioError, match="outside 0 to 9"):
        rasterise(vertices[:, :10], triangles, CAMERA)
    with pytest.raises(HeadstudioError, match="triangles"):
        rasterise(vertices, triangles - 1, CAMERA)
    fragments = rasterise(vertices, triangles, CAMERA)
    with pytest.raises(REFUSED, match="attribute_triangles"):
        interpolate(fragments, vertices, triangles[:-1])
    with pytest.raises(REFUSED, match="attributes"):
        interpolate(fragments, vertices.expand(3, -1, -1), triangles)
