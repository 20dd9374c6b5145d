"""`headstudio scan`: clip A, filmed round a still head, becomes cameras in metres and a mesh."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from headstudio.cli.console import Display
from headstudio.cli.options import Common, Result
from headstudio.cli.scanning import ScanRecipe

if TYPE_CHECKING:
    from headstudio.records.scan import Scan


@dataclass(frozen=True, kw_only=True)
class Options(Common):
    """Calibrate clip A (see `headstudio capture-guide`): key frames, cameras in metres from the size of the iris, where
    the head is, a mesh, the head model registered to it, and its texture without the light of the clip."""

    clip: Annotated[Positional[Path], arg(metavar="CLIP_A")]
    """A video, or the capture of one. A video is ingested beside the scan, in SCAN-capture."""
    output: Annotated[Path, arg(aliases=["-o"], metavar="SCAN")]
    """The scan folder to write; one that is there is replaced when all has gone well."""
    track: Annotated[Path | None, arg(metavar="TRACK")] = None
    """A track of the same capture, whose poses stand for cameras where structure from motion fails; it is made when it
    is needed and not given."""
    recipe: Annotated[ScanRecipe, arg(name="")] = field(default_factory=ScanRecipe)
    """How."""


def run(options: Options, display: Display) -> Result:
    """Scan the clip."""
    from headstudio.cli.scanning import scan_capture, scanned_clip
    from headstudio.records.track import Track

    track = None if options.track is None else Track.load(options.track)
    capture = scanned_clip(options.clip, options.output.with_name(f"{options.output.name}-capture"), display)
    scan = scan_capture(capture, options.recipe, options.output, display, track)
    return Result(_told(options, scan), _content(options, scan))


def _told(options: Options, scan: "Scan") -> str:
    low, high = scan.scale.interval()
    return (
        f"{options.output}: {scan.views} of {scan.residuals.offered} key frames calibrated "
        f"({scan.cameras.value}), light {scan.light.value}.\n"
        f"Metres from the {scan.scale.source.value}: lengths are true to -{1 - low:.0%} and +{high - 1:.0%} (95 %)."
        + ("" if scan.mesh is None else f"\nMesh of {len(scan.mesh.vertices_m)} vertices.")
        + ("" if not _fit(scan) else f"\nHead model {scan.head} {_fit(scan)['median_mm']:.2f} mm from it (median).")
        + ("" if scan.texture is None else f"\nStatic texture: {options.output / 'texture' / 'albedo.png'}")
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
        "texture_px": None if scan.texture is None else scan.texture.albedo.shape[-1],
        "told": scan.told,
    }
