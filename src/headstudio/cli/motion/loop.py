"""`headstudio motion loop`: a motion that can be repeated without a jump."""

from dataclasses import dataclass

from headstudio.cli.console import Display
from headstudio.cli.motion.files import InputOutput, read, written
from headstudio.cli.options import Result


@dataclass(frozen=True, kw_only=True)
class Options(InputOutput):
    """Close a motion to a loop: its end fades into its beginning."""

    seam_s: float = 0.5
    """How long the end fades into the beginning; the loop is shorter than the motion by as much."""
    times: int = 1
    """How often to write the loop."""


def run(options: Options, display: Display) -> Result:
    """Close it."""
    from headstudio.motion.editing import loop

    motion = read(options.motion, options.timecode_fps).motion
    return written(options, loop(motion, options.seam_s, options.times))
