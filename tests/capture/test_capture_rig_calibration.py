"""Cameras from a head that moves before them, against cameras that are known."""

from dataclasses import replace

import numpy as np
import pytest
from rig_films import FOCAL, HEIGHT, WIDTH, Camera, films_of
from scipy.spatial.transform import Rotation

from headstudio.capture.clocks import Offset
from headstudio.capture.rig_bundle import Belief, Rig, Sightings, _jacobians
from headstudio.capture.rig_calibration import calibrate_rig
from headstudio.capture.rig_cameras import RigCamera
from headstudio.errors import HeadstudioError

CAMERAS = [Camera(0, 0.1), Camera(-35, 0.237), Camera(35, 0.019)]
OFFSETS = [Offset(camera.starts_s - 0.1, "sound", 1.0) for camera in CAMERAS]


def degrees(rotation: np.ndarray) -> float:
    return float(np.degrees(Rotation.from_matrix(rotation).magnitude()))


def between_deg(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.degrees(np.arccos(np.clip(a @ b / np.linalg.norm(a) / np.linalg.norm(b), -1, 1))))


def known(cameras: list[Camera]) -> list[RigCamera]:
    K_px = np.array([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1.0]])
    return [RigCamera(WIDTH, HEIGHT, K_px, camera.T_camera_world) for camera in cameras]


def test_three_cameras_are_found_with_the_detectors_tremble():
    found = calibrate_rig(films_of(CAMERAS, OFFSETS))
    for camera, told in zip(CAMERAS, found.cameras, strict=True):
        assert degrees(told.T_camera_world[:3, :3] @ camera.T_camera_world[:3, :3].T) < 1.0
        assert told.K_px[0, 0] == pytest.approx(FOCAL, rel=0.12)
    for camera, told in zip(CAMERAS[1:], found.cameras[1:], strict=True):
        assert between_deg(told.T_camera_world[:3, 3], camera.T_camera_world[:3, 3]) < 5.0
        assert told.clock_offset_s == camera.starts_s - 0.1
    assert found.error < 0.01 and (found.focal_deviation > 0).all()


def test_the_first_camera_is_the_world():
    np.testing.assert_array_equal(calibrate_rig(films_of(CAMERAS, OFFSETS)).cameras[0].T_camera_world, np.eye(4))


def test_moments_without_a_face_are_left_out():
    films = films_of(CAMERAS, OFFSETS)
    films.seen[1].landmarks_px[20:90] = np.nan
    films.seen[2].landmarks_px[100:150] = np.nan
    told = calibrate_rig(films).cameras[1]
    assert degrees(told.T_camera_world[:3, :3] @ CAMERAS[1].T_camera_world[:3, :3].T) < 1.0


def test_a_face_in_too_few_common_frames_is_refused():
    films = films_of(CAMERAS, OFFSETS)
    films.seen[0].landmarks_px[5:] = np.nan
    films.seen[1].landmarks_px[:-5] = np.nan
    with pytest.raises(HeadstudioError, match="only 0 frames"):
        calibrate_rig(films)


def test_known_cameras_are_kept_to_the_last_digit():
    cameras = known(CAMERAS)
    found = calibrate_rig(films_of(CAMERAS, OFFSETS), cameras)
    for camera, told in zip(cameras, found.cameras, strict=True):
        np.testing.assert_array_equal(told.K_px, camera.K_px)
        np.testing.assert_allclose(told.T_camera_world, camera.T_camera_world, atol=1e-12)
    assert (found.focal_deviation == 0).all()


def test_known_cameras_of_another_world_are_brought_into_the_first_one():
    moved = np.eye(4)
    moved[:3, :3], moved[:3, 3] = Rotation.from_euler("xyz", [0.3, -1.0, 2.0]).as_matrix(), (3.0, -1.0, 5.0)
    cameras = [replace(camera, T_camera_world=camera.T_camera_world @ moved) for camera in known(CAMERAS)]
    for camera, told in zip(CAMERAS, calibrate_rig(films_of(CAMERAS, OFFSETS), cameras).cameras, strict=True):
        np.testing.assert_allclose(told.T_camera_world, camera.T_camera_world, atol=1e-9)


