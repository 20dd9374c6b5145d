"""The stored landmark tables: in range, on the right parts, symmetric, and trusting what a detector sees well."""

import pytest
import torch
from safetensors.torch import save_file

from headstudio.errors import HeadstudioError
from headstudio.heads import landmarks
from headstudio.heads.arkit import ARKIT_INDEX

UPPER_LIP, LOWER_LIP = 13, 14
NOSE_TIP, CHIN = 1, 152
RIGHT_UPPER_LID, RIGHT_LOWER_LID, LEFT_UPPER_LID, LEFT_LOWER_LID = 159, 145, 386, 374
RIGHT_IRIS, LEFT_IRIS = 468, 473
MIRRORED = ((33, 263), (133, 362), (61, 291), (159, 386), (145, 374), (70, 300), (105, 334), (234, 454), (468, 473))
INNER_FACE = (1, 13, 14, 33, 61, 70, 105, 133, 145, 159, 263, 291, 300, 334, 362, 374, 386, 468, 473)


@pytest.fixture(params=["makehuman", "ict"])
def embedded(request):
    return request.getfixturevalue(request.param)


def _points(head, vertices=None):
    return head.landmark_points(head.template_m[None] if vertices is None else vertices)[0]


def test_places_lie_in_their_triangles(embedded):
    table = embedded.data.landmarks
    assert len(table.triangle) == landmarks.LANDMARKS
    assert table.triangle.min() >= 0 and table.triangle.max() < len(embedded.triangles)
    assert table.barycentric.min() > -1e-5
    torch.testing.assert_close(table.barycentric.sum(1), torch.ones(landmarks.LANDMARKS), atol=1e-5, rtol=0)
    assert table.weight.min() >= 0 and table.weight.max() <= 1


def test_irises_lie_on_eyeballs_and_all_else_on_skin(embedded):
    corners = embedded.triangles[embedded.data.landmarks.triangle]
    balls = embedded.region("eyeballs")[corners].all(1)
    assert balls[468:].all() and not balls[:468].any()
    assert not embedded.region("teeth", "tongue", "eyelashes")[corners].any()


def test_table_is_symmetric(embedded):
    points = _points(embedded)
    for right, left in MIRRORED:
        assert (points[right] * torch.tensor([-1.0, 1, 1]) - points[left]).norm() < 0.001
        assert points[right, 0] < 0 < points[left, 0]
    assert points[[NOSE_TIP, UPPER_LIP, LOWER_LIP, CHIN], 0].abs().max() < 0.001


def test_landmarks_lie_where_a_face_has_them(embedded):
    points = _points(embedded)
    assert points[NOSE_TIP, 2] > points[:468, 2].quantile(0.98) - 0.003
    eyes = embedded.joints(embedded.template_m[None])[0, 3:]
    assert (points[LEFT_IRIS, :2] - eyes[0, :2]).norm() < 0.003
    assert (points[RIGHT_IRIS, :2] - eyes[1, :2]).norm() < 0.003
    order = [105, RIGHT_UPPER_LID, RIGHT_LOWER_LID, NOSE_TIP, UPPER_LIP, LOWER_LIP, CHIN]
    assert (points[order, 1].diff() < 0.0005).all()


def test_lips_part_and_lids_meet(embedded):
    def posed(**units):
        arkit = torch.zeros(1, 52)
        for name, value in units.items():
            arkit[0, ARKIT_INDEX[name]] = value
        return _points(embedded, embedded.pose(embedded.template_m[None], embedded.from_arkit(arkit)))

    closed, opened = posed(), posed(jawOpen=1.0)
    assert (closed[UPPER_LIP] - closed[LOWER_LIP]).norm() < 0.006
    assert opened[UPPER_LIP, 1] - opened[LOWER_LIP, 1] > 0.02
    blinked = posed(eyeBlinkLeft=1.0)
    assert blinked[LEFT_UPPER_LID, 1] - blinked[LEFT_LOWER_LID, 1] < 0.004
    assert closed[LEFT_UPPER_LID, 1] - closed[LEFT_LOWER_LID, 1] > 0.006
    torch.testing.assert_close(blinked[RIGHT_UPPER_LID], closed[RIGHT_UPPER_LID], atol=2e-4, rtol=0)


def test_inner_face_is_trusted_and_the_outline_is_not(embedded):
    weight = embedded.landmark_weight
    assert weight[list(INNER_FACE)].min() > 0.35
    assert weight[[10, 152, 234, 454, 172, 397]].max() <= 0.1


def test_table_of_another_mesh_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(landmarks, "__file__", str(tmp_path / "landmarks.py"))
    absent = landmarks.read_embedding("nobody", 10)
    assert not absent.weight.any() and len(absent.weight) == landmarks.LANDMARKS
    (tmp_path / "tables").mkdir()
    table = {"triangle": torch.zeros(478).int(), "barycentric": torch.zeros(478, 3), "weight": torch.zeros(478)}
    save_file(table | {"triangles": torch.tensor(9)}, tmp_path / "tables" / "nobody_landmarks.safetensors")
    with pytest.raises(HeadstudioError, match="another mesh"):
        landmarks.read_embedding("nobody", 10)
