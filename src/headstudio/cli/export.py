"""`headstudio export`: an avatar for other programs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from headstudio.cli.console import Display
from headstudio.cli.options import Common, Result


@dataclass(frozen=True, kw_only=True)
class Options(Common):
    """Write an avatar in a form that other programs take."""

    avatar: Annotated[Positional[Path], arg(metavar="AVATAR")]
    """The avatar folder."""
    to: str = "glb"
    """The form: glb is a textured, rigged mesh with 52 ARKit blendshapes."""
    output: Annotated[Path, arg(aliases=["-o"], metavar="FILE")]
    """The file to write."""
    performance: Annotated[Path | None, arg(name="with", metavar="PERFORMANCE")] = None
    """A video, capture, motion or ARKit CSV to put in as an animation."""
    own: bool = False
    """The performance is of the avatar's own person in front of the same camera."""


def run(options: Options, display: Display) -> Result:
    """Export the avatar."""
    from headstudio.cli.sources import load_performance, load_subject
    from headstudio.drivers.drive import DriveConfig, transferred
    from headstudio.export.targets import export_avatar

    avatar, _, at_rest = load_subject(options.avatar)
    motion, warnings = None, []
    if options.performance is not None:
        work = options.output.with_name(options.output.name + ".driving")
        performance, _ = load_performance(options.performance, work, display)
        motion, warnings = transferred(performance, avatar, at_rest, DriveConfig(own=options.own))
    written = export_avatar(avatar, options.to, options.output, motion)
    content = {"file": written, "bytes": written.stat().st_size, "target": options.to, "warnings": warnings}
    return Result("\n".join([*warnings, f"{written} is written ({written.stat().st_size / 1e6:.1f} MB)."]), content)
