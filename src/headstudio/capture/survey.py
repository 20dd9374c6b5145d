"""The first pass over a clip: where the face is in every frame, and what happens in it."""

from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np
from jaxtyping import Float, Int

from headstudio.capture.config import IngestConfig
from headstudio.capture.cuts import ChangeMeter
from headstudio.capture.decode import Damage, Frame, Video, nearest_in_time
from headstudio.capture.detector import LANDMARKS, Detector, HandDetector
from headstudio.capture.follow import FaceFollower, Sighting
from headstudio.capture.pipeline import run_ahead
from headstudio.capture.quality import covered_by_hands
from headstudio.progress import Progress

_FRAMES_AHEAD = 4
_LOOK_FOR_HANDS_EVERY = 2


@dataclass
class Survey:
    """Tables over the kept frames, filled frame by frame; no picture is kept."""

    times_s: list[Fraction] = field(default_factory=list)
    """On the file's clock."""
    landmarks: list[Float[np.ndarray, "478 3"]] = field(default_factory=list)
    """float32, in pixels of the upright source picture; NaN without a face."""
    changes: list[tuple[float, float]] = field(default_factory=list)
    """`ChangeMeter.step` of every frame."""
    hands: list[float] = field(default_factory=list)
    """Share of the face that lies behind hands."""
    most_faces: int = 0
    """Most faces of notable size seen at once."""
    damage: Damage = field(default_factory=Damage)

    @property
    def landmarks_px(self) -> Float[np.ndarray, "frames 478 3"]:
        """All landmarks as one array."""
        return np.stack(self.landmarks)

    @property
    def clock_s(self) -> Float[np.ndarray, " frames"]:
        """Seconds after the first kept frame."""
        return np.array([float(t - self.times_s[0]) for t in self.times_s])

    def at(self, chosen: Int[np.ndarray, " chosen"]) -> "Survey":
        """The tables of some frames, in this order."""
        rows = chosen.tolist()
        return replace(
            self,
            times_s=[self.times_s[row] for row in rows],
            landmarks=[self.landmarks[row] for row in rows],
            changes=[self.changes[row] for row in rows],
            hands=[self.hands[row] for row in rows],
        )

    def add(self, frame: Frame, sighting: Sighting, change: tuple[float, float], hands: float) -> None:
        """Note one frame."""
        missing = np.full((LANDMARKS, 3), np.nan, np.float32)
        self.times_s.append(frame.time_s)
        self.landmarks.append(missing if sighting.landmarks_px is None else sighting.landmarks_px.astype(np.float32))
        self.changes.append(change)
        self.hands.append(hands)
        self.most_faces = max(self.most_faces, sighting.faces or 0)


def survey_clip(
    video: Video, config: IngestConfig, detector: Detector, hands: HandDetector | None, progress: Progress
) -> Survey:
    """Decode the clip once, ahead of the detectors, and note what they see."""
    survey, meter, follower, watch = Survey(), ChangeMeter(), FaceFollower(detector), _HandWatch(hands)
    frames = video.frames(config.start_s, config.end_s, damage=survey.damage)
    if config.fps is not None:
        frames = nearest_in_time(frames, config.fps)
    with progress.stage("finding the face", _expected_frames(video, config)) as advance:
        for frame in run_ahead(frames, _FRAMES_AHEAD):
            sighting = follower.look(frame.image)
            survey.add(frame, sighting, meter.step(frame.image), watch.covered(sighting))
            advance(1)
    return survey


class _HandWatch:
    """Looks for hands in every other window; in between the last answer stands."""

    def __init__(self, hands: HandDetector | None) -> None:
        self._hands = hands
        self._seen = 0
        self._share = 0.0

    def covered(self, sighting: Sighting) -> float:
        if self._hands is None or sighting.landmarks_px is None or sighting.window is None or not sighting.window_px:
            return 0.0
        if self._seen % _LOOK_FOR_HANDS_EVERY == 0:
            left, top, side = sighting.window_px
            size = len(sighting.window)
            inside = (sighting.landmarks_px - (left, top, 0.0)) * (size / side)
            self._share = covered_by_hands(inside, self._hands.detect(sighting.window), size)
        self._seen += 1
        return self._share


def _expected_frames(video: Video, config: IngestConfig) -> int | None:
    if video.expected_frames is None or not video.duration_s:
        return video.expected_frames
    kept_s = min(config.end_s or np.inf, video.duration_s) - (config.start_s or 0.0)
    rate = video.expected_frames / video.duration_s
    return max(round(kept_s * min(rate, config.fps or np.inf)), 1)
