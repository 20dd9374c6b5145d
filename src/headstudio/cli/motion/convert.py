"""`headstudio motion convert`: from one format to another."""

from dataclasses import dataclass

from headstudio.cli.console import Display
from headstudio.cli.motion.files import InputOutput, read, written
from headstudio.cli.options import Result


@dataclass(frozen=True, kw_only=True)
class Options(InputOutput):
    """Write a motion in another format. All formats but our own need ARKit weights."""


def run(options: Options, display: Display) -> Result:
    """Convert it."""
    found = read(options.motion, options.timecode_fps)
    return written(options, found.motion, found.notes)
