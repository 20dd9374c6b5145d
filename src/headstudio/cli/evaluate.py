"""`headstudio evaluate`: numbers on the held-out frames."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from headstudio.cli.console import Display
from headstudio.cli.options import Common, Result
from headstudio.evaluation.evaluate import EvaluationConfig


@dataclass(frozen=True, kw_only=True)
class Options(Common):
    """Score an avatar and its baselines on the held-out frames of the capture it was trained on (docs/protocol.md)."""

    avatar: Annotated[Positional[Path], arg(metavar="AVATAR")]
    """The avatar folder."""
    capture: Annotated[Positional[Path], arg(metavar="CAPTURE")]
    """The tracked capture that the avatar was trained on."""
    output: Annotated[Path | None, arg(aliases=["-o"], metavar="REPORT")] = None
    """Folder to write the numbers and the report to; `AVATAR.evaluation` when not given."""
    track: Annotated[Path | None, arg(metavar="TRACK")] = None
    """The capture's track, where it lies elsewhere than inside it."""
    driver: Annotated[Path | None, arg(metavar="DRIVER")] = None
    """Score what this trained driver makes of the capture's signals instead of the tracked signals themselves."""
    config: Annotated[EvaluationConfig, arg(name="")] = field(default_factory=EvaluationConfig)
    """How."""


def run(options: Options, display: Display) -> Result:
    """Evaluate the avatar."""
    from headstudio.cli.pipeline import score
    from headstudio.cli.sources import load_source, load_subject
    from headstudio.drivers.drive import predicted
    from headstudio.evaluation.tables import markdown
    from headstudio.training.avatars import load_driver
    from headstudio.training.batches import usable_training_frames

    avatar, method, _ = load_subject(options.avatar)
    source = load_source(options.capture, options.track)
    motion = None
    if options.driver is not None:
        driver = load_driver(options.driver, avatar)
        seen = source.motion_with(driver.consumes)
        motion = source.motion.with_channels(predicted(driver, seen, usable_training_frames(source)))
    output = options.output or options.avatar.with_name(options.avatar.name + ".evaluation")
    found = score(avatar, method, source, output, options.config, display, motion)
    return Result(f"{markdown(found)}\nwritten to {output}", {"report": output, **found.plain()})
