"""`headstudio motion retarget`: a performance carried over to the rest of another person."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from headstudio.cli.console import Display
from headstudio.cli.motion.files import InputOutput, read, written
from headstudio.cli.options import Result
from headstudio.motion.retarget import RetargetConfig


@dataclass(frozen=True, kw_only=True)
class Options(InputOutput):
    """Carry a performance over to another person: what moves away from its own rest moves away from theirs."""

    onto: Annotated[Path, arg(metavar="MOTION")]
    """A motion of the other person, in which they are at rest at some time."""
    head: str = "makehuman"
    """The head model whose coefficients the motions have; ARKit weights need none in particular."""
    config: Annotated[RetargetConfig, arg(name="")] = field(default_factory=RetargetConfig)
    """How strongly."""


def run(options: Options, display: Display) -> Result:
    """Carry it over."""
    from headstudio.heads import load_head
    from headstudio.motion.editing import onto

    driver = read(options.motion, options.timecode_fps).motion
    target = read(options.onto, options.timecode_fps).motion
    return written(options, onto(driver, target, load_head(options.head), options.config))
