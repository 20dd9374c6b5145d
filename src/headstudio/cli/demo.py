"""`headstudio demo`: the whole way with a synthetic actor, whose truth is known."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from headstudio.cli.console import Display
from headstudio.cli.ledger import Ledger
from headstudio.cli.make import Making, explain, summary
from headstudio.cli.options import Result
from headstudio.cli.pipeline import Pipeline
from headstudio.synth.config import SynthConfig

__all__ = ["Options", "explain", "run"]


@dataclass(frozen=True, kw_only=True)
class Options(Making):
    """Film a synthetic actor with known truth, then make an avatar of the film alone."""

    output: Annotated[Path, arg(aliases=["-o"], metavar="FOLDER")] = Path("headstudio-demo")
    """Where everything is written."""
    actor: SynthConfig = field(default_factory=SynthConfig.demo)
    """Who is filmed and how."""


def run(options: Options, display: Display) -> Result:
    """Film the actor and make the avatar."""
    from headstudio.synth.actor import make_actor

    ledger = Ledger(options.output, display)
    folder = options.output / "actor"
    ledger.stage("film", asdict(options.actor), (), ("actor",), lambda: make_actor(folder, options.actor, display))
    Pipeline(options.plan(folder / "actor.mp4", options.output), display, ledger).run()
    return summary(ledger)
