"""Pictures that are off by a known displacement, laid on a known texture again."""

import dataclasses

import pytest
import torch

from headstudio.render.mesh import render_surface
from headstudio.texture.alignment import AlignmentConfig, aligned, dense_flow, fetched, smooth_flow
from headstudio.texture.unproject import Observation
from support.shapes import camera, sphere, turned

SIZE, PICTURE = 128, 192
CONFIG = AlignmentConfig(most=0.05)


def speckled(seed=0):
    """A texture with something to see at every scale."""
    make = torch.Generator().manual_seed(seed)
    levels = [torch.rand(1, 3, side, side, generator=make) for side in (8, 16, 32, 64)]
    grown = [torch.nn.functional.interpolate(level, (SIZE, SIZE), mode="bicubic") for level in levels]
    return (torch.stack(grown).mean(0)[0] * 2 - 0.5).clamp(0, 1)


@pytest.fixture(scope="module")
def world():
    points, mesh = sphere()
    texture, vertices = speckled(), turned(points, 0.2)
    drawn = render_surface(vertices[None], mesh, camera(PICTURE), texture[None])
    seen = Observation(drawn.image[0], (drawn.mask[0] > 0.99).float(), vertices, camera(PICTURE))
    return mesh, texture, seen


def moved(observation, right_px, down_px):
    """The observation whose picture shows everything that far to the right and below."""
    away = torch.tensor([-float(right_px), -float(down_px)])[None, :, None, None].expand(1, 2, PICTURE, PICTURE)
    stored = torch.cat([observation.image, observation.trust])[None]
    found = fetched(stored, away)[0]
    return dataclasses.replace(observation, image=found[:3], trust=found[3:])


def error(observation, wanted):
    inside = torch.nn.functional.avg_pool2d(wanted.trust[None], 25, stride=1, padding=12)[0, 0] > 0.999
    return float((observation.image - wanted.image).abs().mean(0)[inside].mean())


@pytest.mark.parametrize(("right_px", "down_px"), [(3, 0), (0, -3), (-2.5, 2)])
def test_a_displaced_picture_comes_back(world, right_px, down_px):
    mesh, texture, seen = world
    off = moved(seen, right_px, down_px)
    back = aligned(off, texture, mesh, CONFIG)
    # Bilinear twice blurs what is that fine: a fifth of the error is left at most, and most of it is blur.
    assert error(back, seen) < 0.35 * error(off, seen)


def test_a_picture_that_lies_right_stays(world):
    mesh, texture, seen = world
    assert error(aligned(seen, texture, mesh, CONFIG), seen) < 0.005


def test_no_more_is_undone_than_is_allowed(world):
    mesh, texture, seen = world
    off = moved(seen, 4, 0)
    short = aligned(off, texture, mesh, dataclasses.replace(CONFIG, most=1.0 / PICTURE))
    whole = aligned(off, texture, mesh, CONFIG)
    one = moved(seen, 3, 0)
    assert error(whole, seen) < error(short, seen)
    assert error(short, one) < 0.35 * error(short, seen)
    still = aligned(off, texture, mesh, dataclasses.replace(CONFIG, most=0.0))
    torch.testing.assert_close(still.image, off.image, atol=1e-5, rtol=0)


def test_what_nobody_trusts_pulls_at_nothing(world):
    mesh, texture, seen = world
    off = dataclasses.replace(moved(seen, 3, 0), trust=torch.zeros(1, PICTURE, PICTURE))
    found = aligned(off, texture, mesh, CONFIG)
    torch.testing.assert_close(found.image, off.image, atol=1e-5, rtol=0)


def test_a_small_thing_that_differs_is_left_alone(world):
    """A mole that the texture does not have neither moves nor moves its surroundings."""
    mesh, texture, seen = world
    marked = seen.image.clone()
    marked[:, 90:96, 90:96] = 0.0
    found = aligned(dataclasses.replace(seen, image=marked), texture, mesh, CONFIG)
    assert float((found.image - marked).abs().max()) < 0.25
    assert float((found.image - marked).abs().mean()) < 0.004


def test_fetching_is_the_naive_look_up():
    torch.manual_seed(0)
    pictures, away = torch.rand(2, 3, 6, 7), 3 * torch.randn(2, 2, 6, 7)
    found = fetched(pictures, away)
    for batch in range(2):
        for row in range(6):
            for column in range(7):
                x = min(max(column + float(away[batch, 0, row, column]), 0.0), 6.0)
                y = min(max(row + float(away[batch, 1, row, column]), 0.0), 5.0)
                left, top = min(int(x), 5), min(int(y), 4)
                across, down = x - left, y - top
                cell = pictures[batch, :, top : top + 2, left : left + 2]
                wanted = (cell[:, 0] * (1 - down) + cell[:, 1] * down) @ torch.tensor([1 - across, across])
                torch.testing.assert_close(found[batch, :, row, column], wanted, atol=1e-5, rtol=0)


def test_flow_points_to_where_things_went(world):
    _, _, seen = world
    flow = dense_flow(seen.image, moved(seen, 2, -1).image)
    inside = torch.nn.functional.avg_pool2d(seen.trust[None], 31, stride=1, padding=15)[0, 0] > 0.999
    torch.testing.assert_close(flow[:, inside].median(1).values, torch.tensor([2.0, -1.0]), atol=0.3, rtol=0)


def test_flow_that_does_not_come_back_counts_little(world):
    """Noise has no flow: what is found there is not taken for one."""
    _, _, seen = world
    make = torch.Generator().manual_seed(1)
    noise = torch.rand(seen.image.shape, generator=make)
    wild = smooth_flow(seen.image, noise, seen.trust, CONFIG).norm(dim=0).mean()
    raw = dense_flow(seen.image, noise).norm(dim=0).mean()
    assert wild < raw
