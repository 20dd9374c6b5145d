"""Following one face among several, small ones and lost ones, with disks for faces."""

import numpy as np
import pytest

from headstudio.capture.detector import Detector
from headstudio.capture.follow import FaceFollower, box_of
from support.videos import DiskDetector, disk_frame, disk_landmarks


def _two(first: tuple[float, float, float], second: tuple[float, float, float]) -> np.ndarray:
    return np.maximum.reduce([disk_frame(d[:2], d[2]) for d in (first, second)])


def _centre(follower: FaceFollower, image: np.ndarray) -> np.ndarray:
    landmarks = follower.look(image).landmarks_px
    assert landmarks is not None
    left, top, width, height = box_of(landmarks)
    return np.array([left + width / 2, top + height / 2, max(width, height) / 2])


def test_landmarks_come_back_in_pixels_of_the_picture():
    follower = FaceFollower(DiskDetector())
    for x in (150, 152, 158, 161):
        np.testing.assert_allclose(_centre(follower, disk_frame((x, 100), 30)), (x + 0.5, 100.5, 30), atol=1.5)


def test_the_largest_central_face_is_chosen_and_kept_when_it_shrinks():
    follower = FaceFollower(DiskDetector())
    assert _centre(follower, _two((160, 120, 40), (40, 60, 25)))[0] == pytest.approx(160, abs=2)
    for step in range(1, 25):
        image = _two((160 + 2 * step, 120, 40 - step), (40, 60, 25))
        assert _centre(follower, image)[0] == pytest.approx(160 + 2 * step, abs=2)


def test_central_beats_slightly_larger_at_the_rim():
    assert _centre(FaceFollower(DiskDetector()), _two((160, 120, 30), (20, 30, 32)))[0] == pytest.approx(160, abs=2)


def test_a_lost_face_is_found_again_near_where_it_was():
    follower = FaceFollower(DiskDetector())
    _centre(follower, disk_frame((200, 120), 30))
    empty = np.full((240, 320, 3), 90, np.uint8)
    assert all(follower.look(empty).landmarks_px is None for _ in range(5))
    assert _centre(follower, _two((220, 125, 30), (60, 60, 35)))[0] == pytest.approx(220, abs=2)


def test_faces_are_counted_when_a_second_one_is_of_notable_size():
    assert FaceFollower(DiskDetector()).look(_two((160, 120, 40), (40, 60, 30))).faces == 2
    assert FaceFollower(DiskDetector()).look(_two((160, 120, 40), (40, 60, 8))).faces == 1


class _ShortSighted(DiskDetector):
    """Finds only what fills a tenth of the picture, as a detector of fixed input size does."""

    def find(self, image_rgb: np.ndarray) -> np.ndarray:
        boxes = super().find(image_rgb)
        return boxes[boxes[:, 2] > 0.1 * max(image_rgb.shape[:2])]


def test_a_small_face_is_found_in_tiles():
    follower = FaceFollower(_ShortSighted())
    np.testing.assert_allclose(_centre(follower, disk_frame((250, 60), 12))[:2], (250.5, 60.5), atol=1.5)


class _Drifting(DiskDetector):
    """Reports a collapsed mesh once the face is gone."""

    def detect(self, image_rgb: np.ndarray) -> list[np.ndarray]:
        return super().detect(image_rgb) or [np.zeros((478, 3)) + 5.0]


def test_a_collapsed_mesh_is_no_face():
    detector: Detector = _Drifting()
    follower = FaceFollower(detector)
    assert follower.look(disk_frame((160, 120), 30)).landmarks_px is not None
    assert follower.look(np.full((240, 320, 3), 90, np.uint8)).landmarks_px is None


def test_a_face_that_leaves_the_picture_partly_is_still_followed():
    follower = FaceFollower(DiskDetector())
    for x in range(260, 312, 4):
        landmarks = follower.look(disk_frame((x, 120), 30)).landmarks_px
        assert landmarks is not None and box_of(landmarks)[1] == pytest.approx(90, abs=3)


class _Swelling(DiskDetector):
    """Reports a face that grows with every look, as a mesh on a blank wall may."""

    def detect(self, image_rgb: np.ndarray) -> list[np.ndarray]:
        return [disk_landmarks(np.array([192.0, 192.0]), 180.0)]


def test_a_mesh_that_swells_is_dropped_before_its_window_outgrows_the_picture():
    follower = FaceFollower(_Swelling())
    for _ in range(40):
        sighting = follower.look(disk_frame((160, 120), 30))
        assert sighting.window_px is None or sighting.window_px[2] <= 640
