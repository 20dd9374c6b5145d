"""Labels and normals are added to a capture whole, once, and from what the user's files say they are."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from headstudio.capture.annotating import annotate
from headstudio.capture.estimator_terms import terms_beside
from headstudio.capture.painters import GivenNormals, NetworkLabels, NetworkNormals
from headstudio.errors import HeadstudioError
from headstudio.heads.parsing import Label
from headstudio.progress import Silent
from headstudio.records.capture import Annotation, Capture, Crop
from headstudio.records.normal_maps import encode_normals
from support.networks import colour_network
from support.tiny import tiny_capture

pytest.importorskip("onnx")


class Counting:
    """Paints the frame's number, and may stop."""

    def __init__(self, key="one", stop_at=None):
        self.key, self.stop_at, self.painted = key, stop_at, []

    def paint(self, frame):
        if frame == self.stop_at:
            raise KeyboardInterrupt
        self.painted.append(frame)
        return np.full((16, 16), frame % 8, np.uint8)


@pytest.fixture
def capture(tmp_path):
    return tiny_capture(tmp_path / "capture", frames=6)


def test_an_annotation_is_added_once_and_survives_a_reload(capture):
    first = Counting()
    annotated = annotate(capture, Annotation.PARSING, first, Silent())
    assert first.painted == list(range(6))
    assert Capture.load(capture.path).annotations == annotated.annotations == capture.annotations | {Annotation.PARSING}
    assert [int(annotated.parsing(f)[0, 3, 3]) for f in range(6)] == list(range(6))
    again = Counting()
    annotate(Capture.load(capture.path), Annotation.PARSING, again, Silent())
    assert again.painted == []
    other = Counting(key="two")
    annotate(Capture.load(capture.path), Annotation.PARSING, other, Silent())
    assert other.painted == list(range(6))
    assert not (capture.path / "cache").exists()


def test_a_stopped_run_leaves_the_capture_alone_and_goes_on(capture):
    before = {p: p.read_bytes() for p in capture.path.rglob("*") if p.is_file()}
    with pytest.raises(KeyboardInterrupt):
        annotate(capture, Annotation.PARSING, Counting(stop_at=4), Silent())
    for path, content in before.items():
        assert path.read_bytes() == content
    assert Annotation.PARSING not in Capture.load(capture.path).annotations
    rest = Counting()
    annotate(capture, Annotation.PARSING, rest, Silent())
    assert rest.painted == [4, 5]
    assert Annotation.PARSING in Capture.load(capture.path).annotations


def test_a_run_on_other_terms_takes_nothing_over(capture):
    with pytest.raises(KeyboardInterrupt):
        annotate(capture, Annotation.PARSING, Counting(stop_at=4), Silent())
    other = Counting(key="two")
    annotate(capture, Annotation.PARSING, other, Silent())
    assert other.painted == list(range(6))


def test_two_views_are_refused(capture):
    two = replace(capture, views=capture.views * 2)
    with pytest.raises(HeadstudioError, match="2 views"):
        annotate(two, Annotation.PARSING, Counting(), Silent())


def _write_terms(model: Path, **content):
    text = json.dumps({"schema": "headstudio.estimator", "schema_version": 1, **content})
    model.with_suffix(".json").write_text(text)


def _coloured(capture: Capture, frame: int, colour) -> None:
    Image.fromarray(np.full((16, 16, 3), colour, np.uint8)).save(capture.frame_path(frame), quality=100, subsampling=0)


def test_a_networks_classes_become_labels(capture, tmp_path):
    # Class 1 wins where red is bright, class 2 where green is, else class 0.
    model = colour_network(tmp_path / "parser.onnx", np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
    _write_terms(model, labels=["unknown", "hair", "neck"])
    for frame, colour in enumerate([(250, 0, 0), (0, 250, 0), (0, 0, 250)]):
        _coloured(capture, frame, colour)
    painter = NetworkLabels(capture, model)
    assert [int(painter.paint(frame)[8, 8]) for frame in range(3)] == [Label.HAIR, Label.NECK, Label.UNKNOWN]
    capture.views[0].valid[:4] = False
    assert (painter.paint(0)[:4] == Label.UNKNOWN).all() and (painter.paint(0)[4:] == Label.HAIR).all()


def test_normalisation_and_order_of_channels_are_the_models(capture, tmp_path):
    model = colour_network(tmp_path / "parser.onnx", np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))
    _write_terms(model, labels=["skin", "cloth"], bgr=True, mean=[0.0, 0.0, 0.0], deviation=[1.0, 1.0, 0.1])
    # Blue comes first and red is counted ten times: a little red outweighs much blue.
    _coloured(capture, 0, (60, 0, 200))
    assert (NetworkLabels(capture, model).paint(0) == Label.CLOTH).all()
    _write_terms(model, labels=["skin", "cloth"], bgr=False, mean=[0.0, 0.0, 0.0], deviation=[1.0, 1.0, 1.0])
    assert (NetworkLabels(capture, model).paint(0) == Label.CLOTH).all()
    _coloured(capture, 0, (220, 0, 200))
    assert (NetworkLabels(capture, model).paint(0) == Label.SKIN).all()


