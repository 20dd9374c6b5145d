import subprocess
import sys

import pytest
import torch
from render_twins import DEVICES, REFUSED, leaf, sphere

from headstudio.errors import HeadstudioError
from headstudio.geometry.camera import Camera
from headstudio.records.track import neutral_light
from headstudio.render.antialias import antialias
from headstudio.render.colour import srgb_to_linear
from headstudio.render.composite import over
from headstudio.render.labels import label_image, triangle_labels
from headstudio.render.light import spherical_harmonics
from headstudio.render.mesh import MeshTopology, render_surface
from headstudio.render.normals import vertex_normals
from headstudio.render.rasterise import interpolate, rasterise
from headstudio.render.texture import build_pyramid, sample_texture
from headstudio.render.transfer import reached_share, shadowed_harmonics

CAMERA = Camera.from_focal(200.0, 96, 80)


def ball(rings: int = 24, labels: bool = True):
    """A sphere with a planar atlas that is cut in two along x = 0, and two labels, left and right."""
    points, triangles = sphere(rings)
    uv = points[:, :2] * 0.2 + 0.25
    right = points[triangles].mean(1)[:, 0] > 0
    uv_triangles = torch.where(right[:, None], triangles + len(points), triangles)
    sides = torch.stack([(points[:, 0] <= 0).float(), (points[:, 0] > 0).float()], -1) if labels else None
    return points, MeshTopology(triangles, torch.cat([uv, uv + 0.5]), uv_triangles, sides)


def placed(points, shift=(0.0, 0.0, 0.5)):
    return (points * 0.08 + torch.tensor(shift))[None]


def test_every_map_of_the_one_pass_equals_the_map_rendered_alone():
    points, mesh = ball()
    texture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    vertices = placed(points)
    surface = render_surface(vertices, mesh, CAMERA, texture)
    fragments = rasterise(vertices, mesh.triangles, CAMERA)
    uv = interpolate(fragments, mesh.uv[None], mesh.uv_triangles)
    colour = sample_texture(texture, uv, fragments.mask)
    torch.testing.assert_close(surface.uv, uv)
    torch.testing.assert_close(surface.depth_m[:, 0], fragments.depth_m)
    torch.testing.assert_close(surface.mask, antialias(fragments.mask, fragments))
    black = torch.zeros(1, 3, 1, 1)
    torch.testing.assert_close(
        over(surface.image, surface.mask, black), antialias(colour, fragments), atol=2e-3, rtol=0
    )


def test_normals_are_those_of_the_sphere():
    points, mesh = ball(60)
    surface = render_surface(placed(points), mesh, CAMERA)
    position = interpolate(surface.fragments, points[None], mesh.triangles)
    seen = surface.fragments.mask[0, 0] > 0
    assert ((position * surface.normals).sum(1)[0][seen] > 0.98).all()
    torch.testing.assert_close(surface.normals.norm(dim=1)[0], seen.float())
    assert (surface.normals[0, 2][seen] < 0.2).all()


def test_straight_alpha_keeps_the_colour_up_to_the_silhouette():
    points, mesh = ball(labels=False)
    surface = render_surface(placed(points), mesh, CAMERA, torch.full((1, 3, 8, 8), 0.6))
    assert ((surface.mask > 0.01) & (surface.mask < 0.99)).sum() > 50
    torch.testing.assert_close(
        surface.image[:, :1][surface.mask > 0.01], torch.tensor(0.6).expand(int((surface.mask > 0.01).sum()))
    )
    assert surface.labels is None


def test_neutral_light_shows_the_texture_as_it_is_and_half_the_light_darkens_it():
    points, mesh = ball()
    texture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    plain = render_surface(placed(points), mesh, CAMERA, texture).image
    neutral = render_surface(placed(points), mesh, CAMERA, texture, neutral_light(1)).image
    dim = render_surface(placed(points), mesh, CAMERA, texture, 0.5 * neutral_light(1)).image
    torch.testing.assert_close(neutral, plain, atol=1e-4, rtol=0)
    assert dim.sum() < 0.85 * plain.sum()


