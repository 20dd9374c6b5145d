import pytest
import roma
import torch
from render_twins import DEVICES, REFUSED, antialias_twin, leaf, rasterise_twin, silhouettes_twin, sphere, twin_leaf

from headstudio.geometry.camera import Camera
from headstudio.render.antialias import antialias, edge_neighbours, find_crossings
from headstudio.render.rasterise import interpolate, rasterise

CAMERA = Camera.from_focal(60.0, 44, 32)


def ball_before_wall():
    """A coarse sphere, off centre, before a wall that fills the picture."""
    ball, triangles = sphere(6, 7)
    wall = torch.tensor([[-3.0, -3.0, 2.0], [3.0, -3.0, 2.0], [3.0, 3.0, 2.0], [-3.0, 3.0, 2.0]])
    corners = torch.tensor([[0, 1, 2], [0, 2, 3]]) + len(ball)
    turned = ball @ roma.rotvec_to_rotmat(torch.tensor([0.3, 0.5, 0.2])).T
    vertices = torch.cat([turned * 0.1 + torch.tensor([0.013, -0.007, 0.6]), wall])
    return vertices, torch.cat([triangles, corners])


@pytest.mark.parametrize("device", DEVICES)
def test_values_and_gradients_equal_those_of_the_twin(device):
    vertices, triangles = ball_before_wall()
    generator = torch.Generator().manual_seed(0)
    image, weights = torch.rand(1, 3, 32, 44, generator=generator), torch.randn(1, 3, 32, 44, generator=generator)

    points, picture = leaf(vertices[None], device), leaf(image, device)
    blended = antialias(picture, rasterise(points, triangles.to(device), CAMERA.to(device)))
    (blended * weights.to(device)).sum().backward()

    twin_points, twin_picture = twin_leaf(vertices), twin_leaf(image[0])
    projected, _ = Camera(CAMERA.K_px.double(), 44, 32).project(twin_points)
    edges = silhouettes_twin(projected.detach(), triangles)
    best = rasterise_twin(vertices, triangles, CAMERA)
    nearest = rasterise(vertices[None], triangles, CAMERA).depth_m[0]
    expected = antialias_twin(twin_picture, projected, nearest, best, edges)
    (expected * weights[0]).sum().backward()

    assert (expected - twin_picture).abs().max() > 0.1
    torch.testing.assert_close(blended[0].detach().cpu().double(), expected.detach(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(picture.grad[0].cpu().double(), twin_picture.grad, atol=1e-4, rtol=1e-4)
    largest = float(twin_points.grad.abs().max())
    torch.testing.assert_close(points.grad[0].cpu().double(), twin_points.grad, atol=1e-3 * largest, rtol=1e-3)


def coverage(vertices, triangles, camera):
    fragments = rasterise(vertices[None], triangles, camera)
    return antialias(fragments.mask, fragments)


@pytest.mark.parametrize(("rings", "tolerance"), [(24, 0.08), (60, 0.05), (100, 0.05)])
def test_area_of_a_growing_sphere_and_its_derivative_equal_the_exact_ones(rings, tolerance):
    """Up to triangles far narrower than a pixel, as they gather along every silhouette."""
    ball, triangles = sphere(rings)
    camera = Camera.from_focal(200.0, 128, 128)
    exact = lambda radius: torch.pi * 200**2 * radius**2 / (0.25 - radius**2)  # noqa: E731
    rotation = roma.rotvec_to_rotmat(torch.tensor([0.4, -0.7, 0.3]))
    radius = torch.tensor(0.1, requires_grad=True)
    area = coverage(ball @ rotation.T * radius + torch.tensor([0.002, -0.001, 0.5]), triangles, camera).sum()
    area.backward()
    assert abs(area.item() / exact(0.1) - 1) < 0.012
    derivative = (exact(0.1001) - exact(0.0999)) / 0.0002
    assert abs(radius.grad.item() / derivative - 1) < tolerance


def test_a_silhouette_before_another_part_of_the_mesh_counts_like_one_before_nothing():
    """A fine sphere before the middle of a large one, whose triangles there have no silhouette edge themselves."""
    ball, triangles = sphere(100)
    behind, wall = sphere(20)
    camera = Camera.from_focal(200.0, 128, 128)
    turn = roma.rotvec_to_rotmat(torch.tensor([0.4, -0.7, 0.3]))
    colour = torch.cat([torch.ones(len(ball), 1), torch.zeros(len(behind), 1)])[None]
    radius = torch.tensor(0.1, requires_grad=True)
    points = torch.cat(
        [ball @ turn.T * radius + torch.tensor([0.0, 0.0, 0.5]), behind @ turn.T * 2 + torch.tensor([0, 0, 3.0])]
    )
    faces = torch.cat([triangles, wall + len(ball)])
    fragments = rasterise(points[None], faces, camera)
    assert (fragments.triangle >= 0).all()
    area = antialias(interpolate(fragments, colour, faces), fragments).sum()
    area.backward()
    alone = torch.tensor(0.1, requires_grad=True)
    exact = coverage(ball @ turn.T * alone + torch.tensor([0.0, 0.0, 0.5]), triangles, camera).sum()
    exact.backward()
    torch.testing.assert_close(area, exact, rtol=1e-4, atol=0)
    torch.testing.assert_close(radius.grad, alone.grad, rtol=1e-3, atol=0)


def test_the_border_to_a_triangle_that_reaches_behind_the_camera_is_a_silhouette():
    vertices = torch.tensor([[0.1, -1.0, 1.0], [0.13, 1.0, 1.0], [-2.0, 0.0, 1.0], [2.0, 0.0, -1.0]])
    triangles = torch.tensor([[0, 1, 2], [1, 0, 3]])
    for faces in (triangles, triangles[:1]):
        points = leaf(vertices)
        covered = coverage(points, faces, CAMERA)
        covered.sum().backward()
        # 60 pixels a metre at this depth, times the half of the 32 rows that each end of the border answers for.
        torch.testing.assert_close(points.grad[:2, 0], torch.tensor([960.0, 960.0]), rtol=0.02, atol=0)


def test_gradient_of_a_moving_sphere_equals_the_finite_difference_over_a_pixel():
    ball, triangles = sphere(40)
    camera = Camera.from_focal(200.0, 128, 96)
    ramp = torch.rand(96, 128, generator=torch.Generator().manual_seed(0)).cumsum(0).cumsum(1) / 6000

    def value(shift):
        points = ball * 0.1 + torch.tensor([0.001, 0.002, 0.5]) + shift
        return (coverage(points, triangles, camera)[0, 0] * ramp).sum()

    shift = torch.zeros(3, requires_grad=True)
    value(shift).backward()
    step = 0.5 * 0.5 / 200.0 * torch.eye(3)  # half a pixel at the sphere's depth
    step[2, 2] *= 4
    for axis in range(3):
        difference = (value(step[axis]) - value(-step[axis])) / (2 * step[axis, axis])
        torch.testing.assert_close(shift.grad[axis], difference, rtol=0.05, atol=0.02 * float(shift.grad.abs().max()))


def test_coverage_of_a_triangle_and_its_gradient_equal_the_area_formula():
    vertices = torch.tensor([[-0.31, -0.22, 1.0], [0.33, -0.13, 1.1], [-0.05, 0.24, 0.9]])
    triangles = torch.tensor([[0, 1, 2]])
    camera = Camera.from_focal(400.0, 300, 220)
    points = vertices.clone().requires_grad_()
    covered = coverage(points, triangles, camera).sum()
    covered.backward()
    exact_points = vertices.clone().requires_grad_()
    (a, b, c), _ = camera.project(exact_points)
    area = ((b - a)[0] * (c - a)[1] - (b - a)[1] * (c - a)[0]).abs() / 2
    area.backward()
    assert abs(covered.item() / area.item() - 1) < 2e-3
    largest = float(exact_points.grad.abs().max())
    torch.testing.assert_close(points.grad, exact_points.grad, rtol=0.05, atol=0.02 * largest)


def test_gradient_reaches_the_vertices_through_the_mask_alone():
    vertices, triangles = sphere(10)
    points = (vertices * 0.1 + torch.tensor([0.0, 0.0, 0.5])).requires_grad_()
    fragments = rasterise(points[None], triangles, CAMERA)
    assert not fragments.mask.requires_grad
    antialias(fragments.mask, fragments).sum().backward()
    assert points.grad.abs().max() > 0


def test_a_picture_of_one_colour_stays_as_it_is_and_a_smooth_surface_is_not_blurred():
    vertices, triangles = ball_before_wall()
    fragments = rasterise(vertices[None], triangles, CAMERA)
    flat = torch.full((1, 2, 32, 44), 0.7)
    torch.testing.assert_close(antialias(flat, fragments), flat)
    wall = rasterise(vertices[None], triangles[-2:], CAMERA)
    noise = torch.rand(1, 2, 32, 44)
    assert torch.equal(antialias(noise, wall), noise)


def test_batch_entries_do_not_touch_each_other():
    vertices, triangles = ball_before_wall()
    both = torch.stack([vertices, vertices + torch.tensor([0.02, 0.01, 0.0])])
    image = torch.rand(2, 3, 32, 44, generator=torch.Generator().manual_seed(0))
    together = antialias(image, rasterise(both, triangles, CAMERA))
    for entry in range(2):
        alone = antialias(image[entry, None], rasterise(both[entry, None], triangles, CAMERA))
        torch.testing.assert_close(together[entry], alone[0])


def test_a_known_adjacency_changes_nothing_and_one_of_another_mesh_is_refused():
    vertices, triangles = ball_before_wall()
    image = torch.rand(1, 1, 32, 44)
    plain = antialias(image, rasterise(vertices[None], triangles, CAMERA))
    given = antialias(image, rasterise(vertices[None], triangles, CAMERA, adjacency=edge_neighbours(triangles)))
    assert torch.equal(plain, given)
    with pytest.raises(REFUSED, match="adjacency"):
        antialias(image, rasterise(vertices[None], triangles, CAMERA, adjacency=edge_neighbours(triangles[1:])))
    with pytest.raises(REFUSED, match="image"):
        antialias(image[..., 1:], rasterise(vertices[None], triangles, CAMERA))


def test_every_neighbour_of_a_closed_mesh_shares_the_edge_and_points_back():
    _, triangles = sphere(9, 5)
    neighbours = edge_neighbours(triangles)
    assert (neighbours >= 0).all()
    for face, corners in enumerate(triangles.tolist()):
        for k in range(3):
            other = int(neighbours[face, k])
            shared = set(corners) & set(triangles[other].tolist())
            assert other != face
            assert shared == set(corners) - {corners[k]}
            assert face in neighbours[other].tolist()


def test_open_borders_have_no_neighbour_and_three_triangles_on_an_edge_leave_one_alone():
    fan = torch.tensor([[0, 1, 2], [1, 0, 3], [0, 1, 4]])
    neighbours = edge_neighbours(fan)
    assert neighbours.tolist() == [[-1, -1, 1], [-1, -1, 0], [-1, -1, -1]]
    assert edge_neighbours(fan[:0]).shape == (0, 3)


def test_crossings_are_as_many_as_the_rows_and_columns_that_a_silhouette_spans():
    """Each row is cut twice by the steep parts of a circle, each column twice by the flat parts."""
    ball, triangles = sphere(60)
    camera = Camera.from_focal(200.0, 128, 128)
    fragments = rasterise((ball * 0.1 + torch.tensor([0.001, 0.002, 0.5]))[None], triangles, camera)
    radius = 200 * 0.1 / 0.24**0.5
    assert abs(len(find_crossings(fragments).pixels) - 8 * radius * 0.5**0.5) <= 8


def test_no_surface_gives_no_crossing_and_the_gradient_passes_through():
    vertices, triangles = sphere(5)
    fragments = rasterise((vertices + torch.tensor([9.0, 0.0, 2.0]))[None], triangles, CAMERA)
    image = torch.rand(1, 2, 32, 44, requires_grad=True)
    blended = antialias(image, fragments)
    blended.sum().backward()
    assert torch.equal(blended, image)
    assert (image.grad == 1).all()


def test_interpolated_colour_and_antialiasing_together_have_the_derivative_of_the_finite_difference():
    """The whole chain at once: a shaded sphere slides over a background of another colour."""
    ball, triangles = sphere(30)
    camera = Camera.from_focal(200.0, 96, 96)
    ramp = torch.linspace(0, 1, 96).expand(96, 96)

    def value(shift):
        points = (ball * 0.08 + torch.tensor([0.0, 0.0, 0.5]) + shift)[None]
        fragments = rasterise(points, triangles, camera)
        # Silhouette and interior nearly cancel along y, so errors are measured against the larger derivative.
        # The coordinate along the view is left out: at the limb it changes too fast for a picture's resolution.
        colour = interpolate(fragments, ball[None, :, :2] * 0.5 + 0.75, triangles)
        return (antialias(colour, fragments) * ramp).sum()

    shift = torch.tensor([0.0011, 0.0007, 0.0], requires_grad=True)
    value(shift).backward()
    for axis in range(2):
        step = 0.00125 * torch.eye(3)[axis]
        difference = (value(shift.detach() + step) - value(shift.detach() - step)) / 0.0025
        torch.testing.assert_close(shift.grad[axis], difference, rtol=0.05, atol=0.06 * float(shift.grad.abs().max()))
