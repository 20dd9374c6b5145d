"""What the verbs of `headstudio motion` share: one motion in, one motion out."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from headstudio.cli.options import Common, Result
from headstudio.motion.csv import FRAME_RATE

if TYPE_CHECKING:
    from headstudio.protocols.files import Read
    from headstudio.records.motion import Motion


@dataclass(frozen=True, kw_only=True)
class Input(Common):
    """Options of every verb that reads a motion."""

    motion: Annotated[Positional[Path], arg(metavar="MOTION")]
    """A motion's folder, an ARKit CSV, a take of Live Link Face, or recorded packets."""
    timecode_fps: float = FRAME_RATE
    """Rate in which the time codes of a CSV count; a recording at 30 frames a second counts in 30."""


@dataclass(frozen=True, kw_only=True)
class InputOutput(Input):
    """Options of every verb that writes one, too."""

    output: Annotated[Path, arg(aliases=["-o"], metavar="OUTPUT")]
    """Where to write. The ending chooses the format: .csv, .livelink, .ifacialmocap, .vmc; none is a folder of ours."""
    to: str | None = None
    """The format, where the ending does not say: headstudio, csv, take, livelink, ifacialmocap, vmc."""


def read(path: Path, timecode_fps: float) -> "Read":
    """Read a motion of any format."""
    from headstudio.errors import HeadstudioError
    from headstudio.protocols.files import read_motion

    if not 1 <= timecode_fps <= 1000:
        raise HeadstudioError(f"time codes cannot count in {timecode_fps:g}", next_step="give a rate from 1 to 1000")
    return read_motion(path, timecode_fps)


def written(options: InputOutput, motion: "Motion", notes: tuple[str, ...] = ()) -> Result:
    """Write the result of a verb and tell it."""
    from headstudio.motion.editing import duration_s
    from headstudio.protocols.files import write_motion

    kind = write_motion(options.output, motion, options.to)
    content: dict[str, Any] = {
        "output": options.output,
        "format": kind,
        "frames": len(motion),
        "duration_s": duration_s(motion),
        "notes": notes,
    }
    said = "".join(f"Note: {note}.\n" for note in notes)
    return Result(f"{said}{options.output}: {len(motion)} frames, {duration_s(motion):.2f} s ({kind}).", content)
