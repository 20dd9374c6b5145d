"""The second pass: crop, matte and measure each kept frame, and write the pictures behind the work."""

from collections.abc import Iterator
from dataclasses import dataclass
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
class PictureTables:
    """What was measured in the stored pictures."""

    measures: dict[str, Float[np.ndarray, " frames"]]
    """`quality.picture_measures` by name."""
    outside_matte: Float[np.ndarray, " frames"]
    """`quality.outside_matte`."""
    colours: UInt8[np.ndarray, "frames 468 3"]
    """`covering.face_colours`."""


def write_pictures(
    folder: Path, view: str, kept: Iterator[Frame], framing: Framing, matte: Estimator, progress: Progress
) -> PictureTables:
    """Write frames and mattes of one view; the matte is 0 in padding. Mattes that came with the pictures are kept as
    they are.

    Args:
        kept: the frames of the survey, decoded again.
    """
    expected = len(framing.landmarks_px)
    mattes_folder = folder / PICTURE_FOLDERS[Annotation.MATTE] / view
    frames_folder = folder / FRAMES_FOLDER / view
    for path in (frames_folder, mattes_folder):
        path.mkdir(parents=True)
    cutter, rows, outside, colours = _Cutter(framing, matte), [], [], []
    with progress.stage("cropping and matting", expected) as advance, WriteBehind(_WRITERS, _WRITES_BEHIND) as writer:
        for index, frame in zip(range(expected), run_ahead(kept, _FRAMES_AHEAD), strict=False):
            image, cut_out = cutter.cut(frame)
            writer.submit(_write_jpeg, frames_folder / f"{index:06d}.jpg", image)
            writer.submit(write_png, mattes_folder / f"{index:06d}.png", cut_out)
            rows.append(picture_measures(image, framing.landmarks_px[index]))
            colours.append(face_colours(image, framing.landmarks_px[index]))
            outside.append(outside_matte(framing.landmarks_px[index], cut_out))
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

    def __init__(self, framing: Framing, matte: Estimator) -> None:
        self._framing, self._matte = framing, matte
        self._refiner = MatteRefiner()

    def cut(self, frame: Frame) -> tuple[UInt8[np.ndarray, "size size 3"], UInt8[np.ndarray, "size size"]]:
        """The stored frame and its matte."""
        image = self._window(frame.image)
        given = frame.matte
        matte = self._refiner.refine(image, self._matte.estimate(image)) if given is None else self._window(given)
        return image, matte * self._framing.valid

    def _window(self, picture: UInt8[np.ndarray, "height width *channels"]) -> UInt8[np.ndarray, "size size *channels"]:
        crop = self._framing.crop
        return square_window(picture, int(crop.left_px), int(crop.top_px), int(crop.side_px), self._framing.size_px)


def _write_jpeg(path: Path, image: np.ndarray) -> None:
    Image.fromarray(image).save(path, quality=_JPEG_QUALITY, subsampling=0)


def write_png(path: Path, picture: UInt8[np.ndarray, "height width *channels"]) -> None:
    """A picture without loss, written quickly rather than small."""
    Image.fromarray(picture).save(path, compress_level=1)
