"""What no picture shows is filled: whole, like its surroundings, and without a step where charts meet."""

import math

import pytest
import torch

from headstudio.errors import HeadstudioError
from headstudio.render.mesh import MeshTopology
from headstudio.texture.charts import ChartLinks
from headstudio.texture.fill import pull_push
from headstudio.texture.smooth import USUAL_COLOURS, smooth_colours
from headstudio.texture.synthesis import SynthesisConfig, complete
from headstudio.texture.texels import TexelMap
from headstudio.texture.unproject import Unprojected

SIZE = 128
CONFIG = SynthesisConfig(work_px=64, levels=2)


def tube(columns=32, rows=12):
    """A pipe about y whose atlas is torn along one line, u from 0.1 to 0.9; v from 0.1 to 0.9."""
    row, column = torch.meshgrid(torch.arange(rows + 1), torch.arange(columns), indexing="ij")
    angle = column / columns * 2 * math.pi
    points = torch.stack([0.1 * angle.sin(), 0.02 * row, 0.1 * angle.cos()], -1).reshape(-1, 3)
    row, column = torch.meshgrid(torch.arange(rows + 1), torch.arange(columns + 1), indexing="ij")
    uv = torch.stack([0.1 + 0.8 * column / columns, 0.1 + 0.8 * row / rows], -1).reshape(-1, 2)
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")

    def corner(down, right, wide, wrap):
        along = (column + right) % columns if wrap else column + right
        return ((row + down) * wide + along).flatten()

    def triangles(wide, wrap):
        a, b, c, d = (corner(x, y, wide, wrap) for x, y in ((0, 0), (0, 1), (1, 1), (1, 0)))
        return torch.cat([torch.stack([a, d, c], -1), torch.stack([a, c, b], -1)])

    return points, MeshTopology(triangles(columns, True), uv, triangles(columns + 1, False))


@pytest.fixture(scope="module")
def world():
    """A grainy pipe, bright on one side and dark on the other, seen from the front half only."""
    points, mesh = tube()
    texels = TexelMap.build(mesh.triangles, mesh.uv, mesh.uv_triangles, SIZE)
    place = texels.spread(points)
    generator = torch.Generator().manual_seed(0)
    grain = 0.04 * torch.randn(1, SIZE, SIZE, generator=generator)
    texture = torch.tensor([0.6, 0.45, 0.4])[:, None, None] + 0.8 * place[:1] + grain
    seen = (texels.mask & (place[2] < 0.03))[None].float()
    regions = {"face": torch.ones(len(points), dtype=torch.bool)}
    return points, mesh, texels, Unprojected(texture * seen, seen), regions


@pytest.fixture(scope="module")
def filled(world):
    points, mesh, texels, unprojected, regions = world
    return complete(unprojected, points, mesh, regions, texels, CONFIG)


def test_every_texel_is_filled_and_what_was_seen_stays(world, filled):
    unprojected = world[3]
    assert torch.isfinite(filled).all() and filled.min() > 0.05
    seen = unprojected.weight[0] > 0
    assert torch.allclose(filled[:, seen], unprojected.texture[:, seen], atol=1e-6)


def test_the_result_is_the_same_twice(world, filled):
    points, mesh, texels, unprojected, regions = world
    assert torch.equal(filled, complete(unprojected, points, mesh, regions, texels, CONFIG))


def local(texture, inside):
    """Mean and standard deviation of differences between neighbours, which knows nothing of slow change."""
    step = (texture[:, :, 1:] - texture[:, :, :-1])[:, inside[:, 1:] & inside[:, :-1]]
    return texture[:, inside].mean(1), step.std()


def test_made_skin_is_like_seen_skin(world, filled):
    texels, unprojected = world[2], world[3]
    seen = unprojected.weight[0] > 0
    mean, grain = local(unprojected.texture, seen)
    made_mean, made_grain = local(filled, texels.mask & ~seen)
    assert (mean - made_mean).abs().max() < 0.05
    assert 0.75 * grain < made_grain < 1.25 * grain
    smooth = pull_push(unprojected.texture, unprojected.weight)
    assert local(smooth, texels.mask & ~seen)[1] < 0.5 * grain  # the cheap fill has no grain: the test can fail


def step_at_seam(texture, texels):
    """Step at the tear beyond the slope on both sides of it, by means of 5 by 16 texels, which leave little grain."""
    columns = texels.mask.any(0).nonzero()[:, 0]
    left, right = int(columns[0]), int(columns[-1]) + 1
    rows = texels.mask[:, left].nonzero()[:, 0][4:84]
    starts = (right - 10, right - 5, left, left + 5)
    means = [texture[:, rows, a : a + 5].mean((0, 2)).reshape(5, 16).mean(1) for a in starts]
    slope = (means[1] - means[0] + means[3] - means[2]) / 2
    return float((means[2] - means[1] - slope).abs().mean())


def test_no_step_where_charts_meet(world, filled):
    _, _, texels, unprojected, _ = world
    naive = pull_push(unprojected.texture, unprojected.weight)
    # The two ends of the atlas continue different sides of the pipe: 0.8 * 0.2 m apart at most.
    assert step_at_seam(naive, texels) > 0.04
    assert step_at_seam(filled, texels) < 0.02
    assert step_at_seam(filled, texels) < 0.3 * step_at_seam(naive, texels)


