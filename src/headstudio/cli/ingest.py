"""`headstudio ingest`: a video becomes a capture."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from headstudio.capture.config import IngestConfig
from headstudio.cli.console import Display
from headstudio.cli.options import Common, Result
from headstudio.errors import HeadstudioError

if TYPE_CHECKING:
    from headstudio.records.capture import Capture, CaptureView


@dataclass(frozen=True, kw_only=True)
class Options(Common):
    """Decode a video once: upright frames with exact times, landmarks, mattes, quality and the train/held-out split."""

    video: Annotated[Positional[Path | None], arg(metavar="VIDEO")] = None
    """The video of one person."""
    views: Annotated[tuple[Path, ...], arg(metavar="VIDEO")] = ()
    """Instead: films of one performance by several cameras that stand still, whose clocks need not agree."""
    cameras: Annotated[Path | None, arg(metavar="JSON")] = None
    """Intrinsics and places of these cameras (docs/multi-view.md); found from the moving head when not given."""
    output: Annotated[Path, arg(aliases=["-o"], metavar="CAPTURE")]
    """The capture folder to write; one that is there is replaced when all has gone well."""
    guide: Literal["a", "b"] | None = None
    """The clip of `headstudio capture-guide` that this is meant to be; the pre-flight report then judges it by that."""
    config: Annotated[IngestConfig, arg(name="")] = field(default_factory=IngestConfig)
    """How."""


def run(options: Options, display: Display) -> Result:
    """Ingest the video."""
    from headstudio.capture.coverage import Preflight
    from headstudio.report.preflight import write_preflight

    capture = _ingested(options, display)
    write_preflight(options.output / "preflight.html", capture, options.guide)
    findings = Preflight.load(options.output).findings
    view = capture.views[0]
    seconds = float(view.times_s[-1] - view.times_s[0])
    content = {
        "capture": capture.path,
        "frames": capture.frames,
        "seconds": round(seconds, 3),
        "size_px": capture.size_px,
        "train_frames": len(capture.train_frames),
        "held_out_frames": len(capture.held_out_frames),
        "annotations": sorted(a.value for a in capture.annotations),
        "source": vars(view.source),
        "views": [_told(capture, other) for other in capture.views],
        "findings": [vars(finding) for finding in findings],
    }
    advice = "".join(f"{finding.message}: {finding.next_step}.\n" for finding in findings)
    together = "" if len(capture.views) == 1 else f" in {len(capture.views)} views, {view.name} first"
    text = (
        f"{advice}"
        f"{options.output}: {capture.frames} frames of {capture.size_px} px over {seconds:.1f} s{together}, "
        f"{len(capture.train_frames)} to train on, {len(capture.held_out_frames)} held out.\n"
        f"Next: headstudio track {options.output}"
    )
    return Result(text, content)


def _ingested(options: Options, display: Display) -> "Capture":
    from headstudio.capture.ingest import ingest
    from headstudio.capture.rig_ingest import ingest_views

    if (options.video is None) == (not options.views):
        raise HeadstudioError(
            "name one video, or several after --views", next_step="headstudio ingest VIDEO or --views LEFT FRONT RIGHT"
        )
    if options.views:
        return ingest_views(options.views, options.output, options.config, options.cameras, display)
    if options.cameras is not None:
        raise HeadstudioError("--cameras is for several --views", next_step="give --focal to track a single one")
    assert options.video is not None
    return ingest(options.video, options.output, options.config, display)


def _told(capture: "Capture", view: "CaptureView") -> dict:
    T, first = view.T_camera_world, capture.views[0]
    return {
        "name": view.name,
        "file_name": view.source.file_name,
        "start_s": view.source.start_s,
        "film_offset_s": view.clock_offset_s - view.source.start_s - (first.clock_offset_s - first.source.start_s),
        "K_px": None if view.K_px is None else view.K_px[0].tolist(),
        "T_camera_world": None if T is None else T.tolist(),
    }
