"""Signals read off faces: landmarks in the crop, the user's network, MediaPipe's blendshapes; where they are kept."""

import json

import numpy as np
import pytest
import torch

from headstudio.capture import blendshapes, feature_network
from headstudio.capture.blendshapes import BlendshapeReader, find_model
from headstudio.capture.face_crop import ALIGNED_MM, aligned_landmarks, face_crops, face_transform
from headstudio.capture.face_signals import FaceReader, face_reader, face_signals, is_read
from headstudio.capture.feature_network import FeatureReader, face_square, network_channel
from headstudio.errors import HeadstudioError
from headstudio.records.channels import ARKIT, BLENDSHAPES, FACE_CROP, FACE_LANDMARKS, features_of
from support.networks import embedding_network
from support.tiny import tiny_capture

SOMEBODY = np.random.default_rng(0).uniform(20, 80, (478, 3))
NOBODY = np.full((478, 3), np.nan)
PICTURE = np.random.default_rng(1).integers(0, 255, (100, 120, 3), dtype=np.uint8)


@pytest.fixture
def network(tmp_path, monkeypatch):
    path = embedding_network(tmp_path / "deca.onnx", numbers=5, size=32)
    monkeypatch.setenv(feature_network.VARIABLE, str(path))
    return path


def test_landmarks_are_carried_into_the_crop_with_their_depth():
    found = aligned_landmarks(SOMEBODY)
    T = face_transform(SOMEBODY)
    scale = np.sqrt(abs(np.linalg.det(T[:, :2])))
    torch.testing.assert_close(found[7, :2].double(), torch.tensor(T @ [*SOMEBODY[7, :2], 1]), rtol=0, atol=1e-3)
    torch.testing.assert_close(found[:, 2].double(), torch.tensor(SOMEBODY[:, 2] * scale), rtol=1e-5, atol=1e-4)


def test_landmarks_in_the_crop_do_not_depend_on_where_in_the_picture_the_face_is():
    angle, size = 0.4, 1.7
    turn = size * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    elsewhere = np.concatenate([SOMEBODY[:, :2] @ turn.T + (30, -12), SOMEBODY[:, 2:] * size], 1)
    torch.testing.assert_close(aligned_landmarks(elsewhere), aligned_landmarks(SOMEBODY), rtol=0, atol=1e-3)
    middle = aligned_landmarks(SOMEBODY)[list(ALIGNED_MM), :2].mean(0)
    assert (middle - 64).abs().max() < 32


@pytest.mark.parametrize("channel", [FACE_CROP, FACE_LANDMARKS])
def test_nobody_is_zero(channel):
    reader = face_reader(channel)
    assert isinstance(reader, FaceReader)
    assert not reader.read(PICTURE, NOBODY).any() and reader.read(PICTURE, SOMEBODY).any()
    reader.close()


def test_a_capture_gives_what_its_readers_give_and_leaves_the_rest_alone(tmp_path, network):
    capture = tiny_capture(tmp_path / "capture", frames=3, size_px=48)
    deca = network_channel()
    found = face_signals(capture, {FACE_CROP, FACE_LANDMARKS, deca, ARKIT})
    assert found.keys() == {FACE_CROP, FACE_LANDMARKS, deca} and not is_read(ARKIT)
    assert torch.equal(found[FACE_CROP], face_crops(capture).signal())
    for channel in (FACE_LANDMARKS, deca):
        reader = face_reader(channel)
        for frame in range(3):
            image = capture.image(frame).permute(1, 2, 0).contiguous().numpy()
            row = reader.read(image, capture.views[0].landmarks_px[frame].numpy())
            assert torch.equal(found[channel][frame], row)
    assert found[deca].shape == (3, 5)
    kept = list((capture.path / "cache").glob("features-*"))
    assert len(kept) == 1
    before = kept[0].stat().st_mtime_ns
    face_signals(capture, {deca})
    assert kept[0].stat().st_mtime_ns == before


