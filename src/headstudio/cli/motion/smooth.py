"""`headstudio motion smooth`: less noise, without delay."""

from dataclasses import dataclass

from headstudio.cli.console import Display
from headstudio.cli.motion.files import InputOutput, read, written
from headstudio.cli.options import Result


@dataclass(frozen=True, kw_only=True)
class Options(InputOutput):
    """Average a motion under a Gaussian, symmetric in time; fast movements such as blinks lose height."""

    width_s: float = 0.03
    """Standard deviation of the Gaussian."""


def run(options: Options, display: Display) -> Result:
    """Smooth it."""
    from headstudio.errors import HeadstudioError
    from headstudio.motion.resample import smooth

    motion = read(options.motion, options.timecode_fps).motion
    if not 0 < options.width_s <= 1:
        raise HeadstudioError(f"a width of {options.width_s:g} s is impossible", next_step="give one up to 1 s")
    return written(options, smooth(motion, options.width_s))
