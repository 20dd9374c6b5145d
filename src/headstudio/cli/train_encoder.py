"""`headstudio train-encoder`: learn to read expressions off any face, from synthetic people."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, UseAppendAction, arg

from headstudio.cli.console import Display
from headstudio.cli.options import Common, Result
from headstudio.encoders.expression.people import PeopleConfig
from headstudio.errors import HeadstudioError
from headstudio.training.trainer import TrainerConfig


@dataclass(frozen=True, kw_only=True)
class Options(Common):
    """Film synthetic people and train an encoder on them. `headstudio train-encoder NAME --help` also lists what --set
    can change in it. People are kept in ENCODER-people, so that the same command goes on where it stopped."""

    name: Annotated[Positional[str], arg(metavar="NAME")]
    """The encoder's registered name."""
    captures: Annotated[Positional[tuple[Path, ...]], arg(metavar="CAPTURE")] = ()
    """Tracked captures to learn from beside the synthetic people, or instead of them with --cast.people 0."""
    output: Annotated[Path, arg(aliases=["-o"], metavar="ENCODER")]
    """The encoder folder to write."""
    preset: str = "draft"
    """draft, standard or paper."""
    set: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="FIELD=VALUE")] = ()
    """Change one field of the encoder's configuration; may be repeated."""
    cast: PeopleConfig = field(default_factory=PeopleConfig)
    """Whom to film."""
    trainer: Annotated[TrainerConfig, arg(name="")] = field(default_factory=lambda: TrainerConfig(accumulate=4))
    """How to train; a batch shows one person, so that several of them make a step."""


def run(options: Options, display: Display) -> Result:
    """Train the encoder."""
    from headstudio.cli.settings import recipe_of
    from headstudio.cli.sources import load_sources
    from headstudio.cli.train import trained
    from headstudio.encoders.expression.people import film_people
    from headstudio.training.train import train

    if not options.captures and not options.cast.people:
        raise HeadstudioError("there is nobody to learn from", next_step="film people or name captures")
    recipe = recipe_of("encoders", options.name, options.preset, options.set)
    folder = options.output.with_name(f"{options.output.name}-people")
    filmed = film_people(folder, options.cast, display) if options.cast.people else ()
    sources = {"target": load_sources((*filmed, *options.captures))}
    record = train(recipe, sources, options.output, options.trainer, display=display)
    return trained(options.output, record.provenance, record.notes)


def explain(arguments: Sequence[str]) -> str:
    """The encoders there are, or the configuration of the one that is named."""
    from headstudio.cli.settings import explained

    return explained("encoders", arguments)
