"""`headstudio motion trim`: a part of a motion."""

from dataclasses import dataclass

from headstudio.cli.console import Display
from headstudio.cli.motion.files import InputOutput, read, written
from headstudio.cli.options import Result


@dataclass(frozen=True, kw_only=True)
class Options(InputOutput):
    """Keep a part of a motion; times are in seconds from its first frame."""

    start_s: float = 0.0
    """From here on."""
    end_s: float | None = None
    """Up to here; to the end when not given."""


def run(options: Options, display: Display) -> Result:
    """Cut it."""
    from headstudio.motion.editing import trim

    motion = read(options.motion, options.timecode_fps).motion
    return written(options, trim(motion, options.start_s, options.end_s))