def test_texels_beyond_a_seam_lie_where_the_surface_goes_on(world):
    points, mesh, texels, _, _ = world
    links = ChartLinks.build(mesh, texels, 3.0)
    beyond = (~texels.mask & (links.target >= 0)).nonzero()
    assert len(beyond) > 100
    place = texels.spread(points).flatten(1)
    columns = texels.mask.any(0).nonzero()[:, 0]
    there = links.target[beyond[:, 0], beyond[:, 1]]
    outside = torch.where(beyond[:, 1] < columns[0], columns[0] - beyond[:, 1], beyond[:, 1] - columns[-1])
    edge = torch.where(beyond[:, 1] < columns[0], columns[0], columns[-1])
    start = place[:, beyond[:, 0] * SIZE + edge]
    texel_m = 2 * math.pi * 0.1 / (0.8 * SIZE)
    assert ((place[:, there] - start).norm(dim=0) - outside * texel_m).abs().max() < 1.6 * texel_m
    inside = links.target[texels.mask]
    assert torch.equal(inside, texels.mask.flatten().nonzero()[:, 0])


def test_neighbours_reach_across_the_tear(world):
    _, mesh, texels, _, _ = world
    links = ChartLinks.build(mesh, texels, 3.0)
    columns = texels.mask.any(0).nonzero()[:, 0]
    row, left, right = SIZE // 2, int(columns[0]), int(columns[-1])
    found = links.neighbours(torch.tensor([row * SIZE + left]), torch.tensor([[0, -1], [0, 1], [-200, 0]]))[0]
    assert abs(int(found[0]) % SIZE - right) <= 1 and abs(int(found[0]) // SIZE - row) <= 1
    assert found[1] == row * SIZE + left + 1 and found[2] == -1


def test_the_smooth_colour_obeys_its_neighbours_and_usual_colours_stand_for_what_nobody_saw(world):
    points, mesh, texels, unprojected, _ = world
    regions = {"teeth": torch.ones(len(points), dtype=torch.bool)}
    colours = smooth_colours(unprojected.texture, unprojected.weight, points, mesh, texels, regions)
    known = smooth_colours(unprojected.texture, unprojected.weight, points, mesh, texels, {})
    assert torch.allclose(colours, known) and colours.min() > 0.1 and colours.max() < 0.9
    nothing = smooth_colours(unprojected.texture, 0 * unprojected.weight, points, mesh, texels, regions)
    assert torch.allclose(nothing, torch.tensor(USUAL_COLOURS["teeth"]).expand_as(nothing))


def test_nothing_seen_at_all_gives_a_whole_plain_texture(world):
    points, mesh, texels, unprojected, regions = world
    blank = Unprojected(0 * unprojected.texture, 0 * unprojected.weight)
    found = complete(blank, points, mesh, regions, texels, CONFIG)
    assert torch.isfinite(found).all() and (found - 0.5).abs().max() < 1e-5


@pytest.mark.parametrize("change", [{"patch_px": 4}, {"patch_px": 1}, {"levels": 0}, {"levels": 9}])
def test_impossible_sizes_are_refused(change):
    with pytest.raises(HeadstudioError):
        SynthesisConfig(**change)


def test_a_texture_that_cannot_be_halved_is_refused(world):
    points, mesh, _, _, regions = world
    texels = TexelMap.build(mesh.triangles, mesh.uv, mesh.uv_triangles, 100)
    blank = Unprojected(torch.zeros(3, 100, 100), torch.zeros(1, 100, 100))
    with pytest.raises(HeadstudioError, match="halved"):
        complete(blank, points, mesh, regions, texels, CONFIG)


def test_hair_goes_on_behind_and_ends_where_the_scalp_does(world):
    points, mesh, texels, unprojected, _ = world
    scalp = points[:, 1] > 0.12
    row = texels.spread(points)[1]
    dark = torch.where(row > 0.12, 0.1, 0.6)
    seen = unprojected.weight
    colours = smooth_colours((dark * seen).expand(3, -1, -1).contiguous(), seen, points, mesh, texels, {"scalp": scalp})
    unseen = points[:, 2] > 0.05
    assert colours[unseen & scalp].max() < 0.2 and colours[unseen & (points[:, 1] < 0.1)].min() > 0.5
    # Without hair in sight, what the rest tells is better than nothing.
    below = seen * (row < 0.11)
    bald = smooth_colours((dark * below).expand(3, -1, -1).contiguous(), below, points, mesh, texels, {"scalp": scalp})
    assert bald[scalp].min() > 0.5


def test_a_high_forehead_is_no_hair(world):
    points, mesh, texels, unprojected, _ = world
    regions = {"scalp": points[:, 1] > 0.12, "face": points[:, 1] <= 0.12}
    row = texels.spread(points)[1]
    seen = unprojected.weight
    hairline = torch.where(row > 0.19, 0.1, 0.6)
    high = smooth_colours((hairline * seen).expand(3, -1, -1).contiguous(), seen, points, mesh, texels, regions)
    assert high[(points[:, 2] > 0.05) & regions["scalp"]].max() < 0.25
    bald = smooth_colours((0.6 * seen).expand(3, -1, -1).contiguous(), seen, points, mesh, texels, regions)
    assert bald.min() > 0.55