@pytest.mark.parametrize("device", DEVICES)
def test_gradients_reach_vertices_texture_and_light_for_a_batch(device):
    points, mesh = ball()
    vertices = leaf(torch.cat([placed(points), placed(points, (0.02, 0.01, 0.5))]), device)
    texture = leaf(torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)), device)
    light = leaf(neutral_light(2), device)
    surface = render_surface(vertices, mesh.to(device), CAMERA.to(device), texture, light)
    maps = (surface.image, surface.mask, surface.normals, surface.depth_m, surface.uv, surface.labels)
    assert [tuple(value.shape) for value in maps] == [(2, c, 80, 96) for c in (3, 1, 3, 1, 2, 2)]
    sum(value.square().mean() for value in maps).backward()
    for tensor in (vertices, texture, light):
        assert torch.isfinite(tensor.grad).all()
        assert tensor.grad.abs().sum() > 0


def test_a_pyramid_stands_in_for_its_texture_and_feature_textures_need_no_light():
    points, mesh = ball()
    features = torch.rand(1, 7, 32, 32)
    surface = render_surface(placed(points), mesh, CAMERA, build_pyramid(features))
    torch.testing.assert_close(surface.image, render_surface(placed(points), mesh, CAMERA, features).image)
    with pytest.raises(HeadstudioError, match="7 channels"):
        render_surface(placed(points), mesh, CAMERA, features, neutral_light(1))


def test_triangles_smaller_than_a_pixel_keep_mask_and_picture_in_range():
    """Where several edges cut one pixel, their shares add up to more than the pixel."""
    generator = torch.Generator().manual_seed(0)
    places = torch.rand(400, 1, 3, generator=generator) * torch.tensor([0.2, 0.15, 0.1])
    corners = places + torch.rand(400, 3, 3, generator=generator) * 0.005 + torch.tensor([-0.1, -0.075, 0.5])
    triangles = torch.arange(1200).reshape(400, 3)
    mesh = MeshTopology(triangles, torch.rand(1200, 2, generator=generator), triangles)
    vertices = corners.reshape(1, 1200, 3).requires_grad_()
    fragments = rasterise(vertices, triangles, CAMERA)
    assert antialias(fragments.mask, fragments).min() < -0.1
    surface = render_surface(vertices, mesh, CAMERA, torch.full((1, 3, 8, 8), 0.6))
    assert 0 <= surface.mask.min() <= surface.mask.max() <= 1
    assert -1e-3 < surface.image.min() <= surface.image.max() < 0.601
    surface.image.sum().backward()
    assert torch.isfinite(vertices.grad).all()


def test_backfaces_are_culled_on_request():
    points, mesh = ball()
    from_inside = render_surface(placed(points, (0.0, 0.0, 0.04)), mesh, CAMERA)
    culled = render_surface(placed(points, (0.0, 0.0, 0.04)), mesh, CAMERA, cull_backfaces=True)
    assert from_inside.mask.min() == 1
    assert culled.mask.max() == 0


def test_labels_share_out_the_mask():
    points, mesh = ball()
    surface = render_surface(placed(points), mesh, CAMERA)
    torch.testing.assert_close(surface.labels.sum(1, keepdim=True), surface.mask)
    soft = (surface.labels > 0.02) & (surface.labels < 0.98) & (surface.mask > 0.999)
    assert soft.any(0).any(0).any(1).sum() > 40, "the border inside the surface is soft in nearly all of its rows"


def test_the_label_of_a_triangle_is_that_of_most_of_its_corners():
    weights = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.4, 0.6], [1.0, 0.0]])
    labels = triangle_labels(weights, torch.tensor([[0, 1, 2], [0, 1, 3], [0, 3, 2]]))
    assert labels.tolist() == [1, 0, 0]


