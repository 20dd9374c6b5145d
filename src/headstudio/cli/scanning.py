"""Clip A taken all the way, for `scan` and for `make`."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from tyro.conf import arg

from headstudio.cli.console import Display
from headstudio.errors import HeadstudioError
from headstudio.scan.calibration_config import CalibrationConfig
from headstudio.tracking.config import TrackingConfig

if TYPE_CHECKING:
    from headstudio.records.capture import Capture
    from headstudio.records.scan import Scan
    from headstudio.records.track import Track

Preset: TypeAlias = Literal["none", "draft", "standard", "paper"]


@dataclass(frozen=True)
class ScanRecipe:
    """How clip A is made into a person."""

    mesh: Preset = "draft"
    """Preset of the mesh reconstruction."""
    registration: Preset = "standard"
    """Preset of the head model's registration to the mesh."""
    texture: Preset = "draft"
    """Preset of the static texture: 512, 2048 or 4096 pixels a side."""
    calibration: Annotated[CalibrationConfig, arg(name="")] = field(default_factory=CalibrationConfig)
    """How the cameras are found."""


def scan_capture(
    capture: "Capture", recipe: ScanRecipe, output: Path, display: Display, track: "Track | None" = None
) -> "Scan":
    """Cameras, mesh, registered head and static texture, as far as the recipe asks; saved after each, with reports."""
    from headstudio.report.preflight import write_preflight
    from headstudio.report.scan_report import write_scan_report
    from headstudio.scan.making import make_scan

    scan = make_scan(capture, recipe.calibration, display, track)
    scan.save(output)
    if recipe.mesh != "none":
        from headstudio.scan.surface import with_mesh

        scan = with_mesh(scan, recipe.mesh, display)
        scan.save(output)
        if recipe.registration != "none":
            scan = _with_head(scan, recipe, output, display)
    for sentence in scan.told:
        display.say(f"Note: {sentence}.")
    write_scan_report(output / "report.html", scan)
    if (capture.path / "preflight.json").is_file():
        write_preflight(output / "preflight.html", capture, guide="a")
    return scan


def _with_head(scan: "Scan", recipe: ScanRecipe, output: Path, display: Display) -> "Scan":
    from headstudio.scan.registering import with_registration
    from headstudio.scan.registration_config import REGISTRATION_PRESETS
    from headstudio.scan.texturing import with_texture
    from headstudio.texture.static import STATIC_TEXTURE_PRESETS

    scan = with_registration(scan, REGISTRATION_PRESETS[recipe.registration], display)
    scan.save(output)
    if recipe.texture != "none":
        scan = with_texture(scan, STATIC_TEXTURE_PRESETS[recipe.texture], display)
        scan.save(output)
    return scan


def scanned_clip(clip: Path, folder: Path, display: Display) -> "Capture":
    """The capture of clip A: the folder itself, or a video's, which is ingested in `folder` unless it was before."""
    from headstudio.capture.config import IngestConfig
    from headstudio.capture.ingest import ingest
    from headstudio.cli.sources import digest
    from headstudio.records.capture import Capture

    if not clip.exists():
        raise HeadstudioError("there is no clip here", where=clip, next_step="check the path")
    if clip.is_dir():
        return Capture.load(clip)
    if (folder / "capture.json").is_file():
        known = Capture.load(folder)
        if known.views[0].source.sha256 == digest(clip):
            return known
    return ingest(clip, folder, IngestConfig(), display)


def person_of(path: Path) -> "Scan":
    """A scan that knows its person."""
    from headstudio.records.scan import Scan

    scan = Scan.load(path)
    if scan.identity is None:
        raise HeadstudioError(
            "the scan has no registered head", where=path, next_step="scan the clip with --mesh draft"
        )
    return scan


_SAME_PHONE = 0.1
"""Deviation of the logarithm of the focal length between two clips of one phone: formats crop differently."""


def in_the_lens_of(scan: "Scan", config: TrackingConfig) -> TrackingConfig:
    """Tracking that expects clip A's lens (paper 1, section 3.2: KRT_global starts from the key frame's camera)."""
    if scan.relative_focal is None:
        return config
    solve = replace(config.solve, focal_prior=scan.relative_focal, focal_log_deviation=_SAME_PHONE)
    return replace(config, solve=solve)
