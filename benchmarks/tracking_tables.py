"""Rows of scores as markdown, with what the numbers mean below them."""

import statistics
from collections.abc import Mapping, Sequence

from tracking_scores import BLINK_LEVEL, BLINK_TOLERANCE_S, CHANNELS

Scores = Mapping[str, float | None]

_COLUMNS = {
    "rotation °": ("rotation_deg_median", "rotation_deg_p95", 2),
    "face mm": ("surface_mm_median", "surface_mm_p95", 2),
    "neutral mm": ("neutral_mm_median", "neutral_mm_p95", 2),
    "landmarks %": ("reprojection_pct_median", "reprojection_pct_p95", 1),
    "gaze °": ("gaze_deg_median", "gaze_deg_p95", 1),
    "gaze in camera °": ("gaze_camera_deg_median", "gaze_camera_deg_p95", 1),
}
"""Pairs of median and 95th percentile with their decimals."""

NOTES = f"""\
* Cells with a stroke: median / 95th percentile over the frames (and points) of a clip; the last line has the median
  over the clips of each.
* rotation: head rotation after one constant rotation a clip. face: true vertices of the face region that a camera
  sees (no inner lips, no depths of the nostrils) to the tracked surface after one similarity a clip, posed; neutral:
  the same for the faces at rest after a similarity of their own.
* landmarks: tracked against true places in the picture, in percent of the distance of the outer eye corners; both
  heads' own idea of where a landmark lies is in it.
* gaze: in the head after one constant rotation a clip; in camera: with nothing removed. Frames with shut eyes are not
  scored.
* perspective: 1/f found over 1/f true.
* blinks: found peaks of the mean of both eyeBlink above {BLINK_LEVEL:.0%} of the way from the clip's median to its
  maximum, within {BLINK_TOLERANCE_S} s of a true closure; precision and recall of the last line are of all clips'
  blinks together.
* expressions: Pearson's correlation over the clip, and in brackets the slope of found on true weights."""


def clip_table(rows: Mapping[str, Scores]) -> list[str]:
    """A line a clip and one for all."""
    head = ["clip", *_COLUMNS, "perspective", "blink P / R", "frames", "usable"]
    lines = [[name, *_cells(scores), *_blinks([scores]), *_frames([scores])] for name, scores in rows.items()]
    everything = list(rows.values())
    if len(rows) > 1:
        total = [f"**all {len(rows)}**", *_cells(_medians(everything)), *_blinks(everything), *_frames(everything)]
        lines.append(total)
    return markdown(head, lines)


def expression_table(rows: Mapping[str, Scores]) -> list[str]:
    """Correlation and slope of every scored channel."""
    lines = [[name, *(_agreement(scores, channel) for channel in CHANNELS)] for name, scores in rows.items()]
    if len(rows) > 1:
        middle = _medians(list(rows.values()))
        lines.append([f"**all {len(rows)}**", *(_agreement(middle, channel) for channel in CHANNELS)])
        least = {key: min(values) for key, values in _gathered(list(rows.values())).items()}
        lines.append(["least", *(number(least.get(f"correlation_{channel}"), 2) for channel in CHANNELS)])
    return markdown(["clip", *CHANNELS], lines)


def variant_table(rows: Mapping[str, Mapping[str, Scores]]) -> list[str]:
    """A line a variant: medians over its clips."""
    head = ["variant", "clips", *_COLUMNS, "perspective", "blink P / R", "least correlation (median over clips)"]
    lines = []
    for name, clips in rows.items():
        everything = list(clips.values())
        middle = _medians(everything)
        found = {c: middle.get(f"correlation_{c}") for c in CHANNELS}
        known = {channel: value for channel, value in found.items() if value is not None}
        worst = min(known, key=lambda channel: known[channel]) if known else None
        told = "" if worst is None else f"{known[worst]:.2f} {worst}"
        lines.append([name, str(len(clips)), *_cells(middle), *_blinks(everything), told])
    return markdown(head, lines)


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    """A table."""
    rule = "|---|" + "---:|" * (len(head) - 1)
    return [f"| {' | '.join(head)} |", rule, *(f"| {' | '.join(line)} |" for line in lines)]


def number(value: float | None, decimals: int) -> str:
    """A cell."""
    return "" if value is None else f"{value:.{decimals}f}"


def _cells(scores: Scores) -> list[str]:
    pairs = [f"{number(scores.get(a), n)} / {number(scores.get(b), n)}" for a, b, n in _COLUMNS.values()]
    return [*pairs, number(scores.get("perspective_ratio"), 3)]


def _agreement(scores: Scores, channel: str) -> str:
    correlation, slope = scores.get(f"correlation_{channel}"), scores.get(f"amplitude_{channel}")
    return "" if correlation is None else f"{correlation:.2f} ({number(slope, 2)})"


def _blinks(rows: Sequence[Scores]) -> list[str]:
    true, found, hits = (
        sum(scores.get(f"blinks_{name}") or 0.0 for scores in rows) for name in ("true", "found", "matched")
    )
    return [f"{number(hits / found if found else None, 2)} / {number(hits / true if true else None, 2)}"]


def _frames(rows: Sequence[Scores]) -> list[str]:
    least = min(scores.get("frames_share") or 0.0 for scores in rows)
    usable = statistics.fmean(scores.get("usable_share") or 0.0 for scores in rows)
    return [f"{least:.1%}", f"{usable:.1%}"]


def _gathered(rows: Sequence[Scores]) -> dict[str, list[float]]:
    names = dict.fromkeys(name for scores in rows for name in scores)
    values = {name: [scores.get(name) for scores in rows] for name in names}
    return {
        name: [v for v in found if v is not None] for name, found in values.items() if any(v is not None for v in found)
    }


def _medians(rows: Sequence[Scores]) -> Scores:
    return {name: statistics.median(values) for name, values in _gathered(rows).items()}
