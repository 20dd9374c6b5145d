"""`ingest`: a video becomes a capture, in two passes that each run at the speed of decoding.

The first pass finds the face (`survey`), then one crop is fixed for the clip (`framing`), and the second pass crops,
mattes and writes (`store`). The folder appears whole or not at all.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from headstudio import storage
from headstudio.capture import audio, checks
from headstudio.capture.config import IngestConfig
from headstudio.capture.coverage import Finding, preflight
from headstudio.capture.covering import covering
from headstudio.capture.decode import Video, open_video
from headstudio.capture.detector import Detector, FaceDetector, HandDetector
from headstudio.capture.face_measures import head_angles_deg, openings, weak_pose
from headstudio.capture.follow import box_of
from headstudio.capture.framing import Framing, frame_clip, frame_with
from headstudio.capture.matte import MediaPipeMatte
from headstudio.capture.providers import Estimator, NetworkMatte
from headstudio.capture.quality import confidence
from headstudio.capture.store import PictureTables, write_pictures
from headstudio.capture.survey import Survey, survey_clip
from headstudio.progress import Progress, Silent
from headstudio.records.capture import Annotation, Capture, CaptureView, Crop, Source, Split

VIEW = "main"


@dataclass(frozen=True)
class Tools:
    """What looks at the pictures."""

    detector: Detector
    matte: Estimator
    hands: HandDetector | None = None

    @classmethod
    def standard(cls, config: IngestConfig) -> "Tools":
        """MediaPipe's models, or the files that the config names."""
        matte = MediaPipeMatte() if config.matte is None else NetworkMatte(config.matte)
        return cls(FaceDetector(), matte, HandDetector())

    def close(self) -> None:
        """Give the models back."""
        for tool in (self.detector, self.matte, self.hands):
            if tool is not None:
                tool.close()


@dataclass(frozen=True)
class Given:
    """What the makers of a clip tell about it, so that it need not be found."""

    crop: Crop | None = None
    """The square of the picture to keep; whole pixels."""
    split: Split | None = None
    K_px: Float[np.ndarray, "frames 3 3"] | None = None
    """Intrinsics in pixels of the source picture."""


def ingest(
    video: Path | str,
    output: Path | str,
    config: IngestConfig | None = None,
    progress: Progress | None = None,
    tools: Callable[[IngestConfig], Tools] = Tools.standard,
) -> Capture:
    """Read a video and write the capture folder `output`, replacing what was there once all is done.

    Args:
        video: any file that FFmpeg reads.
        config: the defaults when not given.
        progress: who is told how far the work is.
        tools: makes the detectors; for tests and other backends.
    """
    return ingest_clip(open_video(Path(video)), output, config or IngestConfig(), Given(), progress or Silent(), tools)


def ingest_clip(
    source: Video,
    output: Path | str,
    config: IngestConfig,
    given: Given,
    progress: Progress,
    tools: Callable[[IngestConfig], Tools] = Tools.standard,
) -> Capture:
    """`ingest` of anything that gives pictures like a video, of which some things may be known."""
    checks.check_config(config, source)
    made, output = tools(config), Path(output)
    try:
        with ThreadPoolExecutor(1) as pool:
            checksum = pool.submit(source.sha256)
            survey = survey_clip(source, config, made.detector, made.hands, progress)
        findings = checks.check_survey(source, survey, config)
        with storage.replacing_folder(output) as folder:
            capture = _write(folder, source, survey, config, given, made, checksum.result(), findings, progress)
    finally:
        made.close()
    return replace(capture, path=output)


def _write(
    folder: Path,
    video: Video,
    survey: Survey,
    config: IngestConfig,
    given: Given,
    tools: Tools,
    checksum: str,
    findings: tuple[Finding, ...],
    progress: Progress,
) -> Capture:
    landmarks = survey.landmarks_px
    size = video.width_px, video.height_px
    if given.crop is None:
        framing = frame_clip(landmarks, *size, config)
    else:
        framing = frame_with(given.crop, landmarks, *size, config.size_px)
    kept = video.frames(config.start_s, config.end_s, frozenset(survey.times_s))
    tables = write_pictures(folder, VIEW, kept, framing, tools.matte, progress)
    has_audio, unheard = keep_sound(folder, video, survey)
    split = given.split or split_of(survey.clock_s, config.held_out_fraction, config.gap_s)
    quality = quality_of(survey, landmarks, framing, tables, split)
    view = view_of(source_of(video, survey, checksum, has_audio), survey, framing, quality)
    if given.K_px is not None:
        view = replace(view, K_px=torch.from_numpy(intrinsics_of_stored(given.K_px, framing).astype(np.float32)))
    annotations = frozenset({Annotation.LANDMARKS, Annotation.MATTE})
    capture = Capture(folder, config.size_px, (view,), split, annotations)
    capture.save_tables()
    missing = tuple(a.value for a in Annotation if a not in annotations)
    preflight(survey.clock_s, quality, missing, (*findings, *unheard)).save(folder)
    checks.save_request(folder, config, checksum)
    return capture


