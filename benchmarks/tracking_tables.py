"""Rows of scores as markdown, with what the numbers mean below them."""

import statistics
from collections.abc import Mapping, Sequence

import torch

from headstudio.evaluation.bootstrap import BootstrapConfig, mean_interval, verdict
from tracking_real import WITHHELD_SHARE, kept_against
from tracking_rows import Bench, Scores
from tracking_scores import BLINK_LEVEL, BLINK_TOLERANCE_S, CHANNELS
from tracking_signals import STILL_COUNT, STILL_S

_PAIRS = {
    "rotation °": ("rotation_deg", 2),
    "face mm": ("surface_mm", 2),
    "neutral mm": ("neutral_mm", 2),
    "landmarks %": ("landmarks_pct", 1),
    "gaze °": ("gaze_deg", 1),
    "gaze in camera °": ("gaze_camera_deg", 1),
}
"""Median and 95th percentile with their decimals."""
_COMPARED = {
    "rotation °": "rotation_deg",
    "face mm": "surface_mm",
    "gaze °": "gaze_deg",
    "landmarks %": "landmarks_pct",
}
"""Errors over time in which variants are compared with the first of them; less is better."""
_NOTHING = 5e-4
_PLAIN = "no-smoothing"
"""The variant against which smoothing is held."""

NOTES = f"""\
* Cells with a stroke: median / 95th percentile over the frames (and points) of a clip; the line for all has the median
  over the clips of each.
* rotation: head rotation after one constant rotation a clip. face: true vertices of the face region that a camera sees
  (no inner lips, no depths of the nostrils) to the tracked surface after one similarity a clip, posed; neutral: the
  same for the faces at rest after a similarity of their own.
* landmarks: tracked against true places in the picture, in percent of the distance of the outer eye corners; both
  heads' own idea of where a landmark lies is in it.
* gaze: in the head after one constant rotation a clip; in camera: with nothing removed. Frames with shut eyes are not
  scored.
* perspective: 1/f found over 1/f true.
* blinks: found peaks of the mean of both eyeBlink above {BLINK_LEVEL:.0%} of the way from the clip's median to its
  maximum, within {BLINK_TOLERANCE_S} s of a true closure; the line for all counts all clips' blinks together.
* jitter: root mean square of the second difference over time of landmarks' errors, over the detector's own; lids, lips
  kept: depth of true closures in the picture, tracked over true, and in brackets that of the detector.
* expressions: Pearson's correlation over the clip, and in brackets the slope of found on true weights.
* differences between variants: of the means over all frames, against the first variant, with 95 % intervals by a block
  bootstrap over time; + better, - worse, = a tie."""

REAL_NOTES = f"""\
* withheld: distance in percent of that of the outer eye corners, on held-out frames, of {WITHHELD_SHARE:.0%} of the
  landmarks, which took no part in the fit (they only helped to choose key frames and to tell bad frames); 95 %
  intervals by a block bootstrap over time. What the fit was told of the detector's errors is not taken off.
* PSNR: of held-out frames, inside the hull of the detector's face oval, under a static texture made from training
  frames in the same way for every row and lit by the track.
* jitter: root mean square of the second difference over time of landmarks that neither lids, lips nor gaze move, in the
  {STILL_COUNT} stillest stretches of {STILL_S:.0f} s (by the detector), over that of the detector's own landmarks.
* lids, lips kept: depth of all closures together, against the same fit without smoothing / against the detector.
* frames: with numbers / seen by the detector / called usable."""


def tables(bench: Bench, rows: Mapping[str, Mapping[str, Mapping[str, Scores]]]) -> str:
    """All tables of all sets.

    Args:
        rows: scores by set, variant and clip.
    """
    lines, judged, filmed = [], False, False
    for set_name, by_variant in rows.items():
        made = {label: clips for label, clips in by_variant.items() if clips}
        if any("psnr_db" in scores for clips in made.values() for scores in clips.values()):
            filmed = True
            lines += [f"### {set_name}", "", *real_table(bench, made), ""]
            continue
        judged = judged or bool(made)
        for label, clips in made.items():
            lines += [f"### {set_name}, {label}", "", *clip_table(clips), "", *expression_table(clips), ""]
        if len(made) > 1:
            lines += [f"### {set_name}, variants", "", *variant_table(bench, made), ""]
    return "\n".join([*lines, *([NOTES] if judged else []), *([REAL_NOTES] if filmed else [])]) + "\n"


def clip_table(rows: Mapping[str, Scores]) -> list[str]:
    """A line a clip and one for all."""
    head = ["clip", *_PAIRS, "perspective", "blink P / R", "jitter", "lids, lips kept", "frames", "usable"]

    def line(name: str, scores: Scores, together: Sequence[Scores]) -> list[str]:
        kept = ", ".join(
            f"{number(scores.get(f'{part}_kept'), 2)} ({number(scores.get(f'{part}_kept_raw'), 2)})"
            for part in ("lids", "lips")
        )
        return [name, *_cells(scores), _blinks(together), _jitter(scores), kept, *_frames(together)]

    lines = [line(name, scores, [scores]) for name, scores in rows.items()]
    if len(rows) > 1:
        everything = list(rows.values())
        lines.append(line(f"**all {len(rows)}**", _medians(everything), everything))
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