def test_the_network_sees_the_face_and_nobody_is_zero(network):
    reader = FeatureReader()
    here, there = (SOMEBODY * (1, 1, 1), SOMEBODY * 0.5)
    assert not torch.equal(reader.read(PICTURE, here), reader.read(PICTURE, there))
    assert torch.equal(reader.read(PICTURE, NOBODY), torch.zeros(5))


def test_a_square_is_cut_around_brows_and_chin_and_is_black_beyond_the_picture():
    landmarks = np.zeros((478, 3))
    landmarks[162, :2], landmarks[152, :2] = (40, 30), (60, 70)
    landmarks[list(feature_network._FACE[1:12]), :2] = (50, 50)
    landmarks[list(feature_network._FACE[13:]), :2] = (50, 50)
    whole = face_square(PICTURE, landmarks, 1.0)
    assert whole.shape == (30, 30, 3) and np.array_equal(whole, PICTURE[35:65, 35:65])
    wide = face_square(PICTURE, landmarks, 5.0)
    assert wide.shape == (150, 150, 3) and not wide[:25].any() and np.array_equal(wide[25:125, 25:145], PICTURE)
    landmarks[:, :2] += 1000
    assert not face_square(PICTURE, landmarks, 1.0).any()


def test_another_network_is_not_taken_for_the_one_that_was_learned_with(tmp_path, network, monkeypatch):
    wanted = network_channel()
    other = embedding_network(tmp_path / "smirk.onnx", 5, 32, seed=1)
    monkeypatch.setenv(feature_network.VARIABLE, str(other))
    with pytest.raises(HeadstudioError, match="is wanted"):
        face_reader(wanted)


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ({"output": "nothing"}, "no output nothing"),
        ({"output": 3}, "name of an output"),
        ({"margin": "wide"}, "margin"),
        ({"margin": 100}, "margin"),
        ({"size": 3}, "no field size"),
    ],
)
def test_a_bad_json_beside_the_network_costs_one_sentence(network, terms, words):
    told = {"schema": "headstudio.estimator", "schema_version": 1, **terms}
    network.with_suffix(".json").write_text(json.dumps(told))
    with pytest.raises(HeadstudioError, match=words):
        FeatureReader()


@pytest.mark.parametrize(("named", "words"), [("", "no feature network"), ("missing.onnx", "no model file")])
def test_a_network_that_is_not_there_costs_one_sentence(tmp_path, monkeypatch, named, words):
    monkeypatch.setenv(feature_network.VARIABLE, str(tmp_path / named) if named else "")
    with pytest.raises(HeadstudioError, match=words):
        face_reader(features_of("deca-00000000"))


def test_without_mediapipes_model_one_is_told_where_to_put_it(monkeypatch, tmp_path):
    monkeypatch.setattr(blendshapes, "find_file", lambda name: None)
    monkeypatch.setattr(blendshapes, "import_mediapipe", lambda: type("m", (), {"__file__": str(tmp_path / "x.py")}))
    with pytest.raises(HeadstudioError, match=r"face_landmarker\.task"):
        find_model()
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "face_landmarker.task").write_bytes(b"no model")
    assert find_model() == tmp_path / "modules" / "face_landmarker.task"


def test_a_damaged_blendshape_model_costs_one_sentence(tmp_path):
    path = tmp_path / "face_landmarker.task"
    path.write_bytes(b"no model")
    with pytest.raises(HeadstudioError, match="cannot read its model"):
        BlendshapeReader(path)


def test_mediapipes_blendshapes_have_arkits_order():
    try:
        reader = face_reader(BLENDSHAPES)
    except HeadstudioError as error:
        pytest.skip(f"{error}")
    assert torch.equal(reader.read(PICTURE, NOBODY), torch.zeros(52))
    assert torch.equal(reader.read(PICTURE, SOMEBODY), torch.zeros(52))  # noise is no face
    reader.close()
