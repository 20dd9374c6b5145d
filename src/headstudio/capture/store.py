"""The second pass: crop, matte and measure each kept frame, and write the pictures behind the work."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image

from headstudio.capture.config import IngestConfig
from headstudio.capture.decode import Video
from headstudio.capture.follow import square_window
from headstudio.capture.matte import MatteRefiner
from headstudio.capture.pipeline import WriteBehind, run_ahead
from headstudio.capture.providers import Estimator
from headstudio.capture.quality import outside_matte, picture_measures
from headstudio.capture.survey import Survey
from headstudio.errors import HeadstudioError
from headstudio.progress import Progress
from headstudio.records.capture import Crop

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


def write_pictures(
    folder: Path,
    view: str,
    video: Video,
    survey: Survey,
    config: IngestConfig,
    crop: Crop,
    landmarks_px: Float[np.ndarray, "frames 478 3"],
    valid: Bool[np.ndarray, "size size"],
    matte: Estimator,
    progress: Progress,
) -> PictureTables:
    """Write frames and mattes of one view.

    Args:
        landmarks_px: in pixels of the stored frames.
        valid: false in padding, where the matte is set to 0.
    """
    for kind in ("frames", "mattes"):
        (folder / kind / view).mkdir(parents=True)
    left, top, side = int(crop.left_px), int(crop.top_px), int(crop.side_px)
    refiner, rows, outside = MatteRefiner(), [], []
    kept = video.frames(config.start_s, config.end_s, frozenset(survey.times_s))
    with (
        progress.stage("cropping and matting", len(survey.times_s)) as advance,
        WriteBehind(_WRITERS, _WRITES_BEHIND) as writer,
    ):
        for index, frame in enumerate(run_ahead(kept, _FRAMES_AHEAD)):
            image = square_window(frame.image, left, top, side, config.size_px)
            mask = refiner.refine(image, matte.estimate(image)) * valid
            writer.submit(_write_jpeg, folder / "frames" / view / f"{index:06d}.jpg", image)
            writer.submit(_write_png, folder / "mattes" / view / f"{index:06d}.png", mask)
            rows.append(picture_measures(image, landmarks_px[index]))
            outside.append(outside_matte(landmarks_px[index], mask))
            advance(1)
    if len(rows) != len(survey.times_s):
        raise HeadstudioError(
            f"the video gave {len(survey.times_s)} frames at first and {len(rows)} when read again",
            where=video.path,
            next_step="copy the file to a local disk and try again",
        )
    measures = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return PictureTables(measures, np.array(outside))


def _write_jpeg(path: Path, image: np.ndarray) -> None:
    Image.fromarray(image).save(path, quality=_JPEG_QUALITY, subsampling=0)


def _write_png(path: Path, mask: np.ndarray) -> None:
    Image.fromarray(mask).save(path, compress_level=1)
