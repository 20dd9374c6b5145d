"""`ingest_views`: films of one performance by several cameras become one capture with as many views.

Every film is surveyed as a single one is. Then they are put on one clock (`clocks`), the cameras are calibrated
(`rig_calibration`) or read (`rig_cameras`), and the frames that belong together are cropped and matted. A run that
was stopped finds its surveys and pictures again in a hidden folder beside the output.
"""

import hashlib
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int

from headstudio import storage
from headstudio.capture import checks
from headstudio.capture.clocks import Filmed, Offset, common_ticks, offset_between
from headstudio.capture.config import IngestConfig
from headstudio.capture.coverage import Finding, preflight
from headstudio.capture.decode import Video, open_video
from headstudio.capture.framing import frame_clip
from headstudio.capture.ingest import Tools, intrinsics_of_stored, keep_sound, quality_of, source_of, split_of, view_of
from headstudio.capture.rig_calibration import Calibration, Films, calibrate_rig
from headstudio.capture.rig_cameras import FILE_NAME, RigCamera, read_cameras, write_cameras
from headstudio.capture.sounds import sound_of
from headstudio.capture.store import write_pictures
from headstudio.capture.survey import Survey, survey_clip
from headstudio.capture.survey_store import kept_survey, kept_tables, save_survey, save_tables
from headstudio.errors import HeadstudioError
from headstudio.progress import Progress, Silent
from headstudio.records.capture import FRAMES_FOLDER, PICTURE_FOLDERS, Annotation, Capture, CaptureView, Split

_WORKSHOP = "cache"
_LEAST_TRAINING_FRAMES = 8
_LOOSE_FOCAL = 0.12
"""Deviation of a focal length's logarithm above which one should know of it."""
_LONGEST_NAME = 32


@dataclass(frozen=True)
class _Film:
    """One film and what was found in it."""

    name: str
    """Of its view."""
    video: Video
    checksum: str
    survey: Survey
    findings: tuple[Finding, ...]

    @property
    def clock_s(self) -> np.ndarray:
        """Of the surveyed frames: seconds since the film's first frame."""
        return np.array([float(time - self.video.start_s) for time in self.survey.times_s])


class _Plan(NamedTuple):
    """Which frames of each film belong together, from which cameras; the first film gives clock and world."""

    films: tuple[_Film, ...]
    chosen: tuple[Int[np.ndarray, " ticks"], ...]
    calibration: Calibration
    offsets: tuple[Offset, ...]
    split: Split
    given: bool
    order: tuple[int, ...]
    """Where each film stood in the command."""


def ingest_views(
    videos: Sequence[Path],
    output: Path | str,
    config: IngestConfig | None = None,
    cameras: Path | None = None,
    progress: Progress | None = None,
    tools: Callable[[IngestConfig], Tools] = Tools.standard,
) -> Capture:
    """Read films of one performance and write the capture folder `output`, replacing what was there once all is done.

    The view that sees the face most from the front becomes the first one, whose camera is the world and whose clock
    is the capture's.

    Args:
        videos: two or more.
        config: the defaults when not given; start and end count on each film's own clock.
        cameras: file of `rig_cameras.read_cameras`; found from the films when not given.
        progress: who is told how far the work is.
        tools: makes the detectors; for tests and other backends.
    """
    config, progress, output = config or IngestConfig(), progress or Silent(), Path(output)
    opened = _opened(videos, config)
    given = None if cameras is None else _fitting(read_cameras(cameras, len(opened)), opened, cameras)
    checksums = [video.sha256() for video in opened]
    _check_apart(opened, checksums)
    building = output.with_name(f".{output.name}.views-{_key(config, checksums)}")
    with storage.resuming_folder(building, output) as folder:
        try:
            films = _surveyed(folder, opened, checksums, config, progress, tools)
            plan = _planned(films, given, config, progress)
        except HeadstudioError:
            shutil.rmtree(building, ignore_errors=True)
            raise
        capture = _written(folder, plan, config, progress, tools)
        shutil.rmtree(folder / _WORKSHOP)
    return replace(capture, path=output)


def view_names(videos: Sequence[Path]) -> tuple[str, ...]:
    """Names of views that can be names of folders: those of the files, told apart where they are alike."""
    names: list[str] = []
    for video in videos:
        stem = re.sub(r"[^a-z0-9]+", "-", video.stem.lower()).strip("-")[:_LONGEST_NAME] or "view"
        alike = sum(name == stem or name.startswith(f"{stem}--") for name in names)
        names.append(f"{stem}--{alike + 1}" if alike else stem)
    return tuple(names)


