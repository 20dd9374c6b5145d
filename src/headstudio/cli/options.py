"""What all verbs share: their options, how they are parsed, and how a result is told."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import tyro

from headstudio.cli.console import Display, only_the_result_on_stdout
from headstudio.cli.settings import spelled_out


@dataclass(frozen=True, kw_only=True)
class Common:
    """Options of every verb."""

    json: bool = False
    """Print the result as one JSON object on stdout."""
    debug: bool = False
    """Print tracebacks."""


@dataclass(frozen=True)
class Result:
    """What a verb has to say at its end."""

    text: str
    """For people."""
    content: Mapping[str, Any] = field(default_factory=dict)
    """The same for programs: plain data."""
    code: int = 0
    """The exit code."""


O = TypeVar("O", bound=Common)  # noqa: E741
Explain = Callable[[Sequence[str]], str]


def parse(options: type[O], program: str, arguments: Sequence[str], explain: Explain | None = None) -> O:
    """The options of a verb; `explain` adds to its help what depends on the other arguments."""
    markers = (tyro.conf.FlagCreatePairsOff,)
    try:
        return tyro.cli(options, prog=program, args=spelled_out(options, arguments), config=markers)
    except SystemExit as request:
        if request.code == 0 and explain is not None:
            print(explain(arguments))
        raise


def perform(run: Callable[[O, Display], Result], options: O) -> int:
    """Run a verb, print its result and return the exit code."""
    with only_the_result_on_stdout(), Display() as display:
        result = run(options, display)
    print(json.dumps(_plain(result.content), indent=2) if options.json else result.text)
    return result.code


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(entry) for entry in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and value != value:  # JSON has no NaN
        return None
    return value
