"""Tiny ONNX networks whose answer is known."""

from pathlib import Path

import numpy as np


def colour_network(path: Path, matrix: np.ndarray, size: int | None = 32, channels_first: bool = True) -> Path:
    """A network that multiplies the normalised colours of each pixel by a matrix (outputs, 3)."""
    import onnx
    import onnx.helper as make

    shape = [1, 3, size or "height", size or "width"] if channels_first else [1, size, size, 3]
    weights = matrix.astype(np.float32)
    if channels_first:
        node = make.make_node("Conv", ["picture", "weights"], ["estimate"])
        weights = weights[:, :, None, None]
    else:
        node, weights = make.make_node("MatMul", ["picture", "weights"], ["estimate"]), weights.T.copy()
    graph = make.make_graph(
        [node],
        "colours",
        [make.make_tensor_value_info("picture", onnx.TensorProto.FLOAT, shape)],
        [make.make_tensor_value_info("estimate", onnx.TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(weights, "weights")],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path


def embedding_network(path: Path, numbers: int = 32, size: int = 112, seed: int = 0) -> Path:
    """A network that makes `numbers` random sums of a picture's averages over cells of eight pixels."""
    import onnx
    import onnx.helper as make

    cells = 3 * (size // 8) ** 2
    weights = np.random.default_rng(seed).standard_normal((cells, numbers)).astype(np.float32)
    graph = make.make_graph(
        [
            make.make_node("AveragePool", ["picture"], ["cells"], kernel_shape=[8, 8], strides=[8, 8]),
            make.make_node("Flatten", ["cells"], ["row"]),
            make.make_node("MatMul", ["row", "weights"], ["embedding"]),
        ],
        "embedding",
        [make.make_tensor_value_info("picture", onnx.TensorProto.FLOAT, [1, 3, size, size])],
        [make.make_tensor_value_info("embedding", onnx.TensorProto.FLOAT, [1, numbers])],
        [onnx.numpy_helper.from_array(weights, "weights")],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path