def _opened(videos: Sequence[Path], config: IngestConfig) -> list[Video]:
    if len(videos) < 2:
        raise HeadstudioError("several views need two films or more", next_step="ingest a single film without --views")
    opened = [open_video(Path(video)) for video in videos]
    for video in opened:
        checks.check_config(config, video)
    return opened


def _check_apart(videos: Sequence[Video], checksums: Sequence[str]) -> None:
    for index, checksum in enumerate(checksums):
        if checksum in checksums[:index]:
            raise HeadstudioError(
                "this film is given twice", where=videos[index].path, next_step="name the film of each camera once"
            )


def _fitting(cameras: tuple[RigCamera, ...], videos: Sequence[Video], path: Path) -> tuple[RigCamera, ...]:
    for camera, video in zip(cameras, videos, strict=True):
        if (camera.width_px, camera.height_px) != (video.width_px, video.height_px):
            raise HeadstudioError(
                f"the file says {camera.width_px} x {camera.height_px} px of {video.path.name}, "
                f"which has {video.width_px} x {video.height_px}",
                where=path,
                next_step="put the cameras into the order of the films",
            )
    return cameras


def _key(config: IngestConfig, checksums: Sequence[str]) -> str:
    return hashlib.sha256(repr((config, list(checksums))).encode()).hexdigest()[:16]


def _surveyed(
    folder: Path,
    videos: Sequence[Video],
    checksums: Sequence[str],
    config: IngestConfig,
    progress: Progress,
    tools: Callable[[IngestConfig], Tools],
) -> tuple[_Film, ...]:
    films = []
    names = view_names([video.path for video in videos])
    for name, video, checksum in zip(names, videos, checksums, strict=True):
        place = folder / _WORKSHOP / name
        place.mkdir(parents=True, exist_ok=True)
        survey = kept_survey(place)
        if survey is None:
            made = tools(config)
            try:
                survey = survey_clip(video, config, made.detector, made.hands, progress)
            finally:
                made.close()
            findings = checks.check_survey(video, survey, config)
            save_survey(place, survey)
        else:
            findings = checks.check_survey(video, survey, config)
        films.append(_Film(name, video, checksum, survey, findings))
    return tuple(films)


def _planned(
    films: tuple[_Film, ...], given: tuple[RigCamera, ...] | None, config: IngestConfig, progress: Progress
) -> _Plan:
    with progress.stage("clocks and cameras"):
        seen = [_filmed(film) for film in films]
        first = int(np.argmin([abs(film.yaw_deg) for film in seen]))
        order = [first, *(index for index in range(len(films)) if index != first)]
        films, seen = tuple(films[index] for index in order), [seen[index] for index in order]
        cameras = None if given is None else tuple(given[index] for index in order)
        offsets = tuple(_offset(films, seen, cameras, index) for index in range(len(films)))
        clocks_s = [film.clock_s + offset.seconds for film, offset in zip(films, offsets, strict=True)]
        ticks_s = clocks_s[0][common_ticks(clocks_s)[0]]
        split = _split(films, ticks_s, config)
        sizes = tuple((film.video.width_px, film.video.height_px) for film in films)
        paths = tuple(film.video.path for film in films)
        rig = Films(tuple(seen), offsets, sizes, ticks_s[: split.train_end], paths)
        calibration = calibrate_rig(rig, cameras)
        clocks_s = [
            film.clock_s + (camera.clock_offset_s or 0.0)
            for film, camera in zip(films, calibration.cameras, strict=True)
        ]
        chosen = tuple(common_ticks(clocks_s))
        split = _split(films, clocks_s[0][chosen[0]], config)
    return _Plan(films, chosen, calibration, offsets, split, given is not None, tuple(order))


def _filmed(film: _Film) -> Filmed:
    video, survey = film.video, film.survey
    sound = sound_of(video.path, video.start_s, survey.times_s[-1]) if video.has_audio else None
    return Filmed(film.clock_s, survey.landmarks_px, sound)


def _offset(
    films: tuple[_Film, ...], seen: Sequence[Filmed], cameras: tuple[RigCamera, ...] | None, index: int
) -> Offset:
    if index == 0:
        return Offset(0.0, "file", 1.0)
    if cameras is not None:
        own_s, first_s = cameras[index].clock_offset_s, cameras[0].clock_offset_s
        if own_s is not None and first_s is not None:
            return Offset(own_s - first_s, "file", 1.0)
    found = offset_between(seen[0], seen[index])
    path = films[index].video.path
    if found is None:
        raise HeadstudioError(
            f"this film and {films[0].video.path.name} share no moment, neither by sound nor by how the face moves",
            where=path,
            next_step="check that they show one performance, or tell their clocks by a file of --cameras",
        )
    if found.mirrored:
        raise HeadstudioError(
            f"this film is mirrored against {films[0].video.path.name}",
            where=path,
            next_step="switch the selfie camera's mirror off, or flip the film",
        )
    return found


