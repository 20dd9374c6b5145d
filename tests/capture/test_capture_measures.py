"""Angles, openings, extents and quality from landmarks whose truth is known."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from headstudio.capture.face_measures import STABLE_CM, head_angles_deg, openings, weak_pose
from headstudio.capture.quality import confidence, covered_by_hands, face_mask, outside_matte, picture_measures
from support.videos import disk_frame, disk_landmarks

_TO_CAMERA = np.diag([1.0, -1.0, -1.0])  # a head that looks into the camera: y up to y down, face towards it


def _landmarks(rotation: np.ndarray, scale: float = 20.0, offset: tuple[float, float] = (300.0, 200.0)) -> np.ndarray:
    points = np.zeros((478, 3))
    for index, point in STABLE_CM.items():
        points[index] = scale * rotation @ np.array(point)
    return (points + np.array([*offset, 0.0]))[None]


@pytest.mark.parametrize("angles_deg", [(0, 0, 0), (30, 0, 0), (-45, 10, 5), (0, -25, 0), (10, 20, -30), (5, -5, 40)])
def test_head_angles_come_back_from_projected_points(angles_deg):
    yaw, pitch, roll = angles_deg
    # about the head's own axes: y up turns to the person's left, x raises the face when negative, z rolls
    head = Rotation.from_euler("YXZ", [yaw, -pitch, -roll], degrees=True).as_matrix()
    pose = weak_pose(_landmarks(_TO_CAMERA @ head))
    np.testing.assert_allclose(pose.rotation()[0], _TO_CAMERA @ head, atol=1e-9)
    found = head_angles_deg(pose.rotation())
    np.testing.assert_allclose([found[k][0] for k in ("yaw_deg", "pitch_deg", "roll_deg")], angles_deg, atol=1e-6)
    assert pose.residual[0] < 1e-9


def test_a_head_turned_to_its_left_points_right_in_the_picture():
    head = _TO_CAMERA @ Rotation.from_euler("Y", 30, degrees=True).as_matrix()
    points = _landmarks(head)[0]
    assert points[4, 0] > (points[33, 0] + points[263, 0]) / 2  # the nose lies right of the eyes' middle
    assert head_angles_deg(weak_pose(points[None]).rotation())["yaw_deg"][0] > 0


def test_frames_without_a_face_stay_unknown_and_do_not_disturb_others():
    good = _landmarks(_TO_CAMERA)
    both = np.concatenate([good, np.full_like(good, np.nan)])
    pose = weak_pose(both)
    assert np.isnan(pose.rotation()[1]).all() and np.isnan(pose.head_box_px()[1]).all()
    np.testing.assert_allclose(pose.rotation()[0], _TO_CAMERA, atol=1e-9)
    assert all(np.isnan(values[1]) for values in openings(both).values())


def test_the_head_box_holds_the_landmarks_and_grows_upwards_for_hair():
    points = _landmarks(_TO_CAMERA)
    left, top, right, bottom = weak_pose(points).head_box_px()[0]
    stable = points[0, list(STABLE_CM)]
    assert left < stable[:, 0].min() and right > stable[:, 0].max()
    assert stable[:, 1].min() - top > 0.5 * (stable[:, 1].max() - stable[:, 1].min()) * 0.5
    np.testing.assert_allclose((left + right) / 2, 300, atol=1e-6)
    assert bottom > 200 + 20 * 10  # below the chin


def test_openings_do_not_depend_on_where_the_head_turns():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(1, 478, 3)) * 50
    turned = points @ Rotation.from_euler("YX", [40, 15], degrees=True).as_matrix().T * 1.7 + 12.0
    for name, value in openings(points).items():
        np.testing.assert_allclose(openings(turned)[name], value, err_msg=name)


def test_a_lid_or_lip_that_opens_is_measured_on_its_own_side():
    points = np.random.default_rng(1).normal(size=(1, 478, 3)) * 50
    before = openings(points)
    points[0, 386] = points[0, 374]  # the person's left lids touch
    points[0, 13] = points[0, 14]
    after = openings(points)
    changed = {name for name in before if not np.allclose(before[name], after[name])}
    assert changed == {"eye_open_left", "mouth_open"}
    assert after["eye_open_left"][0] == after["mouth_open"][0] == 0


def test_sharpness_falls_with_blur_and_not_with_size():
    import cv2

    rng = np.random.default_rng(0)
    texture = rng.integers(60, 200, (32, 32, 3), np.uint8)
    near = cv2.resize(texture, (256, 256), interpolation=cv2.INTER_CUBIC)
    far = np.zeros_like(near)
    far[:128, :128] = cv2.resize(near, (128, 128), interpolation=cv2.INTER_AREA)
    near_face, far_face = disk_landmarks(np.array([128.0, 128.0]), 100), disk_landmarks(np.array([64.0, 64.0]), 50)
    sharp = picture_measures(near, near_face)["sharpness"]
    assert picture_measures(cv2.GaussianBlur(near, (0, 0), 6), near_face)["sharpness"] < 0.3 * sharp
    assert 0.7 < picture_measures(far, far_face)["sharpness"] / sharp < 1.4


@pytest.mark.parametrize(("level", "clipped"), [(0, 1.0), (128, 0.0), (255, 1.0)])
def test_exposure_is_the_luma_of_the_face(level, clipped):
    face = disk_landmarks(np.array([64.0, 64.0]), 40)
    measured = picture_measures(np.full((128, 128, 3), level, np.uint8), face)
    assert measured["exposure"] == pytest.approx(level / 255) and measured["clipped"] == clipped


def test_hands_over_the_face_are_counted_and_hands_beside_it_are_not():
    face = disk_landmarks(np.array([64.0, 64.0]), 40)
    hand = np.stack(np.meshgrid(np.linspace(0, 30, 7), np.linspace(0, 30, 3)), -1).reshape(21, 2)
    assert covered_by_hands(face, [hand + 50], 128) > 0.1
    assert covered_by_hands(face, [hand + 128], 128) == 0
    assert covered_by_hands(face, [], 128) == 0


def test_the_share_outside_the_matte_is_an_area():
    face = disk_landmarks(np.array([64.0, 64.0]), 40)
    matte = np.full((128, 128), 255, np.uint8)
    matte[:, 64:] = 0
    assert outside_matte(face, matte) == pytest.approx(0.5, abs=0.02)
    assert face_mask(face, 128).mean() / 255 == pytest.approx(np.pi * 40**2 / 128**2, rel=0.1)


def test_confidence_tells_a_slip_from_a_steady_turn():
    turns = np.radians(np.linspace(-40, 40, 80))
    steady = np.concatenate([_landmarks(_TO_CAMERA @ Rotation.from_rotvec([0, a, 0]).as_matrix()) for a in turns])
    times, none = np.arange(80) * 0.04, np.zeros(80)
    trust = confidence(steady, times, none)
    assert trust.min() > 0.9
    slipped = steady.copy()
    slipped[40, ::2] += 60.0
    assert confidence(slipped, times, none)[40] < 0.5 < confidence(slipped, times, none)[[20, 60]].min()
    slipped[40] = np.nan
    assert confidence(slipped, times, none)[40] == 0
    assert confidence(steady, times, np.full(80, 0.3)).max() < 0.01


def test_a_frame_without_a_face_has_no_measures():
    missing = np.full((478, 3), np.nan)
    assert all(np.isnan(v) for v in picture_measures(disk_frame((60, 60), 20), missing).values())
