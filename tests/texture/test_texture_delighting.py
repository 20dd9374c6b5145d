"""Light and albedo told apart where both were planted."""

import math
from dataclasses import replace

import pytest
import torch

from headstudio.errors import HeadstudioError
from headstudio.render.colour import linear_to_srgb
from headstudio.render.light import Y00, spherical_harmonics, turned
from headstudio.render.transfer import shadowed_harmonics
from headstudio.texture.delight import DelightConfig, TexelTable, _Problem, _weighted_median, delight, light_turns
from headstudio.texture.known_light import light_over
from headstudio.texture.unproject import Samples
from support.shapes import sphere

VIEWS, TEXELS = 9, 600


def planted(turning, seed=0, outliers=0.0):
    """A table of a round head, and its albedo, light and turns."""
    generator = torch.Generator().manual_seed(seed)
    normals = torch.nn.functional.normalize(torch.randn(TEXELS, 3, generator=generator), dim=1)
    albedo = torch.tensor([0.5, 0.3, 0.22]) * (1 + 0.15 * torch.randn(TEXELS, 1, generator=generator))
    albedo[:60] = torch.tensor([0.08, 0.05, 0.04])  # brows
    albedo = albedo.clamp(0.02, 0.9)
    light = torch.zeros(9, 3)
    light[0], light[3], light[1] = 0.8 / Y00, torch.tensor([0.6, 0.5, 0.4]), -0.3
    light[7] = 0.15
    angles = torch.linspace(-1.2, 1.2, VIEWS)
    rest = torch.randn(40, 3, generator=generator)
    spins = [yaw(float(angle)) for angle in angles]
    turns = light_turns(rest, [rest @ spin.T for spin in spins], turning)
    harmonics = spherical_harmonics(normals)
    lit = torch.einsum("th,vhk,kc->vtc", harmonics, turns, light).clamp_min(0.02) * albedo
    facing = torch.stack([(normals @ spin.T)[:, 2] for spin in spins]).clamp_min(0) ** 2
    struck = torch.rand(VIEWS, TEXELS, 1, generator=generator) < outliers
    bright = torch.rand(VIEWS, TEXELS, 1, generator=generator) < 0.5
    lit = torch.where(struck, torch.where(bright, lit + 0.4, 0.3 * lit), lit)
    return (
        TexelTable(lit.clamp(0, 1), facing, harmonics, torch.zeros(TEXELS, dtype=torch.long), places()),
        albedo,
        light,
        turns,
    )


def places():
    return torch.arange(625).reshape(25, 25) < TEXELS


def yaw(angle):
    cosine, sine = math.cos(angle), math.sin(angle)
    return torch.tensor([[cosine, 0.0, sine], [0.0, 1.0, 0.0], [-sine, 0.0, cosine]])


def error(found, truth, seen):
    gain = (found[seen] * truth[seen]).sum(0) / found[seen].square().sum(0)
    return float((found * gain - truth)[seen].abs().mean())


@pytest.mark.parametrize("turning", [True, False])
def test_albedo_comes_back_much_nearer_than_the_mean(turning):
    table, albedo, _, turns = planted(turning)
    found = delight(table, turns, DelightConfig())
    seen = table.weights.sum(0) > 0.3
    total = table.weights.sum(0)[:, None].clamp_min(1e-6)
    raw = (table.colours * table.weights[..., None]).sum(0) / total
    relit = table.colours / torch.einsum("th,vhk,kc->vtc", table.harmonics, turns, found.light_sh).clamp_min(0.05)
    delit = (relit * table.weights[..., None]).sum(0) / total
    assert error(delit, albedo, seen) < 0.5 * error(raw, albedo, seen)
    assert found.losses["photometric"] < 0.5 * found.losses["start"]


@pytest.mark.parametrize("turning", [True, False])
def test_shadows_and_highlights_move_the_light_little(turning):
    clean, _, _, turns = planted(turning)
    struck = planted(turning, outliers=0.15)[0]

    def lit(table):
        return torch.einsum("th,vhk,kc->vtc", clean.harmonics, turns, delight(table, turns, DelightConfig()).light_sh)

    seen = clean.weights > 0.1
    quiet, moved = lit(clean)[seen], lit(struck)[seen]
    assert (moved / moved.mean(0) - quiet / quiet.mean(0)).abs().mean() < 0.08


@pytest.mark.parametrize("turning", [True, False])
def test_the_light_itself_is_found_up_to_its_scale(turning):
    table, _, light, turns = planted(turning)
    found = delight(table, turns, DelightConfig()).light_sh
    mean = (torch.einsum("th,vhk,kc->vtc", table.harmonics, turns, found) * table.weights[..., None]).sum((0, 1))
    assert torch.allclose(mean / table.weights.sum(), torch.ones(3), atol=1e-4)
    directions = spherical_harmonics(torch.eye(3))
    wanted, got = directions @ light, directions @ found
    assert (got / got.mean(0) - wanted / wanted.mean(0)).abs().max() < 0.25


def test_the_result_is_the_same_twice():
    table, _, _, turns = planted(True)
    first, second = (delight(table, turns, DelightConfig(joint_steps=20)) for _ in range(2))
    assert torch.equal(first.light_sh, second.light_sh) and torch.equal(first.albedo, second.albedo)


def test_first_steps_leave_the_albedo_flat():
    table, _, _, turns = planted(True)
    found = delight(table, turns, DelightConfig(joint_steps=0))
    assert (found.albedo - found.albedo[:1]).abs().max() < 1e-6
    assert found.light_sh[1:].abs().max() > 0.05