def _split(films: tuple[_Film, ...], ticks_s: np.ndarray, config: IngestConfig) -> Split:
    short = len(ticks_s) < 2
    split = Split(0, 0) if short else split_of(ticks_s, config.held_out_fraction, config.gap_s)
    if split.train_end < _LEAST_TRAINING_FRAMES:
        span_s = 0.0 if short else float(ticks_s[-1] - ticks_s[0])
        raise HeadstudioError(
            f"the films have only {len(ticks_s)} frames in {span_s:.1f} s in common",
            where=films[0].video.path,
            next_step="film with all cameras at the same time, ten seconds or more",
        )
    return split


def _written(
    folder: Path, plan: _Plan, config: IngestConfig, progress: Progress, tools: Callable[[IngestConfig], Tools]
) -> Capture:
    first = plan.films[0]
    has_audio, unheard = keep_sound(folder, first.video, first.survey.at(plan.chosen[0]))
    views = tuple(_view(folder, plan, index, config, progress, tools) for index in range(len(plan.films)))
    views = (replace(views[0], source=replace(views[0].source, has_audio=has_audio)), *views[1:])
    capture = Capture(folder, config.size_px, views, plan.split, frozenset({Annotation.LANDMARKS, Annotation.MATTE}))
    capture.save_tables()
    # In the order of the command, and without clocks, so that the file serves the next films of the same rig.
    ordered = [replace(plan.calibration.cameras[plan.order.index(i)], clock_offset_s=None) for i in sorted(plan.order)]
    write_cameras(folder / FILE_NAME, ordered)
    missing = tuple(a.value for a in Annotation if a not in capture.annotations)
    quality = {name: values.numpy() for name, values in views[0].quality.items()}
    preflight(views[0].times_s.numpy(), quality, missing, (*_findings(plan), *unheard)).save(folder)
    checks.save_request(folder, config, " ".join(film.checksum for film in plan.films))
    return capture


def _view(
    folder: Path,
    plan: _Plan,
    index: int,
    config: IngestConfig,
    progress: Progress,
    tools: Callable[[IngestConfig], Tools],
) -> CaptureView:
    film, camera = plan.films[index], plan.calibration.cameras[index]
    survey, landmarks = film.survey.at(plan.chosen[index]), film.survey.landmarks_px[plan.chosen[index]]
    framing = frame_clip(landmarks, film.video.width_px, film.video.height_px, config)
    kept = folder / _WORKSHOP / film.name / f"pictures-{hashlib.sha256(plan.chosen[index].tobytes()).hexdigest()[:12]}"
    tables = kept_tables(kept)
    if tables is None:
        for pictures in (FRAMES_FOLDER, PICTURE_FOLDERS[Annotation.MATTE]):
            shutil.rmtree(folder / pictures / film.name, ignore_errors=True)
        made = tools(config)
        try:
            frames = film.video.frames(config.start_s, config.end_s, frozenset(survey.times_s))
            tables = write_pictures(folder, film.name, frames, framing, made.matte, progress)
        finally:
            made.close()
        save_tables(kept, tables)
    quality = quality_of(survey, landmarks, framing, tables, plan.split)
    view = view_of(source_of(film.video, survey, film.checksum, film.video.has_audio), survey, framing, quality)
    times_s = _times_s(plan, index)
    K_px = intrinsics_of_stored(np.tile(camera.K_px, (len(times_s), 1, 1)), framing)
    return replace(
        view,
        name=film.name,
        times_s=torch.from_numpy(times_s),
        clock_offset_s=float(times_s[0]),
        K_px=torch.from_numpy(K_px.astype(np.float32)),
        T_camera_world=torch.from_numpy(camera.T_camera_world.astype(np.float32)),
        lens_estimated=not plan.given,
    )


def _times_s(plan: _Plan, index: int) -> np.ndarray:
    """Of a view's frames on the capture's clock, which is 0 at the first frame of the first view."""
    start_s = plan.films[0].clock_s[plan.chosen[0][0]]
    offset_s = plan.calibration.cameras[index].clock_offset_s or 0.0
    return plan.films[index].clock_s[plan.chosen[index]] + offset_s - start_s


def _findings(plan: _Plan) -> tuple[Finding, ...]:
    told = [
        replace(finding, message=f"{film.video.path.name}: {finding.message}")
        for film in plan.films
        for finding in film.findings
    ]
    deviation = float(plan.calibration.focal_deviation.max())
    if deviation > _LOOSE_FOCAL:
        told.append(
            Finding(
                f"the focal lengths are known to {deviation:.0%} only, because the head hardly moves to and fro",
                "lean towards the cameras and back, or give --cameras",
            )
        )
    return tuple(told)
