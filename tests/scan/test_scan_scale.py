"""Triangulation, metres and alignment on planted geometry."""

import numpy as np
import pytest
import torch

from headstudio.errors import HeadstudioError
from headstudio.geometry.camera import Camera
from headstudio.geometry.rigid import transform
from headstudio.heads import load_head
from headstudio.records.scan import ScaleSource
from headstudio.scan.alignment import align, landmark_cloud
from headstudio.scan.calibration_config import ScaleConfig
from headstudio.scan.scale import IrisMeasure, measure_irises, metric_scale
from headstudio.scan.triangulate import triangulate
from support.turned_head import camera_of, orbit

SIZE_PX = 512
YAW_DEG = torch.linspace(-30, 30, 9)


@pytest.fixture(scope="module")
def head():
    return load_head("makehuman")


def projected(points, T):
    K = camera_of(SIZE_PX).K_px.expand(len(T), 3, 3)
    return Camera(K, SIZE_PX, SIZE_PX).project(transform(T, points.expand(len(T), -1, 3)))[0], K


def noise(shape, deviation, seed=0):
    return deviation * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_points_come_back_from_where_they_were_seen():
    T = orbit(7)
    points = 0.1 * torch.randn(50, 3, generator=torch.Generator().manual_seed(1))
    pixels, K = projected(points, T)
    found, residual = triangulate(pixels, K, T, torch.ones(7, 50))
    # the poses are single precision, which leaves a thousandth of a millimetre
    assert (found - points).abs().max() < 5e-6 and residual.max() < 1e-2


def test_noise_is_averaged_and_a_gross_error_does_not_pull_far():
    T = orbit(12)
    points = 0.1 * torch.randn(200, 3, generator=torch.Generator().manual_seed(1))
    pixels, K = projected(points, T)
    pixels = pixels + noise(pixels.shape, 1.0)
    plain, _ = triangulate(pixels, K, T, torch.ones(12, 200))
    # 1 px at 0.6 m and 768 px focal length is 0.8 mm; twelve views leave less than that in every direction
    assert (plain - points).norm(dim=1).median() < 0.8e-3
    pixels[3, :100] += 60.0
    pulled, _ = triangulate(pixels, K, T, torch.ones(12, 200))
    assert (pulled - points).norm(dim=1)[:100].median() < 1.5 * (plain - points).norm(dim=1)[:100].median()


def test_points_seen_once_or_never_are_unknown():
    T = orbit(4)
    pixels, K = projected(torch.zeros(3, 3), T)
    weight = torch.ones(4, 3)
    weight[1:, 0], weight[:, 1] = 0.0, 0.0
    pixels[:, 1] = torch.nan
    found, residual = triangulate(pixels, K, T, weight)
    assert found[:2].isnan().all() and found[2].isfinite().all()
    assert residual[:, :2].isnan().all() and residual[:, 2].isfinite().all()


def irises(T, diameter_m, gaze_rad=0.0, noise_px=0.0):
    """Landmarks of two irises on eyeballs that may look past the camera."""
    turn = torch.tensor([[np.cos(gaze_rad), 0, np.sin(gaze_rad)], [0, 1, 0], [-np.sin(gaze_rad), 0, np.cos(gaze_rad)]])
    ring = diameter_m / 2 * torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]])
    points = torch.zeros(478, 3)
    for first, x in ((468, -0.031), (473, 0.031)):
        points[first : first + 5] = ring @ turn.T.float() + torch.tensor([x, 0.0, 0.01])
    pixels, K = projected(points, T)
    pixels = pixels + noise(pixels.shape, noise_px)
    return torch.cat([pixels, torch.zeros(len(T), 478, 1)], dim=-1), K


@pytest.mark.parametrize("gaze_rad", [0.0, 0.4])
@pytest.mark.parametrize("unit", [1.0, 7.3])
def test_an_iris_is_measured_in_whatever_unit_the_cameras_have(gaze_rad, unit):
    T = orbit(9, reach_deg=30.0)
    landmarks, K = irises(T, 0.0117, gaze_rad)
    T[:, :3, 3] *= unit
    found = measure_irises(landmarks, K, T, YAW_DEG, torch.ones(9, 2, dtype=torch.bool), ScaleConfig())
    # nearer than the centre on one side and further on the other: less than one in a thousand
    assert found.diameter == pytest.approx(0.0117 * unit, rel=2e-3) and found.measurements == 18


