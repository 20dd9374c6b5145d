"""Local contrast and the pattern that it makes: what they do not see, and whom they do not listen to."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from headstudio.render.colour import linear_to_srgb, srgb_to_linear
from headstudio.tracking.pattern import learn_pattern
from headstudio.tracking.surface import local_contrast

SIZE_PX = 128


@pytest.fixture(scope="module")
def skin() -> torch.Tensor:
    """Linear light of blotches a few pixels wide, between 0.2 and 0.6: no pixel saturates in what follows."""
    coarse = torch.rand(2, 3, 30, 30, generator=torch.Generator().manual_seed(0))
    fine = torch.nn.functional.interpolate(coarse, (SIZE_PX, SIZE_PX), mode="bicubic").clamp(0, 1)
    return 0.2 + 0.4 * fine


def size(contrast: torch.Tensor) -> float:
    return float(contrast.square().mean().sqrt())


@pytest.mark.parametrize("gain", [0.6, 0.8, 1.5])
def test_exposure_changes_nothing(skin: torch.Tensor, gain: float) -> None:
    """But for the little light that keeps the dark quiet: 0.02 against 0.2 and more."""
    seen, darker = (local_contrast(linear_to_srgb(light)) for light in (skin, gain * skin))
    assert size(seen) > 0.1
    assert size(seen - darker) < 0.08 * size(seen)
    assert size(linear_to_srgb(skin) - linear_to_srgb(gain * skin)) > 0.3 * size(seen)


def test_a_colour_cast_changes_nothing(skin: torch.Tensor) -> None:
    cast = torch.tensor([1.3, 1.0, 0.7])[:, None, None]
    seen, warm = (local_contrast(linear_to_srgb(light)) for light in (skin, cast * skin))
    assert size(seen - warm) < 0.08 * size(seen)


def test_light_that_falls_slowly_changes_nothing(skin: torch.Tensor) -> None:
    """Over the picture light halves along x and grows by a third along y. At the border the surroundings are cut."""
    y, x = torch.meshgrid(torch.linspace(0, 1, SIZE_PX), torch.linspace(0, 1, SIZE_PX), indexing="ij")
    fall = torch.exp(-math.log(2) * x + math.log(4 / 3) * y)
    inside = slice(8, -8)
    seen, shaded = (local_contrast(linear_to_srgb(light))[..., inside, inside] for light in (skin, fall * skin))
    assert size(seen - shaded) < 0.06 * size(seen)


def test_plain_pictures_have_no_contrast_and_black_ones_are_finite() -> None:
    for level in (0.0, 0.5, 1.0):
        assert float(local_contrast(torch.full((1, 3, 40, 40), level)).abs().max()) < 1e-5


def test_noise_in_the_dark_stays_noise() -> None:
    """One grey level of 255 up and down in black weighs no more than a tenth of what it would without the floor."""
    noise = torch.randint(0, 3, (1, 3, 64, 64), generator=torch.Generator().manual_seed(1)) / 255
    assert size(local_contrast(noise)) < 0.05


@pytest.mark.parametrize("size_px", [50, 96])
def test_surroundings_are_a_gaussian_around_each_pixel(size_px: int) -> None:
    """Against scipy, whose kernel is cut at the same place: 2 % of the side, to 2.5 deviations."""
    images = torch.rand(1, 3, size_px, size_px, generator=torch.Generator().manual_seed(2))
    deviation = 0.02 * size_px
    logarithm = np.log(srgb_to_linear(images)[0].double().numpy() + 0.02)
    around = [
        gaussian_filter(layer, deviation, mode="nearest", radius=math.ceil(2.5 * deviation)) for layer in logarithm
    ]
    expected = torch.from_numpy(logarithm - np.stack(around))[None]
    torch.testing.assert_close(local_contrast(images).double(), expected, atol=1e-4, rtol=0)


def sightings(frames: int = 12, points: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    """What each point shows, and what was found of it with a little noise."""
    draw = torch.Generator().manual_seed(3)
    truth = 0.3 * torch.randn(points, 3, generator=draw)
    return truth, truth + 0.02 * torch.randn(frames, points, 3, generator=draw)


def test_the_pattern_is_the_mean_of_what_was_seen() -> None:
    truth, found = sightings()
    pattern = learn_pattern(found, torch.ones(12, 40))
    torch.testing.assert_close(pattern.mean, truth, atol=0.03, rtol=0)
    # Three colours of 0.02 each.
    assert float(pattern.deviation.mean()) == pytest.approx(0.02 * 3**0.5, rel=0.2)
    assert pattern.seen.tolist() == [1.0] * 40


def test_frames_with_something_before_the_face_do_not_count() -> None:
    """A third of the frames shows a hand: their mean would be 0.6 away."""
    truth, found = sightings()
    hand = torch.tensor([1.5, 1.0, -0.5])
    found[:4] = hand
    pattern = learn_pattern(found, torch.ones(12, 40))
    naive = (found.mean(0) - truth).norm(dim=1)
    assert float(naive.mean()) > 0.4
    assert float((pattern.mean - truth).norm(dim=1).max()) < 0.15 * float(naive.mean())


def test_what_is_not_seen_in_a_frame_does_not_count_there() -> None:
    truth, found = sightings()
    weight = torch.ones(12, 40)
    weight[:6, ::2], found[:6, ::2] = 0.0, 99.0
    weight[:, 5] = 0.0
    pattern = learn_pattern(found, weight)
    assert float((pattern.mean - truth)[torch.arange(40) != 5].abs().max()) < 0.05
    assert float(pattern.seen[0]) == 0.5 and float(pattern.seen[5]) == 0.0
    assert bool(torch.isfinite(pattern.mean).all()) and bool(torch.isfinite(pattern.deviation).all())


def test_points_that_come_and_go_have_a_larger_deviation() -> None:
    _, found = sightings()
    found[::2, :20] += 0.2
    deviation = learn_pattern(found, torch.ones(12, 40)).deviation
    assert float(deviation[:20].min()) > 2 * float(deviation[20:].max())


def test_order_of_the_frames_does_not_matter() -> None:
    _, found = sightings()
    weight = torch.rand(12, 40, generator=torch.Generator().manual_seed(4))
    turned = torch.randperm(12, generator=torch.Generator().manual_seed(5))
    one, other = learn_pattern(found, weight), learn_pattern(found[turned], weight[turned])
    torch.testing.assert_close(one.mean, other.mean)
    torch.testing.assert_close(one.deviation, other.deviation)
