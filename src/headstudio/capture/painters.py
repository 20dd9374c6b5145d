"""What makes the labels and normals of a capture's frames: a network, given pictures, or the tracked head."""

import hashlib
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, UnidentifiedImageError

from headstudio.capture.estimator_terms import EstimatorTerms, terms_beside
from headstudio.capture.follow import square_window
from headstudio.capture.head_parsing import HeadParser
from headstudio.capture.providers import load_network
from headstudio.errors import HeadstudioError
from headstudio.heads.base import HeadModel
from headstudio.heads.parsing import Label
from headstudio.records.capture import Annotation, Capture
from headstudio.records.normal_maps import encode_normals
from headstudio.records.track import Track

_HEAD_PARSER_REVISION = 1
"""Of what the parser without a network makes of the same track."""
_PERSON = 128
"""Matte from which a pixel is the person's."""


@runtime_checkable
class Painter(Protocol):
    """Makes one kind of annotation, frame by frame."""

    key: str
    """Follows from all that the pictures are made from."""

    def paint(self, frame: int) -> UInt8[np.ndarray, "size size *channels"]:
        """The picture of one frame as it is stored."""
        ...


class NetworkLabels:
    """A user's face parser.

    Raises:
        HeadstudioError: where the file is no such network, or gives another number of classes than it says.
    """

    def __init__(self, capture: Capture, path: Path) -> None:
        terms = terms_beside(path)
        self._capture, self._network, self._path = capture, load_network(path, terms.picture), path
        self._labels = np.array(terms.labels, np.uint8)
        self.key = _key("labels", path, terms)
        self.paint(0)

    def paint(self, frame: int) -> UInt8[np.ndarray, "size size"]:
        """Values of `Label`."""
        scores = self._network.estimate(_image(self._capture, frame))
        if scores.shape[-1] != len(self._labels):
            raise HeadstudioError(
                f"the model has {scores.shape[-1]} classes and {len(self._labels)} labels are named",
                where=self._path,
                next_step=f"name its classes in {self._path.with_suffix('.json').name}",
            )
        labels = self._labels[scores.argmax(-1)]
        labels[~_valid(self._capture)] = Label.UNKNOWN
        return labels


class NetworkNormals:
    """A user's estimator of normals.

    Raises:
        HeadstudioError: where the file is no such network.
    """

    def __init__(self, capture: Capture, path: Path) -> None:
        terms = terms_beside(path)
        self._capture, self._network, self._path = capture, load_network(path, terms.picture), path
        self._axes = terms.axes
        self.key = _key("normals", path, terms)
        self.paint(0)

    def paint(self, frame: int) -> UInt8[np.ndarray, "size size 3"]:
        """Normals in camera axes as colours, where the person is."""
        normals = self._network.estimate(_image(self._capture, frame))
        if normals.shape[-1] != 3:
            raise HeadstudioError(
                f"the model gives {normals.shape[-1]} channels and a normal has three",
                where=self._path,
                next_step="choose another model",
            )
        return _stored(self._axes.in_camera(normals), _person(self._capture, frame))


class GivenNormals:
    """Normal maps that came with the pictures: a folder with one picture a frame, in the order of their names.

    They have the size of the stored frames, or that of the upright source pictures and are cut as these were.

    Raises:
        HeadstudioError: where there is another number of pictures than of frames.
    """

    def __init__(self, capture: Capture, folder: Path) -> None:
        self._capture, self._axes = capture, terms_beside(folder).axes
        self._paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".png", ".webp", ".jpg", ".jpeg"))
        if len(self._paths) != capture.frames:
            raise HeadstudioError(
                f"the folder has {len(self._paths)} pictures and the capture {capture.frames} frames",
                where=folder,
                next_step="give one normal map a frame",
            )
        digest = hashlib.sha256(repr(("given", self._axes)).encode())
        for path in self._paths:
            digest.update(path.read_bytes())
        self.key = digest.hexdigest()

    def paint(self, frame: int) -> UInt8[np.ndarray, "size size 3"]:
        """Normals in camera axes as colours, where the person is."""
        capture, colours = self._capture, _colours(self._paths[frame])
        source, crop = capture.views[0].source, capture.views[0].crop
        if colours.shape[:2] == (source.height_px, source.width_px) != (capture.size_px, capture.size_px):
            window = int(crop.left_px), int(crop.top_px), int(crop.side_px)
            colours = square_window(colours, *window, capture.size_px)
        if colours.shape[:2] != (capture.size_px, capture.size_px):
            found = " x ".join(map(str, colours.shape[1::-1]))
            raise HeadstudioError(
                f"a normal map has {found} px and the capture's frames {capture.size_px}",
                where=self._paths[frame],
                next_step="give them at the size of the frames or of the source pictures",
            )
        return _stored(self._axes.in_camera(colours.astype(np.float32) / 127.5 - 1), _person(capture, frame))


class HeadLabels:
    """Labels without a network (`HeadParser`); what it learns of the clip is learned when the first frame asks."""

    def __init__(self, capture: Capture, track: Track, head: HeadModel) -> None:
        self._terms, self._parser = (capture, track, head), None
        digest = hashlib.sha256(f"head {_HEAD_PARSER_REVISION} {head.name} {capture.identifier}".encode())
        for values in (track.identity.coefficients, track.expression, track.T_world_head, track.gaze_rad):
            digest.update(values.double().numpy().tobytes())
        self.key = digest.hexdigest()

    def paint(self, frame: int) -> UInt8[np.ndarray, "size size"]:
        """Values of `Label`."""
        if self._parser is None:
            self._parser = HeadParser(*self._terms)
        return self._parser.parse(frame)


def _key(kind: str, path: Path, terms: EstimatorTerms) -> str:
    return hashlib.sha256(path.read_bytes() + repr((kind, terms)).encode()).hexdigest()


def _image(capture: Capture, frame: int) -> UInt8[np.ndarray, "size size 3"]:
    return np.ascontiguousarray(capture.image(frame).permute(1, 2, 0).numpy())


def _valid(capture: Capture) -> Bool[np.ndarray, "size size"]:
    return capture.views[0].valid.numpy()


def _person(capture: Capture, frame: int) -> Bool[np.ndarray, "size size"]:
    if Annotation.MATTE not in capture.annotations:
        return _valid(capture)
    return _valid(capture) & (capture.matte(frame)[0] >= _PERSON).numpy()


def _stored(normals: Float[np.ndarray, "size size 3"], person: Bool[np.ndarray, "size size"]) -> np.ndarray:
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    return encode_normals(np.where(person[..., None], normals / np.maximum(length, 1e-6), 0.0))


def _colours(path: Path) -> UInt8[np.ndarray, "height width 3"]:
    try:
        with Image.open(path) as picture:
            return np.array(picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise HeadstudioError(
            f"a normal map cannot be read: {error}", where=path, next_step="write it again as a PNG"
        ) from None