def test_cameras_in_the_wrong_order_are_refused():
    with pytest.raises(HeadstudioError, match="turned 70 degrees"):
        calibrate_rig(films_of(CAMERAS, OFFSETS), known([CAMERAS[0], CAMERAS[2], CAMERAS[1]]))


def test_clocks_that_are_wrong_by_seconds_are_refused():
    wrong = [OFFSETS[0], replace(OFFSETS[1], seconds=2.5), replace(OFFSETS[2], seconds=-1.7)]
    with pytest.raises(HeadstudioError, match="do not fit together"):
        calibrate_rig(films_of(CAMERAS, wrong), known(CAMERAS))


def test_derivatives_are_those_of_finite_differences():
    from headstudio.capture import rig_bundle

    draw = np.random.default_rng(0)
    shape_m = draw.normal(0, 0.05, (6, 3))
    heads = np.stack([Camera(0).T_camera_world] * 3)
    heads[:, :3, :3] = Rotation.from_rotvec(draw.normal(0, 0.3, (3, 3))).as_matrix() @ np.diag([1.0, -1, -1])
    heads[:, :3, 3] += (0.0, 0.0, 0.8)
    T = np.stack([camera.T_camera_world for camera in CAMERAS])
    rig = Rig(np.full(3, np.log(FOCAL)), np.full((3, 2), 300.0), T, heads, shape_m)
    pixels, camera_m = rig.projected()
    camera, frame, shape = _jacobians(rig, pixels, camera_m, np.ones(camera_m.shape[:3]))
    small = 1e-6
    size = 3 * 7 + 3 * 6 + 18
    for index in range(7, size):  # the first camera does not move
        step = np.zeros(size)
        step[index] = small
        numeric = (rig_bundle._moved(rig, step).projected()[0] - pixels) / small
        told = np.zeros_like(numeric)
        if index < 21:
            told[index // 7] = camera[index // 7, ..., index % 7]
        elif index < 39:
            told[:, (index - 21) // 6] = frame[:, (index - 21) // 6, ..., (index - 21) % 6]
        else:
            told[:, :, (index - 39) // 3] = shape[:, :, (index - 39) // 3, :, (index - 39) % 3]
        np.testing.assert_allclose(told, numeric, atol=2e-2)


def test_normal_equations_are_those_of_the_whole_jacobian():
    from headstudio.capture import rig_bundle

    draw = np.random.default_rng(1)
    views, frames, points = 2, 3, 4
    parts = [draw.normal(0, 1, (views, frames, points, 2, n)) for n in (7, 6, 3)]
    root, residual = draw.uniform(0.2, 1, (views, frames, points)), draw.normal(0, 1, (views, frames, points, 2))
    whole = np.zeros((views, frames, points, 2, views * 7 + frames * 6 + points * 3))
    for v in range(views):
        whole[v, ..., v * 7 : v * 7 + 7] = parts[0][v]
    for f in range(frames):
        whole[:, f, ..., 14 + f * 6 : 20 + f * 6] = parts[1][:, f]
    for p in range(points):
        whole[:, :, p, :, 32 + 3 * p : 35 + 3 * p] = parts[2][:, :, p]
    rows = (whole * root[..., None, None]).reshape(-1, whole.shape[-1])
    hessian, descent = rig_bundle._normal_equations((parts[0], parts[1], parts[2]), root, residual)
    np.testing.assert_allclose(hessian, rows.T @ rows, atol=1e-10)
    np.testing.assert_allclose(descent, rows.T @ (residual * root[..., None]).ravel(), atol=1e-10)


def test_a_sighting_without_a_face_counts_for_nothing():
    points = np.zeros((2, 3, 4, 2))
    points[1, 2, 0, 0] = np.nan
    assert Sightings(points).seen.tolist() == [[True, True, True], [True, True, False]]
    assert Belief(np.zeros(2), 0.1, 0.1, np.zeros((4, 3))).shape_deviation_m > 0
