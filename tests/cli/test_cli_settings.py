"""Options in the words of people."""

from dataclasses import dataclass, field
from typing import Literal

import pytest

from headstudio.cli.make import Options
from headstudio.cli.settings import configured, described, spelled_out
from headstudio.errors import HeadstudioError


@dataclass(frozen=True)
class Inner:
    weight: float = 0.5
    """How
    heavy."""
    sides: tuple[int, ...] = (1, 2)


@dataclass(frozen=True)
class Outer:
    steps: int = 3
    """How many."""
    on: bool = True
    kind: Literal["soft", "hard"] = "soft"
    limit: float | None = None
    inner: Inner = field(default_factory=Inner)


def test_fields_are_set_with_their_types():
    settings = ["steps=7", "on=False", "kind=hard", "limit=2", "inner.weight=1e-3", "inner.sides=4 5 6"]
    assert configured(Outer(steps=9), settings, "it") == Outer(7, False, "hard", 2.0, Inner(1e-3, (4, 5, 6)))
    assert configured(Outer(steps=9), ["limit=None"], "it") == Outer(steps=9)
    assert configured(Outer(), ["on=false"], "it") == configured(Outer(), ["on=False"], "it") == Outer(on=False)


@pytest.mark.parametrize(
    "setting", ["step=3", "steps=x", "steps", "inner=3", "kind=loud", "inner.weight=", "on=perhaps"]
)
def test_what_does_not_fit_is_refused(setting):
    with pytest.raises(HeadstudioError):
        configured(Outer(), [setting], "it")


def test_a_configuration_is_described_by_its_docstrings():
    text = described(Outer(steps=9))
    assert "steps = 9\n      How many." in text
    assert "inner.weight = 0.5\n      How heavy." in text
    assert "inner.sides = (1, 2)" in text


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("--budget 10m", "--budget-s 600"),
        ("--budget-s 1.5h", "--budget-s 5400"),
        ("--budget=90s", "--budget-s=90"),
        ("--ingest.start 2m --ingest.size 256", "--ingest.start-s 120 --ingest.size-px 256"),
        ("--output 10m --seed 3", "--output 10m --seed 3"),
        ("10m --bogus 5m", "10m --bogus 5m"),
    ],
)
def test_units_may_be_left_out(typed, meant):
    assert spelled_out(Options, typed.split()) == meant.split()
