"""The matte's refinement against a naive twin of the guided filter."""

import numpy as np
import pytest

from headstudio.capture.matte import MatteRefiner, guided_filter, without_crumbs


def _naive_guided_filter(guide: np.ndarray, mask: np.ndarray, radius: int, epsilon: float) -> np.ndarray:
    """He, Sun and Tang 2013, equations 19-21, window by window."""
    height, width = mask.shape
    edge = ((radius, radius), (radius, radius), (0, 0))
    colours, values = np.pad(guide, edge, mode="symmetric"), np.pad(mask, radius, mode="symmetric")
    lines = np.zeros((height, width, 4))
    for y in range(height):
        for x in range(width):
            window = colours[y : y + 2 * radius + 1, x : x + 2 * radius + 1].reshape(-1, 3)
            inside = values[y : y + 2 * radius + 1, x : x + 2 * radius + 1].ravel()
            centred = window - window.mean(0)
            spread = centred.T @ centred / len(window) + epsilon * np.eye(3)
            slope = np.linalg.solve(spread, centred.T @ inside / len(window))
            lines[y, x] = *slope, inside.mean() - slope @ window.mean(0)
    lines = np.pad(lines, edge, mode="symmetric")
    result = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            mean = lines[y : y + 2 * radius + 1, x : x + 2 * radius + 1].reshape(-1, 4).mean(0)
            result[y, x] = mean[:3] @ guide[y, x] + mean[3]
    return result


def test_the_guided_filter_equals_its_naive_twin():
    rng = np.random.default_rng(3)
    guide, mask = rng.random((18, 23, 3), np.float32), rng.random((18, 23), np.float32)
    result = guided_filter(guide, mask, 2, 1e-2)
    np.testing.assert_allclose(
        result, _naive_guided_filter(guide.astype(float), mask.astype(float), 2, 1e-2), atol=1e-5
    )


def _half_picture(size: int = 128, edge: int = 64) -> np.ndarray:
    image = np.full((size, size, 3), 40, np.uint8)
    image[:, edge:] = (200, 150, 120)
    return image


@pytest.mark.parametrize("shift", [-3, 0, 3])
def test_a_misplaced_mask_moves_to_the_edge_of_the_picture(shift):
    raw = np.zeros((512, 512), np.float32)
    raw[:, 256 + shift :] = 1
    matte = MatteRefiner().refine(_half_picture(512, 256), raw)
    np.testing.assert_array_equal(matte > 127, np.broadcast_to(np.arange(512) >= 256, (512, 512)))


def test_flicker_is_calmed_where_the_picture_stands_still_and_not_where_it_moves():
    image, other = _half_picture(), _half_picture(edge=40)
    full, empty = np.ones((128, 128), np.float32), np.zeros((128, 128), np.float32)
    still, moving = MatteRefiner(), MatteRefiner()
    still.refine(image, full)
    moving.refine(image, full)
    assert abs(float(still.refine(image, empty).mean()) - 128) < 10
    assert moving.refine(other, empty)[:, 45:60].max() < 40


def test_crumbs_go_and_the_person_stays():
    mask = np.zeros((100, 100), np.float32)
    mask[20:90, 30:70] = 0.9
    mask[5:9, 5:9] = 0.8
    cleaned = without_crumbs(mask)
    assert cleaned[5:9, 5:9].max() == 0
    np.testing.assert_array_equal(cleaned[20:90, 30:70], mask[20:90, 30:70])


def test_a_small_person_is_no_crumb_when_alone_or_largest():
    mask = np.zeros((100, 100), np.float32)
    mask[40:50, 40:50] = 1
    mask[5:7, 5:7] = 1
    assert without_crumbs(mask)[40:50, 40:50].min() == 1
    assert without_crumbs(mask)[5:7, 5:7].max() == 0
