"""`headstudio drive`: an avatar re-enacts a performance."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from headstudio.cli.console import Display
from headstudio.cli.options import Common, Result
from headstudio.drivers.drive import DriveConfig

if TYPE_CHECKING:
    from headstudio.records.capture import Capture


@dataclass(frozen=True, kw_only=True)
class Options(Common):
    """Drive an avatar with another performance and write a video. Movements are carried over relative to rest."""

    avatar: Annotated[Positional[Path], arg(metavar="AVATAR")]
    """The avatar folder."""
    performance: Annotated[Path, arg(name="with", metavar="PERFORMANCE")]
    """A video, a capture, or a motion: a folder, an ARKit CSV, a take of Live Link Face, recorded packets."""
    output: Annotated[Path | None, arg(aliases=["-o"], metavar="MP4")] = None
    """The video to write; named after avatar and performance when not given."""
    driver: Annotated[Path | None, arg(metavar="DRIVER")] = None
    """A trained driver that turns the performance into the avatar's channels."""
    size_px: int | None = None
    """Side of the pictures; the size the person was filmed at when not given."""
    background: str = "#000000"
    """A colour (#rrggbb) or a picture."""
    side_by_side: bool = False
    """Put the driving frames to the left, where there are any."""
    device: str = "auto"
    """Where to render: auto, cpu, cuda."""
    config: Annotated[DriveConfig, arg(name="")] = field(default_factory=DriveConfig)
    """How."""


def run(options: Options, display: Display) -> Result:
    """Drive the avatar."""
    from headstudio.cli.sources import chosen_device, load_performance, load_subject
    from headstudio.drivers.drive import carried_over, orbit_view, render_frames
    from headstudio.training.avatars import load_driver
    from headstudio.video import write_video

    avatar, _, at_rest = load_subject(options.avatar)
    output = options.output or options.avatar.with_name(f"{options.avatar.name}-{options.performance.stem}.mp4")
    driver = None if options.driver is None else load_driver(options.driver, avatar)
    wanted = (driver or avatar).consumes
    work = output.with_name(output.name + ".driving")
    performance, capture = load_performance(options.performance, work, display, wanted)
    motion, warnings = carried_over(performance, avatar, at_rest, options.config, driver)
    size_px = options.size_px or at_rest.size_px
    view = orbit_view(at_rest, size_px, options.config.yaw_deg, options.config.pitch_deg)
    background = read_background(options.background, size_px)
    avatar.to(chosen_device(options.device))
    with display.stage("drive", len(motion)) as advance:
        frames = render_frames(avatar, motion, view, background, options.config.batch_size)
        beside = capture if options.side_by_side else None
        pictures = _pictures(frames, beside, size_px, advance)
        count = write_video(output, pictures, motion.times_s.tolist(), sound=sound_of(capture))
    content = {"video": output, "frames": count, "warnings": warnings}
    return Result("\n".join([*warnings, f"{output}: {count} frames."]), content)


def sound_of(capture: "Capture | None") -> Path | None:
    """The sound that was recorded with a driving video."""
    from headstudio.capture.audio import FILE_NAME

    where = None if capture is None else capture.path / FILE_NAME
    return where if where is not None and where.is_file() else None


def read_background(text: str, size_px: int) -> Any:
    """A colour or a picture as (3, size, size) sRGB in [0, 1]."""
    import torch
    from PIL import Image, ImageColor, UnidentifiedImageError

    from headstudio.errors import HeadstudioError

    try:
        if text.startswith("#") or not Path(text).exists():
            picture = Image.new("RGB", (size_px, size_px), ImageColor.getrgb(text))
        else:
            with Image.open(text) as opened:
                picture = opened.convert("RGB").resize((size_px, size_px), Image.Resampling.LANCZOS)
    except (ValueError, OSError, UnidentifiedImageError):
        raise HeadstudioError(
            f"{text} is neither a colour nor a picture", next_step="give #rrggbb or the path of a picture"
        ) from None
    values = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8).reshape(size_px, size_px, 3)
    return values.permute(2, 0, 1).float() / 255


def _pictures(frames: Iterator[Any], capture: "Capture | None", size_px: int, advance: Any) -> Iterator[Any]:
    import numpy as np

    from headstudio.video import to_picture

    for index, rendering in enumerate(frames):
        picture = to_picture(rendering.rgb[0])
        if capture is not None:
            picture = np.concatenate([driving_picture(capture, index, size_px), picture], axis=1)
        advance(1)
        yield picture


def driving_picture(capture: "Capture", frame: int, size_px: int) -> Any:
    """One frame of the driving capture at the size of the others."""
    import numpy as np
    from PIL import Image

    stored = Image.fromarray(capture.image(frame).permute(1, 2, 0).numpy())
    return np.asarray(stored.resize((size_px, size_px), Image.Resampling.LANCZOS))