def test_each_term_reaches_what_it_should():
    table, _, _, turns = planted(True)
    problem = _Problem(table, turns, DelightConfig())
    for name, reaches_light in (("photometric", True), ("flatness", False)):
        albedo = problem.albedo.clone() + 0.01
        light = problem.light.clone()
        albedo.requires_grad_(), light.requires_grad_()
        problem.terms(albedo, light)[name].backward()
        assert albedo.grad is not None and albedo.grad.abs().sum() > 0
        assert (light.grad is not None and bool(light.grad.abs().sum() > 0)) == reaches_light


def test_clipping_is_paid_for_bright_light_and_impossible_albedo_only():
    table, _, _, turns = planted(True)
    problem = _Problem(table, turns, DelightConfig())
    ambient = torch.zeros(9, 3)
    ambient[0] = 0.9 / Y00
    half = torch.full((TEXELS, 3), 0.5)
    assert problem.terms(half, ambient)["clipping"] == 0
    assert problem.terms(half, 2 * ambient)["clipping"] > 0.1
    assert problem.terms(1.2 * torch.ones_like(half), 0.5 * ambient)["clipping"] > 0.1
    assert problem.terms(-half, ambient)["clipping"] > 0.1


def test_light_turns_as_normals_do():
    rest = torch.randn(30, 3, generator=torch.Generator().manual_seed(1))
    light = torch.randn(9, 3, generator=torch.Generator().manual_seed(2))
    normal = torch.nn.functional.normalize(torch.tensor([[0.3, -0.5, 0.8]]), dim=1)
    spin = yaw(0.7)
    turns = light_turns(rest, [rest @ spin.T + 0.4], True)
    in_camera = spherical_harmonics(normal @ spin.T) @ light
    assert torch.allclose(spherical_harmonics(normal) @ turns[0] @ light, in_camera, atol=1e-4)
    assert torch.allclose(turns[0] @ light, turned(light[None], spin.T[None])[0], atol=1e-4)
    assert torch.equal(light_turns(rest, [rest], False)[0], torch.eye(9))


def test_a_weighted_median_is_the_repeated_one():
    values = torch.tensor([[1.0], [5.0], [2.0], [9.0]])
    weights = torch.tensor([1.0, 3.0, 1.0, 2.0])
    repeated = values.repeat_interleave(weights.long(), dim=0)
    assert _weighted_median(values, weights) == repeated.median()


def test_a_convex_body_shadows_nothing_and_a_lid_shadows_what_is_below():
    points, mesh = sphere(12, 24)
    bare = shadowed_harmonics(points, mesh.triangles, 0)
    # Depth maps are compared at a lifted point, so grazing directions may err a little.
    assert (shadowed_harmonics(points, mesh.triangles, 24) - bare)[:, 0].abs().mean() < 0.02
    lid = 0.9 * points * torch.tensor([1.0, 0.1, 1.0]) - torch.tensor([0.0, 0.13, 0.0])
    both = torch.cat([points, lid])
    triangles = torch.cat([mesh.triangles, mesh.triangles + len(points)])
    covered = shadowed_harmonics(both, triangles, 48)[: len(points), 0]
    top, bottom = points[:, 1] < -0.09, points[:, 1] > 0.09
    assert covered[top].mean() < 0.7 * covered[bottom].mean()


def test_too_little_skin_is_refused():
    samples = Samples(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.zeros(2, 1, 8, 8))
    with pytest.raises(HeadstudioError, match="too few"):
        TexelTable.of(samples, torch.zeros(9, 8, 8), torch.zeros(8, 8, dtype=torch.long))


def test_the_table_holds_linear_light_of_what_was_seen():
    colours = (linear_to_srgb(torch.full((2, 3, 10, 10), 0.25)) * 255).round().to(torch.uint8)
    weights = torch.ones(2, 1, 10, 10)
    weights[:, :, :2] = 0
    table = TexelTable.of(Samples(colours, weights), torch.zeros(9, 10, 10), torch.zeros(10, 10, dtype=torch.long))
    assert table.colours.shape == (2, 80, 3) and (table.colours - 0.25).abs().max() < 0.005


def test_black_pictures_give_finite_numbers():
    table, _, _, turns = planted(True)
    dark = replace(table, colours=torch.zeros_like(table.colours))
    found = delight(dark, turns, DelightConfig(joint_steps=5))
    assert torch.isfinite(found.light_sh).all() and torch.isfinite(found.albedo).all()


@pytest.mark.parametrize("turning", [True, False])
def test_over_known_skin_the_light_comes_back_as_it_was(turning):
    table, albedo, light, turns = planted(turning, outliers=0.1)
    assert (light_over(table, albedo, turns) - light).abs().max() < 0.05


def test_another_white_balance_goes_into_the_light():
    table, albedo, light, turns = planted(True)
    gain = torch.tensor([1.2, 1.0, 0.8])
    assert torch.allclose(light_over(table, albedo / gain, turns), light * gain, atol=0.05)


def test_what_a_head_that_is_lit_from_one_side_alone_does_not_tell_stays_finite():
    table, albedo, _, turns = planted(False)
    facing = replace(table, weights=table.weights * (table.harmonics[:, 2] > 0.45))  # normals towards the camera alone
    assert light_over(facing, albedo, turns).abs().max() < 20