def test_the_interval_covers_the_truth():
    """Irises drawn from the population, noise on every landmark: 95 % are asked for, 90 of 100 allow for chance."""
    T, draw, config = orbit(9, reach_deg=30.0), np.random.default_rng(3), ScaleConfig()
    covered = 0
    for trial in range(100):
        true = float(draw.normal(config.iris_m, config.iris_deviation_m))
        landmarks, K = irises(T, true)
        landmarks = landmarks + noise(landmarks.shape, 0.5, seed=trial)
        measured = measure_irises(landmarks, K, T, YAW_DEG, torch.ones(9, 2, dtype=torch.bool), config)
        metres, scale = metric_scale(measured, 1.0, config)
        low, high = scale.interval()
        covered += low <= 1.0 / metres <= high  # the cameras were metric already
        assert scale.source is ScaleSource.IRIS and 0.04 < scale.deviation < 0.12
    assert covered >= 90


def test_one_eye_that_is_misread_in_one_view_does_not_count():
    T = orbit(9, reach_deg=30.0)
    landmarks, K = irises(T, 0.0117, noise_px=0.1)
    landmarks[4, 469, 0] += 40.0
    found = measure_irises(landmarks, K, T, YAW_DEG, torch.ones(9, 2, dtype=torch.bool), ScaleConfig())
    assert found.diameter == pytest.approx(0.0117, rel=0.03)


def test_irises_that_the_detector_draws_smaller_from_the_side_are_told_from_the_front():
    """As it does on synthetic actors: a tenth smaller at 30 degrees, and more so on the far side of the nose."""
    T = orbit(9, reach_deg=30.0)
    landmarks, K = irises(T, 0.0117, noise_px=0.1)
    for eye, first in enumerate((468, 473)):
        turn = (1 - 2 * eye) * YAW_DEG / 30
        share = (1 + 0.08 * turn - 0.1 * turn**2)[:, None, None]
        centre = landmarks[:, first : first + 1]
        landmarks[:, first : first + 5] = centre + share * (landmarks[:, first : first + 5] - centre)
    found = measure_irises(landmarks, K, T, YAW_DEG, torch.ones(9, 2, dtype=torch.bool), ScaleConfig())
    assert found.diameter == pytest.approx(0.0117, rel=0.015) and found.error < 0.02


@pytest.mark.parametrize("seen", [0, 1])
def test_shut_eyes_give_the_mean_heads_metres_and_say_so(seen):
    T = orbit(9)
    landmarks, K = irises(T, 0.0117)
    open_views = torch.zeros(9, 2, dtype=torch.bool)
    open_views[:seen] = True
    measured = measure_irises(landmarks, K, T, YAW_DEG, open_views, ScaleConfig())
    assert measured is None
    metres, scale = metric_scale(measured, 0.37, ScaleConfig())
    assert metres == 0.37 and scale.source is ScaleSource.HEAD_MODEL and scale.measurements == 0
    assert scale.deviation > metric_scale(IrisMeasure(1.0, 0.0, 18), 1.0, ScaleConfig())[1].deviation


def landmarks_of(head, T, noise_px=0.0):
    points = head.landmark_points(head.template_m[None])[0]
    pixels, K = projected(points, T)
    pixels = pixels + noise(pixels.shape, noise_px)
    return torch.cat([pixels, torch.zeros(len(T), 478, 1)], dim=-1), K


@pytest.mark.parametrize("known", [False, True])
def test_the_head_is_found_where_it_is(head, known):
    T_camera_head = orbit(9)
    landmarks, K = landmarks_of(head, T_camera_head, 0.5)
    world = T_camera_head[2]
    T_camera_world = T_camera_head @ torch.linalg.inv(world)
    unit = 1.0 if known else 0.4
    T_camera_world[:, :3, 3] *= unit
    cloud = landmark_cloud(landmarks, torch.linspace(-60, 60, 9), K, T_camera_world)
    found = align(cloud, head, 1.0 if known else None)
    assert found.metres == pytest.approx(1.0 / unit, rel=5e-3)
    off = found.T_head_world.float() @ world - torch.eye(4)
    # half a pixel is 0.4 mm; hundreds of landmarks leave a fraction of it
    assert off[:3, :3].abs().max() < 5e-3 and off[:3, 3].abs().max() < 1e-3
    assert found.error_m < 1e-3 and cloud.relative_error < 0.01


def test_cameras_that_the_landmarks_contradict_are_noticed(head):
    T = orbit(9)
    landmarks, K = landmarks_of(head, T, 0.5)
    still = T[4].expand(9, 4, 4).clone()
    still[:, 0, 3] += torch.linspace(0, 0.05, 9)  # a background that stood still while the head turned
    assert landmark_cloud(landmarks, torch.linspace(-60, 60, 9), K, still).relative_error > 0.03


def test_a_face_that_is_seen_from_one_side_only_is_refused(head):
    T = orbit(3)
    landmarks, K = landmarks_of(head, T)
    cloud = landmark_cloud(landmarks, torch.tensor([80.0, 80.0, 80.0]), K, T)
    assert cloud.relative_error == float("inf")
    with pytest.raises(HeadstudioError, match="where it looks"):
        align(cloud, head)