def variant_table(bench: Bench, rows: Mapping[str, Mapping[str, Scores]]) -> list[str]:
    """A line a variant: medians over its clips, and differences from the first variant."""
    head = ["variant", "clips", *_PAIRS, "perspective", "blink P / R", "jitter", "least correlation"]
    lines, first = [], next(iter(rows))
    for name, clips in rows.items():
        everything = list(clips.values())
        middle = _medians(everything)
        found = {channel: middle.get(f"correlation_{channel}") for channel in CHANNELS}
        known = {channel: value for channel, value in found.items() if value is not None}
        worst = min(known, key=lambda channel: known[channel]) if known else None
        told = "" if worst is None else f"{known[worst]:.2f} {worst}"
        lines.append([name, str(len(clips)), *_cells(middle), _blinks(everything), _jitter(middle), told])
    others = [
        [
            name,
            *(
                _difference(bench, first, name, sorted(clips.keys() & rows[first].keys()), key)
                for key in _COMPARED.values()
            ),
        ]
        for name, clips in rows.items()
        if name != first
    ]
    return [*markdown(head, lines), "", *markdown([f"against {first}", *_COMPARED], others)]


def real_table(bench: Bench, rows: Mapping[str, Mapping[str, Scores]]) -> list[str]:
    """A line a clip and variant."""
    head = ["clip", "variant", "withheld %", "PSNR dB", "jitter", "lids kept", "lips kept", "frames"]
    names = dict.fromkeys(name for clips in rows.values() for name in clips)
    lines = []
    for name in names:
        plain = bench.series(_PLAIN, name) if name in rows.get(_PLAIN, {}) else None
        for label, clips in rows.items():
            if name not in clips:
                continue
            scores = clips[name]
            smooth = {} if plain is None else kept_against(bench.series(label, name), plain)
            kept = [
                f"{number(smooth.get(f'{part}_kept'), 2)} / {number(scores.get(f'{part}_kept_of_raw'), 2)}"
                for part in ("lids", "lips")
            ]
            frames = " / ".join(f"{scores[f'{key}_share']:.1%}" for key in ("frames", "detected", "usable"))
            lines.append(
                [
                    name,
                    label,
                    _ranged(scores, "withheld_pct"),
                    _ranged(scores, "psnr_db"),
                    _jitter(scores),
                    *kept,
                    frames,
                ]
            )
    return [*markdown(head, lines), *_paired(bench, rows, list(names))]


def _paired(bench: Bench, rows: Mapping[str, Mapping[str, Scores]], names: Sequence[str]) -> list[str]:
    """Differences on the same held-out frames, against the first variant that has the score."""
    lines = []
    for key, title, higher in (("withheld_pct", "withheld %", False), ("psnr_db", "PSNR dB", True)):
        having = [label for label, clips in rows.items() if any(f"{key}_low" in scores for scores in clips.values())]
        for label in having[1:]:
            cells = [_difference(bench, having[0], label, [name], key, higher) for name in names]
            lines.append([f"{title}, {label} against {having[0]}", *cells])
    return ["", *markdown(["difference", *names], lines)] if lines else []


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    """A table."""
    rule = "|---|" + "---:|" * (len(head) - 1)
    return [f"| {' | '.join(head)} |", rule, *(f"| {' | '.join(line)} |" for line in lines)]


def number(value: float | None, decimals: int) -> str:
    """A cell."""
    return "" if value is None else f"{value:.{decimals}f}"


def _cells(scores: Scores) -> list[str]:
    pairs = [
        " / ".join(number(scores.get(f"{key}_{part}"), decimals) for part in ("median", "p95"))
        for key, decimals in _PAIRS.values()
    ]
    return [*pairs, number(scores.get("perspective_ratio"), 3)]


def _ranged(scores: Scores, key: str) -> str:
    value, low, high = (scores.get(name) for name in (key, f"{key}_low", f"{key}_high"))
    return "" if value is None else f"{value:.2f} [{number(low, 2)}, {number(high, 2)}]"


def _difference(
    bench: Bench, first: str, other: str, clips: Sequence[str], key: str, higher_is_better: bool = False
) -> str:
    """Of the means over all frames of all clips, one after the other."""
    made = [clip for clip in clips if all(bench.place(label, clip).exists() for label in (first, other))]
    pairs = [(bench.series(other, clip)[key], bench.series(first, clip)[key]) for clip in made]
    found = mean_interval(torch.cat([a - b for a, b in pairs]), BootstrapConfig()) if pairs else None
    if found is None:
        return ""
    # What is nothing at the last digit shown is nothing.
    small = abs(found.value) < _NOTHING
    mark = "=" if small else {"better": "+", "worse": "-", "tie": "="}[verdict(found, higher_is_better)]
    return f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}] {mark}"


def _agreement(scores: Scores, channel: str) -> str:
    correlation, slope = scores.get(f"correlation_{channel}"), scores.get(f"amplitude_{channel}")
    return "" if correlation is None else f"{correlation:.2f} ({number(slope, 2)})"


def _jitter(scores: Scores) -> str:
    found, raw = scores.get("jitter_pct"), scores.get("jitter_raw_pct")
    return "" if found is None or not raw else f"{found / raw:.2f}"


def _blinks(rows: Sequence[Scores]) -> str:
    true, found, hits = (
        sum(scores.get(f"blinks_{name}") or 0.0 for scores in rows) for name in ("true", "found", "matched")
    )
    return f"{number(hits / found if found else None, 2)} / {number(hits / true if true else None, 2)}"


def _frames(rows: Sequence[Scores]) -> list[str]:
    least = min(scores.get("frames_share") or 0.0 for scores in rows)
    usable = statistics.fmean(scores.get("usable_share") or 0.0 for scores in rows)
    return [f"{least:.1%}", f"{usable:.1%}"]


def _gathered(rows: Sequence[Scores]) -> dict[str, list[float]]:
    gathered: dict[str, list[float]] = {}
    for scores in rows:
        for name, value in scores.items():
            if value is not None:
                gathered.setdefault(name, []).append(value)
    return gathered


def _medians(rows: Sequence[Scores]) -> Scores:
    return {name: statistics.median(values) for name, values in _gathered(rows).items()}
