"""CPBD on pictures whose blur is known, and against loops that follow the paper's text."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from headstudio.evaluation.blur import cpbd, edge_widths_px

SIGMAS = (0.0, 0.6, 1.0, 1.6, 2.5, 4.0)


def checkers(contrast=1.0, cell=23, side=192):
    """Squares with smooth shading, so that rows hold more than steps."""
    rows, columns = np.mgrid[:side, :side]
    squares = ((rows // cell + columns // cell) % 2).astype(float)
    return 0.5 + contrast * 0.9 * (squares - 0.5)


def as_batch(grey):
    return torch.tensor(grey, dtype=torch.float32).expand(1, 3, *grey.shape)


def everywhere(grey):
    return torch.ones(1, 1, *grey.shape, dtype=torch.bool)


def score(grey):
    return float(cpbd(as_batch(grey), everywhere(grey))[0, 0])


def blurred(grey, sigma):
    return ndimage.gaussian_filter(grey, sigma) if sigma else grey


@pytest.mark.parametrize("contrast", [1.0, 0.15])
def test_more_blur_never_scores_higher(contrast):
    found = [score(blurred(checkers(contrast), sigma)) for sigma in SIGMAS]
    assert found == sorted(found, reverse=True)
    assert found[0] == 1.0 and found[-1] < 0.05


def test_a_photograph_like_texture_loses_its_sharpness_bit_by_bit():
    noise = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((192, 192)), 0.8)
    texture = 0.5 + 0.15 * noise / noise.std()
    found = [score(blurred(texture, sigma)) for sigma in (0.0, 0.7, 1.4, 2.8)]
    assert found == sorted(found, reverse=True) and found[0] - found[-1] > 0.3


def test_weak_contrast_hides_the_same_blur():
    # A just noticeable blur is 5 px wide where contrast is low and 3 px where it is high.
    ramp = np.interp(np.arange(192) % 48, [0, 4, 24, 28, 48], [0, 1, 1, 0, 0]) * np.ones((192, 1))
    assert score(0.3 + 0.12 * ramp) > 0.9 > 0.1 > score(0.1 + 0.8 * ramp)


def test_the_width_of_a_ramp_is_its_length():
    for length in (2, 3, 5, 8):
        row = np.clip(np.arange(40) - 15, 0, length) * 20.0
        widths = edge_widths_px(np.tile(row, (5, 1)))
        assert set(widths[2, 16 : 15 + length]) == {length}
        assert (edge_widths_px(np.tile(-row, (5, 1))) == widths)[2, 16 : 15 + length].all()
    step = np.tile(np.where(np.arange(40) < 20, 0.0, 200.0), (5, 1))
    assert edge_widths_px(step)[2, 19] == 2


def naive(grey, mask):
    """Eq. 1 to 4 pixel by pixel, with the probability of detection written out."""
    grey = np.round(255 * grey)
    height, width = grey.shape
    wide = np.pad(grey, 1, mode="edge")
    slope = np.zeros((2, height, width))
    for i in range(height):
        for j in range(width):
            patch = wide[i : i + 3, j : j + 3]
            slope[0, i, j] = patch[:, 2] @ [1, 2, 1] - patch[:, 0] @ [1, 2, 1]
            slope[1, i, j] = patch[2] @ [1, 2, 1] - patch[0] @ [1, 2, 1]
    strong = 2 * math.sqrt(np.mean(slope[0][mask] ** 2))
    detected, counted = 0, 0
    for top in range(0, height, 64):
        for left in range(0, width, 64):
            inside = mask[top : top + 64, left : left + 64]
            edges = []
            for i in range(top, min(top + 64, height)):
                for j in range(left, min(left + 64, width)):
                    size = abs(slope[0, i, j])
                    steepest = (j == 0 or size > abs(slope[0, i, j - 1])) and (
                        j == width - 1 or size >= abs(slope[0, i, j + 1])
                    )
                    upright = abs(slope[1, i, j]) <= math.tan(math.pi / 8) * size
                    if mask[i, j] and steepest and upright and size > strong:
                        edges.append((i, j))
            if len(edges) <= 0.002 * inside.size:
                continue
            block = grey[top : top + 64, left : left + 64][inside]
            noticeable = 5 if block.max() - block.min() <= 50 else 3
            for i, j in edges:
                sign = 1 if slope[0, i, j] >= 0 else -1
                begin, end = max(j - 1, 0), min(j + 1, width - 1)
                while begin > 0 and sign * grey[i, begin - 1] < sign * grey[i, begin]:
                    begin -= 1
                while end < width - 1 and sign * grey[i, end + 1] > sign * grey[i, end]:
                    end += 1
                probability = 1 - math.exp(-(((end - begin) / noticeable) ** 3.6))
                detected += round(100 * probability) > 63
                counted += 1
    return 1 - detected / counted if counted else math.nan


@pytest.mark.parametrize("sigma", [0.0, 0.6, 0.9, 1.5])
@pytest.mark.parametrize("contrast", [0.8, 0.1])
def test_it_equals_loops_over_pixels(sigma, contrast):
    noise = np.random.default_rng(3).standard_normal((80, 100))
    grey = np.clip(blurred(checkers(contrast, 9, 100)[:80] + 0.01 * noise, sigma), 0, 1)
    mask = np.ones((80, 100), bool)
    mask[10:30, 20:70] = False
    found = cpbd(as_batch(grey.astype(np.float32)), torch.tensor(mask)[None, None])
    expected = naive(grey.astype(np.float32).astype(np.float64), mask)
    assert float(found) == pytest.approx(expected, abs=1e-6)
    assert 0 <= expected <= 1


def test_only_edges_inside_the_region_count():
    sharp, soft = checkers(), blurred(checkers(), 3.0)
    half = np.arange(192) < 96
    both = np.where(half, sharp, soft)
    masks = torch.stack([torch.tensor(part).expand(192, 192) for part in (half, ~half, np.zeros(192, bool))])[None]
    left, right, nowhere = cpbd(as_batch(both), masks)[0].tolist()
    assert left > 0.95 and right < 0.1 and math.isnan(nowhere)


def test_a_picture_without_edges_has_no_score():
    assert math.isnan(score(np.full((70, 70), 0.4)))
    assert cpbd(torch.rand(2, 3, 30, 20), torch.ones(2, 4, 30, 20, dtype=torch.bool)).shape == (2, 4)
