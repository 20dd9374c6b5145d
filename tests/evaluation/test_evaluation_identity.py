"""Identity scores: faces lie where recognition wants them, equal ones score 1, and files that are none are told."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from headstudio.errors import HeadstudioError
from headstudio.evaluation.evaluate import EvaluationConfig, evaluate
from headstudio.evaluation.frame_judges import find_embedders
from headstudio.evaluation.identity import ALIGNED_PX, FaceEmbedder, aligned_faces
from headstudio.heads import load_head
from headstudio.methods.dynamic_texture import DynamicTexture
from headstudio.training.contract import Source
from support.networks import colour_network, embedding_network
from support.painted import painted_source

pytest.importorskip("onnx", reason="the onnx extra is not installed")
pytest.importorskip("onnxruntime", reason="the onnx extra is not installed")

SIDE_PX = 160


def landmarks(points):
    """478 places of which only the five count."""
    found = torch.full((1, 478, 2), torch.nan)
    found[0, list(ALIGNED_PX)] = torch.as_tensor(points, dtype=torch.float32)
    return found


def turned(points, angle_rad, scale, shift):
    cosine, sine = scale * math.cos(angle_rad), scale * math.sin(angle_rad)
    return np.array(points) @ np.array([[cosine, sine], [-sine, cosine]]) + shift


def smooth_picture(seed=0, side=SIDE_PX):
    noise = torch.rand(1, 3, 9, 9, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(noise, side, mode="bicubic", align_corners=False).clamp(0, 1)


@pytest.fixture(scope="module")
def embedder(tmp_path_factory):
    return FaceEmbedder(embedding_network(tmp_path_factory.mktemp("networks") / "faces.onnx"))


@pytest.mark.parametrize(("angle_rad", "scale"), [(0.0, 1.0), (0.4, 1.0), (-0.3, 0.7), (0.1, 1.2)])
def test_a_face_is_brought_where_recognition_wants_it(angle_rad, scale):
    places = turned(list(ALIGNED_PX.values()), angle_rad, scale, [9.0, 14.0])
    rows, columns = torch.meshgrid(torch.arange(240.0) + 0.5, torch.arange(240.0) + 0.5, indexing="ij")
    ramp = torch.stack([columns, rows, rows])[None] / 240
    face = aligned_faces(ramp, landmarks(places))[0]
    for (x, y), wanted in zip(ALIGNED_PX.values(), places, strict=True):
        found = torch.nn.functional.grid_sample(
            face[None, :2], torch.tensor([[[[2 * x / 112 - 1, 2 * y / 112 - 1]]]]), align_corners=False
        )
        assert 240 * found.flatten().numpy() == pytest.approx(wanted, abs=0.05)


def test_the_same_face_scores_one_and_a_stranger_less(embedder):
    places = landmarks(turned(list(ALIGNED_PX.values()), 0.1, 1.1, [10.0, 5.0]))
    picture, other = smooth_picture(0), smooth_picture(1)
    near = (picture + 0.02 * torch.randn(picture.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    same, little, stranger = (float(embedder.similarity(p, picture, places)) for p in (picture, near, other))
    assert same == pytest.approx(1, abs=1e-6) and 1 > little > 0.98 > stranger + 0.2


def test_only_the_face_counts_and_a_frame_without_one_has_no_score(embedder):
    places = landmarks(list(ALIGNED_PX.values()))
    picture = smooth_picture()
    beside = picture.clone()
    beside[..., 116:] = 0
    assert float(embedder.similarity(beside, picture, places)) == pytest.approx(1, abs=1e-6)
    assert embedder.similarity(picture, picture, torch.full((1, 478, 2), torch.nan)).isnan().all()


def test_a_model_says_how_it_wants_its_picture(tmp_path):
    file = embedding_network(tmp_path / "faces.onnx")
    plain = FaceEmbedder(file)
    (tmp_path / "faces.json").write_text(
        json.dumps({"schema": "headstudio.estimator", "schema_version": 1, "mean": [0, 0, 0], "bgr": True})
    )
    told = FaceEmbedder(file)
    places, picture = landmarks(list(ALIGNED_PX.values())), smooth_picture()
    assert plain.name == told.name and "faces-" in plain.name
    swapped = told.similarity(picture.flip(1), picture, places)
    assert not torch.allclose(swapped, plain.similarity(picture.flip(1), picture, places))


@pytest.mark.parametrize("kind", ["missing", "damaged", "ending", "maps", "few"])
def test_files_that_are_no_such_network_are_told(tmp_path, kind):
    file = tmp_path / ("faces.txt" if kind == "ending" else "faces.onnx")
    if kind in ("damaged", "ending"):
        file.write_bytes(b"not a network")
    if kind == "maps":
        colour_network(file, np.eye(3), 112)
    if kind == "few":
        embedding_network(file, numbers=3)
    with pytest.raises(HeadstudioError) as told:
        FaceEmbedder(file)
    assert "\n" not in told.value.what[:80] and told.value.next_step


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Source:
    return painted_source(tmp_path_factory.mktemp("judged") / "capture", load_head("makehuman"), frames=20)


def with_faces(source: Source) -> Source:
    """The capture's landmarks are noise; those that count are put on the face."""
    size = source.capture.size_px
    points = torch.zeros(source.capture.frames, 478, 3)
    points[:, list(ALIGNED_PX), :2] = torch.tensor(list(ALIGNED_PX.values())) * (size / 112)
    view = replace(source.capture.views[0], landmarks_px=points)
    return replace(source, capture=replace(source.capture, views=(view,)))


def test_an_evaluation_tells_identity_and_sharpness_where_they_are_asked_for(source, tmp_path):
    file = embedding_network(tmp_path / "faces.onnx")
    config = EvaluationConfig(judges=(), embedders=(str(file),), sharpness=True, examples=0)
    avatar = DynamicTexture(DynamicTexture.presets["draft"])
    avatar.setup({"target": (source,)})
    found = evaluate(avatar.eval(), with_faces(source), config, name="avatar")
    metric = f"identity ({FaceEmbedder(file).name})"
    row = found.row("avatar", "face", metric)
    assert row is not None and -1 <= row.value <= 1 and row.n == found.frames_scored
    assert found.row("avatar", "head", metric) is None
    assert found.verdict("avatar", "nearest frame", "face", metric) in ("better", "worse", "tie")
    assert {row.region for row in found.rows if row.metric == "CPBD"} <= {"face", "head"}


def test_a_network_that_a_loss_used_does_not_judge(source, tmp_path):
    file = embedding_network(tmp_path / "faces.onnx")
    found = find_embedders([str(file)], frozenset({"arcface-r18 faces"}), source, 64)
    assert not found.judges and "training used it" in found.absences[0]
    assert find_embedders([str(file)], frozenset({"arcface-r18 others"}), source, 64).judges
