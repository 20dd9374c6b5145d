"""`headstudio motion blend`: two motions mixed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from headstudio.cli.console import Display
from headstudio.cli.motion.files import InputOutput, read, written
from headstudio.cli.options import Result


@dataclass(frozen=True, kw_only=True)
class Options(InputOutput):
    """Mix two motions that start together, on the clock of the first, in the channels that both have."""

    other: Annotated[Path, arg(name="with", metavar="MOTION")]
    """The second motion."""
    share: float = 0.5
    """How much of the second, from 0 to 1."""


def run(options: Options, display: Display) -> Result:
    """Mix them."""
    from headstudio.motion.editing import blend

    first = read(options.motion, options.timecode_fps).motion
    second = read(options.other, options.timecode_fps).motion
    mixed = blend(first, second, options.share)
    left_out = sorted(str(c) for c in {*first.channels, *second.channels} - set(mixed.channels))
    notes = (f"only one of them has {', '.join(left_out)}, which is left out",) if left_out else ()
    return written(options, mixed, notes)
