"""What a capture covers and lacks, before any training."""

import math
from pathlib import Path

import numpy as np
from torch import Tensor

from headstudio.capture.coverage import Finding, Preflight
from headstudio.capture.guide_checks import GuideClip, guide_findings
from headstudio.records.capture import Capture
from headstudio.report.charts import bars, count_map, curves
from headstudio.report.markup import Markup, bullets, element, facts, figure, joined, table
from headstudio.report.page import Section, write_page
from headstudio.report.pictures import contact_sheet, inline, spread
from headstudio.report.views import views_parts

_EDGES_DEG = tuple(range(-60, 61, 10))
_SHEET_FRAMES, _SHEET_COLUMNS = 18, 6
_CURVES = ("confidence", "occlusion", "clipped")


def preflight_sections(capture: Capture, guide: GuideClip | None = None) -> list[Section]:
    """Findings, coverage, measures over time, and frames to look at.

    Args:
        guide: the clip of the capture guide that this is meant to be; its findings take the place of the general ones.
    """
    found = Preflight.load(capture.path)
    findings = found.findings
    if guide is not None:
        view = capture.views[0]
        findings = guide_findings(guide, view.times_s.numpy(), {n: v.numpy() for n, v in view.quality.items()})
    return [
        Section(
            "Findings" if guide is None else f"Findings: clip {guide.upper()} against the capture guide",
            (_findings(findings),),
        ),
        Section("The clip", (_clip(capture, found),)),
        *([] if len(capture.views) == 1 else [Section("Views", views_parts(capture))]),
        Section("Coverage", _coverage(capture, found)),
        Section("Frames", (_quality(capture, found), _frames(capture))),
    ]


def write_preflight(path: Path, capture: Capture, guide: GuideClip | None = None) -> None:
    """Write the pre-flight report of a capture, which may be meant as a clip of the capture guide."""
    write_page(path, f"Pre-flight: {capture.views[0].source.file_name}", preflight_sections(capture, guide))


def _findings(findings: tuple[Finding, ...]) -> Markup:
    if not findings:
        return element("p", "Nothing is missing: this clip is ready.", class_="good")
    ordered = sorted(findings, key=lambda finding: not finding.serious)
    told = [
        joined(element("span", f.message, class_="bad" if f.serious else None), f": {f.next_step}.") for f in ordered
    ]
    return bullets(told)


def _clip(capture: Capture, found: Preflight) -> Markup:
    source = capture.views[0].source
    return facts(
        {
            "file": source.file_name,
            "source": f"{source.width_px} x {source.height_px} px, {source.codec}",
            "frames": f"{found.frames} in {found.seconds:.1f} s ({found.frames_per_second:.2f} per second)",
            "stored at": f"{capture.size_px} x {capture.size_px} px",
            "split": f"{len(capture.train_frames)} to train on, {len(capture.held_out_frames)} held out",
            "found": ", ".join(sorted(a.value for a in capture.annotations)) or "nothing",
            "not found": ", ".join(found.missing) or "nothing is missing",
        }
    )


def _coverage(capture: Capture, found: Preflight) -> tuple[Markup, ...]:
    parts = []
    quality = capture.views[0].quality
    if {"yaw_deg", "pitch_deg"} <= quality.keys():
        counts = _angle_counts(quality["yaw_deg"], quality["pitch_deg"])
        drawn = count_map(counts, _EDGES_DEG, _EDGES_DEG, "yaw", "pitch")
        parts.append(figure(drawn, "Frames by head angle in degrees: yaw to the person's left, pitch up."))
    for name, histogram in found.angles.items():
        labels = [f"{edge:g}" for edge in histogram.edges[:-1]]
        parts.append(figure(bars(labels, histogram.counts, "from"), f"Frames by {name.removesuffix('_deg')}, degrees."))
    rows = [(_with_unit(n), f"{r.low:.2f}", f"{r.median:.2f}", f"{r.high:.2f}") for n, r in found.ranges.items()]
    return (*parts, table(("range of", "2 %", "median", "98 %"), rows))


def _quality(capture: Capture, found: Preflight) -> Markup:
    view = capture.views[0]
    times_s = view.times_s.tolist()
    series = {n: list(zip(times_s, view.quality[n].tolist(), strict=True)) for n in _CURVES if n in view.quality}
    bad = [(_words(name), f"{share:.1%}") for name, share in found.bad_share.items()]
    drawn = figure(curves(series, "seconds", y_limits=(0.0, 1.0)), "Measures of every frame, from 0 to 1.")
    return joined(drawn, table(("frames that are", "share"), bad))


def _frames(capture: Capture) -> Markup:
    chosen = spread(range(capture.frames), _SHEET_FRAMES)
    times_s = capture.views[0].times_s
    labels = [f"{frame}  {float(times_s[frame]):.2f} s" for frame in chosen]
    sheet = contact_sheet([capture.image(frame) for frame in chosen], labels, _SHEET_COLUMNS)
    return figure(inline(sheet, "frames of the capture"), "Frames spread over the clip, as they are stored.")


def _angle_counts(yaw_deg: Tensor, pitch_deg: Tensor) -> list[list[int]]:
    angles = np.stack([pitch_deg.numpy(), yaw_deg.numpy()])
    inside = np.clip(angles[:, np.isfinite(angles).all(0)], _EDGES_DEG[0], math.nextafter(_EDGES_DEG[-1], 0))
    counts, _, _ = np.histogram2d(inside[0], inside[1], [_EDGES_DEG, _EDGES_DEG])
    return counts.astype(int).tolist()


def _words(name: str) -> str:
    return name.removesuffix("_deg").replace("_", " ")


def _with_unit(name: str) -> str:
    return f"{_words(name)}, degrees" if name.endswith("_deg") else _words(name)
