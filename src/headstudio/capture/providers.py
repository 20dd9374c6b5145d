"""Estimators that plug in as files: ONNX or TFLite networks from pictures to pictures, and the person matte of one."""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from headstudio.errors import HeadstudioError


@runtime_checkable
class Estimator(Protocol):
    """Anything that says something about each pixel of a picture."""

    def estimate(self, image_rgb: UInt8[np.ndarray, "height width 3"]) -> Float[np.ndarray, "height width *channels"]:
        """The estimate at the picture's own resolution."""
        ...

    def close(self) -> None:
        """Give the model back."""
        ...


@dataclass(frozen=True)
class PictureTerms:
    """How a network wants its picture."""

    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    """Taken off the colours in [0, 1], in the order of the channels that the network sees."""
    deviation: tuple[float, float, float] = (0.5, 0.5, 0.5)
    """What is left is divided by it."""
    bgr: bool = False
    """The network takes blue first."""
    size_px: int = 512
    """Side of the input where the network leaves it open."""


def load_network(path: Path, terms: PictureTerms | None = None, output: str | None = None) -> "Network":
    """Open a network file by its ending: `.onnx` or `.tflite`.

    Args:
        terms: how it wants its picture; by default colours in [-1, 1].
        output: name of the output to read, of ONNX files; the first when not given.
    """
    path = Path(path)
    if not path.is_file():
        raise HeadstudioError("no model file here", where=path, next_step="check the path")
    runners = {".onnx": _OnnxRunner, ".tflite": _LiteRunner}
    if path.suffix.lower() not in runners:
        raise HeadstudioError("unknown kind of model file", where=path, next_step="give an .onnx or .tflite file")
    return Network(runners[path.suffix.lower()](path, output), path, terms or PictureTerms())


class Network:
    """A picture-to-picture network: resizes to its input, normalises, runs, and resizes back.

    Takes (1, 3, H, W) or (1, H, W, 3) inputs of fixed or free size and gives (H, W, channels) in the input's layout.
    """

    def __init__(self, runner: "_Runner", path: Path, terms: PictureTerms) -> None:
        self._runner, self._terms = runner, terms
        shape = [n if isinstance(n, int) and n > 0 else None for n in runner.input_shape]
        if len(shape) != 4 or 3 not in (shape[1], shape[3]):
            raise HeadstudioError(
                f"the model takes {runner.input_shape}, not one RGB picture",
                where=path,
                next_step="choose another model",
            )
        self._channels_first = shape[1] == 3
        height, width = (shape[2], shape[3]) if self._channels_first else (shape[1], shape[2])
        self._size = (width or terms.size_px, height or terms.size_px)

    def estimate(self, image_rgb: UInt8[np.ndarray, "height width 3"]) -> Float[np.ndarray, "height width channels"]:
        """The output that is read, at the picture's resolution."""
        result = self.answer(image_rgb)
        result = result[..., None] if result.ndim == 2 else result
        result = result.transpose(1, 2, 0) if self._channels_first else result
        height, width = image_rgb.shape[:2]
        resized = cv2.resize(np.ascontiguousarray(result, np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
        return resized.reshape(height, width, -1)

    def answer(self, image_rgb: UInt8[np.ndarray, "height width 3"]) -> Float[np.ndarray, "..."]:
        """The output that is read, as it is, of the one picture."""
        small = cv2.resize(image_rgb, self._size, interpolation=cv2.INTER_AREA)
        small = small[..., ::-1] if self._terms.bgr else small
        mean, deviation = (np.array(v, np.float32) for v in (self._terms.mean, self._terms.deviation))
        value = (small.astype(np.float32) / 255 - mean) / deviation
        value = value.transpose(2, 0, 1)[None] if self._channels_first else value[None]
        return self._runner(np.ascontiguousarray(value))[0]

    def close(self) -> None:
        """Nothing is held beyond the object."""


class NetworkMatte:
    """A matting network as the matte estimator: one channel is the matte, of two the second is the person."""

    def __init__(self, path: Path) -> None:
        self._network = load_network(path)

    def estimate(self, image_rgb: UInt8[np.ndarray, "height width 3"]) -> Float[np.ndarray, "height width"]:
        """Probability of person per pixel."""
        value = self._network.estimate(image_rgb)
        if value.shape[-1] == 2 and (value.min() < 0 or value.max() > 1):
            return 1 / (1 + np.exp(value[..., 0] - value[..., 1]))
        return np.clip(value[..., -1], 0, 1)

    def close(self) -> None:
        """Give the model back."""
        self._network.close()


@runtime_checkable
class _Runner(Protocol):
    input_shape: list[Any]

    def __call__(self, value: np.ndarray) -> np.ndarray: ...


class _OnnxRunner:
    def __init__(self, path: Path, output: str | None = None) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise HeadstudioError(
                "ONNX files need onnxruntime", where=path, next_step="pip install 'headstudio[onnx]'"
            ) from None
        try:
            self._session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises its own unrelated classes for every kind of damage
            raise HeadstudioError(
                f"the model cannot be read: {error}", where=path, next_step="fetch it again"
            ) from None
        self._name = self._session.get_inputs()[0].name
        self.input_shape = list(self._session.get_inputs()[0].shape)
        named = [found.name for found in self._session.get_outputs()]
        self._output = named[0] if output is None else output
        if self._output not in named:
            raise HeadstudioError(
                f"the model has no output {output}", where=path, next_step=f"name one of: {', '.join(named)}"
            )

    def __call__(self, value: np.ndarray) -> np.ndarray:
        return np.asarray(self._session.run([self._output], {self._name: value})[0])


class _LiteRunner:
    def __init__(self, path: Path, output: str | None = None) -> None:
        if output is not None:
            raise HeadstudioError(
                "outputs are chosen by name in ONNX files only", where=path, next_step="take `output` out of its JSON"
            )
        try:
            interpreter = importlib.import_module("ai_edge_litert.interpreter")  # optional, not for all platforms
        except ImportError:
            raise HeadstudioError(
                "TFLite files need ai-edge-litert", where=path, next_step="pip install ai-edge-litert"
            ) from None
        try:
            self._interpreter = interpreter.Interpreter(model_path=str(path))
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise HeadstudioError(
                f"the model cannot be read: {error}", where=path, next_step="fetch it again"
            ) from None
        self._input = self._interpreter.get_input_details()[0]
        self.input_shape = [int(n) for n in self._input["shape"]]

    def __call__(self, value: np.ndarray) -> np.ndarray:
        self._interpreter.set_tensor(self._input["index"], value.astype(self._input["dtype"]))
        self._interpreter.invoke()
        return np.asarray(self._interpreter.get_tensor(self._interpreter.get_output_details()[0]["index"]))
