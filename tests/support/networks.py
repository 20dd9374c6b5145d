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
