"""What somebody may change while it runs, and how what they send is checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from headstudio.errors import HeadstudioError
from headstudio.motion.arkit import INDEX

MOST_GAIN = 3.0


@dataclass(frozen=True)
class Settings:
    """Positions of the sliders; replaced whole, so that no frame sees half a change."""

    exaggeration: float = 1.0
    """Factor on expressions, in [0, 3]; 1 keeps their size."""
    head: float = 1.0
    """Factor on the head's turning and moving, in [0, 3]; 0 keeps it still."""
    gaze: float = 1.0
    """Factor on the eyes' turning, in [0, 3]."""
    units: Mapping[str, float] = field(default_factory=dict)
    """What is added to ARKit units, by name, in [-1, 1]."""


GAINS = ("exaggeration", "head", "gaze")


class Controls:
    """Settings that one thread changes and others read."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()

    def change(self, wanted: Any) -> Settings:
        """Take over some of the settings, from plain data that nobody vouches for.

        Args:
            wanted: a mapping of `exaggeration`, `head`, `gaze` to numbers and of `units` to a mapping of numbers by
                ARKit name; names that are missing keep their value, and `reset: true` begins with the defaults.

        Raises:
            HeadstudioError: something is unknown, no number or out of range; nothing is changed then.
        """
        if not isinstance(wanted, Mapping):
            raise _refused("no settings came")
        base = Settings() if wanted.get("reset") is True else self.settings
        unknown = set(wanted) - {*GAINS, "units", "reset"}
        if unknown:
            raise _refused(f"there is no setting {sorted(map(str, unknown))[0]!r}"[:80])
        gains = {name: _number(wanted[name], name, 0.0, MOST_GAIN) for name in GAINS if name in wanted}
        units = wanted.get("units", {})
        if not isinstance(units, Mapping) or not set(units) <= set(INDEX):
            raise _refused("a unit is unknown")
        moved = {name: _number(value, name, -1.0, 1.0) for name, value in units.items()}
        kept = {name: value for name, value in {**base.units, **moved}.items() if value}
        self.settings = replace(base, **gains, units=kept)
        return self.settings


def _number(value: Any, name: str, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _refused(f"{name} is no number")
    if not low <= value <= high:
        raise _refused(f"{name} must be between {low:g} and {high:g}")
    return float(value)


def _refused(what: str) -> HeadstudioError:
    return HeadstudioError(what, next_step="send numbers for exaggeration, head, gaze and ARKit units")
