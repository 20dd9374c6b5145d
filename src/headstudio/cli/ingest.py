"""`headstudio ingest`: a video becomes a capture."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from headstudio.capture.config import IngestConfig
from headstudio.cli.console import Display
from headstudio.cli.options import Common, Result


@dataclass(frozen=True, kw_only=True)
class Options(Common):
    """Decode a video once: upright frames with exact times, landmarks, mattes, quality and the train/held-out split."""

    video: Annotated[Positional[Path], arg(metavar="VIDEO")]
    """The video of one person."""
    output: Annotated[Path, arg(aliases=["-o"], metavar="CAPTURE")]
    """The capture folder to write; one that is there is replaced when all has gone well."""
    guide: Literal["a", "b"] | None = None
    """The clip of `headstudio capture-guide` that this is meant to be; the pre-flight report then judges it by that."""
    config: Annotated[IngestConfig, arg(name="")] = field(default_factory=IngestConfig)
    """How."""


def run(options: Options, display: Display) -> Result:
    """Ingest the video."""
    from headstudio.capture.coverage import Preflight
    from headstudio.capture.ingest import ingest
    from headstudio.report.preflight import write_preflight

    capture = ingest(options.video, options.output, options.config, display)
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
        "findings": [vars(finding) for finding in findings],
    }
    advice = "".join(f"{finding.message}: {finding.next_step}.\n" for finding in findings)
    text = (
        f"{advice}"
        f"{options.output}: {capture.frames} frames of {capture.size_px} px over {seconds:.1f} s, "
        f"{len(capture.train_frames)} to train on, {len(capture.held_out_frames)} held out.\n"
        f"Next: headstudio track {options.output}"
    )
    return Result(text, content)
