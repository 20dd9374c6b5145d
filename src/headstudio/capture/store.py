"""The second pass: crop, matte and measure each kept frame, and write the pictures behind the work."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from headstudio.capture.covering import face_colours
from headstudio.capture.decode import Frame
from headstudio.capture.follow import square_window
from headstudio.capture.framing import Framing
from headstudio.capture.matte import MatteRefiner
from headstudio.capture.pipeline import WriteBehind, run_ahead
from headstudio.capture.providers import Estimator
from headstudio.capture.quality import outside_matte, picture_measures
from headstudio.errors import HeadstudioError
from headstudio.progress import Progress
from headstudio.records.capture import FRAMES_FOLDER, PICTURE_FOLDERS, Annotation

_FRAMES_AHEAD = 4
_WRITERS = 2
_WRITES_BEHIND = 16
_JPEG_QUALITY = 95


@dataclass(frozen=True)
class Looks:
    """The estimators that see every stored frame."""

    matte: Estimator
    extras: Mapping[Annotation, Estimator] = field(default_factory=dict)
    """Parsing and normals, where there is a model for them."""


@dataclass(frozen=True)
class PictureTables:
    """What was measured in the stored pictures."""

    measures: dict[str, Float[np.ndarray, " frames"]]
    """`quality.picture_measures` by name."""
    outside_matte: Float[np.ndarray, " frames"]
    """`quality.outside_matte`."""
    colours: UInt8[np.ndarray, "frames 468 3"]
    """`covering.face_colours`."""


def write_pictures(
    folder: Path, view: str, kept: Iterator[Frame], framing: Framing, looks: Looks, progress: Progress
) -> PictureTables:
    """Write frames, mattes and other pictures of one view; the matte is 0 in padding. Mattes that came with the
    pictures are kept as they are.

    Args:
        kept: the frames of the survey, decoded again.
    """
    expected = len(framing.landmarks_px)
    annotations = (Annotation.MATTE, *looks.extras)
    folders = {kind: folder / PICTURE_FOLDERS[kind] / view for kind in annotations}
    frames_folder = folder / FRAMES_FOLDER / view
    for path in (frames_folder, *folders.values()):
        path.mkdir(parents=True)
    cutter, rows, outside, colours = _Cutter(framing, looks), [], [], []
    with progress.stage("cropping and matting", expected) as advance, WriteBehind(_WRITERS, _WRITES_BEHIND) as writer:
        for index, frame in zip(range(expected), run_ahead(kept, _FRAMES_AHEAD), strict=False):
            image, pictures = cutter.cut(frame)
            writer.submit(_write_jpeg, frames_folder / f"{index:06d}.jpg", image)
            for kind, picture in pictures.items():
                writer.submit(_write_png, folders[kind] / f"{index:06d}.png", picture)
            rows.append(picture_measures(image, framing.landmarks_px[index]))
            colours.append(face_colours(image, framing.landmarks_px[index]))
            outside.append(outside_matte(framing.landmarks_px[index], pictures[Annotation.MATTE]))
            advance(1)
    if len(rows) != expected:
        raise HeadstudioError(
            f"the video gave {expected} frames at first and {len(rows)} when read again",
            next_step="copy the file to a local disk and try again",
        )
    measures = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return PictureTables(measures, np.array(outside), np.array(colours))


class _Cutter:
    """Makes the stored pictures of consecutive frames."""

    def __init__(self, framing: Framing, looks: Looks) -> None:
        self._framing, self._looks = framing, looks
        self._refiner = MatteRefiner()

    def cut(self, frame: Frame) -> tuple[UInt8[np.ndarray, "size size 3"], dict[Annotation, np.ndarray]]:
        """The stored frame and its annotations that are pictures."""
        image = self._window(frame.image)
        given = frame.matte
        matte = self._refiner.refine(image, self._looks.matte.estimate(image)) if given is None else self._window(given)
        pictures = {Annotation.MATTE: matte * self._framing.valid}
        for kind, estimator in self._looks.extras.items():
            pictures[kind] = _ENCODED[kind](estimator.estimate(image))
        return image, pictures

    def _window(self, picture: UInt8[np.ndarray, "height width *channels"]) -> UInt8[np.ndarray, "size size *channels"]:
        crop = self._framing.crop
        return square_window(picture, int(crop.left_px), int(crop.top_px), int(crop.side_px), self._framing.size_px)


def _labels(scores: Float[np.ndarray, "size size classes"]) -> UInt8[np.ndarray, "size size"]:
    """The best class of every pixel."""
    return scores.argmax(-1).astype(np.uint8)


def _normal_picture(normals: Float[np.ndarray, "size size 3"]) -> UInt8[np.ndarray, "size size 3"]:
    """Unit normals as colours, 0 = -1 and 255 = +1."""
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    return np.round((normals / np.maximum(length, 1e-6) * 0.5 + 0.5) * 255).astype(np.uint8)


_ENCODED = {Annotation.PARSING: _labels, Annotation.NORMALS: _normal_picture}


def _write_jpeg(path: Path, image: np.ndarray) -> None:
    Image.fromarray(image).save(path, quality=_JPEG_QUALITY, subsampling=0)


def _write_png(path: Path, picture: np.ndarray) -> None:
    Image.fromarray(picture).save(path, compress_level=1)
