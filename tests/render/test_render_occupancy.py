"""The occupancy grid: what it learns and forgets, what mattes leave of it, and that skipping by it changes nothing."""

import math

import pytest
import torch
from render_twins import REFUSED

from headstudio.errors import HeadstudioError
from headstudio.geometry.camera import Camera
from headstudio.geometry.rigid import rigid, transform
from headstudio.render.occupancy import OccupancyGrid, matte_cells
from headstudio.render.ray_samples import sample_rays
from headstudio.render.rays import Box, camera_rays
from headstudio.render.volume import render_volume

BOX = Box((-0.15, -0.12, -0.13), (0.14, 0.16, 0.12))
RADIUS_M = 0.06
CENTRE_M = torch.tensor([0.03, 0.02, -0.01])
CAMERA = Camera.from_focal(60.0, 24, 20)


def density_at(points):
    return 50.0 * ((points - CENTRE_M).norm(dim=1) < RADIUS_M)


def ball(samples):
    return density_at(samples.points_m), samples.points_m


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def poses(count):
    turns = torch.tensor([math.pi, 0.0, 0.0]).repeat(count, 1)
    turned = rigid(turns, torch.tensor([0.0, 0.0, 0.6]).expand(count, 3))
    sideways = torch.linspace(-1.2, 1.2, count)[:, None] * torch.tensor([0.0, 1.0, 0.0])
    return turned @ rigid(sideways, torch.zeros(count, 3))


def learned(cells=20, patience=4):
    grid = OccupancyGrid(BOX, cells, patience=patience)
    generator = seeded()
    for _ in range(patience + 8):
        grid.update(density_at, generator)
    return grid


def test_skipping_by_a_learned_grid_changes_nothing_and_saves_most():
    rays = camera_rays(CAMERA, poses(2), BOX)
    everywhere, skipping = sample_rays(rays, 40), sample_rays(rays, 40, learned())
    # The ball, wider by one cell, is a tenth of the box.
    assert len(skipping) < len(everywhere) / 4
    whole, fast = render_volume(ball, everywhere), render_volume(ball, skipping)
    torch.testing.assert_close(fast.values, whole.values, atol=1e-6, rtol=0)
    torch.testing.assert_close(fast.mask, whole.mask, atol=1e-6, rtol=0)


def test_cells_are_where_they_say_they_are():
    grid = learned()
    centres = grid.centres_m()
    assert grid(centres.reshape(-1, 3)).reshape(grid.occupied.shape).equal(grid.occupied)
    far = (centres - CENTRE_M).norm(dim=-1)
    cell_m = 0.29 / 20
    assert grid.occupied[far < RADIUS_M].all()
    assert not grid.occupied[far > RADIUS_M + 2.5 * cell_m].any()


def test_nothing_is_outside_the_box():
    grid = OccupancyGrid(BOX, 4)
    outside = torch.tensor([[0.141, 0, 0], [0, -0.121, 0], [0, 0, 9e9], [float("nan"), 0, 0], [0, float("inf"), 0]])
    assert not grid(outside).any()
    assert grid(torch.tensor([[0.139, -0.119, 0.119]])).all()


@pytest.mark.parametrize("patience", [1, 3, 16])
@pytest.mark.parametrize("density_per_m", [1.0, 1e9])
def test_a_cell_is_empty_after_as_many_looks_as_the_patience_says(patience, density_per_m):
    grid = OccupancyGrid(BOX, 3, patience=patience)
    assert grid.occupied.all()

    def looks(density):
        grid.update(lambda points: torch.full((len(points),), density), seeded())
        return bool(grid.occupied.any())

    assert [looks(0.0) for _ in range(patience)] == [True] * (patience - 1) + [False]
    assert looks(density_per_m)
    seen = [looks(0.0) for _ in range(patience)]
    assert not seen[-1]
    assert seen == [True] * (patience - 1) + [False] if density_per_m > 1 else not seen[0]


def test_what_only_rare_expressions_fill_stays():
    grid, generator = OccupancyGrid(BOX, 6, patience=10), seeded()
    for step in range(60):
        grid.update(lambda points, step=step: 5.0 * (points[:, 0] > 0) * float(step % 8 == 0), generator)
    right = grid.centres_m()[..., 0] > 0.01
    assert grid.occupied[right].all()


