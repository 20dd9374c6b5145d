"""SSIM against loops that follow the paper's text, and the property that excluded pixels never matter."""

import math

import pytest
import torch

from headstudio.nn.ssim import SCALE_WEIGHTS, ms_ssim, ssim, structural_scores


def _naive_window() -> list[list[float]]:
    weights = [[math.exp(-((i - 5) ** 2 + (j - 5) ** 2) / (2 * 1.5**2)) for j in range(11)] for i in range(11)]
    total = sum(map(sum, weights))
    return [[w / total for w in row] for row in weights]


def _naive_maps(x, y):
    """Similarity and contrast of one single-channel picture, window by window."""
    window = _naive_window()
    similarity, contrast = {}, {}
    for top in range(len(x) - 10):
        for left in range(len(x[0]) - 10):
            cells = [(window[i][j], x[top + i][left + j], y[top + i][left + j]) for i in range(11) for j in range(11)]
            mx, my = sum(w * a for w, a, _ in cells), sum(w * b for w, _, b in cells)
            vx = sum(w * (a - mx) ** 2 for w, a, _ in cells)
            vy = sum(w * (b - my) ** 2 for w, _, b in cells)
            cov = sum(w * (a - mx) * (b - my) for w, a, b in cells)
            c1, c2 = 0.0001, 0.0009
            contrast[top, left] = (2 * cov + c2) / (vx + vy + c2)
            similarity[top, left] = contrast[top, left] * (2 * mx * my + c1) / (mx * mx + my * my + c1)
    return similarity, contrast


def _pair(seed: int, *shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(*shape, generator=generator, dtype=torch.float64)
    return x, (x + 0.3 * torch.randn(*shape, generator=generator, dtype=torch.float64)).clamp(0, 1)


def test_ssim_equals_the_loop_over_windows() -> None:
    x, y = _pair(0, 1, 2, 14, 17)
    values = [v for c in range(2) for v in _naive_maps(x[0, c].tolist(), y[0, c].tolist())[0].values()]
    assert ssim(x, y).item() == pytest.approx(sum(values) / len(values), abs=1e-9)


def test_masked_ssim_equals_the_loop_over_windows_inside_the_mask() -> None:
    x, y = _pair(1, 1, 1, 20, 18)
    mask = torch.ones(1, 1, 20, 18, dtype=torch.float64)
    mask[..., 15:, :], mask[..., 3, 2] = 0, 0
    similarity, _ = _naive_maps(x[0, 0].tolist(), y[0, 0].tolist())
    inside = [v for (r, c), v in similarity.items() if mask[0, 0, r : r + 11, c : c + 11].min() == 1]
    assert 0 < len(inside) < len(similarity)
    assert ssim(x, y, mask).item() == pytest.approx(sum(inside) / len(inside), abs=1e-9)


def test_ms_ssim_equals_the_product_of_scales() -> None:
    x, y = _pair(2, 1, 1, 26, 24)
    half = lambda t: torch.nn.functional.avg_pool2d(t, 2)  # noqa: E731
    _, fine = _naive_maps(x[0, 0].tolist(), y[0, 0].tolist())
    _, coarse = _naive_maps(half(x)[0, 0].tolist(), half(y)[0, 0].tolist())
    total = SCALE_WEIGHTS[0] + SCALE_WEIGHTS[1]  # a third scale has no room for a window
    expected = 1.0
    for values, exponent in ((fine, SCALE_WEIGHTS[0]), (coarse, SCALE_WEIGHTS[1])):
        expected *= (sum(values.values()) / len(values)) ** (exponent / total)
    assert ms_ssim(x, y).item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("score", [ssim, ms_ssim])
def test_identity_is_one_order_does_not_matter_and_noise_lowers_it(score) -> None:
    x, y = _pair(3, 2, 3, 200, 190)
    assert score(x, x) == pytest.approx([1.0, 1.0], abs=1e-9)
    assert score(x, y) == pytest.approx(score(y, x).tolist(), abs=1e-12)
    assert (score(x, y) < 0.95).all()
    assert (score(x, (x + y) / 2) > score(x, y)).all()


@pytest.mark.parametrize("score", [ssim, ms_ssim])
def test_excluded_pixels_never_reach_the_score(score) -> None:
    x, y = _pair(4, 1, 3, 96, 96)
    mask = torch.zeros(1, 1, 96, 96, dtype=torch.float64)
    mask[..., 13:71, 22:80] = 1
    changed = torch.where(mask > 0, x, torch.rand_like(x) * 100)
    assert torch.equal(score(x, y, mask), score(changed, y, mask))
    changed.requires_grad_()
    (gradient,) = torch.autograd.grad(score(changed, y, mask).sum(), changed)
    assert gradient[(mask == 0).expand_as(gradient)].abs().max() == 0
    assert gradient.abs().max() > 0


@pytest.mark.parametrize("score", [ssim, ms_ssim])
def test_a_region_too_small_for_a_window_has_no_score(score) -> None:
    x, y = _pair(5, 1, 1, 40, 40)
    mask = torch.zeros(1, 1, 40, 40, dtype=torch.float64)
    mask[..., :10, :] = 1
    assert score(x, y, mask).isnan().all()


@pytest.mark.parametrize("score", [ssim, ms_ssim])
def test_gradient_equals_finite_differences(score) -> None:
    x, y = _pair(6, 1, 1, 25, 25)
    mask = torch.ones_like(x)
    mask[..., :3] = 0
    assert torch.autograd.gradcheck(lambda image: score(image, y, mask), (x.requires_grad_(),))


def test_several_regions_score_as_they_do_alone() -> None:
    x, y = _pair(7, 2, 3, 100, 90)
    masks = torch.zeros(2, 3, 100, 90, dtype=torch.float64)
    masks[:, 0], masks[:, 1, 20:80, 10:70], masks[:, 2, :5] = 1, 1, 1
    together = structural_scores(x, y, masks)
    for region in range(3):
        alone = [score(x, y, masks[:, region : region + 1]) for score in (ssim, ms_ssim)]
        for joint, single in zip(together, alone, strict=True):
            assert torch.allclose(joint[:, region], single, equal_nan=True)
    assert together[0][:, 2].isnan().all() and together[1][:, 2].isnan().all()
