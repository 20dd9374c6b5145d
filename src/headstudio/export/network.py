"""An avatar's network as one ONNX graph of what engines have at hand: ARKit weights and the pose before the camera."""

import warnings
from pathlib import Path

import roma
import torch
from jaxtyping import Float
from torch import Tensor, nn

from headstudio.errors import HeadstudioError
from headstudio.geometry.camera import Camera
from headstudio.geometry.rigid import from_rotation
from headstudio.records.channels import ARKIT, HEAD_POSE, View
from headstudio.training.contract import Runtime

ARKIT_INPUT, POSE_INPUT = "arkit", "T_camera_head"
_OPSET = 17
_DISTANCE_M = 0.5


class Network(nn.Module):
    """`Runtime.prepare` and `Runtime.graph` behind two inputs; gives one output of the graph.

    The viewing camera is the world, so what the graph learns of the head's orientation is relative to it.
    """

    def __init__(self, runtime: Runtime, output: str) -> None:
        super().__init__()
        self._runtime = runtime
        self._graph = runtime.graph()
        self._output = [spec.name for spec in runtime.outputs].index(output)

    def forward(self, arkit: Float[Tensor, "1 52"], T_camera_head: Float[Tensor, "1 4 4"]) -> Tensor:
        """The painted picture (1, 3, rows, columns) of ARKit weights and a head pose in OpenCV's camera axes."""
        view = View(Camera(torch.eye(3)[None], 1, 1), torch.eye(4)[None])
        inputs = self._runtime.prepare({ARKIT: arkit, HEAD_POSE: T_camera_head}, view)
        return self._graph(*(inputs[spec.name] for spec in self._runtime.inputs))[self._output]


def poses_before_camera(turn: Float[Tensor, "frames 3"]) -> Float[Tensor, "frames 4 4"]:
    """`T_camera_head` of heads that stand before a camera, turned away from it by rotation vectors."""
    facing = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    place_m = torch.tensor([0.0, 0.0, _DISTANCE_M]).expand(len(turn), 3)
    return from_rotation(facing @ roma.rotvec_to_rotmat(turn), place_m)


def write_network(path: Path, runtime: Runtime, output: str) -> None:
    """Write the network as an ONNX file with the inputs `arkit` (1, 52) and `T_camera_head` (1, 4, 4)."""
    network = Network(runtime, output).eval()
    example = (torch.full((1, 52), 0.1), poses_before_camera(torch.zeros(1, 3)))
    names = [ARKIT_INPUT, POSE_INPUT]
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer speaks of branches on shapes, which are fixed here
        try:
            torch.onnx.export(
                network, example, path, input_names=names, output_names=[output], opset_version=_OPSET, dynamo=False
            )
        except ImportError as error:
            raise HeadstudioError(
                f"the network cannot be written as ONNX: {error}", next_step="pip install 'headstudio[onnx]'"
            ) from error
