"""Which frames of clip A are calibrated: sharp ones, spread over the directions from which the head was seen."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int

from headstudio.capture.face_measures import head_angles_deg, openings, weak_pose
from headstudio.errors import HeadstudioError
from headstudio.progress import Progress
from headstudio.records.capture import Capture
from headstudio.scan.calibration_config import KeyFrameConfig

_TRUSTED_DEG = 50.0
"""Yaw up to which the detector is believed."""
_SLOPE_SPAN_S = 1.5
"""Beyond that, the head is taken to turn on as fast as within these seconds."""
_OFF_CENTRE, _BLINK, _RESTLESS = 0.15, 1.0, 0.3
"""What a frame loses against the logarithm of its sharpness: at the border of its share of yaw, in a blink, and for
every standard deviation by which its mouth is not as usual."""
_LEAST_PERSON = 0.02
_MEASURED_PX = 256


@dataclass(frozen=True)
class Sightings:
    """What is known of every frame of a clip before anything is calibrated."""

    times_s: Float[np.ndarray, " frames"]
    yaw_deg: Float[np.ndarray, " frames"]
    """Continued through frames in which no face was found."""
    sharpness: Float[np.ndarray, " frames"]
    """Comparable between frames of like yaw; 0 for frames without a person."""
    shut: Bool[np.ndarray, " frames"]
    """Whether it is a blink, or eyes more shut than usual at this yaw."""
    restless: Float[np.ndarray, " frames"]
    """How much the mouth differs from its usual state, in standard deviations beyond the first; 0 where unknown."""
    seen: Bool[np.ndarray, " frames"]
    """Whether a face was found."""


def look(capture: Capture, config: KeyFrameConfig, progress: Progress) -> Sightings:
    """Measure the frames of a clip."""
    view = capture.views[0]
    landmarks, times = view.landmarks_px.numpy().astype(np.float64), view.times_s.numpy()
    seen = np.asarray(np.isfinite(landmarks).all((1, 2)))
    if not seen.any():
        raise HeadstudioError("no face was found in the clip", where=capture.path, next_step="film the face from near")
    yaw = continued(times, head_angles_deg(weak_pose(landmarks).rotation())["yaw_deg"], config.largest_yaw_deg)
    opened = openings(landmarks)
    sharpness = np.zeros(capture.frames)
    with progress.stage("looking for key frames", capture.frames) as advance:
        for frame in range(capture.frames):
            sharpness[frame] = _sharpness(capture, frame)
            advance(1)
    return Sightings(times, yaw, sharpness, _shut(opened, yaw, config.blink_share), _restless(opened), seen)


def choose(found: Sightings, eligible: Bool[np.ndarray, " frames"], config: KeyFrameConfig) -> Int[np.ndarray, " keys"]:
    """The sharpest calm frame of each of `count` equal shares of the yaw that the clip covers, in order of time.

    Args:
        eligible: frames that may be chosen.
    """
    usable = eligible & (found.sharpness > 0) & (np.abs(found.yaw_deg) <= config.largest_yaw_deg)
    if not usable.any():
        raise HeadstudioError("the clip shows no person", next_step="film the head from near, before a plain wall")
    reach = float(np.ptp(found.yaw_deg[usable]))
    if reach < config.least_reach_deg:
        raise HeadstudioError(
            f"the head is seen from {reach:.0f} degrees only, at least {config.least_reach_deg:.0f} are needed",
            next_step="film a semicircle about the head as `headstudio capture-guide` shows",
        )
    edges = np.linspace(found.yaw_deg[usable].min(), found.yaw_deg[usable].max(), config.count + 1)
    share = np.clip(np.searchsorted(edges, found.yaw_deg, side="right") - 1, 0, config.count - 1)
    chosen = []
    for index in range(config.count):
        candidates = np.flatnonzero(usable & (share == index))
        if len(candidates):
            middle, half = (edges[index] + edges[index + 1]) / 2, (edges[1] - edges[0]) / 2
            chosen.append(candidates[np.argmax(_worth(found, candidates, middle, half))])
    if len(chosen) < config.least:
        raise HeadstudioError(
            f"only {len(chosen)} frames show the head from different sides, at least {config.least} are needed",
            next_step="turn more slowly, or keep more frames a second at ingest",
        )
    return np.sort(np.array(chosen))


def continued(
    times_s: Float[np.ndarray, " frames"], yaw_deg: Float[np.ndarray, " frames"], limit_deg: float
) -> Float[np.ndarray, " frames"]:
    """Yaw where it is trusted, and elsewhere continued at the speed it had before and after.

    The detector's yaw comes to a halt near the profile while the head turns on, and then it loses the face.
    """
    trusted = np.isfinite(yaw_deg) & (np.abs(yaw_deg) <= _TRUSTED_DEG)
    known = np.flatnonzero(trusted if trusted.any() else np.isfinite(yaw_deg))
    whole = np.interp(times_s, times_s[known], yaw_deg[known])
    for before, after in zip([None, *known.tolist()], [*known.tolist(), None], strict=True):
        gap = slice(0 if before is None else before + 1, len(whole) if after is None else after)
        sides = {np.sign(yaw_deg[end]) for end in (before, after) if end is not None}
        if gap.start < gap.stop and len(sides) == 1:
            lines = [_line(times_s, yaw_deg, known, end)[gap] for end in (before, after) if end is not None]
            side = sides.pop()
            # turned away and back again: whichever of both movements says less
            whole[gap] = side * np.min([side * line for line in lines], axis=0)
    return np.clip(whole, -limit_deg, limit_deg)


def _line(times_s: np.ndarray, yaw_deg: np.ndarray, known: np.ndarray, end: int) -> np.ndarray:
    """The straight movement through the trusted frames near one of them."""
    near = known[np.abs(times_s[known] - times_s[end]) <= _SLOPE_SPAN_S]
    slope = np.polyfit(times_s[near], yaw_deg[near], 1)[0] if len(near) > 2 else 0.0
    return yaw_deg[end] + slope * (times_s - times_s[end])


def _worth(found: Sightings, candidates: np.ndarray, middle_deg: float, half_deg: float) -> np.ndarray:
    off = np.abs(found.yaw_deg[candidates] - middle_deg) / max(half_deg, 1e-6)
    return (
        np.log(found.sharpness[candidates])
        - _OFF_CENTRE * off
        - _BLINK * found.shut[candidates]
        - _RESTLESS * found.restless[candidates]
    )


def _sharpness(capture: Capture, frame: int) -> float:
    """Mean absolute Laplacian well inside the person, over the contrast there; 0 without a person."""
    matte = cv2.resize(capture.matte(frame)[0].numpy(), (_MEASURED_PX, _MEASURED_PX), interpolation=cv2.INTER_AREA)
    inside = cv2.erode((matte > 128).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    if inside.mean() < _LEAST_PERSON:
        return 0.0
    grey = cv2.cvtColor(capture.image(frame).permute(1, 2, 0).numpy(), cv2.COLOR_RGB2GRAY)
    side = min(len(grey), 2 * _MEASURED_PX)
    grey = cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA)
    edges = cv2.resize(np.abs(cv2.Laplacian(grey, cv2.CV_32F)), (_MEASURED_PX, _MEASURED_PX))
    return float(edges[inside].mean() / (grey[grey > 0].std() + 1.0)) if grey.any() else 0.0


def _shut(opened: dict[str, np.ndarray], yaw_deg: np.ndarray, share: float) -> np.ndarray:
    """Eyes more shut than in most frames seen from a like direction."""
    opening = np.minimum(opened["eye_open_left"], opened["eye_open_right"])
    shut = np.zeros(len(opening), bool)
    for frame in np.flatnonzero(np.isfinite(opening)):
        alike = np.isfinite(opening) & (np.abs(yaw_deg - yaw_deg[frame]) < 20.0)
        shut[frame] = opening[frame] < share * np.median(opening[alike])
    return shut


def _restless(opened: dict[str, np.ndarray]) -> np.ndarray:
    total = np.zeros(len(opened["mouth_open"]))
    for name in ("mouth_open", "mouth_width"):
        values = opened[name]
        usual = np.nanmedian(values)
        spread = 1.4826 * np.nanmedian(np.abs(values - usual)) + 0.01
        total = np.maximum(total, np.nan_to_num(np.abs(values - usual) / spread - 1.0))
    return np.clip(total, 0.0, 5.0)
