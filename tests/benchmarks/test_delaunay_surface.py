"""The cut that stands for classic photogrammetry, on a ball seen from all round."""

import numpy as np

from scan_delaunay import delaunay_surface


def test_a_ball_comes_back_closed_and_as_large_as_it_is():
    draw = np.random.default_rng(0)
    points = draw.normal(size=(900, 3))
    points = 0.1 * points / np.linalg.norm(points, axis=1, keepdims=True)
    stands = draw.normal(size=(24, 3))
    stands = 0.5 * stands / np.linalg.norm(stands, axis=1, keepdims=True)
    towards = stands[None] - points[:, None]
    visible = (points[:, None] * towards).sum(-1) > 0  # a ball hides what turns away
    seen, stand = np.nonzero(visible)
    mesh = delaunay_surface(points, stands[stand], seen)
    triangles, vertices = mesh.triangles.numpy().astype(int), mesh.vertices_m.numpy().astype(float)
    edges = np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()
    a, b, c = (vertices[triangles[:, corner]] for corner in range(3))
    volume = (a * np.cross(b, c)).sum() / 6  # positive when the triangles face outwards
    assert abs(volume / (4 / 3 * np.pi * 0.1**3) - 1) < 0.05
