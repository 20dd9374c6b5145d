"""Faces and their 478 landmarks by MediaPipe 0.10.14, whose models come with its package."""

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8

LANDMARKS = 478
"""468 of the face mesh, then five for the iris of either eye (the person's right eye first)."""

_SILENCED = {"GLOG_minloglevel": "3", "TF_CPP_MIN_LOG_LEVEL": "3"}


@runtime_checkable
class Detector(Protocol):
    """What the pipeline asks of a face detector; tests put their own in its place."""

    def find(self, image_rgb: UInt8[np.ndarray, "height width 3"]) -> Float[np.ndarray, "faces 4"]:
        """Faces anywhere in a picture as left, top, width, height in pixels."""
        ...

    def detect(self, image_rgb: UInt8[np.ndarray, "height width 3"]) -> list[Float[np.ndarray, "478 3"]]:
        """Landmarks of the faces in a picture that one of them fills well."""
        ...

    def close(self) -> None:
        """Give the models back."""
        ...


class FaceDetector:
    """MediaPipe's full-range face detector and its attention mesh with irises.

    In video mode (the default) the mesh looks first where the last picture's face was, so hand it pictures in their
    order, and a window that moves smoothly.

    Args:
        max_faces: most faces that `detect` returns.
        still: every picture stands alone.
        min_confidence: detection and presence threshold in [0, 1].
    """

    def __init__(self, max_faces: int = 1, still: bool = False, min_confidence: float = 0.5) -> None:
        with quiet():
            solutions = import_mediapipe().solutions
            self._finder = solutions.face_detection.FaceDetection(min_confidence, model_selection=1)
            self._mesh = solutions.face_mesh.FaceMesh(
                static_image_mode=still,
                max_num_faces=max_faces,
                refine_landmarks=True,
                min_detection_confidence=min_confidence,
                min_tracking_confidence=min_confidence,
            )
            blank = np.zeros((64, 64, 3), np.uint8)  # the graphs log when their first picture arrives
            self.find(blank)
            self.detect(blank)

    def find(self, image_rgb: UInt8[np.ndarray, "height width 3"]) -> Float[np.ndarray, "faces 4"]:
        """Boxes of the faces in a picture: left, top, width, height in pixels, best first."""
        height, width = image_rgb.shape[:2]
        found = _process(self._finder, image_rgb).detections or []
        boxes = [detection.location_data.relative_bounding_box for detection in found]
        relative = np.array([(b.xmin, b.ymin, b.width, b.height) for b in boxes], np.float64).reshape(-1, 4)
        return relative * (width, height, width, height)

    def detect(self, image_rgb: UInt8[np.ndarray, "height width 3"]) -> list[Float[np.ndarray, "478 3"]]:
        """Landmarks of each face, x and y in pixels (centres at +0.5), z in the same scale, away from the camera."""
        height, width = image_rgb.shape[:2]
        faces = _process(self._mesh, image_rgb).multi_face_landmarks or []
        scale = np.array([width, height, width], np.float64)
        return [np.array([(p.x, p.y, p.z) for p in face.landmark]) * scale for face in faces]

    def close(self) -> None:
        """Give the models back."""
        self._finder.close()
        self._mesh.close()

    def __enter__(self) -> "FaceDetector":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class HandDetector:
    """MediaPipe's hand landmarks (light model), to know when a hand covers the face."""

    def __init__(self, max_hands: int = 2) -> None:
        with quiet():
            self._hands = import_mediapipe().solutions.hands.Hands(model_complexity=0, max_num_hands=max_hands)
            self.detect(np.zeros((64, 64, 3), np.uint8))

    def detect(self, image_rgb: UInt8[np.ndarray, "height width 3"]) -> list[Float[np.ndarray, "21 2"]]:
        """The joints of each hand in pixels; pictures of a clip in their order."""
        height, width = image_rgb.shape[:2]
        hands = _process(self._hands, image_rgb).multi_hand_landmarks or []
        return [np.array([(p.x * width, p.y * height) for p in hand.landmark]) for hand in hands]

    def close(self) -> None:
        """Give the model back."""
        self._hands.close()


def import_mediapipe() -> ModuleType:
    """MediaPipe, with its log level set only while it loads."""
    kept = {name: os.environ.get(name) for name in _SILENCED}
    os.environ.update({name: value for name, value in _SILENCED.items() if kept[name] is None})
    try:
        import mediapipe
    finally:
        for name, value in kept.items():
            if value is None:
                os.environ.pop(name, None)
    return mediapipe


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Send the process's error stream to nowhere for a moment: MediaPipe's C++ side logs there while it starts."""
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # a program without an error stream has nothing to silence
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _process(solution: Any, image_rgb: np.ndarray) -> Any:
    with warnings.catch_warnings():  # protobuf's deprecation notes, once per message type
        warnings.simplefilter("ignore", UserWarning)
        return solution.process(np.ascontiguousarray(image_rgb))
