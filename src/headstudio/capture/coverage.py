"""The pre-flight facts: what a capture covers, what it lacks, and what to record again. Pure computation."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from headstudio import storage
from headstudio.errors import HeadstudioError

SCHEMA, VERSION = "headstudio.preflight", 1
FILE_NAME = "preflight.json"

_ANGLE_EDGES_DEG = tuple(range(-60, 61, 10))
_RANGES = ("mouth_open", "mouth_width", "eye_open_left", "eye_open_right", "brow_raise")
_EXTREMES_PERCENT = (2.0, 98.0)
_BLURRED_OVER_TYPICAL = 0.4
_TRUSTED = 0.5
_COVERED = 0.1


@dataclass(frozen=True)
class Finding:
    """One thing the user should know, and what to do about it."""

    message: str
    next_step: str
    serious: bool = False
    """Whether the avatar will visibly suffer."""


@dataclass(frozen=True)
class Histogram:
    """Frames per bin; frames beyond the outer edges count in the outer bins."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Range:
    """Extremes (2nd and 98th percentile) and median of a measure."""

    low: float
    median: float
    high: float


@dataclass(frozen=True)
class Preflight:
    """What is known about a capture before any training."""

    seconds: float
    frames: int
    frames_per_second: float
    angles: Mapping[str, Histogram]
    """`yaw_deg` (positive: to the person's left) and `pitch_deg` (positive: up)."""
    ranges: Mapping[str, Range]
    """Head angles in degrees, openings in fractions of the distance between the outer eye corners (eyes: of width)."""
    bad_share: Mapping[str, float]
    """Share of frames by what is wrong with them: no_face, blurred, clipped, covered, unsure."""
    missing: tuple[str, ...]
    """Annotations that no provider gave."""
    findings: tuple[Finding, ...]

    def save(self, folder: Path) -> None:
        """Write preflight.json into a capture folder."""
        storage.write_json(folder / FILE_NAME, SCHEMA, VERSION, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> "Preflight":
        """Read what `save` wrote."""
        where = Path(folder) / FILE_NAME
        content = storage.read_json(where, SCHEMA, VERSION)
        try:
            return cls(
                seconds=float(content["seconds"]),
                frames=int(content["frames"]),
                frames_per_second=float(content["frames_per_second"]),
                angles={k: Histogram(tuple(v["edges"]), tuple(v["counts"])) for k, v in content["angles"].items()},
                ranges={k: Range(**v) for k, v in content["ranges"].items()},
                bad_share={k: float(v) for k, v in content["bad_share"].items()},
                missing=tuple(content["missing"]),
                findings=tuple(Finding(**f) for f in content["findings"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise HeadstudioError(
                f"the pre-flight facts are damaged: {error}", where=where, next_step="ingest the video again"
            ) from None


def preflight(
    times_s: Float[np.ndarray, " frames"],
    quality: Mapping[str, Float[np.ndarray, " frames"]],
    missing: tuple[str, ...] = (),
    findings: tuple[Finding, ...] = (),
) -> Preflight:
    """Judge a capture by its per-frame measures.

    Args:
        times_s: presentation times.
        quality: the measures of `CaptureView.quality`.
        missing: annotations that no provider gave.
        findings: what was noticed while reading the video.
    """
    bad = bad_frames(quality)
    ranges = measure_ranges(quality)
    seconds = float(times_s[-1] - times_s[0])
    shares = {name: float(flags.mean()) for name, flags in bad.items()}
    return Preflight(
        seconds=seconds,
        frames=len(times_s),
        frames_per_second=(len(times_s) - 1) / seconds if seconds > 0 else 0.0,
        angles={name: _histogram(quality[name]) for name in ("yaw_deg", "pitch_deg")},
        ranges=ranges,
        bad_share=shares,
        missing=missing,
        findings=(
            *findings,
            *_length(seconds),
            *face_findings(quality),
            *_turns(ranges),
            *expression_findings(ranges),
            *_bad(shares),
            *_missing(missing),
        ),
    )


def measure_ranges(quality: Mapping[str, Float[np.ndarray, " frames"]]) -> dict[str, Range]:
    """What head angles and openings reach."""
    return {name: _range(quality[name]) for name in ("yaw_deg", "pitch_deg", "roll_deg", *_RANGES)}


def bad_frames(quality: Mapping[str, Float[np.ndarray, " frames"]]) -> dict[str, Bool[np.ndarray, " frames"]]:
    """Which frames have what wrong with them."""
    seen = np.isfinite(quality["face_size_px"])
    typical = np.nanmedian(quality["sharpness"]) if seen.any() else 0.0
    return {
        "no_face": ~seen,
        "blurred": seen & (quality["sharpness"] < _BLURRED_OVER_TYPICAL * typical),
        "clipped": seen & (quality["clipped"] > 0.2),
        "covered": seen & (quality["occlusion"] > _COVERED),
        "unsure": seen & (quality["confidence"] < _TRUSTED),
    }


def _range(values: np.ndarray) -> Range:
    seen = values[np.isfinite(values)]
    if not len(seen):
        return Range(0.0, 0.0, 0.0)
    low, median, high = np.percentile(seen, (_EXTREMES_PERCENT[0], 50.0, _EXTREMES_PERCENT[1]))
    return Range(float(low), float(median), float(high))


def _histogram(values: np.ndarray) -> Histogram:
    inside = np.clip(values[np.isfinite(values)], _ANGLE_EDGES_DEG[0], _ANGLE_EDGES_DEG[-1])
    counts, _ = np.histogram(inside, _ANGLE_EDGES_DEG)
    return Histogram(tuple(float(e) for e in _ANGLE_EDGES_DEG), tuple(int(c) for c in counts))


def _length(seconds: float) -> list[Finding]:
    if seconds < 10:
        return [Finding(f"the clip lasts only {seconds:.1f} s", "record one to three minutes", serious=seconds < 5)]
    return []


def face_findings(quality: Mapping[str, Float[np.ndarray, " frames"]]) -> list[Finding]:
    """Whether the face is large enough and well lit."""
    findings = []
    size = float(np.nanmedian(quality["face_size_px"]))
    if size < 200:
        findings.append(
            Finding(
                f"the face is only {size:.0f} px high",
                "move the camera nearer or record at a higher resolution",
                size < 120,
            )
        )
    light = float(np.nanmedian(quality["exposure"]))
    if light < 0.2:
        findings.append(Finding(f"the face is dark (mean brightness {light:.0%})", "turn towards a window or a lamp"))
    if light > 0.85:
        findings.append(Finding(f"the face is too bright (mean brightness {light:.0%})", "lower the exposure"))
    return findings


def _turns(ranges: Mapping[str, Range]) -> list[Finding]:
    yaw, pitch = ranges["yaw_deg"], ranges["pitch_deg"]
    wanted = (
        ("turns to its left", yaw.high - yaw.median, 15, "turn slowly to your left by 30 degrees"),
        ("turns to its right", yaw.median - yaw.low, 15, "turn slowly to your right by 30 degrees"),
        ("rises", pitch.high - pitch.median, 8, "look up slowly by 15 degrees"),
        ("sinks", pitch.median - pitch.low, 8, "look down slowly by 15 degrees"),
    )
    return [
        Finding(f"the head {what} by at most {angle:.0f} degrees", f"{advice} while recording")
        for what, angle, least, advice in wanted
        if angle < least
    ]


def expression_findings(ranges: Mapping[str, Range]) -> list[Finding]:
    """Which movements of the face a performance lacks."""
    findings = []
    mouth, width, brow = ranges["mouth_open"], ranges["mouth_width"], ranges["brow_raise"]
    if mouth.high < 0.15:
        findings.append(
            Finding("the mouth never opens wide", "read some sentences aloud and open the mouth once", True)
        )
    if mouth.low > 0.05:
        findings.append(Finding("the lips hardly ever close", "begin with a few seconds of a calm, closed mouth"))
    if width.high - width.low < 0.08:
        findings.append(Finding("the mouth changes its width little", "smile, and say a long 'oo'"))
    if brow.high - brow.low < 0.04:
        findings.append(Finding("the brows hardly move", "raise them and frown once"))
    for side in ("left", "right"):
        eye = ranges[f"eye_open_{side}"]
        if eye.low > 0.55 * eye.median:
            findings.append(Finding(f"the {side} eye never closes", "blink and close the eyes for a second"))
    return findings


def _bad(shares: Mapping[str, float]) -> list[Finding]:
    told = {
        "no_face": ("show no face", "keep the face in the picture", 0.02),
        "blurred": ("are blurred", "move more slowly or add light", 0.05),
        "clipped": ("are over- or underexposed in the face", "soften the light", 0.05),
        "covered": ("have the face covered", "keep hands and things away from the face", 0.02),
        "unsure": (
            "have landmarks that cannot be trusted",
            "check them in the report; add light, face the camera",
            0.05,
        ),
    }
    return [
        Finding(f"{shares[name]:.0%} of the frames {what}", advice, shares[name] > 0.3)
        for name, (what, advice, most) in told.items()
        if shares[name] > most
    ]


def _missing(missing: tuple[str, ...]) -> list[Finding]:
    if not missing:
        return []
    names = " and ".join(missing)
    return [Finding(f"the capture has no {names}", "methods that need it say so; `headstudio annotate` adds it")]
