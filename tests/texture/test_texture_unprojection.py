"""Textures from pictures whose texture is known."""

import heapq
import math

import pytest
import torch

from headstudio.render.mesh import render_surface
from headstudio.texture.fill import pull_push
from headstudio.texture.regions import soft_mask
from headstudio.texture.texels import TexelMap
from headstudio.texture.unproject import Observation, UnprojectionConfig, unproject
from support.shapes import camera, sphere, turned

SIZE = 96


@pytest.fixture(scope="module")
def world():
    points, mesh = sphere()
    row, column = torch.meshgrid(torch.arange(SIZE) / SIZE, torch.arange(SIZE) / SIZE, indexing="ij")
    waves = [0.5 + 0.4 * torch.sin(12 * column + shift) * torch.cos(9 * row) for shift in (0.0, 1.0, 2.0)]
    texture = torch.stack(waves)
    return points, mesh, texture, TexelMap.build(mesh.triangles, mesh.uv, mesh.uv_triangles, SIZE)


def observe(world, yaw_rad, **changes):
    points, mesh, texture, _ = world
    vertices = turned(points, yaw_rad)
    surface = render_surface(vertices[None], mesh, camera(192), texture[None])
    found = {"image": surface.image[0], "trust": (surface.mask[0] > 0.99).float()}
    return Observation(**(found | changes), vertices_camera_m=vertices, camera=camera(192))


def test_texels_know_their_own_place(world):
    _, mesh, _, texels = world
    uv = texels.spread(mesh.uv)
    expected = (torch.arange(SIZE) + 0.5) / SIZE
    inner = texels.mask
    assert inner.float().mean() > 0.95
    assert (uv[0] - expected)[inner].abs().max() < 1e-4
    assert (uv[1] - expected[:, None])[inner].abs().max() < 1e-4


@pytest.mark.parametrize("config", [UnprojectionConfig(), UnprojectionConfig(angle_power=0.0, robust_passes=0)])
def test_the_texture_comes_back_where_it_was_seen(world, config):
    found = unproject([observe(world, yaw) for yaw in (-0.7, 0.0, 0.7)], world[1], world[3], config)
    error = (found.texture - world[2]).abs().mean(0)[found.seen[0]]
    assert found.seen.float().mean() > 0.45
    assert error.median() < 0.01 and error.quantile(0.95) < 0.04


def test_what_faces_away_has_no_weight(world):
    found = unproject([observe(world, 0.0)], world[1], world[3], UnprojectionConfig())
    back = found.weight[0, :, : SIZE // 8]
    assert back.max() == 0
    assert found.weight[0, SIZE // 2, SIZE // 2] > 0.5


def test_what_hides_behind_another_surface_is_not_painted_by_it(world):
    points, mesh, _, _ = world
    near = 0.4 * points - torch.tensor([0.0, 0.0, 0.3])
    both = torch.cat([points, near])
    triangles = torch.cat([mesh.triangles, mesh.triangles + len(points)])
    uv = torch.cat([mesh.uv * torch.tensor([0.5, 1.0]), mesh.uv * torch.tensor([0.5, 1.0]) + torch.tensor([0.5, 0.0])])
    joined = type(mesh)(triangles, uv, triangles)
    texels = TexelMap.build(triangles, uv, triangles, SIZE)
    vertices = turned(both, 0.0)
    ones = torch.ones(1, 192, 192)
    observation = Observation(ones.expand(3, -1, -1), ones, vertices, camera(192))
    found = unproject([observation], joined, texels, UnprojectionConfig())
    centre_far, centre_near = found.weight[0, SIZE // 2, SIZE // 4], found.weight[0, SIZE // 2, 3 * SIZE // 4]
    assert centre_far == 0 and centre_near > 0.5


def test_an_odd_frame_counts_less(world):
    frames = [observe(world, 0.0) for _ in range(4)]
    odd = observe(world, 0.0, image=torch.ones(3, 192, 192))
    errors = []
    for passes in (0, 2):
        found = unproject([*frames, odd], world[1], world[3], UnprojectionConfig(robust_passes=passes))
        errors.append((found.texture - world[2]).abs().mean(0)[found.seen[0]].mean())
    assert errors[1] < 0.25 * errors[0]


def test_padding_and_background_are_not_taken(world):
    trust = torch.ones(1, 192, 192)
    trust[:, :, :96] = 0
    found = unproject([observe(world, 0.0, trust=trust)], world[1], world[3], UnprojectionConfig())
    middle = SIZE // 2
    assert found.weight[0, middle, middle - 8] == 0 and found.weight[0, middle, middle + 8] > 0.2


def test_filling_keeps_what_is_known_and_continues_it():
    texture = torch.rand(3, 37, 37, generator=torch.Generator().manual_seed(0))
    weight = (torch.rand(1, 37, 37, generator=torch.Generator().manual_seed(1)) > 0.7).float()
    filled = pull_push(texture, weight)
    assert torch.allclose(filled * weight, texture * weight, atol=1e-6)
    assert filled.min() >= texture.min() - 1e-6 and filled.max() <= texture.max() + 1e-6
    flat = pull_push(torch.full((3, 32, 32), 0.3) * weight[:, :32, :32], weight[:, :32, :32])
    assert torch.allclose(flat, torch.full_like(flat, 0.3), atol=1e-5)
    assert torch.allclose(pull_push(texture, torch.zeros_like(weight)), torch.full_like(texture, 0.5))


def naive_distance(inside, points, triangles):
    neighbours = {i: set() for i in range(len(points))}
    for a, b, c in triangles.tolist():
        for i, j in ((a, b), (b, c), (c, a)):
            neighbours[i].add(j)
            neighbours[j].add(i)
    distance = [0.0 if flag else math.inf for flag in inside.tolist()]
    queue = [(0.0, i) for i, flag in enumerate(inside.tolist()) if flag]
    while queue:
        reached, i = heapq.heappop(queue)
        if reached > distance[i]:
            continue
        for j in neighbours[i]:
            longer = reached + float((points[i] - points[j]).norm())
            if longer < distance[j] - 1e-9:
                distance[j] = longer
                heapq.heappush(queue, (longer, j))
    return torch.tensor(distance)


def test_soft_regions_fall_off_with_distance_on_the_surface(world):
    points, mesh, _, texels = world
    inside = (points - torch.tensor([0.0, 0.0, -0.1])).norm(dim=1) < 0.02
    margin = 0.05
    mask = soft_mask(texels, inside, points, mesh.triangles, margin)
    share = (1 - naive_distance(inside, points, mesh.triangles) / margin).clamp(0, 1)
    expected = texels.spread((share * share * (3 - 2 * share))[:, None])
    assert torch.allclose(mask, expected, atol=1e-5)
    assert mask.max() > 0.99 and mask[0, SIZE // 2, 2] == 0
