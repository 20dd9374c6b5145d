"""An avatar's run-time form at work: its graph in ONNX Runtime, and what stands before and behind it."""

import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from headstudio.errors import HeadstudioError
from headstudio.records.channels import Channels, Scene, View
from headstudio.training.contract import AvatarModel, Capability
from headstudio.video import to_picture

_OPSET = 17
LEAST_PX, MOST_PX = 16, 2048


class Painted(NamedTuple):
    """What the graph has made of a frame."""

    channels: Channels
    outputs: dict[str, Tensor]


class Shown(NamedTuple):
    """A finished frame."""

    channels: Channels
    """That drove the avatar."""
    picture: UInt8[np.ndarray, "height width 3"]
    """sRGB."""


@dataclass(frozen=True)
class GraphConfig:
    """How ONNX Runtime runs."""

    threads: int = 1
    """Threads inside the graph; 1 leaves the other cores to the tracker and the rasteriser."""


class LiveRenderer:
    """Paints in one thread and draws in another.

    Args:
        avatar: declares REALTIME.
        view: of one frame; its camera's size is that of the pictures.
        resting: channels of one frame that the avatar accepts: the example that the graph is traced with.
        background: behind the head, sRGB in [0, 1]; black when None.
        config: how the graph runs.

    Raises:
        HeadstudioError: the avatar does not declare REALTIME, or ONNX is not installed.
    """

    def __init__(
        self,
        avatar: AvatarModel,
        view: View,
        resting: Channels,
        background: Float[Tensor, "3 height width"] | None = None,
        config: GraphConfig | None = None,
    ) -> None:
        if Capability.REALTIME not in avatar.capabilities:
            raise HeadstudioError(
                "this avatar does not declare that it runs in real time",
                next_step="choose a method that does, or use `headstudio drive`",
            )
        self._runtime, self._view = avatar.runtime(), view
        self._scene = Scene(background=None if background is None else background[None])
        self._names = [spec.name for spec in self._runtime.outputs]
        with torch.no_grad():
            inputs = self._runtime.prepare(resting, view)
            self._session = _session(self._runtime.graph().eval(), inputs, self._names, config or GraphConfig())
            # The first picture compiles kernels and makes pyramids; nobody should wait for it, or compile twice. What
            # the avatar keeps of it is of use outside too, which it would not be if made in inference mode.
            self._runtime.composite(self._outputs(inputs), resting, view, self._scene)

    @torch.inference_mode()
    def paint(self, channels: Channels) -> Painted:
        """The graph's outputs for one frame."""
        return Painted(channels, self._outputs(self._runtime.prepare(channels, self._view)))

    @torch.inference_mode()
    def draw(self, painted: Painted) -> Shown:
        """The picture of one painted frame."""
        rendering = self._runtime.composite(painted.outputs, painted.channels, self._view, self._scene)
        return Shown(painted.channels, to_picture(rendering.rgb[0]))

    def _outputs(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        made = self._session.run(self._names, {name: value.numpy() for name, value in inputs.items()})
        return {name: torch.from_numpy(values) for name, values in zip(self._names, made, strict=True)}


def _session(graph: torch.nn.Module, inputs: dict[str, Tensor], names: list[str], config: GraphConfig) -> Any:
    try:
        import onnx  # noqa: F401  # PyTorch's exporter asks for it late and at length
        import onnxruntime
    except ImportError as error:
        raise HeadstudioError(
            f"live needs the Python package {error.name}", next_step="pip install 'headstudio[onnx]'"
        ) from None
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.inter_op_num_threads = config.threads, 1
    # Threads that spin while they wait would take the cores from the tracker and the rasteriser.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer speaks of branches on shapes, which are fixed here
        written = Path(folder) / "graph.onnx"
        torch.onnx.export(
            graph, tuple(inputs.values()), written, input_names=list(inputs), output_names=names,
            opset_version=_OPSET, dynamo=False,
        )  # fmt: skip
        return onnxruntime.InferenceSession(written.read_bytes(), settings, providers=["CPUExecutionProvider"])
