"""Methods, drivers and encoders by name, through entry points: insiders and outsiders use the same door."""

from importlib.metadata import EntryPoint, entry_points
from typing import Literal, TypeAlias

from headstudio.errors import HeadstudioError
from headstudio.training.contract import AvatarModel, Driver, Encoder, Trainable

Kind: TypeAlias = Literal["methods", "drivers", "encoders"]
KINDS: tuple[Kind, ...] = ("methods", "drivers", "encoders")
_BASES: dict[Kind, type[Trainable]] = {"methods": AvatarModel, "drivers": Driver, "encoders": Encoder}


def registered(kind: Kind) -> dict[str, EntryPoint]:
    """Everything registered of a kind, by name, not yet imported."""
    return {point.name: point for point in sorted(entry_points(group=f"headstudio.{kind}"), key=lambda p: p.name)}


def find(kind: Kind, name: str) -> type[Trainable]:
    """The class registered under a name."""
    known = registered(kind)
    if name not in known:
        choices = ", ".join(known) or "none"
        raise HeadstudioError(
            f"no {kind[:-1]} is called {name}",
            next_step=f"choose one of: {choices}, or install the package that has it",
        )
    found = known[name].load()
    if not (isinstance(found, type) and issubclass(found, _BASES[kind])):
        raise HeadstudioError(
            f"{name} is registered but is no {_BASES[kind].__name__}",
            where=known[name].value,
            next_step="mend its package",
        )
    return found


def kind_of(trainable: Trainable | type[Trainable]) -> Kind:
    """The registry a trainable belongs to."""
    cls = trainable if isinstance(trainable, type) else type(trainable)
    return next(kind for kind, base in _BASES.items() if issubclass(cls, base))
