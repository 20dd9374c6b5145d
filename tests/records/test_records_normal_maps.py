"""Normal maps survive the way to disk and back within what eight bits resolve."""

import numpy as np
import torch

from headstudio.records.normal_maps import decode_normals, encode_normals


def _round_trip(vectors: np.ndarray) -> torch.Tensor:
    return decode_normals(torch.from_numpy(encode_normals(vectors)).permute(2, 0, 1))


def test_directions_come_back_within_a_third_of_a_degree():
    vectors = np.random.default_rng(0).normal(size=(40, 50, 3))
    unit = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    # Half a step of 2/255 in each channel turns a unit vector by at most sqrt(3)/255 rad = 0.39 degrees.
    found = _round_trip(unit).permute(1, 2, 0).numpy()
    assert np.abs(np.linalg.norm(found, axis=-1) - 1).max() < 1e-5
    assert np.rad2deg(np.arccos(np.clip((found * unit).sum(-1), -1, 1))).max() < 0.4


def test_what_faces_the_camera_is_stored_blue_less():
    assert encode_normals(np.array([[[0.0, 0.0, -1.0]]])).tolist() == [[[128, 128, 0]]]


def test_unknown_stays_unknown():
    vectors = np.zeros((2, 3, 3))
    vectors[0, 0] = (0.0, 3.0, 4.0)
    vectors[1, 1] = (0.1, 0.1, 0.1)
    found = _round_trip(vectors)
    assert (found.norm(dim=0) > 0).tolist() == [[True, False, False], [False, False, False]]
