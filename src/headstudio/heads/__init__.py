"""Parametric heads: MakeHuman (default), ICT-FaceKit, FLAME (the user's file), all behind `HeadModel`."""

from importlib.metadata import entry_points
from typing import Any

from headstudio.errors import HeadstudioError
from headstudio.heads.base import HeadModel


def head_names() -> list[str]:
    """Names of all heads that are installed."""
    return sorted({entry.name for entry in entry_points(group="headstudio.heads")})


def load_head(name: str = "makehuman", **options: Any) -> HeadModel:
    """Load a head by its registered name.

    Args:
        name: an entry point of the group `headstudio.heads`.
        options: what that head's own `load` takes, such as `path`.
    """
    found = [entry for entry in entry_points(group="headstudio.heads") if entry.name == name]
    if not found:
        known = ", ".join(head_names()) or "none; install headstudio with pip"
        raise HeadstudioError(f"there is no head named {name}", next_step=f"choose one of: {known}")
    return found[0].load()(**options)
