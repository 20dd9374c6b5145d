"""Options in the words of people: units left out of names, durations as 10m, a method's configuration by dots."""

import ast
import contextlib
import dataclasses
import inspect
import io
import itertools
import re
import shlex
import textwrap
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import tyro

from headstudio.errors import HeadstudioError

if TYPE_CHECKING:
    from headstudio.training.train import Recipe

Kind: TypeAlias = Literal["methods", "drivers", "encoders"]

UNITS = ("s", "px", "deg", "m")
"""Suffixes of field names that may be left out of an option's name."""
DURATIONS_S = {"s": 1, "m": 60, "h": 3600}


def spelled_out(options: type, arguments: Sequence[str]) -> list[str]:
    """The arguments with full option names and durations in seconds: `--budget 10m` becomes `--budget-s 600`."""
    known = set(_option_names(options))
    written: list[str] = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if argument.startswith("--"):
            name = _full_name(name, known)
            written.append(name + equals + (_seconds(value) if name.endswith("-s") else value))
        elif written and written[-1].startswith("--") and written[-1].endswith("-s"):
            written.append(_seconds(argument))
        else:
            written.append(argument)
    return written


def configured(default: Any, settings: Sequence[str], owner: str) -> Any:
    """A configuration with some fields set by `path.to.field=value`, each read as the type of its field."""
    arguments: list[str] = []
    known = {path: value for path, value, _ in _fields(default, "")}
    for setting in settings:
        path, equals, value = setting.partition("=")
        if not equals:
            raise HeadstudioError(f"{setting} sets nothing", next_step="write --set FIELD=VALUE")
        if path not in known:
            raise HeadstudioError(f"{owner} has no field {path}", next_step=_see(owner))
        if isinstance(known[path], bool):
            value = value.capitalize()  # true is as good as True
        arguments += [f"--{path}", *shlex.split(value)]
    nowhere = io.StringIO()
    try:
        with contextlib.redirect_stderr(nowhere), contextlib.redirect_stdout(nowhere):
            return tyro.cli(type(default), default=default, args=arguments, config=(tyro.conf.FlagConversionOff,))
    except SystemExit:
        raise HeadstudioError(
            f"the values of {', '.join(settings)} do not fit their fields", where=owner, next_step=_see(owner)
        ) from None


def _see(owner: str) -> str:
    return f"look at its fields in `headstudio train {owner} --help`"


def recipe_of(kind: Kind, name: str, preset: str, settings: Sequence[str], init: Path | None = None) -> "Recipe":
    """What to train: a registered name, a preset, and changes to its configuration."""
    from headstudio.training.train import Recipe

    recipe = Recipe(kind, name, preset, init=init)
    if not settings:
        return recipe
    return dataclasses.replace(recipe, config=configured(preset_of(kind, name, preset), settings, name))


def preset_of(kind: Kind, name: str, preset: str) -> Any:
    """The configuration of a preset."""
    from headstudio.training import registry

    presets = registry.find(kind, name).presets
    if preset not in presets:
        raise HeadstudioError(f"{name} has no preset {preset}", next_step=f"choose one of: {', '.join(presets)}")
    return presets[preset]


def explained(kind: Kind, arguments: Sequence[str]) -> str:
    """What there is to choose from, or the configuration of what the arguments name."""
    from headstudio.training import registry

    known = registry.registered(kind)
    named = next((argument for argument in arguments if argument in known), None)
    if named is None:
        return f"\nInstalled {kind}: {', '.join(known) or 'none'}"
    follows = [after for before, after in itertools.pairwise(arguments) if before == "--preset"]
    preset = follows[0] if follows else "draft"
    fields = described(preset_of(kind, named, preset))
    return f"\nFields of {named} that --set can change, with their values in the preset {preset}:\n{fields}"


def described(default: Any) -> str:
    """The fields of a configuration with their values and what they mean."""
    lines = [
        f"  {path} = {value!r}\n      {meaning}" if meaning else f"  {path} = {value!r}"
        for path, value, meaning in _fields(default, "")
    ]
    return "\n".join(lines)


def _fields(config: Any, prefix: str) -> Iterator[tuple[str, Any, str]]:
    meanings = _docstrings(type(config))
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from _fields(value, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", value, meanings.get(field.name, "")


def _docstrings(cls: type) -> dict[str, str]:
    """The string below each field, which Python itself forgets."""
    try:
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    except (OSError, TypeError, ValueError):
        return {}
    found: dict[str, str] = {}
    for parent in reversed(cls.__mro__[1:-1]):
        found |= _docstrings(parent)
    body = getattr(definition, "body", [])
    for statement, after in itertools.pairwise(body):
        match (statement, after):
            case (ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(meaning)))):
                found[name] = " ".join(meaning.split())
    return found


def _option_names(options: type, prefix: str = "--") -> Iterator[str]:
    hints = typing.get_type_hints(options)
    for field in dataclasses.fields(options):
        kind, name = hints[field.name], field.name.replace("_", "-")
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            yield from _option_names(kind, prefix)  # as its fields appear where the group has no name of its own
            yield from _option_names(kind, f"{prefix}{name}.")
        else:
            yield prefix + name


def _full_name(name: str, known: set[str]) -> str:
    wide = name.replace("_", "-")
    longer = [f"{wide}-{unit}" for unit in UNITS if f"{wide}-{unit}" in known]
    return longer[0] if wide not in known and len(longer) == 1 else name


def _seconds(text: str) -> str:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    return text if match is None else f"{float(match[1]) * DURATIONS_S[match[2]]:g}"
