"""`headstudio motion resample`: another frame rate."""

from dataclasses import dataclass

from headstudio.cli.console import Display
from headstudio.cli.motion.files import InputOutput, read, written
from headstudio.cli.options import Result


@dataclass(frozen=True, kw_only=True)
class Options(InputOutput):
    """Set a motion to a constant frame rate: rotations along the shortest arc, the rest linear."""

    fps: float = 60.0
    """Frames a second."""


def run(options: Options, display: Display) -> Result:
    """Resample it."""
    from headstudio.motion.editing import at_rate

    motion = read(options.motion, options.timecode_fps).motion
    return written(options, at_rate(motion, options.fps))
