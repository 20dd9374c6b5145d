"""A capture against the capture guide: whether clip A and clip B show what they are filmed for."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from jaxtyping import Float

from headstudio.capture import guide
from headstudio.capture.coverage import Finding, bad_frames, expression_findings, face_findings, measure_ranges

GuideClip = Literal["a", "b"]

_MOST_BAD = {
    "blurred": (0.15, "are blurred", "turn more slowly, or add light"),
    "clipped": (0.1, "are over- or underexposed in the face", "soften the light"),
}
_STILL = {"mouth_open": 0.1, "mouth_width": 0.12, "brow_raise": 0.12}
"""How far a still face's measures go (10th to 90th percentile), detector's noise and turning included."""
_FACED_DEG = 35.0
"""The face's stillness is judged in frames turned less: its measures change with the view."""
_LEAST_OPEN = 0.15
_STILL_TURN_DEG = 25.0


def guide_findings(
    clip: GuideClip, times_s: Float[np.ndarray, " frames"], quality: Mapping[str, Float[np.ndarray, " frames"]]
) -> tuple[Finding, ...]:
    """What a clip lacks against the guide.

    Args:
        quality: the measures of `CaptureView.quality`.
    """
    seconds = float(times_s[-1] - times_s[0])
    if clip == "b":
        return (*_length(seconds, guide.CLIP_B_S), *face_findings(quality), *_expressive(quality))
    shares = {name: float(flags.mean()) for name, flags in bad_frames(quality).items()}
    bad = [
        Finding(f"{shares[name]:.0%} of the frames {what}", advice, shares[name] > 0.3)
        for name, (most, what, advice) in _MOST_BAD.items()
        if shares[name] > most
    ]
    return (
        *_length(seconds, guide.CLIP_A_S),
        *face_findings(quality),
        *_semicircle(times_s, quality),
        *_still_face(quality),
        *bad,
    )


def _length(seconds: float, wanted: tuple[float, float]) -> list[Finding]:
    if seconds < wanted[0]:
        return [Finding(f"the clip lasts only {seconds:.0f} s", f"film {wanted[0]:.0f} seconds or more", seconds < 5)]
    if seconds > wanted[1]:
        return [Finding(f"the clip lasts {seconds:.0f} s", f"{wanted[1]:.0f} seconds are enough; more costs time only")]
    return []


def _semicircle(times_s: np.ndarray, quality: Mapping[str, np.ndarray]) -> list[Finding]:
    yaw = quality["yaw_deg"]
    seen = np.isfinite(yaw)
    findings = []
    if not seen.any():
        return [Finding("no face was found", "film the face from near", True)]
    # A face lost beyond the last angle is a profile, which is what was asked for.
    lost = {"left": not seen[0] or not seen[-1], "right": not seen[0] or not seen[-1]}
    for side, reached in (("left", float(np.nanmax(yaw))), ("right", float(-np.nanmin(yaw)))):
        least = guide.LEAST_YAW_DEG * (0.75 if lost[side] else 1.0)
        if reached < least:
            what = f"the head is seen turned to its {side} by at most {max(reached, 0):.0f} degrees"
            findings.append(Finding(what, "film from profile to profile", reached < least / 2))
    places = np.sort(yaw[seen])
    if len(places) > 1 and np.diff(places).max() > guide.LARGEST_GAP_DEG:
        findings.append(
            Finding(f"nothing is seen between two views {np.diff(places).max():.0f} degrees apart", "turn steadily")
        )
    both = seen[1:] & seen[:-1]
    if both.any():
        speed = np.abs(np.diff(yaw)[both] / np.diff(times_s)[both])
        fast = float(np.percentile(speed, 75))
        if fast > guide.FASTEST_DEG_PER_S:
            findings.append(
                Finding(f"the head turns by {fast:.0f} degrees a second", "take twenty seconds for the semicircle")
            )
    return findings


def _still_face(quality: Mapping[str, np.ndarray]) -> list[Finding]:
    faced = np.abs(np.nan_to_num(quality["yaw_deg"], nan=np.inf)) < _FACED_DEG
    if faced.sum() < 3:
        return [Finding("the face never looks towards the camera", "pass the middle of the semicircle slowly", True)]
    findings = []
    moved = [n for n, most in _STILL.items() if np.ptp(np.nanpercentile(quality[n][faced], (10, 90))) > most]
    if moved:
        told = " and ".join(name.replace("_", " ") for name in moved)
        findings.append(Finding(f"the face does not keep still ({told})", "keep a calm, closed mouth and do not talk"))
    opened = np.nanmedian(np.minimum(quality["eye_open_left"], quality["eye_open_right"])[faced])
    if opened < _LEAST_OPEN:
        what = "the eyes are shut, so metres cannot be told from the size of the iris"
        findings.append(Finding(what, "keep the eyes open"))
    return findings


def _expressive(quality: Mapping[str, np.ndarray]) -> list[Finding]:
    ranges = measure_ranges(quality)
    turn = ranges["yaw_deg"]
    findings = expression_findings(ranges)
    if turn.high - turn.low < _STILL_TURN_DEG:
        findings.append(Finding("the head hardly turns", "turn it slowly to either side at the end of the expressions"))
    return findings
