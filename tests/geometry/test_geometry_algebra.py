"""Cameras and rigid transforms keep their algebra."""

import math

import pytest
import roma
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from headstudio.geometry.camera import Camera
from headstudio.geometry.rigid import invert, relative_orientation, rigid, transform

numbers = st.floats(-2, 2, allow_nan=False, width=32)
vectors = st.tuples(numbers, numbers, numbers).map(torch.tensor)


@settings(deadline=None, max_examples=60)
@given(vectors, vectors, vectors, vectors, vectors)
def test_transforms_form_a_group(r1, t1, r2, t2, point):
    T_a_b, T_b_c = rigid(r1, t1), rigid(r2, t2)
    assert torch.allclose(T_a_b @ invert(T_a_b), torch.eye(4), atol=2e-5)
    composed, stepwise = transform(T_a_b @ T_b_c, point[None]), transform(T_a_b, transform(T_b_c, point[None]))
    assert torch.allclose(composed, stepwise, atol=1e-4)


@settings(deadline=None, max_examples=60)
@given(vectors, st.floats(0.2, 5), st.floats(100, 3000))
def test_projection_and_back(point, depth_m, focal_px):
    camera = Camera.from_focal(focal_px, 640, 480)
    points = torch.stack([point[0], point[1], torch.tensor(depth_m)])[None]
    found_px, found_depth = camera.project(points)
    assert torch.allclose(camera.unproject(found_px, found_depth), points, atol=1e-3)


def test_a_resized_or_cut_picture_shows_the_same_point_in_its_place():
    camera, point = Camera.from_focal(800.0, 640, 480), torch.tensor([[0.1, -0.2, 1.5]])
    place = camera.project(point)[0]
    assert torch.allclose(camera.resized(320, 120).project(point)[0], place * torch.tensor([0.5, 0.25]), atol=1e-3)
    window = camera.window(100.0, -20.0, 50, 50)
    assert torch.allclose(window.project(point)[0], place - torch.tensor([100.0, -20.0]), atol=1e-3)
    assert (window.width_px, window.height_px) == (50, 50)


def test_the_middle_of_the_picture_is_straight_ahead():
    found = Camera.from_focal(500.0, 640, 480).project(torch.tensor([[0.0, 0.0, 2.0]]))[0]
    assert found.tolist() == [[320.0, 240.0]]


@pytest.mark.parametrize("angle", [-0.5, 0.0, 0.3])
def test_orientation_is_zero_when_the_face_looks_into_the_camera(angle):
    facing = roma.rotvec_to_rotmat(torch.tensor([math.pi, 0.0, 0.0]))
    turn = roma.rotvec_to_rotmat(torch.tensor([0.0, angle, 0.0]))
    pose = torch.eye(4)
    pose[:3, :3] = facing @ turn
    assert torch.allclose(relative_orientation(pose[None]), torch.tensor([[0.0, angle, 0.0]]), atol=1e-5)
    # The person's left is the head's +x and lies on the right of the picture, as the camera's +x.
    assert (facing @ torch.tensor([1.0, 0.0, 0.0]))[0] > 0.99
