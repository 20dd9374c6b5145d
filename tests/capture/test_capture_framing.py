"""The crop and its mask, and the window that cuts it."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstudio.capture.follow import square_window
from headstudio.capture.framing import choose_crop, to_stored, valid_mask
from headstudio.records.capture import Crop


def _boxes(*rows: tuple[float, float, float, float]) -> np.ndarray:
    return np.array(rows, float)


def test_the_crop_holds_the_head_of_every_frame():
    boxes = _boxes((200, 100, 300, 220), (220, 110, 330, 230), (np.nan,) * 4)
    crop = choose_crop(boxes, 640, 480, 1.1)
    assert crop.left_px <= 200 and crop.top_px <= 100
    assert crop.left_px + crop.side_px >= 330 and crop.top_px + crop.side_px >= 230
    assert crop.side_px == pytest.approx(130 * 1.1, abs=4)


def test_one_wild_frame_in_a_thousand_does_not_widen_it():
    boxes = np.tile(_boxes((200, 100, 300, 220)), (1000, 1))
    boxes[500] = 0, 0, 640, 480
    assert choose_crop(boxes, 640, 480, 1.0).side_px == 120


@given(
    left=st.floats(-100, 500),
    top=st.floats(-100, 400),
    side=st.floats(10, 700),
    margin=st.floats(1.0, 2.0),
)
def test_a_crop_that_fits_lies_inside_the_picture_and_one_that_does_not_covers_it(left, top, side, margin):
    crop = choose_crop(_boxes((left, top, left + side, top + side)), 640, 480, margin)
    for corner, extent in ((crop.left_px, 640), (crop.top_px, 480)):
        if crop.side_px <= extent:
            assert 0 <= corner <= extent - crop.side_px
    assert crop.left_px == int(crop.left_px) and crop.side_px == int(crop.side_px)


@pytest.mark.parametrize("crop", [Crop(-20, 10, 100), Crop(30, -15, 80), Crop(-10, -10, 150), Crop(5, 5, 40)])
def test_the_mask_is_true_exactly_where_no_padding_shows(crop):
    size = 64
    inside = np.full((90, 120, 3), 255, np.uint8)
    canvas = np.zeros((90 + 400, 120 + 400, 3), np.uint8)  # the same picture with a black surround instead
    canvas[200:290, 200:320] = inside
    left, top, side = int(crop.left_px), int(crop.top_px), int(crop.side_px)
    seen = canvas[200 + top : 200 + top + side, 200 + left : 200 + left + side]
    coverage = cv2.resize(seen, (size, size), interpolation=cv2.INTER_AREA if side > size else cv2.INTER_LINEAR)[..., 0]
    valid = valid_mask(crop, 120, 90, size)
    assert coverage[valid].min() >= 254 or side <= size
    assert coverage[~valid].min(initial=0) < 255
    assert valid.mean() == pytest.approx(coverage.mean() / 255, abs=0.05)


def test_stored_landmarks_lie_where_the_stored_picture_shows_them():
    image = np.zeros((240, 320, 3), np.uint8)
    image[100:104, 200:204] = 255
    crop = Crop(150.0, 60.0, 100.0)
    stored = square_window(image, 150, 60, 100, 512)
    rows, columns = np.nonzero(stored[..., 0] > 128)
    found = np.array([columns.mean() + 0.5, rows.mean() + 0.5])
    landmark = to_stored(np.tile(np.array([202.0, 102.0, 10.0]), (1, 478, 1)), crop, 512)[0, 0]
    np.testing.assert_allclose(landmark[:2], found, atol=0.6)
    assert landmark[2] == pytest.approx(51.2)


def test_a_window_beside_the_picture_is_black():
    image = np.full((20, 20, 3), 200, np.uint8)
    assert square_window(image, 100, 100, 10, 16).max() == 0