def test_other_terms_are_another_work(capture, tmp_path):
    model = colour_network(tmp_path / "parser.onnx", np.eye(3)[:2])
    _write_terms(model, labels=["skin", "cloth"])
    first = NetworkLabels(capture, model).key
    assert NetworkLabels(capture, model).key == first
    _write_terms(model, labels=["skin", "hair"])
    assert NetworkLabels(capture, model).key != first


def test_a_networks_normals_are_turned_into_camera_axes(capture, tmp_path):
    # The network gives the colours in [-1, 1] as normals with y up and z towards the camera.
    model = colour_network(tmp_path / "normals.onnx", np.eye(3))
    _write_terms(model, axes=["x", "-y", "-z"])
    _coloured(capture, 0, (128, 128, 255))
    Image.fromarray(np.repeat(np.array([[255], [0]], np.uint8), 8, 0).repeat(16, 1)).save(capture.matte_path(0))
    annotated = annotate(capture, Annotation.NORMALS, NetworkNormals(capture, model), Silent())
    normals = annotated.normals(0)
    assert torch.allclose(normals[:, 4, 4], torch.tensor([0.0, 0.0, -1.0]), atol=0.02)
    assert (normals[:, 12] == 0).all()


def test_given_normals_are_taken_over_at_the_frames_or_the_sources_size(capture, tmp_path):
    true = np.array([0.6, 0.0, -0.8])
    for index in range(6):
        for name, side in (("stored", 16), ("source", 20)):
            (tmp_path / name).mkdir(exist_ok=True)
            picture = encode_normals(np.broadcast_to(true, (side, side, 3)))
            Image.fromarray(picture).save(tmp_path / name / f"{index:03d}.png")
        Image.fromarray(np.full((16, 16), 255, np.uint8)).save(capture.matte_path(index))
    view = capture.views[0]
    wide = replace(
        capture,
        views=(replace(view, source=replace(view.source, width_px=20, height_px=20), crop=Crop(0.0, 4.0, 16.0)),),
    )
    for name, seen in (("stored", capture), ("source", wide)):
        painter = GivenNormals(seen, tmp_path / name)
        found = torch.from_numpy(painter.paint(2)).float() * (2 / 255) - 1
        assert torch.allclose(found, torch.tensor(true).float().expand(16, 16, 3), atol=0.01), name


BAD_TERMS = [
    ({"labels": ["skin", "nostril"]}, "no label 'nostril'"),
    ({"labels": []}, "a name for each class"),
    ({"labels": {"0": "skin"}}, "a name for each class"),
    ({"axes": ["x", "x", "z"]}, "once each"),
    ({"axes": "xyz"}, "once each"),
    ({"axes": ["x", "y"]}, "once each"),
    ({"mean": [0.5, 0.5]}, "three numbers"),
    ({"mean": [0.5, 0.5, "much"]}, "three numbers"),
    ({"mean": [127, 127, 1e9]}, "three numbers"),
    ({"deviation": [0.5, 0.0, 0.5]}, "positive"),
    ({"bgr": "yes"}, "true or false"),
    ({"size_px": 0}, "whole number"),
    ({"size_px": 1e6}, "whole number"),
    ({"size": 512}, "no field size"),
]


@pytest.mark.parametrize(("content", "what"), BAD_TERMS, ids=lambda value: str(value)[:24])
def test_terms_that_cannot_be_are_refused_in_a_sentence(tmp_path, content, what):
    _write_terms(tmp_path / "model.onnx", **content)
    with pytest.raises(HeadstudioError, match=what) as caught:
        terms_beside(tmp_path / "model.onnx")
    assert "model.json" in str(caught.value.where)


def test_a_foreign_json_beside_the_model_is_told(tmp_path):
    (tmp_path / "model.json").write_text('{"architectures": ["BiSeNet"]}')
    with pytest.raises(HeadstudioError, match=r"not a headstudio\.estimator"):
        terms_beside(tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda c, p: NetworkLabels(c, colour_network(p / "n.onnx", np.eye(3))), "3 classes and 19 labels"),
        (lambda c, p: NetworkNormals(c, colour_network(p / "n.onnx", np.eye(3)[:2])), "2 channels"),
        (lambda c, p: NetworkLabels(c, p / "n.onnx"), "no model file"),
        (lambda c, p: GivenNormals(c, p), "0 pictures and the capture 6 frames"),
    ],
    ids=["classes", "channels", "absent", "empty"],
)
def test_what_is_no_such_estimator_is_refused_at_once(capture, tmp_path, make, what):
    (tmp_path / "folder").mkdir()
    with pytest.raises(HeadstudioError, match=what):
        make(capture, tmp_path / "folder")


def test_a_normal_map_that_is_no_picture_or_has_another_size_is_named(capture, tmp_path):
    folder = tmp_path / "maps"
    folder.mkdir()
    for index in range(6):
        Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(folder / f"{index}.png")
    (folder / "3.png").write_bytes(b"no picture")
    painter = GivenNormals(capture, folder)
    with pytest.raises(HeadstudioError, match="9 x 9 px"):
        painter.paint(0)
    with pytest.raises(HeadstudioError, match="cannot be read"):
        painter.paint(3)
