"""`headstudio train`: a tracked capture becomes an avatar."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, UseAppendAction, arg

from headstudio.cli.console import Display
from headstudio.cli.options import Common, Result
from headstudio.training.trainer import TrainerConfig


@dataclass(frozen=True, kw_only=True)
class Options(Common):
    """Train an avatar. `headstudio train METHOD --help` also lists what --set can change in the method."""

    method: Annotated[Positional[str], arg(metavar="METHOD")]
    """The method's registered name."""
    captures: Annotated[Positional[tuple[Path, ...]], arg(metavar="CAPTURE")]
    """Tracked captures of the person."""
    output: Annotated[Path, arg(aliases=["-o"], metavar="AVATAR")]
    """The avatar folder to write. The run itself lies beside it, so that the same command goes on where it stopped."""
    preset: str = "draft"
    """draft, standard or paper."""
    track: Annotated[Path | None, arg(metavar="TRACK")] = None
    """The track of the capture, where it lies elsewhere than inside it (one capture only)."""
    scan: Annotated[Path | None, arg(metavar="SCAN")] = None
    """A scan of the person (`headstudio scan`): methods that use it take texture and masks from there. Track with the
    same --scan first."""
    init: Annotated[Path | None, arg(metavar="AVATAR")] = None
    """Start from the weights of this avatar of the same method."""
    set: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="FIELD=VALUE")] = ()
    """Change one field of the method's configuration; may be repeated."""
    trainer: Annotated[TrainerConfig, arg(name="")] = field(default_factory=TrainerConfig)
    """How."""


def run(options: Options, display: Display) -> Result:
    """Train the method."""
    from headstudio.cli.settings import recipe_of
    from headstudio.cli.sources import load_sources
    from headstudio.training.train import train

    recipe = recipe_of("methods", options.method, options.preset, options.set, options.init)
    sources = {"target": load_sources(options.captures, options.track, options.scan)}
    avatar = train(recipe, sources, options.output, options.trainer, display=display)
    return trained(options.output, avatar.provenance, avatar.notes)


def trained(output: Path, provenance: object, notes: Sequence[str]) -> Result:
    """What there is to say after a training."""
    content = {"avatar": output, "provenance": provenance, "notes": notes}
    return Result("\n".join([f"{output} is written.", *notes]), content)


def explain(arguments: Sequence[str]) -> str:
    """The methods there are, or the configuration of the one that is named."""
    from headstudio.cli.settings import explained

    return explained("methods", arguments)
