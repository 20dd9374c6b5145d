"""`headstudio train-driver`: learn to drive an avatar from a source that does not fit it directly."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, UseAppendAction, arg

from headstudio.cli.console import Display
from headstudio.cli.options import Common, Result
from headstudio.errors import HeadstudioError
from headstudio.training.trainer import TrainerConfig


@dataclass(frozen=True, kw_only=True)
class Options(Common):
    """Train a driver. `headstudio train-driver NAME --help` also lists what --set can change in it."""

    name: Annotated[Positional[str], arg(metavar="NAME")]
    """The driver's registered name."""
    avatar: Annotated[Positional[Path], arg(metavar="AVATAR")]
    """The avatar it is to drive."""
    actors: Annotated[Positional[tuple[Path, ...]], arg(metavar="CAPTURE")] = ()
    """Tracked captures of who drives; of the avatar's person, for drivers that learn from nobody else."""
    output: Annotated[Path, arg(aliases=["-o"], metavar="DRIVER")]
    """The driver folder to write."""
    target: Annotated[tuple[Path, ...], arg(metavar="CAPTURE")] = ()
    """Tracked captures of the avatar's person, for drivers that learn from both; those that the avatar was trained on
    are found where they lie beside it."""
    preset: str = "draft"
    """draft, standard or paper."""
    set: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="FIELD=VALUE")] = ()
    """Change one field of the driver's configuration; may be repeated."""
    trainer: Annotated[TrainerConfig, arg(name="")] = field(default_factory=TrainerConfig)
    """How."""


def run(options: Options, display: Display) -> Result:
    """Train the driver."""
    from headstudio.cli.settings import recipe_of
    from headstudio.cli.sources import load_sources
    from headstudio.cli.train import trained
    from headstudio.training import registry
    from headstudio.training.avatars import load_avatar
    from headstudio.training.train import train

    recipe = recipe_of("drivers", options.name, options.preset, options.set)
    avatar = load_avatar(options.avatar)
    roles = registry.find("drivers", options.name).roles
    actors, target = (options.actors, options.target) if "actor" in roles else ((), options.target + options.actors)
    if not target and "target" in roles:
        target = captures_beside(options.avatar)
    sources = {"actor": load_sources(actors), "target": load_sources(target)}
    record = train(recipe, sources, options.output, options.trainer, avatar, display)
    return trained(options.output, record.provenance, record.notes)


def captures_beside(avatar: Path) -> tuple[Path, ...]:
    """The captures an avatar was trained on, of those in the folder it lies in; () unless all are there."""
    from headstudio.records.avatar import Avatar
    from headstudio.records.capture import Capture

    used = Avatar.load(avatar).provenance.get("sources", {}).get("target", ())
    wanted = [source["capture"] for source in used]
    folders = sorted(path.parent for path in avatar.absolute().parent.glob("*/capture.json"))
    found: dict[str, Path] = {}
    for folder in folders:
        with contextlib.suppress(HeadstudioError):  # whatever else lies there is nobody's mistake
            found.setdefault(Capture.load(folder).identifier, folder)
    return tuple(found[name] for name in wanted) if found.keys() >= set(wanted) else ()


def explain(arguments: Sequence[str]) -> str:
    """The drivers there are, or the configuration of the one that is named."""
    from headstudio.cli.settings import explained

    return explained("drivers", arguments)
