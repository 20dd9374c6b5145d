"""How well the head was followed, where it was not, and why."""

from itertools import groupby
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from headstudio.geometry.rigid import relative_orientation
from headstudio.heads import load_head
from headstudio.heads.base import HeadModel
from headstudio.records.capture import Capture
from headstudio.records.track import Track
from headstudio.report.charts import curves
from headstudio.report.film import film
from headstudio.report.markup import Markup, bullets, element, facts, figure
from headstudio.report.page import Section, write_page
from headstudio.report.pictures import contact_sheet, inline, spread
from headstudio.tracking.overlay import overlay_image, tracked_views

_SPREAD_FRAMES, _WORST_FRAMES, _COLUMNS, _CELL_PX = 12, 8, 4, 240
_MARGIN = 0.7
"""Side of the shown square over the larger side of the face, halved: the landmarks would vanish in the whole frame."""


def track_sections(
    capture: Capture, track: Track, head: HeadModel | None = None, overlay: Path | None = None
) -> list[Section]:
    """Confidence, what went wrong, movement, and overlays to look at.

    Args:
        overlay: the video of `tracking.overlay.write_overlay`, which is shown small.
    """
    head = head or load_head(track.identity.head)
    shown = () if overlay is None else (figure(film(overlay, "overlay"), "The head over the whole clip."),)
    return [
        Section("Tracking", (_summary(track), _wrong(track), _confidence(track))),
        Section("Movement", (_movement(track),)),
        Section("Overlays", (*shown, _overlays(capture, track, head))),
    ]


def write_track_report(
    path: Path, capture: Capture, track: Track, head: HeadModel | None = None, overlay: Path | None = None
) -> None:
    """Write the report of a track."""
    write_page(path, f"Track: {capture.views[0].source.file_name}", track_sections(capture, track, head, overlay))


def unusable_spans_s(track: Track) -> list[tuple[float, float]]:
    """First and last time of every run of frames that training and scoring skip."""
    runs = groupby(range(track.frames), key=lambda frame: bool(track.usable[frame]))
    spans = [list(frames) for usable, frames in runs if not usable]
    return [(float(track.times_s[span[0]]), float(track.times_s[span[-1]])) for span in spans]


def worst_frames(track: Track, count: int) -> list[int]:
    """The least trusted frame of every stretch that is skipped, the longest stretches first; then the least trusted
    of the others. In the order of the clip."""
    skipped = groupby(range(track.frames), key=lambda frame: None if track.usable[frame] else _reason(track, frame))
    stretches = sorted((list(frames) for reason, frames in skipped if reason is not None), key=len, reverse=True)
    worst = [min(frames, key=lambda frame: float(track.confidence[frame])) for frames in stretches]
    others = [frame for frame in track.confidence.argsort().tolist() if frame not in worst and track.usable[frame]]
    return sorted((worst + others)[:count])


def _reason(track: Track, frame: int) -> str:
    """Why a frame is skipped, in a word."""
    flaw = None if track.quality is None else track.quality.main(frame)
    return "skipped" if flaw is None else flaw.value.replace("_", " ")


def _summary(track: Track) -> Markup:
    usable, trust = int(track.usable.sum()), track.confidence
    score = {} if track.quality is None else {"score": f"{track.quality.score:.2f} of 1"}
    focal_px = next(iter(track.views.values())).K_px[:, 0, 0]
    return facts(
        {
            **score,
            "head": track.identity.head,
            "usable frames": f"{usable} of {track.frames} ({usable / track.frames:.1%})",
            "confidence": f"{float(trust.mean()):.3f} on average, {float(trust.min()):.3f} or more",
            "focal length": f"{float(focal_px.mean()):.0f} px for frames of {track.size_px} px",
            "distance": f"{float(track.T_world_head[:, 2, 3].mean()):.2f} m on average",
            **({} if len(track.views) == 1 else {"views": ", ".join(track.views)}),
        }
    )


def _confidence(track: Track) -> Markup:
    points = list(zip(track.times_s.tolist(), track.confidence.tolist(), strict=True))
    drawn = curves({"confidence": points}, "seconds", shaded=unusable_spans_s(track), y_limits=(0.0, 1.0))
    return figure(drawn, "Trust in every frame, from 0 to 1; frames in red are skipped by training and scoring.")


def _wrong(track: Track) -> Markup:
    spans = unusable_spans_s(track)
    if not spans:
        return element("p", "Every frame can be used.", class_="good")
    if track.quality is not None:
        return element("div", element("p", "What went wrong:"), bullets(track.quality.sentences[1:]))
    told = [f"{first:.2f} s to {last:.2f} s" if last > first else f"{first:.2f} s" for first, last in spans]
    return element("div", element("p", "Not usable:"), bullets(told))


def _movement(track: Track) -> Markup:
    times_s = track.times_s.tolist()
    angles_deg = torch.rad2deg(relative_orientation(track.T_world_head))
    named = dict(zip(("pitch", "yaw", "roll"), angles_deg.unbind(1), strict=True))
    series = {name: list(zip(times_s, values.tolist(), strict=True)) for name, values in named.items()}
    return figure(curves(series, "seconds"), "Rotation of the head against the camera, degrees about each axis.")


def _overlays(capture: Capture, track: Track, head: HeadModel) -> Markup:
    regular = spread(range(capture.frames), _SPREAD_FRAMES)
    worst, views = worst_frames(track, _WORST_FRAMES), tracked_views(capture, track)
    sheets = []
    for frames, caption in ((worst, "The worst frames."), (regular, "Spread over the clip.")):
        labels = [_label(track, frame) for frame in frames for _ in views]
        pictures = [
            _around_face(overlay_image(capture, track, f, head, v), capture, f, v) for f in frames for v in views
        ]
        sheet = contact_sheet(pictures, labels, _COLUMNS if len(views) == 1 else len(views), _CELL_PX)
        sheets.append(figure(inline(sheet, "overlays"), f"{caption} Frame and trust; red: detected, green: fitted."))
    return element("div", *sheets)


def _label(track: Track, frame: int) -> str:
    skipped = "" if track.usable[frame] else f"  {_reason(track, frame)}"
    return f"{frame}  {float(track.confidence[frame]):.2f}{skipped}"


def _around_face(
    picture: UInt8[Tensor, "3 height width"], capture: Capture, frame: int, view: int
) -> UInt8[Tensor, "3 height width"]:
    """The square window round the detected face; the whole frame where none was found."""
    points_px = capture.views[view].landmarks_px[frame, :, :2]
    if not bool(points_px.isfinite().all()):
        return picture
    low, high = points_px.min(0).values, points_px.max(0).values
    half = float((high - low).max()) * _MARGIN
    left, top = (max(round(v), 0) for v in ((low + high) / 2 - half).tolist())
    side = max(round(2 * half), 2)
    window = picture[:, top : top + side, left : left + side]
    return window if window.numel() else picture
