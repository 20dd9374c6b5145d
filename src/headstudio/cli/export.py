"""`headstudio export`: an avatar for other programs, or a tracked capture as a dataset for the methods of peers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from headstudio.cli.console import Display
from headstudio.cli.options import Common, Result
from headstudio.errors import HeadstudioError


@dataclass(frozen=True, kw_only=True)
class Options(Common):
    """Write an avatar in a form that other programs take, or a tracked capture in a form that other methods take."""

    avatar: Annotated[Positional[Path], arg(metavar="AVATAR")]
    """The avatar folder, or the capture folder."""
    to: str = "glb"
    """The form: for an avatar, glb is a textured, rigged mesh with 52 ARKit blendshapes, and web a folder with a page
    that any static web server shows, in which the avatar's network runs, obj a folder with a head that stands still,
    and blender a .blend scene; for a capture, gaussian-avatars is a dataset
    folder with cameras, pictures, masks and, if HEADSTUDIO_FLAME names your FLAME file, FLAME parameters."""
    output: Annotated[Path, arg(aliases=["-o"], metavar="FILE")]
    """The file or folder to write."""
    performance: Annotated[Path | None, arg(name="with", metavar="PERFORMANCE")] = None
    """A video, capture, motion or ARKit CSV to put in as an animation."""
    own: bool = False
    """The performance is of the avatar's own person in front of the same camera."""
    pose: tuple[str, ...] = ()
    """How the head of an OBJ stands: ARKit weights such as jawOpen=0.5 mouthSmileLeft=1."""
    texture: str = "png"
    """For --to glb, the form of its texture: png, or ktx2 or ktx2-small, which stay compressed on the GPU."""
    basisu: str | None = None
    """For a ktx2 texture: the encoder of Basis Universal. Otherwise HEADSTUDIO_BASISU or `basisu`."""
    baked: str | None = None
    """For --to glb with a performance: png or jpg writes, beside the file, the texture that the avatar's network paints
    in each frame, for engines that flip pictures; jpg is smaller and not exact."""
    baked_px: int = 1024
    """Of baked pictures: most texels a side."""
    baked_crop: bool = False
    """Of baked pictures: only the rectangle that ever changes, to be copied into the texture."""
    baked_once: bool = False
    """Of baked pictures: equal ones are written once."""
    blender: str | None = None
    """For --to blender: a Blender executable, or a Python that has bpy. Otherwise HEADSTUDIO_BLENDER or `blender`."""
    background: str = "white"
    """What lies behind the person in a dataset: white, black, or keep for the picture as filmed with the mask as
    alpha."""


def run(options: Options, display: Display) -> Result:
    """Export the avatar or the capture."""
    if (options.avatar / "capture.json").is_file():
        return _export_capture(options, display)
    return _export_avatar(options, display)


def _export_avatar(options: Options, display: Display) -> Result:
    from headstudio.cli.sources import load_performance, load_subject
    from headstudio.drivers.drive import DriveConfig, transferred
    from headstudio.export.gltf import GltfOptions
    from headstudio.export.sequence import BakeOptions, sequence_folder
    from headstudio.export.targets import ExportOptions, export_avatar

    bake = options.baked and BakeOptions(options.baked, options.baked_px, options.baked_crop, options.baked_once)
    gltf = GltfOptions(texture=options.texture, basisu=options.basisu)
    extras = ExportOptions(_weights(options.pose), options.blender, gltf, bake or None, display)
    avatar, _, at_rest = load_subject(options.avatar)
    motion, warnings = None, []
    if options.performance is not None:
        work = options.output.with_name(options.output.name + ".driving")
        performance, _ = load_performance(options.performance, work, display)
        motion, warnings = transferred(performance, avatar, at_rest, DriveConfig(own=options.own))
    written = export_avatar(avatar, options.to, options.output, motion, extras)
    size = _bytes_in(written)
    content = {"file": written, "bytes": size, "target": options.to, "warnings": warnings}
    told = f"{written} is written ({size / 1e6:.1f} MB)."
    if bake:
        pictures = sequence_folder(written)
        content["pictures"] = pictures
        told += f" Its pictures are in {pictures} ({_bytes_in(pictures) / 1e6:.1f} MB)."
    if (written / "index.html").is_file():
        told += f" Look at it with `python -m http.server -d {written}`."
    return Result("\n".join([*warnings, told]), content)


def _bytes_in(path: Path) -> int:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def _weights(assignments: tuple[str, ...]) -> dict[str, float]:
    """`name=weight` as typed."""
    weights = {}
    for assignment in assignments:
        name, _, value = assignment.partition("=")
        try:
            weights[name] = float(value)
        except ValueError:
            raise HeadstudioError(f"{assignment!r} is no weight", next_step="write it like jawOpen=0.5") from None
    return weights


def _export_capture(options: Options, display: Display) -> Result:
    from headstudio.cli.sources import load_source
    from headstudio.export.peer_dataset import export_capture

    if options.performance is not None:
        raise HeadstudioError("--with goes with an avatar", next_step="name an avatar folder, or leave --with out")
    source = load_source(options.avatar)
    written = export_capture(source.capture, source.track, options.to, options.output, options.background, display)
    content = {"folder": written.folder, "frames": written.frames, "flame": written.refitted, "target": options.to}
    told = "without FLAME parameters (set HEADSTUDIO_FLAME to your FLAME file to have them)"
    if written.refitted is not None:
        distances = ", ".join(f"{name} {value:.2f}" for name, value in written.refitted.items())
        told = f"with FLAME parameters; FLAME's surface from the tracked one, {distances}"
    return Result(f"{written.folder} is written: {written.frames} frames, {told}.", content)
