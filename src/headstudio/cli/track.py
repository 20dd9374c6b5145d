"""`headstudio track`: how the head moved in a capture."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from headstudio.cli.console import Display
from headstudio.cli.options import Common, Result
from headstudio.errors import HeadstudioError
from headstudio.tracking.config import TrackingConfig

if TYPE_CHECKING:
    from headstudio.records.track import HeadIdentity


@dataclass(frozen=True, kw_only=True)
class Options(Common):
    """Fit a head to a capture: identity once; pose, expression, gaze and light per frame; an overlay to judge it."""

    capture: Annotated[Positional[Path], arg(metavar="CAPTURE")]
    """The capture folder."""
    output: Annotated[Path | None, arg(aliases=["-o"], metavar="TRACK")] = None
    """The track folder to write; `track` inside the capture when not given."""
    person: Annotated[Path | None, arg(metavar="TRACK")] = None
    """A track of the same person, whose identity is kept as it is."""
    scan: Annotated[Path | None, arg(metavar="SCAN")] = None
    """A scan of the same person (`headstudio scan`), whose registered head is kept as it is, and whose
    lens is expected."""
    overlay: bool = True
    """Also write overlay.mp4, the head drawn over the frames, and report.html."""
    config: Annotated[TrackingConfig, arg(name="")] = field(default_factory=TrackingConfig)
    """How."""


def run(options: Options, display: Display) -> Result:
    """Track the capture."""
    from headstudio.cli.sources import many_hands, track_folder
    from headstudio.records.capture import Capture
    from headstudio.report.track_report import write_track_report
    from headstudio.tracking.overlay import write_overlay
    from headstudio.tracking.tracker import track

    capture = Capture.load(options.capture)
    folder = options.output or track_folder(options.capture)
    known, config = _known(options)
    tracked = track(capture, many_hands(config, capture.frames), display, known)
    tracked.save(folder)
    overlay = folder / "overlay.mp4" if options.overlay else None
    if overlay is not None:
        write_overlay(capture, tracked, overlay)
        write_track_report(folder / "report.html", capture, tracked, overlay=overlay)
    assert tracked.quality is not None
    content = {
        "track": folder,
        "overlay": overlay,
        "frames": tracked.frames,
        "usable_frames": int(tracked.usable.sum()),
        "head": tracked.identity.head,
        "mean_confidence": round(float(tracked.confidence.mean()), 4),
        "score": round(tracked.quality.score, 4),
        "told": list(tracked.quality.sentences),
    }
    lines = [f"{folder}: {tracked.quality.sentences[0]}", *(f"  {line}" for line in tracked.quality.sentences[1:])]
    if overlay is not None:
        lines.append(f"Look at {folder / 'report.html'} and {overlay}")
    return Result("\n".join(lines), content)


def _known(options: Options) -> "tuple[HeadIdentity | None, TrackingConfig]":
    from headstudio.cli.scanning import in_the_lens_of, person_of
    from headstudio.records.track import Track

    if options.person is not None and options.scan is not None:
        raise HeadstudioError("--person and --scan both say who it is", next_step="give one of them")
    if options.person is not None:
        return Track.load(options.person).identity, options.config
    if options.scan is None:
        return None, options.config
    scan = person_of(options.scan)
    return scan.identity, in_the_lens_of(scan, options.config)
