"""The ways of tracking that are compared, by name; a row a variant in every table."""

import ast
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

from headstudio.tracking.config import TrackingConfig
from tracking_real import withheld_landmarks

_CHANGES: dict[str, dict[str, Any]] = {
    "default": {},
    "no-photometric": {"photometric.enabled": False},
    "no-smoothing": {"smoothing.enabled": False},
    "no-offsets": {"freeform.fields": 0},
    "no-bundle": {"photometric.bundle_rounds": 0},
    "no-gaps": {"solve.lid_gap": 0.0, "solve.lip_gap": 0.0},
    "no-calibration": {"calibration.enabled": False},
    "no-silhouette": {"photometric.silhouette": 0.0},
    "ict-fitted": {"head": "ict"},
    # Measured by landmarks that they were not shown.
    "withheld": {"solve.withheld": withheld_landmarks},
    "withheld-no-photometric": {"solve.withheld": withheld_landmarks, "photometric.enabled": False},
    "withheld-mean-head": {
        "solve.withheld": withheld_landmarks,
        "solve.identity_prior": 1e9,
        "freeform.fields": 0,
        "photometric.enabled": False,
    },
}
"""Dotted fields of `TrackingConfig` that each variant sets; what must be computed first is a function."""


def names() -> list[str]:
    """Of all variants."""
    return list(_CHANGES)


def variant(name: str) -> TrackingConfig:
    """The configuration of a variant."""
    return changed(TrackingConfig(), _CHANGES[name])


def changed(config: Any, changes: dict[str, Any | Callable[[], Any]]) -> Any:
    """A configuration with dotted fields set to other values; a name that it lacks is a `KeyError`."""
    for path, value in changes.items():
        config = _with(config, path.split("."), value() if callable(value) else value)
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
    return replace(config, **{path[0]: inner})  # pyright: ignore[reportArgumentType]
