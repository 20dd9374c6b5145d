"""What can be wrong with a video, each told in one sentence with the next step."""

import dataclasses
import errno
from pathlib import Path
from typing import Any

import numpy as np

from headstudio import storage
from headstudio.capture.config import IngestConfig
from headstudio.capture.coverage import Finding
from headstudio.capture.cuts import Cut, find_cuts, longest_shot
from headstudio.capture.decode import Damage, Video
from headstudio.capture.follow import box_of
from headstudio.capture.survey import Survey
from headstudio.errors import HeadstudioError

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
"""System errors that mean that nothing more can be written."""

REQUEST_SCHEMA, REQUEST_VERSION = "headstudio.ingest", 1
REQUEST_FILE = "ingest.json"

_LEAST_TRAINING_FRAMES = 8
_MOST_DAMAGED = 0.05
_LEAST_FOUND = 0.3
_LEAST_OF_DECLARED = 0.95


def check_config(config: IngestConfig, video: Video) -> None:
    """Refuse numbers that cannot work before anything is read."""
    wrong = _wrong_number(config)
    if wrong:
        raise HeadstudioError(wrong, where=video.path, next_step="correct the option")
    start = config.start_s or 0.0
    if video.duration_s is not None and start >= video.duration_s:
        raise HeadstudioError(
            f"--start lies at {start:g} s and the video ends at {video.duration_s:.1f} s",
            where=video.path,
            next_step="choose an earlier start",
        )


def check_survey(video: Video, survey: Survey, config: IngestConfig) -> tuple[Finding, ...]:
    """Refuse a clip that cannot become a capture; tell what else was noticed."""
    _check_length(video, survey, config)
    _check_damage(video, survey.damage)
    boxes = box_of(survey.landmarks_px)
    _check_face(video, boxes, config)
    cuts = find_cuts(np.array(survey.changes), boxes, survey.clock_s)
    _check_cuts(video, survey, cuts, config)
    return (*_cut_findings(cuts), *_damage_findings(video, survey, config), *_other_findings(video, survey))


def save_request(folder: Path, config: IngestConfig, checksum: str) -> None:
    """Note beside the capture what was asked for."""
    storage.write_json(folder / REQUEST_FILE, REQUEST_SCHEMA, REQUEST_VERSION, _request(config, checksum))


def _request(config: IngestConfig, checksum: str) -> dict[str, Any]:
    plain = {k: str(v) if isinstance(v, Path) else v for k, v in dataclasses.asdict(config).items()}
    return {"sha256": checksum, "config": plain}


def _wrong_number(config: IngestConfig) -> str | None:
    if config.size_px < 64 or config.size_px % 2:
        return f"--size must be an even number from 64 on, not {config.size_px}"
    if config.fps is not None and not 0 < config.fps < np.inf:
        return f"--fps must be positive, not {config.fps:g}"
    if not 0 < config.held_out_fraction < 1:
        return f"the held-out fraction must lie between 0 and 1, not {config.held_out_fraction:g}"
    if config.crop_margin <= 0 or config.gap_s < 0:
        return "crop margin and gap must not be negative"
    if config.end_s is not None and config.end_s <= max(config.start_s or 0.0, 0.0):
        return f"--end ({config.end_s:g} s) must lie after --start ({config.start_s or 0.0:g} s)"
    return None


def _check_length(video: Video, survey: Survey, config: IngestConfig) -> None:
    count = len(survey.times_s)
    span_s = float(survey.times_s[-1] - survey.times_s[0]) if count else 0.0
    training_s = span_s * (1 - config.held_out_fraction) - config.gap_s
    training = training_s / span_s * count if span_s > 0 else 0
    if training < _LEAST_TRAINING_FRAMES:
        what = f"the clip has {count} frame{'s' * (count != 1)} in {span_s:.1f} s, which is too short to learn from"
        raise HeadstudioError(
            what, where=video.path, next_step="give at least ten seconds, better one to three minutes"
        )


def _check_damage(video: Video, damage: Damage) -> None:
    broken = len(damage.times_s)
    if broken > _MOST_DAMAGED * (broken + damage.decoded):
        raise HeadstudioError(
            f"{broken} of {broken + damage.decoded} pictures are damaged, the first at "
            f"{damage.times_s[0] - float(video.start_s):.2f} s",
            where=video.path,
            next_step="copy the video again, or keep the whole part with --start and --end",
        )


def _check_face(video: Video, boxes: np.ndarray, config: IngestConfig) -> None:
    seen = np.isfinite(boxes).all(1)
    nearer = "record so that the face fills a third of the picture"
    if not seen.any():
        raise HeadstudioError("no face was found in this video", where=video.path, next_step=nearer)
    size = float(np.median(boxes[seen][:, 2:].max(1)))
    if size < config.min_face_px:
        raise HeadstudioError(
            f"the face is only {size:.0f} px high, at least {config.min_face_px} are needed",
            where=video.path,
            next_step=nearer,
        )
    if seen.mean() < _LEAST_FOUND:
        raise HeadstudioError(
            f"a face was found in only {seen.mean():.0%} of the frames",
            where=video.path,
            next_step="keep the part that shows the face with --start and --end",
        )


def _check_cuts(video: Video, survey: Survey, cuts: list[Cut], config: IngestConfig) -> None:
    scenes = [cut for cut in cuts if cut.scene]
    if not scenes or config.allow_cuts:
        return
    offset = float(survey.times_s[0] - video.start_s)
    start, end = longest_shot(scenes, float(survey.clock_s[-1]))
    times = ", ".join(f"{cut.time_s + offset:.2f} s" for cut in scenes[:5])
    raise HeadstudioError(
        f"the clip is cut at {times}",
        where=video.path,
        next_step=f"keep one shot, for example --start {start + offset:.2f} --end {end + offset:.2f}",
    )


def _cut_findings(cuts: list[Cut]) -> list[Finding]:
    if not cuts:
        return []
    times = ", ".join(f"{cut.time_s:.2f} s" for cut in cuts[:5])
    return [Finding(f"the clip jumps at {times}", "record in one go, or keep one part with --start and --end")]


def _damage_findings(video: Video, survey: Survey, config: IngestConfig) -> list[Finding]:
    findings = []
    damage = survey.damage
    if damage.times_s:
        first = damage.times_s[0] - float(video.start_s)
        findings.append(
            Finding(
                f"{len(damage.times_s)} damaged pictures were skipped, the first at {first:.2f} s",
                "copy the video again",
            )
        )
    reached = damage.last_s - float(video.start_s)
    if config.end_s is None and video.duration_s and reached < _LEAST_OF_DECLARED * video.duration_s - 1.0:
        findings.append(
            Finding(f"the video ends at {reached:.1f} s of the {video.duration_s:.1f} s it declares", "copy it again")
        )
    return findings


def _other_findings(video: Video, survey: Survey) -> list[Finding]:
    findings = []
    if survey.most_faces > 1:
        findings.append(
            Finding(f"{survey.most_faces} faces are in the picture; one was followed", "check that it is the right one")
        )
    if video.high_dynamic_range:
        findings.append(
            Finding(
                f"the video is high dynamic range ({video.high_dynamic_range}); colours are taken without tone mapping",
                "switch HDR off in the camera",
            )
        )
    return findings
