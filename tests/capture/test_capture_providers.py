"""Estimators from files: tiny ONNX networks made here, and the real matte where it is."""

from pathlib import Path

import numpy as np
import pytest

from headstudio.capture.providers import NetworkMatte, load_network
from headstudio.errors import HeadstudioError
from support.networks import colour_network

onnx = pytest.importorskip("onnx")
WEIGHTS = Path(__file__).parents[2].parent / "shared" / "data" / "weights"


@pytest.mark.parametrize("channels_first", [True, False])
@pytest.mark.parametrize("size", [32, 64])
def test_a_network_sees_normalised_colours_and_answers_at_the_picture_s_size(tmp_path, channels_first, size):
    network = load_network(colour_network(tmp_path / "n.onnx", np.eye(3)[:2], size, channels_first))
    image = np.full((48, 80, 3), (255, 0, 128), np.uint8)
    result = network.estimate(image)
    assert result.shape == (48, 80, 2)
    np.testing.assert_allclose(result[10, 10], [1.0, -1.0], atol=1e-6)


def test_a_network_of_free_size_is_given_one(tmp_path):
    network = load_network(colour_network(tmp_path / "n.onnx", np.eye(3), None))
    assert network.estimate(np.zeros((30, 40, 3), np.uint8)).shape == (30, 40, 3)


def test_a_matte_of_two_classes_is_their_softmax(tmp_path):
    matte = NetworkMatte(colour_network(tmp_path / "n.onnx", np.array([[0.0, 3.0, 0.0], [3.0, 0.0, 0.0]])))
    red, green = (matte.estimate(np.full((32, 32, 3), c, np.uint8))[5, 5] for c in ((255, 0, 0), (0, 255, 0)))
    assert red == pytest.approx(1 / (1 + np.exp(-6.0)), abs=1e-5) and green == pytest.approx(1 - red, abs=1e-5)


def _broken(path: Path) -> Path:
    path.write_bytes(b"not a network")
    return path


@pytest.mark.parametrize(
    ("make", "name", "what"),
    [
        (lambda path: path, "n.onnx", "no model file"),
        (_broken, "n.onnx", "cannot be read"),
        (_broken, "n.pth", "unknown kind"),
        (lambda path: colour_network(path, np.eye(3), 32).rename(path.with_suffix(".tflite")), "n.onnx", "TFLite|read"),
    ],
)
def test_a_file_that_is_no_network_is_told(tmp_path, make, name, what):
    with pytest.raises(HeadstudioError, match=what) as caught:
        load_network(make(tmp_path / name))
    assert caught.value.next_step


def test_a_network_that_takes_no_picture_is_refused(tmp_path):
    import onnx.helper as make

    node = make.make_node("Identity", ["x"], ["y"])
    value = [make.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1, 5]) for n in "xy"]
    graph = make.make_graph([node], "g", value[:1], value[1:])
    path = tmp_path / "n.onnx"
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8), str(path))
    with pytest.raises(HeadstudioError, match="not one RGB picture"):
        load_network(path)


def test_the_portrait_matte_finds_the_person_of_a_real_clip():
    from headstudio.capture.decode import open_video
    from headstudio.capture.follow import square_window

    weights, video = WEIGHTS / "prisma_nchw.onnx", WEIGHTS.parent / "videos" / "whgov_address_720p25_20s.mp4"
    if not (weights.is_file() and video.is_file()):
        pytest.skip("../shared/data is absent")
    image = square_window(next(open_video(video).frames()).image, 296, 0, 622, 512)
    matte = NetworkMatte(weights).estimate(image)
    assert matte[150:350, 200:300].mean() > 0.8  # the face
    assert matte[20:120, 20:100].mean() < 0.2  # the wall
