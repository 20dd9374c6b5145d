import pytest
import torch
from render_twins import DEVICES, REFUSED, leaf, sphere, twin_leaf, vertex_normals_twin
from torch.nn.functional import normalize

from headstudio.records.track import neutral_light
from headstudio.render.colour import linear_to_srgb, srgb_to_linear
from headstudio.render.composite import over
from headstudio.render.light import shade, spherical_harmonics
from headstudio.render.normals import vertex_normals


def test_the_harmonics_are_orthonormal_over_the_sphere():
    """By quadrature: Gauss-Legendre over z, equal steps around; exact for these polynomials."""
    nodes = torch.tensor([-(0.6**0.5), 0.0, 0.6**0.5], dtype=torch.float64)
    weights = torch.tensor([5.0, 8.0, 5.0]).double() / 9
    angles = torch.arange(8).double() * torch.pi / 4
    radius = (1 - nodes**2).sqrt()[:, None]
    points = torch.stack([radius * angles.cos(), radius * angles.sin(), nodes[:, None].expand(-1, 8)], -1)
    basis = spherical_harmonics(points).reshape(-1, 9)
    measure = (weights[:, None] * torch.pi / 4).expand(-1, 8).reshape(-1)
    torch.testing.assert_close((basis * measure[:, None]).T @ basis, torch.eye(9).double(), atol=1e-12, rtol=0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("lights", [1, 2])
def test_values_and_gradients_equal_those_of_the_basis_times_the_coefficients(device, lights):
    generator = torch.Generator().manual_seed(0)
    normals = normalize(torch.randn(2, 3, 7, 5, generator=generator), dim=1)
    light, weights = torch.randn(lights, 9, 3, generator=generator), torch.randn(2, 3, 7, 5, generator=generator)

    directions, coefficients = leaf(normals, device), leaf(light, device)
    irradiance = shade(directions, coefficients)
    (irradiance * weights.to(device)).sum().backward()

    twin_directions, twin_coefficients = twin_leaf(normals), twin_leaf(light)
    basis = spherical_harmonics(twin_directions.movedim(1, -1))
    expected = torch.einsum("bhwk,bkc->bchw", basis, twin_coefficients.expand(2, -1, -1))
    (expected * weights).sum().backward()
    torch.testing.assert_close(irradiance.detach().cpu().double(), expected.detach(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(directions.grad.cpu().double(), twin_directions.grad, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(coefficients.grad.cpu().double(), twin_coefficients.grad, atol=1e-4, rtol=1e-4)


def test_neutral_light_is_irradiance_one_from_everywhere():
    normals = normalize(torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    torch.testing.assert_close(shade(normals, neutral_light(1)), torch.ones(1, 3, 4, 4))


def test_light_that_does_not_fit_is_refused():
    with pytest.raises(REFUSED, match="light_sh"):
        shade(torch.rand(3, 3, 4, 4), torch.rand(2, 9, 3))
    with pytest.raises(REFUSED, match="light_sh"):
        shade(torch.rand(1, 3, 4, 4), torch.rand(1, 3, 9))


@pytest.mark.parametrize("device", DEVICES)
def test_vertex_normals_and_their_gradient_equal_those_of_the_twin(device):
    generator = torch.Generator().manual_seed(0)
    ball, triangles = sphere(7, 6)
    vertices = 0.1 * (ball + 0.2 * torch.rand(3, len(ball), 3, generator=generator))
    weights = torch.randn(3, len(ball), 3, generator=generator)
    points = leaf(vertices, device)
    normals = vertex_normals(points, triangles.to(device))
    (normals * weights.to(device)).sum().backward()
    twin_points = twin_leaf(vertices)
    expected = vertex_normals_twin(twin_points, triangles)
    (expected * weights).sum().backward()
    torch.testing.assert_close(normals.detach().cpu().double(), expected.detach(), atol=1e-5, rtol=1e-5)
    largest = float(twin_points.grad.abs().max())
    torch.testing.assert_close(points.grad.cpu().double(), twin_points.grad, atol=1e-4 * largest, rtol=1e-4)


def test_normals_of_a_sphere_point_outwards_at_the_size_of_an_eyelash():
    ball, triangles = sphere(40)
    tiny = vertex_normals((ball * 1e-4)[None], triangles)[0]
    assert ((tiny * ball).sum(-1) > 0.995).all()


def test_a_vertex_without_triangles_has_no_normal_and_a_finite_gradient():
    vertices = torch.rand(1, 5, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    normals = vertex_normals(vertices, torch.tensor([[0, 1, 2], [3, 3, 4]]))
    normals.sum().backward()
    assert (normals[0, 3:] == 0).all()
    assert torch.isfinite(vertices.grad).all()


def test_colour_conversion_has_an_inverse_known_values_and_a_finite_gradient_at_black():
    srgb = torch.linspace(0, 1, 101, dtype=torch.float64).requires_grad_()
    linear = srgb_to_linear(srgb)
    torch.testing.assert_close(linear_to_srgb(linear), srgb, atol=1e-7, rtol=0)
    # IEC 61966-2-1: mid grey 0.5 is 0.21404 in linear light.
    torch.testing.assert_close(linear[50].item(), 0.2140411, atol=1e-6, rtol=0)
    linear_to_srgb(linear * 0).sum().backward()
    assert torch.isfinite(srgb.grad).all()


def test_over_is_the_background_without_alpha_and_the_picture_with_it():
    rgb, background = torch.rand(2, 3, 4, 4), torch.rand(1, 3, 4, 4)
    torch.testing.assert_close(over(rgb, torch.zeros(2, 1, 4, 4), background), background.expand(2, -1, -1, -1))
    torch.testing.assert_close(over(rgb, torch.ones(2, 1, 4, 4), background), rgb)
    torch.testing.assert_close(over(rgb, torch.full((2, 1, 4, 4), 0.25), background), 0.25 * rgb + 0.75 * background)
