"""The ways of tracking that are compared, by name; a row a variant in every table."""

import ast
from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

from headstudio.tracking.config import TrackingConfig

_CHANGES: dict[str, dict[str, Any]] = {
    "default": {},
    "no-photometric": {"photometric.enabled": False},
    "no-smoothing": {"smoothing.enabled": False},
    "ict-fitted": {"head": "ict"},
}
"""Dotted fields of `TrackingConfig` that each variant sets."""


def variants() -> dict[str, TrackingConfig]:
    """All variants by name."""
    return {name: changed(TrackingConfig(), changes) for name, changes in _CHANGES.items()}


def changed(config: Any, changes: dict[str, Any]) -> Any:
    """A configuration with dotted fields set to other values; a name that it lacks is a `KeyError`."""
    for path, value in changes.items():
        config = _with(config, path.split("."), value)
    return config


def parsed(texts: Sequence[str]) -> dict[str, Any]:
    """`solve.noise_m=0.002` and the like as changes; values are Python literals, or else words."""
    pairs = (text.split("=", 1) for text in texts)
    return {path: _value(value) for path, value in pairs}


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _with(config: Any, path: list[str], value: Any) -> Any:
    known = [field.name for field in fields(config)] if is_dataclass(config) else []
    if path[0] not in known:
        raise KeyError(f"{type(config).__name__} has no {path[0]}; it has {', '.join(known)}")
    inner = value if len(path) == 1 else _with(getattr(config, path[0]), path[1:], value)
    return replace(config, **{path[0]: inner})
