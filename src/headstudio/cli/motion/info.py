"""`headstudio motion info`: what a motion holds."""

from dataclasses import dataclass

from headstudio.cli.console import Display
from headstudio.cli.motion.files import Input, read
from headstudio.cli.options import Result


@dataclass(frozen=True, kw_only=True)
class Options(Input):
    """Say what a motion holds."""


def run(options: Options, display: Display) -> Result:
    """Describe it."""
    from headstudio.motion.editing import duration_s, usual_step_s
    from headstudio.motion.ranges import training_range

    found = read(options.motion, options.timecode_fps)
    motion = found.motion
    rate = 1 / usual_step_s(motion)
    ranges = training_range(motion)
    content = {
        "motion": options.motion,
        "format": found.format,
        "frames": len(motion),
        "duration_s": duration_s(motion),
        "fps": rate,
        "channels": {str(channel): list(values.shape[1:]) for channel, values in sorted(motion.channels.items())},
        "ranges": ranges,
        "notes": found.notes,
    }
    lines = [f"{options.motion}: {len(motion)} frames, {duration_s(motion):.2f} s at {rate:.4g}/s ({found.format})"]
    lines += [f"  {note}" for note in found.notes]
    lines += [f"  {channel} {'x'.join(map(str, shape)) or '1'}" for channel, shape in content["channels"].items()]
    moved = [(name, low, high) for name, (low, high) in ranges.items() if high - low > 0.01]
    lines += [f"  {name:<22} {low:8.2f} to {high:.2f}" for name, low, high in moved]
    return Result("\n".join(lines), content)
