"""StyleAvatar's conditioning pictures: the fixed light, places in the atlas, and pixels that stay with the camera."""

import math

import pytest
import torch

from headstudio.methods.style_avatar.renderings import FixedLightConfig, fixed_light, render_inputs
from headstudio.render.light import spherical_harmonics
from support.shapes import camera, sphere, turned


def _rendered(size_px: int = 64, light: FixedLightConfig | None = None, yaw_rad: float = 0.0, shift_px: int = 0):
    points, mesh = sphere()
    return render_inputs(
        turned(points, yaw_rad)[None],
        mesh,
        camera(size_px).window(-shift_px, 0, size_px, size_px),
        torch.full((1, 3, 8, 8), 0.5),
        light or FixedLightConfig(),
    )


@pytest.mark.parametrize("direction", [(0.0, 0.0, -1.0), (-0.5, -0.7, -0.5), (3.0, 1.0, 0.0)])
def test_the_light_is_a_clamped_cosine_over_an_ambient_one(direction) -> None:
    light = fixed_light(FixedLightConfig(0.4, 0.8, direction))
    normals = torch.nn.functional.normalize(torch.randn(500, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    towards = torch.tensor(direction) / math.sqrt(sum(value**2 for value in direction))
    cosine = normals @ towards
    clamped = 1 / 4 + cosine / 2 + 5 / 32 * (3 * cosine.square() - 1)  # max(0, cosine) to the second order
    found = spherical_harmonics(normals) @ light[0]
    assert torch.equal(found[:, 0], found[:, 2])
    assert torch.allclose(found[:, 0], 0.4 + 0.8 * clamped, atol=1e-5)


def test_ambient_light_of_one_leaves_the_texture_as_it_is() -> None:
    shown = _rendered(light=FixedLightConfig(1.0, 0.0))
    inside = torch.nn.functional.avg_pool2d(shown.mask, 3, stride=1, padding=1) > 0.999
    assert shown.texture[inside.expand(-1, 3, -1, -1)].abs().max() < 1e-2  # 0.5 in [0, 1]
    assert (shown.texture[..., 0, 0] + 1).abs().max() == 0  # black beside the head


def test_it_falls_from_above_and_the_left() -> None:
    shown = _rendered()
    half = 32
    level = shown.texture * shown.mask
    assert level[..., :half, :].sum() > level[..., half:, :].sum() + 50
    assert level[..., :half].sum() > level[..., half:].sum() + 50


def test_the_light_stays_with_the_camera_and_the_places_go_with_the_head() -> None:
    first, second = _rendered(), _rendered(yaw_rad=0.4)
    assert (first.texture - second.texture).abs().mean() < 0.01  # a ball of one colour looks the same
    centre = (..., 32, 32)
    assert float((first.uv[0, 0][centre] - second.uv[0, 0][centre]).abs()) == pytest.approx(
        0.4 / (2 * math.pi), abs=0.02
    )
    assert float(first.uv[0, 1][centre]) == pytest.approx(0.5, abs=0.03)


def test_a_window_of_the_camera_moves_all_renderings_alike() -> None:
    first, second = _rendered(), _rendered(shift_px=4)
    for one, other in zip(vars(first).values(), vars(second).values(), strict=True):
        assert torch.allclose(one[..., :-4], other[..., 4:], atol=2e-3)


def test_places_are_given_where_the_mask_is_and_nowhere_else() -> None:
    shown = _rendered()
    assert set(shown.mask.unique().tolist()) == {0.0, 1.0}
    assert (shown.uv * (1 - shown.mask)).abs().max() == 0
    assert shown.uv.min() >= 0
    assert shown.uv.max() <= 1
    area = float(shown.mask.mean())
    radius_px = 2.2 * 64 * 0.1 / math.sqrt(0.6**2 - 0.1**2)
    assert area == pytest.approx(math.pi * radius_px**2 / 64**2, rel=0.02)


def test_finer_renderings_show_the_same() -> None:
    coarse, fine = _rendered(64), _rendered(128)
    smaller = torch.nn.functional.avg_pool2d(fine.texture, 2)
    assert (smaller - coarse.texture).abs().mean() < 0.02