def test_moving_the_border_between_labels_changes_their_areas_by_the_exact_amount():
    """Two quads side by side fill the picture; the slanted line between them moves."""
    triangles = torch.tensor([[0, 1, 4], [0, 4, 3], [1, 2, 5], [1, 5, 4]])
    labels = torch.tensor([0, 0, 1, 1])
    camera = Camera.from_focal(100.0, 60, 50)

    def area(shift):
        x = torch.stack(
            [
                torch.tensor(-1.0),
                0.043 + shift,
                torch.tensor(1.0),
                torch.tensor(-1.0),
                -0.082 + shift,
                torch.tensor(1.0),
            ]
        )
        vertices = torch.stack([x, torch.tensor([-1.0] * 3 + [1.0] * 3), torch.ones(6)], -1)[None]
        return label_image(rasterise(vertices, triangles, camera), labels, 2).sum((0, 2, 3))

    shift = torch.tensor(0.0, requires_grad=True)
    areas = area(shift)
    # The border stands at x = -0.0195 on average over the picture: 28.05 of 60 columns to its left.
    torch.testing.assert_close(areas.detach(), torch.tensor([50 * 28.05, 50 * 31.95]), atol=1.0, rtol=0)
    areas[0].backward()
    # A metre at depth 1 is 100 pixels, on each of the 50 rows.
    torch.testing.assert_close(shift.grad, torch.tensor(5000.0), rtol=0.01, atol=0)


def test_the_gradient_of_a_hidden_label_border_is_nil():
    points, mesh = ball()
    vertices = placed(points).requires_grad_()
    hidden = torch.where(points[mesh.triangles].mean(1)[:, 2] > 0.5, 1, 0)
    fragments = rasterise(vertices, mesh.triangles, CAMERA)
    image = label_image(fragments, hidden, 2)
    image[:, 1].sum().backward()
    assert (image[:, 1] == 0).all()
    assert (vertices.grad == 0).all()


def test_label_tables_of_another_mesh_are_refused():
    points, mesh = ball()
    with pytest.raises(REFUSED, match="triangle_labels"):
        label_image(rasterise(placed(points), mesh.triangles, CAMERA), mesh.triangle_labels[1:].repeat(2), 2)


def test_importing_the_room_loads_no_warp():
    code = "import sys, headstudio.render.mesh, headstudio.render.composite; sys.exit('warp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_rendering_writes_nothing_to_the_terminal():
    code = (
        "import torch; from headstudio.geometry.camera import Camera;"
        "from headstudio.render.rasterise import rasterise;"
        "rasterise(torch.ones(1, 3, 3), torch.tensor([[0, 1, 2]]), Camera.from_focal(9.0, 8, 8))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout + run.stderr == ""


def test_a_share_of_the_light_falls_on_what_is_shadowed():
    points, mesh = ball()
    texture = torch.full((1, 3, 8, 8), 0.8)
    whole = render_surface(placed(points), mesh, CAMERA, texture, neutral_light(1))
    half = render_surface(
        placed(points), mesh, CAMERA, texture, neutral_light(1), light_share=torch.full((1, len(points), 3), 0.5)
    )
    inside = whole.mask > 0.999
    lit = [srgb_to_linear(surface.image)[inside.expand_as(surface.image)] for surface in (whole, half)]
    assert torch.allclose(lit[1], 0.5 * lit[0], atol=1e-4)


def test_in_the_open_all_of_the_light_arrives_and_in_a_pit_less():
    points, triangles = sphere(24)
    points = 0.1 * points  # as large as a head
    bare = spherical_harmonics(vertex_normals(points[None], triangles)[0])
    light_sh = neutral_light(2)
    light_sh[1, 3], light_sh[1, 1] = 0.8, -0.4
    open_ = reached_share(shadowed_harmonics(points, triangles), bare, light_sh)
    assert (open_ - 1).abs().max() < 0.06
    # A wide bowl over the upper half keeps the light from above away.
    wall = torch.where(points[:, 1:2] > 0, points * 1.3, points * torch.tensor([1.3, 0.0, 1.3]))
    both = torch.cat([points, wall]), torch.cat([triangles, triangles + len(points)])
    reached = reached_share(shadowed_harmonics(*both)[: len(points)], bare, light_sh)
    assert reached[:, points[:, 1] > 0.03].mean() < 0.6 and reached.min() >= 0