def test_some_cells_at_a_time_reach_all_in_the_end_and_follow_from_the_generator():
    first, second = OccupancyGrid(BOX, 6, patience=2), OccupancyGrid(BOX, 6, patience=2)
    for grid in (first, second):
        generator = seeded(5)
        for step in range(80):
            grid.update(density_at, generator, 40)
            assert step or int((grid.density_per_m < grid.density_per_m.max()).sum()) <= 40
    assert torch.equal(first.density_per_m, second.density_per_m)
    assert first.occupied.float().mean() < 0.7


def test_it_goes_with_the_state_of_its_owner():
    other = OccupancyGrid(BOX, 20, patience=4)
    other.load_state_dict(learned().state_dict())
    assert torch.equal(other.occupied, learned().occupied)


def mattes_of(T_camera_head):
    rays = camera_rays(CAMERA, T_camera_head, BOX)
    mask = render_volume(ball, sample_rays(rays, 200)).mask
    return (mask > 0).float().reshape(len(T_camera_head), 1, 20, 24)


def test_mattes_leave_their_hull_and_no_less_than_the_ball():
    grid, T_camera_head = OccupancyGrid(BOX, 20), poses(7)
    allowed = matte_cells(grid, CAMERA, T_camera_head, mattes_of(T_camera_head), 1.0)
    far = (grid.centres_m() - CENTRE_M).norm(dim=-1)
    assert allowed[far < RADIUS_M].all()
    # Cameras round the y axis alone: the hull is near a cylinder, widened by pixels and cells.
    assert 0.02 < allowed.float().mean() < 0.4
    loose = matte_cells(grid, CAMERA, T_camera_head, mattes_of(T_camera_head), 0.2)
    assert (allowed <= loose).all()
    grid.restrict(allowed)
    assert torch.equal(grid.occupied, allowed)
    assert not grid(grid.centres_m()[~allowed]).any()


def test_every_cell_that_may_touch_a_matte_is_kept():
    """One pixel of matte: each point of the box that is seen in it lies in a cell that is left."""
    grid, pose = OccupancyGrid(BOX, 9), poses(1)
    matte = torch.zeros(1, 1, 20, 24)
    matte[..., 9, 13] = 1
    grid.restrict(matte_cells(grid, CAMERA, pose, matte, 1.0))
    low, high = BOX.corners(matte)
    points = low + torch.rand(20000, 3, generator=seeded()) * (high - low)
    pixels = CAMERA.project(transform(pose, points[None]))[0][0].floor()
    seen = (pixels == torch.tensor([13.0, 9.0])).all(1)
    assert seen.sum() > 30
    # Of a cell whose centre the picture does not show nothing is known; none of these lies there.
    assert grid(points[seen]).all()


def test_cells_that_no_frame_shows_are_left_out():
    grid = OccupancyGrid(BOX, 8)
    window = CAMERA.window(0, 0, 12, 20)
    allowed = matte_cells(grid, window, poses(1), torch.ones(1, 1, 20, 12))
    assert 0.3 < allowed.float().mean() < 0.7


def test_what_does_not_fit_is_refused():
    grid = OccupancyGrid(BOX, 4)
    mattes = torch.ones(2, 1, 20, 24)
    for bad in ({"cells": 0}, {"patience": 0}, {"least_density_per_m": 0.0}, {"least_density_per_m": float("nan")}):
        with pytest.raises(HeadstudioError, match="occupancy grid"):
            OccupancyGrid(BOX, **bad)
    with pytest.raises(REFUSED, match="density"):
        grid.update(lambda points: torch.zeros(len(points) - 1), seeded())
    with pytest.raises(REFUSED, match="allowed"):
        grid.restrict(torch.ones(3, 4, 4, dtype=torch.bool))
    with pytest.raises(REFUSED, match="T_camera_head"):
        matte_cells(grid, CAMERA, poses(3), mattes)
    with pytest.raises(REFUSED, match="mattes"):
        matte_cells(grid, CAMERA, poses(2), mattes[..., 1:])
    with pytest.raises(REFUSED, match="camera"):
        matte_cells(grid, Camera(CAMERA.K_px.expand(3, 3, 3), 24, 20), poses(2), mattes)
    with pytest.raises(HeadstudioError, match="no cell"):
        matte_cells(grid, CAMERA, poses(2), 0 * mattes)
