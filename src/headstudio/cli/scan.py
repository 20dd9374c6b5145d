"""`headstudio scan`: clip A, filmed round a still head, becomes cameras in metres and a mesh."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from headstudio.cli.console import Display
from headstudio.cli.options import Common, Result
from headstudio.errors import HeadstudioError
from headstudio.scan.calibration_config import CalibrationConfig

if TYPE_CHECKING:
    from headstudio.records.capture import Capture
    from headstudio.records.scan import Scan
    from headstudio.records.track import Track


@dataclass(frozen=True, kw_only=True)
class Options(Common):
    """Calibrate clip A (see `headstudio capture-guide`): key frames, cameras in metres from the size of the iris, where
    the head is, a mesh, and the head model registered to it."""

    clip: Annotated[Positional[Path], arg(metavar="CLIP_A")]
    """A video, or the capture of one. A video is ingested beside the scan, in SCAN-capture."""
    output: Annotated[Path, arg(aliases=["-o"], metavar="SCAN")]
    """The scan folder to write; one that is there is replaced when all has gone well."""
    track: Annotated[Path | None, arg(metavar="TRACK")] = None
    """A track of the same capture, whose poses stand for cameras where structure from motion fails; it is made when it
    is needed and not given."""
    mesh: Literal["none", "draft", "standard", "paper"] = "draft"
    """Preset of the mesh reconstruction."""
    registration: Literal["none", "draft", "standard", "paper"] = "standard"
    """Preset of the head model's registration to the mesh."""
    config: Annotated[CalibrationConfig, arg(name="")] = field(default_factory=CalibrationConfig)
    """How."""


def run(options: Options, display: Display) -> Result:
    """Scan the clip."""
    from headstudio.report.preflight import write_preflight
    from headstudio.report.scan_report import write_scan_report
    from headstudio.scan.making import make_scan

    track = None if options.track is None else _track(options.track)
    capture = _capture(options, display)
    scan = make_scan(capture, options.config, display, track)
    scan.save(options.output)
    for sentence in scan.told:
        display.say(f"Note: {sentence}.")
    if options.mesh != "none":
        from headstudio.scan.surface import with_mesh

        scan = with_mesh(scan, options.mesh, display)
        scan.save(options.output)
        if options.registration != "none":
            scan = _registered(scan, options, display)
    write_scan_report(options.output / "report.html", scan)
    if (capture.path / "preflight.json").is_file():
        write_preflight(options.output / "preflight.html", capture, guide="a")
    return Result(_told(options, scan), _content(options, scan))


def _registered(scan: "Scan", options: Options, display: Display) -> "Scan":
    from headstudio.scan.registering import with_registration
    from headstudio.scan.registration_config import REGISTRATION_PRESETS

    told = scan.told
    scan = with_registration(scan, REGISTRATION_PRESETS[options.registration], display)
    scan.save(options.output)
    for sentence in scan.told[len(told) :]:
        display.say(f"Note: {sentence}.")
    return scan


def _track(path: Path) -> "Track":
    from headstudio.records.track import Track

    return Track.load(path)


def _capture(options: Options, display: Display) -> "Capture":
    from headstudio.capture.config import IngestConfig
    from headstudio.capture.ingest import ingest
    from headstudio.cli.sources import digest
    from headstudio.records.capture import Capture

    if not options.clip.exists():
        raise HeadstudioError("there is no clip here", where=options.clip, next_step="check the path")
    if options.clip.is_dir():
        return Capture.load(options.clip)
    folder = options.output.with_name(f"{options.output.name}-capture")
    if (folder / "capture.json").is_file():
        known = Capture.load(folder)
        if known.views[0].source.sha256 == digest(options.clip):
            return known
    return ingest(options.clip, folder, IngestConfig(), display)


def _told(options: Options, scan: "Scan") -> str:
    low, high = scan.scale.interval()
    return (
        f"{options.output}: {scan.views} of {scan.residuals.offered} key frames calibrated "
        f"({scan.cameras.value}), light {scan.light.value}.\n"
        f"Metres from the {scan.scale.source.value}: lengths are true to -{1 - low:.0%} and +{high - 1:.0%} (95 %)."
        + ("" if scan.mesh is None else f"\nMesh of {len(scan.mesh.vertices_m)} vertices.")
        + ("" if not _fit(scan) else f"\nHead model {scan.head} {_fit(scan)['median_mm']:.2f} mm from it (median).")
        + f"\nLook at {options.output / 'report.html'}"
    )


def _fit(scan: "Scan") -> dict[str, float]:
    if scan.fit is None:
        return {}
    known = scan.fit.residual_m[~scan.fit.residual_m.isnan()] * 1000
    return {"median_mm": float(known.median()), "p95_mm": float(known.quantile(0.95))} if len(known) else {}


def _content(options: Options, scan: "Scan") -> dict:
    return {
        "scan": options.output,
        "views": scan.views,
        "frames": scan.frames.tolist(),
        "cameras": scan.cameras.value,
        "light": scan.light.value,
        "scale": scan.scale.source.value,
        "scale_deviation": scan.scale.deviation,
        "scale_interval": scan.scale.interval(),
        "focal_px": float(scan.K_px[0, 0, 0]),
        "residuals": vars(scan.residuals),
        "vertices": None if scan.mesh is None else len(scan.mesh.vertices_m),
        "registration": _fit(scan),
        "told": scan.told,
    }