def split_of(times_s: np.ndarray, held_out_fraction: float, gap_s: float) -> Split:
    """The last part held out, the gap before it left to nobody (docs/protocol.md)."""
    start = int(np.ceil(len(times_s) * (1 - held_out_fraction)))
    start = min(start, len(times_s) - 1)
    return Split(int(np.searchsorted(times_s, times_s[start] - gap_s, side="right")), start)


def intrinsics_of_stored(K_px: Float[np.ndarray, "frames 3 3"], framing: Framing) -> Float[np.ndarray, "frames 3 3"]:
    """Intrinsics of the source picture in pixels of the stored frame."""
    scale, crop = framing.size_px / framing.crop.side_px, framing.crop
    to_stored = np.array([[scale, 0, -scale * crop.left_px], [0, scale, -scale * crop.top_px], [0, 0, 1]])
    return to_stored @ K_px


def quality_of(
    survey: Survey, landmarks: np.ndarray, framing: Framing, tables: PictureTables, split: Split
) -> dict[str, np.ndarray]:
    """`CaptureView.quality` of the surveyed frames.

    Args:
        landmarks: in pixels of the upright source picture.
    """
    pose = weak_pose(landmarks)
    known = {**head_angles_deg(pose.rotation()), **openings(landmarks)}
    over = covering(tables.colours, framing.landmarks_px, known, split.train_end)
    hands = np.where(np.isnan(over.share), np.nan, np.array(survey.hands))
    return {
        **tables.measures,
        "face_size_px": box_of(landmarks)[:, 2:].max(1),
        "occlusion": np.fmax(np.fmax(hands, tables.outside_matte), over.share),
        "hands": hands,
        "covered": over.share,
        **{f"covered_{name}": share for name, share in over.regions.items()},
        "confidence": confidence(framing.landmarks_px, survey.clock_s, pose.residual),
        **known,
    }


def source_of(video: Video, survey: Survey, checksum: str, has_audio: bool) -> Source:
    """Where the surveyed frames came from."""
    return Source(
        file_name=video.path.name,
        sha256=checksum,
        width_px=video.width_px,
        height_px=video.height_px,
        rotation_deg=video.rotation_deg,
        start_s=float(survey.times_s[0]),
        codec=video.codec,
        has_audio=has_audio,
    )


def view_of(source: Source, survey: Survey, framing: Framing, quality: dict[str, np.ndarray]) -> CaptureView:
    """The view of a single camera."""
    return CaptureView(
        name=VIEW,
        source=source,
        crop=framing.crop,
        times_s=torch.from_numpy(survey.clock_s),
        landmarks_px=torch.from_numpy(framing.landmarks_px.astype(np.float32)),
        valid=torch.from_numpy(framing.valid),
        quality={name: torch.from_numpy(np.asarray(value, np.float32)) for name, value in quality.items()},
    )


def keep_sound(folder: Path, video: Video, survey: Survey) -> tuple[bool, tuple[Finding, ...]]:
    """Sound is a companion: one that cannot be read is told and left out."""
    from av.error import FFmpegError

    if not video.has_audio:
        return False, ()
    try:
        end_s = survey.times_s[-1] + (survey.times_s[-1] - survey.times_s[0]) / max(len(survey.times_s) - 1, 1)
        return audio.extract_audio(video.path, folder / audio.FILE_NAME, survey.times_s[0], end_s), ()
    except (FFmpegError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in checks.NO_SPACE:
            raise
        (folder / audio.FILE_NAME).unlink(missing_ok=True)
        return False, (Finding("the sound could not be read and is left out", "convert the video if you need it"),)
